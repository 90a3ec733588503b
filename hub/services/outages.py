"""When the hub was down, as its own journals tell: times in which no worker wrote even a beat.

1. The process `meter` tells of a pause between two blocks of a journal; it is kept once.
2. Customers read what was given for it: larger quotas and longer credit (`entitlements/billing/outages.py`).
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.outages import Outage
from hub.ports.database import usage_tables as t
from hub.services import audit, changes
from hub.services.caller import HUB


def note(session: Session, worker: int, start: int, end: int) -> None:
    """Keep that a worker took nothing in, once.

    Args:
        session: a writing session.
        worker: number of it.
        start: last sign of life before, ns.
        end: first one after.
    """
    named = f"ingest-{worker}"
    known = select(t.Outage.id).where(t.Outage.part == named, t.Outage.starts_at == start)
    if session.scalar(known) is not None:
        return
    session.add(t.Outage(part=named, starts_at=start, ends_at=end))
    session.flush()
    details = {"starts_at": start, "ends_at": end}
    audit.record(session, end, HUB.actor, "outage.note", f"part:{named}", details)
    changes.note(session, changes.EVERY_PRODUCT)


def all_of(session: Session) -> list[Outage]:
    """Return all outages, the earliest first."""
    query = select(t.Outage.starts_at, t.Outage.ends_at).order_by(t.Outage.starts_at)
    return [Outage(start, end) for start, end in session.execute(query)]
