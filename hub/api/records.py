"""The hub's own records: the audit trail and the dead letters.

1. Both are lists, newest first. All that can be done here is to have a dead letter taken again.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from hub.api.bodies import ID_PATTERN, Answer, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.engine import read_session, write_session
from hub.services import audit, deadletters

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["operation"])


LetterId = Annotated[str, Path(pattern=r"^[0-9]{1,4}-[0-9]{1,19}-[0-9]{1,9}$")]


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

    id: str = Field(description="Names it in paths.")
    at: Instant
    device_id: str | None
    channel: str
    reason: str = Field(description="Word of the reject code.")
    detail: str = Field(description="What was wrong, for people.")
    sha256: str = Field(description="Of the whole payload.")
    size: int = Field(description="Bytes of the whole payload.")
    sample: str = Field(description="Its first bytes, hex; in a single view all that is kept.")
    log: str
    offset: int
    position: int
    replayed_at: Instant | None = Field(description="When it was handed to its worker again.")

    model_config = examples(
        {
            "id": "0-4096-0",
            "at": "2026-01-31T08:00:00Z",
            "device_id": "kx3q8m0d5c7r2v1z",
            "channel": "t",
            "reason": "malformed",
            "detail": "the payload ends inside of a value",
            "sha256": "9f86d0...",
            "size": 12,
            "sample": "a100",
            "log": "deadletters/0",
            "offset": 4096,
            "position": 0,
            "replayed_at": None,
        }
    )


class DeadLetterContent(DeadLetter):
    """A dead letter and what it says."""

    content: Any = Field(
        description="The frame as JSON values, bytes in hex; null if it cannot be read or is not whole."
    )

    model_config = DeadLetter.model_config


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
    reason: Annotated[
        str | None, Query(max_length=40, description="Only with this word, such as `malformed`.")
    ] = None,
    since: Annotated[Instant | None, Query(description="Only received from here on.")] = None,
    until: Annotated[Instant | None, Query(description="Only received before.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[DeadLetter]:
    """List dead letters, newest first."""
    listing = Listing(
        "list_dead_letters",
        (int, str, int, int),
        device=device_id,
        reason=reason,
        since=since,
        until=until,
    )
    key = listing.key(after)
    place = None if key is None else (int(key[0]), str(key[1]), int(key[2]), int(key[3]))
    with read_session(hub.engine) as session:
        rows = deadletters.listed(
            session,
            caller,
            device_id=device_id,
            reason=reason,
            since=since,
            until=until,
            after=place,
            limit=limit + 1,
        )
    items = [DeadLetter(**_shown(row)) for row in rows[:limit]]
    keys = [(row.at, row.log, row.offset, row.position) for row in rows]
    return Page(items=items, next=listing.following(keys, limit))


@ROUTER.get(
    "/deadletters/{letter_id}", operation_id="get_dead_letter", summary="One frame and what it says"
)
def get_dead_letter(hub: HubDep, caller: CallerDep, letter_id: LetterId) -> DeadLetterContent:
    """Return a dead letter with its content, as far as it can be read."""
    with read_session(hub.engine) as session:
        letter = deadletters.view(session, caller, letter_id)
    return DeadLetterContent(**_shown(letter), content=letter.content)


@ROUTER.post(
    "/deadletters/{letter_id}/replay",
    operation_id="replay_dead_letter",
    summary="Have a frame taken again",
)
def replay_dead_letter(hub: HubDep, caller: CallerDep, letter_id: LetterId) -> DeadLetter:
    """Hand a dead letter to its worker under its original identity, once; audited."""
    with write_session(hub.engine) as session:
        letter = deadletters.replay(session, caller, letter_id, hub.data_dir, hub.clock())
    return DeadLetter(**_shown(letter))


def _shown(letter: deadletters.DeadLetterView) -> dict[str, Any]:
    names = set(DeadLetter.model_fields) - {"sha256", "sample"}
    return {name: getattr(letter, name) for name in names} | {
        "sha256": letter.sha256.hex(),
        "sample": letter.sample.hex(),
    }
