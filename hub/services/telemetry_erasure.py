"""Orders to erase telemetry: which rows of which product go, for whoever keeps rows to carry out.

1. Orders stand for ever: rows of that time that a product sends later are not kept either.
2. Journals, archive and mirrors read them here; what is done is said by each of them in its own files.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.privacy_tables import TelemetryErasure
from hub.ports.database.product_tables import Device
from hub.services.own_time import own_time, ownerships

_MOST_EPOCHS: Final = (1 << 32) - 1


def has_telemetry(session: Session, owner_ids: Sequence[str]) -> bool:
    """Say whether households ever owned a product that measures."""
    query = (
        select(Device.slot)
        .join(Ownership, Ownership.product_id == Device.product_id)
        .where(Ownership.owner_id.in_(owner_ids))
    )
    return session.scalar(query.limit(1)) is not None


def place(session: Session, erasure_id: str, owner_ids: Sequence[str]) -> None:
    """Have the telemetry of the households' time erased.

    A row goes if it was measured in an owner epoch of theirs, whatever its time: a product that is
    offline goes on in the epoch that it knows. Of the epoch of nobody, what is in their time goes.
    """
    query = (
        select(Device.slot, Device.product_id, Ownership.owner_id)
        .join(Ownership, Ownership.product_id == Device.product_id)
        .where(Ownership.owner_id.in_(owner_ids))
        .distinct()
        .order_by(Device.slot)
    )
    for slot, product_id, owner_id in session.execute(query).all():
        orders: set[tuple[int, int, int | None, int | None]] = {
            (row.epoch, row.epoch, None, None)
            for row in ownerships(session, product_id)
            if row.owner_id == owner_id
        }
        own = own_time(session, product_id, owner_id)
        for window in own.windows if own else ():
            orders.add((window.first_epoch, window.last_epoch, window.start, window.end))
        for first, last, start, end in sorted(orders, key=str):
            session.add(
                TelemetryErasure(
                    erasure_id=erasure_id,
                    slot=slot,
                    first_epoch=first,
                    last_epoch=min(last, _MOST_EPOCHS),
                    starts_at=start,
                    ends_at=end,
                )
            )
    session.flush()
