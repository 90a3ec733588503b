"""What a device has still to be told when it comes back: commands without reply, and notices.

1. What is sent to a device goes out when it is made, but nothing says whether it arrived. So it is
   sent again at the device's next birth; a device handles an id once (docs/wire.md).
2. A command waits until it is replied to or expires, a notice until it was sent at one birth or
   `NOTICE_LIFE_NS` is over.
3. What an earlier owner had asked or was to be told is not for the next: neither is sent any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hub.ports.database.alert_tables import Command, Notice
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device

NOTICE_LIFE_NS = 30 * 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one device, each the oldest first."""

    commands: Sequence[Command] = ()
    notices: Sequence[Notice] = ()


def of(session: Session, slot: int, at: int) -> Waiting:
    """Return what waits for a device.

    Args:
        session: any session.
        slot: of the device.
        at: now, ns; what has expired is left out.
    """
    owner_epoch = (
        select(func.coalesce(func.max(Ownership.epoch), 0))
        .join(Device, Device.product_id == Ownership.product_id)
        .where(Device.slot == slot, Ownership.ended_at.is_(None))
        .scalar_subquery()
    )
    commands = (
        select(Command)
        .where(
            Command.slot == slot,
            Command.replied_at.is_(None),
            Command.expires_at > at,
            Command.epoch == owner_epoch,
        )
        .order_by(Command.created_at, Command.id)
    )
    notices = (
        select(Notice)
        .where(
            Notice.slot == slot,
            Notice.created_at > at - NOTICE_LIFE_NS,
            Notice.told_at.is_(None),
            Notice.epoch == owner_epoch,
        )
        .order_by(Notice.created_at, Notice.id)
    )
    return Waiting(session.scalars(commands).all(), session.scalars(notices).all())


def keep_told(session: Session, notices: Sequence[Notice], at: int) -> None:
    """Keep that notices were sent to their device at its birth; they wait no longer.

    Args:
        session: a writing session.
        notices: those that the broker took.
        at: now, ns.
    """
    ids = [notice.id for notice in notices]
    session.execute(update(Notice).where(Notice.id.in_(ids)).values(told_at=at))
