"""The instant at which a product changes its owner: what ends, what begins and what goes along.

1. Everything happens in the transaction of whoever calls, at one instant: no sequence of calls leaves
   a product with two owners, and owner epochs only rise.
2. What the former owner wanted of the device ends with them: settings, commands that still wait, open
   alerts, offers, disputes, a hand-over and a window for claiming. Holds and what goes with the product stay.
3. The signed state is issued anew: the product learns of its new owner epoch when it next hears.
What must never live here: whether somebody may; see `ownership`, `transfers` and `disputes`.
"""

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hub.errors import ConflictError
from hub.ports.database.alert_tables import Command
from hub.ports.database.ownership_tables import (
    ClaimWindow,
    Dispute,
    HandOver,
    Ownership,
    Subscription,
    TransferOffer,
)
from hub.ports.database.product_tables import Device, Product
from hub.services import changes, succession
from hub.services.alert_rehoming import rehome
from hub.services.parties import check_exists


def change(
    session: Session, product: Product, present: Ownership, owner_id: str, at: int
) -> Ownership:
    """Hand a product from its owner to another; arguments and errors as for `end` and `begin`."""
    return begin(session, product, owner_id, _end(session, present, at, to_another=True))


def end(session: Session, present: Ownership, at: int) -> int:
    """End an ownership; from then on the product is nobody's.

    Args:
        session: a writing session.
        present: the one that lasts.
        at: now, ns.

    Returns:
        The instant at which it ended: now, or its beginning should the clock have gone back.
    """
    at = _end(session, present, at, to_another=False)
    device = _device(session, present.product_id)
    if device is not None:
        rehome(session, device.slot, 0, at)
    return at


def _end(session: Session, present: Ownership, at: int, *, to_another: bool) -> int:
    at = max(at, present.started_at)
    present.ended_at = at
    succession.end(session, present.product_id, at, undoable=to_another)
    for table in (ClaimWindow, HandOver):
        session.execute(delete(table).where(table.product_id == present.product_id))
    session.execute(
        update(TransferOffer)
        .where(TransferOffer.product_id == present.product_id, TransferOffer.closed_at.is_(None))
        .values(closed_at=at, outcome="stale")
    )
    session.execute(
        update(Dispute)
        .where(Dispute.product_id == present.product_id, Dispute.closed_at.is_(None))
        .values(closed_at=at, outcome="moot")
    )
    device = _device(session, present.product_id)
    if device is not None:
        if device.desired:
            device.desired = {}
            device.desired_version += 1
        device.reported, device.reported_errors = {}, {}
        session.execute(
            update(Command)
            .where(
                Command.slot == device.slot,
                Command.replied_at.is_(None),
                Command.expires_at > at,
            )
            .values(expires_at=at)
        )
    session.flush()
    changes.note(session, present.product_id)
    return at


def begin(session: Session, product: Product, owner_id: str, at: int) -> Ownership:
    """Begin an ownership of a product that nobody owns.

    Args:
        session: a writing session.
        product: which.
        owner_id: the new owner.
        at: now, ns.

    Raises:
        ConflictError: somebody else was faster, or the household does not exist any more.
    """
    check_exists(session, owner_id)
    serial = product.serial  # a flush that fails takes it away
    newest = session.execute(
        select(func.max(Ownership.epoch), func.max(Ownership.ended_at)).where(
            Ownership.product_id == product.id
        )
    ).one()
    device = _device(session, product.id)
    row = Ownership(
        product_id=product.id,
        epoch=(newest[0] or 0) + 1,
        owner_id=owner_id,
        started_at=max(at, newest[1] or 0),
        state_version=device.state_version if device else 0,
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:  # where writers do not queue, the index decides who was first
        raise ConflictError(
            f"Somebody else claimed product {serial} at the same time.", serial=serial
        ) from error
    session.execute(delete(ClaimWindow).where(ClaimWindow.product_id == product.id))
    session.execute(
        update(Subscription)
        .where(Subscription.product_id == product.id, Subscription.epoch.is_(None))
        .values(owner_id=owner_id)
    )
    if device is not None:
        device.reported, device.reported_errors = {}, {}
        rehome(session, device.slot, row.epoch, row.started_at)
    changes.note(session, product.id)
    return row


def _device(session: Session, product_id: str) -> Device | None:
    return session.scalars(select(Device).where(Device.product_id == product_id)).first()
