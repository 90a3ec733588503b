"""For how long telemetry of each product is kept: as its plans say, else as the hub's settings do.

1. Where several subscriptions say something, each level is kept for the longest that one of them says.
2. A subscription that ended counts for some days more, so that a downgrade by mistake loses nothing.
   One that is only unpaid has not ended.
What must never live here: what is deleted; see `hub/ports/store/upkeep.py`.
"""

from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from hub.ports.database.catalogue_tables import PlanVersion
from hub.ports.database.ownership_tables import Ownership, Subscription
from hub.ports.database.privacy_tables import TelemetryErasure
from hub.ports.database.product_tables import Device
from hub.ports.store.levels import Retention
from hub.ports.store.tombstones import Order, Tombstones
from hub.services.retention_document import RetentionEntry

_DAY = 86_400_000_000_000


def load(session: Session, default: Sequence[int | None], patience_days: int, at: int) -> Retention:
    """Return for how long what is kept.

    Args:
        session: any session.
        default: days by level of products without a plan that says; None: for ever.
        patience_days: how long a subscription counts after its end.
        at: now, ns.
    """
    since = at - patience_days * _DAY
    of_epoch = and_(
        Ownership.product_id == Subscription.product_id, Ownership.epoch == Subscription.epoch
    )
    query = (
        select(Device.slot, PlanVersion.retention)
        .select_from(Subscription)
        .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .join(Device, Device.product_id == Subscription.product_id)
        .outerjoin(Ownership, of_epoch)
        .where(
            PlanVersion.retention.is_not(None),
            Subscription.starts_at <= at,
            or_(Subscription.ends_at.is_(None), Subscription.ends_at > since),
            or_(Ownership.ended_at.is_(None), Ownership.ended_at > since),
        )
    )
    found: dict[int, tuple[int | None, ...]] = {}
    for slot, terms in session.execute(query):
        days = RetentionEntry.model_construct(**(terms or {})).days
        found[slot] = _longest(found[slot], days) if slot in found else days
    slots = sorted(found)
    return Retention(tuple(default), slots, [found[slot] for slot in slots])


def orders(session: Session, erasure_id: str | None = None) -> Tombstones:
    """Return the standing orders to erase telemetry, of one erasure or of all."""
    query = select(TelemetryErasure).order_by(TelemetryErasure.id)
    if erasure_id is not None:
        query = query.where(TelemetryErasure.erasure_id == erasure_id)
    rows = session.scalars(query)
    return Tombstones(
        tuple(
            Order(row.id, row.slot, row.first_epoch, row.last_epoch, row.starts_at, row.ends_at)
            for row in rows
        )
    )


def _longest(one: Sequence[int | None], other: Sequence[int | None]) -> tuple[int | None, ...]:
    return tuple(
        None if a is None or b is None else max(a, b) for a, b in zip(one, other, strict=True)
    )
