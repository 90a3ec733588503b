"""When the hub was down, as its own journals tell: times in which no worker wrote even a beat.

1. The process `meter` tells of a pause between two beats of a journal; it is kept once. That the hub's
   time was set or moved ahead is no pause (`hub/ports/journal/beat.py`).
2. Customers read what was given for it: larger quotas, longer credit and grace
   (`entitlements/billing/outages.py`). What is given is never stored; it follows from the outages.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import BigInteger, and_, bindparam, cast, or_, select
from sqlalchemy.orm import Session

from entitlements.billing.outages import Outage
from entitlements.status import NS_PER_S
from hub.ports.database import usage_tables as t
from hub.ports.database.ownership_tables import Subscription
from hub.services import audit, changes
from hub.services.caller import HUB

_ALL: Final = (
    select(t.Outage.starts_at, t.Outage.ends_at)
    .where(t.Outage.ends_at > bindparam("since"))
    .order_by(t.Outage.starts_at)
)


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
    for product_id in _unpaid(session, start, end):
        changes.note(session, product_id)


def all_of(session: Session, *, since: int = 0) -> list[Outage]:
    """Return the outages that ended after an instant (ns), the earliest first."""
    found = session.connection().execute(_ALL, {"since": since})
    return [Outage(start, end) for start, end in found]


def _unpaid(session: Session, start: int, end: int) -> Sequence[str]:
    """Return the products, and maybe some more, with a subscription that was unpaid in `[start, end)`."""
    given = sum(one.end - one.start for one in all_of(session))  # at most that much longer
    allowed = cast(Subscription.grace_s + Subscription.retry_s, BigInteger) * NS_PER_S + given
    paid_until, trial_end = Subscription.paid_until, Subscription.trial_end
    query = (
        select(Subscription.product_id)
        .where(
            Subscription.grace_s + Subscription.retry_s > 0,
            or_(
                and_(paid_until < end, paid_until + allowed > start),
                and_(trial_end < end, trial_end + allowed > start),
            ),
        )
        .distinct()
    )
    return session.scalars(query).all()
