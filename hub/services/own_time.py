"""What was measured in whose time: the stretches of time in which a household owned a product.

1. A row is a household's if its owner epoch and its time both lie in one of its ownerships. The epoch
   says what the product knew when it measured, the time says when that was; one of them may be wrong
   (an offline product has the old epoch, a bad clock another time), and then nobody but staff sees
   the row rather than somebody who must not.
2. What was measured before anybody claimed the product is its first owner's. An ownership that was
   undone was never one, and what was measured in it is nobody's.
3. Former owners keep what is theirs, and get nothing newer.
What must never live here: who asks; telemetry itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device
from hub.ports.store.port import Window


@dataclass(frozen=True, slots=True)
class OwnTime:
    """What of a product is a household's.

    Args:
        windows: of its rows; never empty.
        ended_at: end of its last ownership, ns; None while it owns the product.
    """

    windows: tuple[Window, ...]
    ended_at: int | None


def own_time(session: Session, product_id: str, owner_id: str | None) -> OwnTime | None:
    """Return what of a product is a household's.

    Returns:
        None if it never owned the product.
    """
    rows = ownerships(session, product_id)
    own = [row for row in rows if row.owner_id == owner_id and row.undone_at is None]
    if not own:
        return None
    first = next(row for row in rows if row.undone_at is None)
    windows = [_window(row, rows) for row in own]
    if first is own[0] and first is not rows[0]:  # what was before is theirs, but not the undone
        windows.insert(0, Window(0, 0, None, rows[0].started_at))
    return OwnTime(tuple(windows), own[-1].ended_at)


def ownerships(session: Session, product_id: str) -> Sequence[Ownership]:
    """Return all ownerships of a product, the earliest first."""
    query = select(Ownership).where(Ownership.product_id == product_id)
    return session.scalars(query.order_by(Ownership.epoch)).all()


def epoch_at(rows: Sequence[Ownership], at: int) -> int:
    """Return the owner epoch that something of an instant belongs to.

    Args:
        rows: ownerships of one product, the earliest first.
        at: the instant, ns.

    Returns:
        The epoch; what was before the first owner is the first owner's; 0: nobody's.
    """
    for row in rows:
        if row.started_at <= at and (row.ended_at is None or at < row.ended_at):
            return row.epoch
    return rows[0].epoch if rows and at < rows[0].started_at else 0


def is_anothers(rows: Sequence[Ownership], at: int) -> bool:
    """Say whether an instant is of another household's time than the present owner's.

    What was before anybody claimed the product is its first owner's.

    Args:
        rows: ownerships of one product, the earliest first.
        at: the instant, ns.
    """
    if rows and at < rows[0].started_at:
        at = rows[0].started_at
    return any(
        row.started_at <= at
        and (row.ended_at is None or at < row.ended_at)
        and (row.owner_id != rows[-1].owner_id or row.undone_at is not None)
        for row in rows
    )


def owned_in(
    slot: InstrumentedAttribute[int], epoch: InstrumentedAttribute[int], owner_id: str | None
) -> ColumnElement[bool]:
    """The condition under which something with a device slot and an owner epoch is a household's."""
    # Driven by the owner's few products, whatever the number of things in the world.
    slots = (
        select(Device.slot)
        .join(Ownership, Ownership.product_id == Device.product_id)
        .where(Ownership.owner_id == owner_id, Ownership.undone_at.is_(None))
    )
    of_epoch = (
        exists()
        .select_from(Ownership)
        .where(
            Ownership.product_id == Device.product_id,
            Ownership.epoch == epoch,
            Ownership.owner_id == owner_id,
            Ownership.undone_at.is_(None),
        )
        .correlate(Device, slot.class_)
    )
    return and_(slot.in_(slots), of_epoch)


def _window(row: Ownership, rows: Sequence[Ownership]) -> Window:
    """Return the window of one ownership.

    A household that released and claimed again may have measured with the epoch of before: nobody
    else came between, so that row can be of nobody else.
    """
    place = rows.index(row)
    while place and _joined(rows[place - 1], row):
        place -= 1
    alone = place == 0  # nobody else before it
    return Window(
        first_epoch=0 if alone else rows[place].epoch,
        last_epoch=row.epoch,
        start=None if row is rows[0] else row.started_at,
        end=row.ended_at,
    )


def _joined(before: Ownership, after: Ownership) -> bool:
    return before.owner_id == after.owner_id and before.undone_at is None
