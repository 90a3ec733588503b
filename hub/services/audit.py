"""The audit trail: who did what to which thing and when, in a chain of hashes.

1. Rows are appended in the transaction of the act they tell of; no row is ever changed.
2. Each digest covers the row and the digest before, so a changed, removed or inserted row shows.
   Cutting off the newest rows shows only against a digest noted elsewhere: see `head`.
3. Details never hold a secret.
4. Words about a person can be taken out (`audit_erasure`): a later row says of which rows, and these keep
   their digests, so the chain stays whole.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.database.record_tables import Audit
from hub.services.caller import Caller, Scope

GENESIS = "0" * 64
ERASE_AUDIT = "audit.erase"
ERASE_LOOKS = "looks.erase"


class Head(NamedTuple):
    """The newest row: its id (0: none yet) and digest; note it elsewhere to detect truncation."""

    id: int
    digest: str


def record(
    session: Session, at: int, actor: str, action: str, object_: str, details: Mapping[str, Any]
) -> Audit:
    """Append a row.

    Args:
        session: a writing session.
        at: when, ns.
        actor: who: `person:ID`, `device:ID`, or `hub`.
        action: what, such as `product.claim`.
        object_: to which thing, such as `product:ID`.
        details: JSON values, without secrets.
    """
    before = head(session)
    row = Audit(
        id=before.id + 1,
        at=at,
        actor=actor,
        action=action,
        object=object_,
        details=dict(details),
        previous=before.digest,
    )
    row.digest = _digest(row)
    session.add(row)
    session.flush()
    return row


def record_refusal(
    session: Session, at: int, actor: str, action: str, object_: str, details: Mapping[str, Any]
) -> None:
    """Record a refused act: drop what the session had done so far and commit this row alone.

    The caller raises its error right after, so nothing of the refused act remains but the record.
    """
    session.rollback()
    record(session, at, actor, action, object_, details)
    session.commit()


def head(session: Session) -> Head:
    """Return the newest row's id and digest."""
    newest = session.execute(
        select(Audit.id, Audit.digest).order_by(Audit.id.desc()).limit(1)
    ).first()
    return Head(0, GENESIS) if newest is None else Head(newest.id, newest.digest)


def verify(session: Session, noted: Head | None = None) -> int | None:
    """Check the whole chain.

    Args:
        session: any session.
        noted: a head noted earlier, which must still be in the chain.

    Returns:
        Id of the first row that is wrong or missing; None if the chain is whole.
    """
    id_, digest = 0, GENESIS
    noted_ok = noted is None or noted.id == 0
    erased = erased_rows(session, ERASE_AUDIT)
    rows = session.scalars(select(Audit).order_by(Audit.id).execution_options(yield_per=1_000))
    for row in rows:
        id_ += 1
        if row.id != id_ or row.previous != digest:
            return id_
        if row.digest != _digest(row) and (row.id not in erased or row.action == ERASE_AUDIT):
            return id_
        digest = row.digest
        if noted is not None and row.id == noted.id:
            if digest != noted.digest:
                return id_
            noted_ok = True
    return None if noted_ok else id_ + 1


def erased_rows(session: Session, action: str) -> frozenset[int]:
    """Return the ids of the rows that lost words by an action, `ERASE_AUDIT` or `ERASE_LOOKS`."""
    told = session.scalars(select(Audit.details).where(Audit.action == action))
    return frozenset(id_ for details in told for id_ in details["rows"])


def trail(
    session: Session,
    caller: Caller,
    *,
    object_: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Audit]:
    """List rows, newest first.

    Args:
        session: any session.
        caller: needs `records:read`.
        object_: only of this thing.
        before: only rows with smaller ids (the last one of the page before).
        limit: at most so many.
    """
    caller.require(Scope.RECORDS_READ)
    query = select(Audit).order_by(Audit.id.desc()).limit(limit)
    if object_ is not None:
        query = query.where(Audit.object == object_)
    if before is not None:
        query = query.where(Audit.id < before)
    return list(session.scalars(query))


def _digest(row: Audit) -> str:
    content = [row.id, row.at, row.actor, row.action, row.object, row.details, row.previous]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
