"""Takes words about a person out of the audit trail and the looks, and leaves both chains whole.

1. Actors, objects and ids stay: they name nobody once the rows that they refer to are empty. What
   people wrote (reasons, names) goes.
2. A row that lost its words keeps its digest. A later row of the audit trail says which rows those
   are, and `verify` takes their digests as they stand; all other rows must still fit theirs.
3. So nobody changes a row unseen: an exception stands in the chain itself, with who made it and when.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from hub.ports.database.access_tables import Look
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.record_tables import Audit
from hub.services import audit
from hub.services.personal_data import ERASED, Subject

_TEXTS: Final = frozenset({"reason", "name", "evidence", "message", "subject"})
_WORD: Final = re.compile(r"[A-Za-z0-9_.:/+-]{0,120}")
_MANY: Final = 500


def erase(session: Session, subject: Subject, by: str, at: int) -> int:
    """Take the words about a subject out of both chains.

    Args:
        session: a writing session; the subject's products are released already.
        subject: whose.
        by: who erases, as the audit names them.
        at: now, ns.

    Returns:
        How many rows lost words.
    """
    trail = [row for row in session.scalars(_about(subject)) if _without(row.details) is not None]
    for row in trail:
        row.details = _without(row.details) or {}
    looks = session.scalars(select(Look).where(Look.owner_id.in_(subject.households))).all()
    for look in looks:
        look.reason, look.case_reference = ERASED, None
        look.reason_key = hashlib.sha256(f"{ERASED}/{look.id}".encode()).hexdigest()
    session.flush()
    for action, rows in (
        (audit.ERASE_AUDIT, [row.id for row in trail]),
        (audit.ERASE_LOOKS, [look.id for look in looks]),
    ):
        for first in range(0, len(rows), _MANY):
            details = {"rows": rows[first : first + _MANY]}
            audit.record(session, at, by, action, subject.actor, details)
    return len(trail) + len(looks)


def _about(subject: Subject) -> Any:
    own = Ownership
    owned = (
        select(own.epoch)
        .where(
            own.owner_id.in_(subject.households),
            own.undone_at.is_(None),
            Audit.object == "product:" + own.product_id,
            own.started_at <= Audit.at,
            or_(own.ended_at.is_(None), Audit.at <= own.ended_at),
        )
        .exists()
    )
    return select(Audit).where(
        Audit.action.not_in((audit.ERASE_AUDIT, audit.ERASE_LOOKS)),
        or_(
            Audit.actor == subject.actor,
            Audit.object == subject.actor,
            Audit.object.in_([f"owner:{one}" for one in subject.households]),
            and_(Audit.object.like("product:%"), owned),
        ),
    )


def _without(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return details without what people wrote; None if there is nothing of the kind."""
    kept = {key: _kept(key, value) for key, value in details.items()}
    return None if kept == dict(details) else kept


def _kept(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return ERASED if key in _TEXTS or not _WORD.fullmatch(value) else value
    if isinstance(value, list):
        return [_kept(key, one) for one in value]
    if isinstance(value, dict):
        return {name: _kept(name, one) for name, one in value.items()}
    return value
