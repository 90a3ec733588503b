"""The hub's own records: the audit trail and the dead letters.

1. Both are lists, newest first; nothing here changes anything.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from hub.api.bodies import ID_PATTERN, Answer, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.engine import read_session
from hub.services import audit, deadletters

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["operation"])


class AuditEntry(Answer):
    """One privileged act; `digest` covers it and the digest before."""

    id: int
    at: Instant
    actor: str = Field(description="`person:ID`, `product:ID` or `hub`.")
    action: str
    object: str
    details: dict[str, Any]
    previous: str
    digest: str

    model_config = examples(
        {
            "id": 17,
            "at": "2026-01-31T08:00:00Z",
            "actor": "person:p3k9x0c7w2m5q8r1",
            "action": "product.claim",
            "object": "product:b7x2m9q4k1v8c3z6",
            "details": {"epoch": 1},
            "previous": "9f86d0...",
            "digest": "2c2673...",
        }
    )


class DeadLetter(Answer):
    """A frame that will never be accepted."""

    at: Instant
    device_id: str | None
    channel: str
    reason: str = Field(description="Word of the reject code.")
    sha256: str = Field(description="Of the whole payload.")
    size: int = Field(description="Bytes of the whole payload.")
    sample: str = Field(description="Its first bytes, hex.")
    log: str
    offset: int
    position: int

    model_config = examples(
        {
            "at": "2026-01-31T08:00:00Z",
            "device_id": "kx3q8m0d5c7r2v1z",
            "channel": "t",
            "reason": "malformed",
            "sha256": "9f86d0...",
            "size": 12,
            "sample": "a100",
            "log": "0",
            "offset": 4096,
            "position": 0,
        }
    )


@ROUTER.get("/audit", operation_id="list_audit", summary="Who did what to which thing")
def list_audit(
    hub: HubDep,
    caller: CallerDep,
    object_: Annotated[
        str | None,
        Query(alias="object", max_length=200, description="Only acts on it: `product:ID`."),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[AuditEntry]:
    """List the audit trail, newest first."""
    listing = Listing("list_audit", (int,), object=object_)
    key = listing.key(after)
    with read_session(hub.engine) as session:
        rows = audit.trail(
            session,
            caller,
            object_=object_,
            before=None if key is None else int(key[0]),
            limit=limit + 1,
        )
    items = [AuditEntry.model_validate(row) for row in rows[:limit]]
    return Page(items=items, next=listing.following([(row.id,) for row in rows], limit))


@ROUTER.get(
    "/deadletters", operation_id="list_dead_letters", summary="Frames that were not accepted"
)
def list_dead_letters(
    hub: HubDep,
    caller: CallerDep,
    device_id: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[DeadLetter]:
    """List dead letters, newest first."""
    listing = Listing("list_dead_letters", (int, str, int, int), device=device_id)
    key = listing.key(after)
    place = None if key is None else (int(key[0]), str(key[1]), int(key[2]), int(key[3]))
    with read_session(hub.engine) as session:
        rows = deadletters.listed(
            session, caller, device_id=device_id, after=place, limit=limit + 1
        )
    items = [
        DeadLetter(
            at=row.at,
            device_id=row.device_id,
            channel=row.channel,
            reason=row.reason,
            sha256=row.sha256.hex(),
            size=row.size,
            sample=row.sample.hex(),
            log=row.log,
            offset=row.offset,
            position=row.position,
        )
        for row in rows[:limit]
    ]
    keys = [(row.at, row.log, row.offset, row.position) for row in rows]
    return Page(items=items, next=listing.following(keys, limit))
