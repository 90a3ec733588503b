"""Factory resets: what a product says when it was reset, and the hand-over that waits for one.

1. A reset never releases a product by itself: whoever holds it can reset it, and may be a thief. Its
   owner is told.
2. An owner who gives a product away may prepare for it: then the reset releases it, once, within the
   days that they said, unless it is on hold or disputed.
3. The cut is at the hub's time of receipt, never at the device's. The device's time can only keep a
   reset from counting: one of before the owner prepared releases nothing, one of before the product
   was theirs is not theirs, and one at a time that cannot be releases nothing either.
"""

from typing import Final

from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.ownership_tables import HandOver, Ownership
from hub.ports.database.product_tables import Product
from hub.services import audit, cut, letters
from hub.services.caller import Caller
from hub.services.parties import (
    HANDING_ON,
    open_dispute,
    open_ownership,
    own_product,
    refuse_if_held,
)
from hub.services.relations import Act

EVENT: Final = "factory_reset"
"""Reserved name of the device's event (docs/wire.md)."""
USUAL_DAYS: Final = 14
MOST_DAYS: Final = 90
_DAY: Final = 86_400_000_000_000
CLOCK_OFF_NS: Final = 600_000_000_000
"""How far a device's clock may be off and is believed."""


def prepare(
    session: Session, caller: Caller, product_id: str, at: int, *, days: int = USUAL_DAYS
) -> HandOver:
    """Have a product released as soon as it is reset; doing it again sets the days anew.

    Args:
        session: a writing session.
        caller: an owner of the household that has it.
        product_id: which product.
        at: now, ns.
        days: within which, 1 to 90.

    Raises:
        ConflictError: it is on hold for theft, fraud or payment.
        InvalidInputError: no such number of days.
        NotFoundError: no such product, or not one of theirs.
    """
    product, present = own_product(session, caller, product_id, Act.RELEASE)
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInputError(f"A hand-over waits for 1 to {MOST_DAYS} days.", days=days)
    refuse_if_held(session, product, HANDING_ON, at, "handed on", present.owner_id)
    row = session.merge(
        HandOver(
            product_id=product.id,
            epoch=present.epoch,
            prepared_at=at,
            expires_at=at + days * _DAY,
            prepared_by=caller.actor,
        )
    )
    session.flush()
    details = {"epoch": present.epoch, "days": days}
    audit.record(session, at, caller.actor, "hand_over.prepare", f"product:{product.id}", details)
    return row


def withdraw(session: Session, caller: Caller, product_id: str, at: int) -> None:
    """Keep a product after all; a hand-over that is not there stays so.

    Raises:
        NotFoundError: no such product, or not one of theirs.
    """
    product, present = own_product(session, caller, product_id, Act.RELEASE)
    row = session.get(HandOver, product.id)
    if row is not None:
        session.delete(row)
        session.flush()
        details = {"epoch": present.epoch}
        object_ = f"product:{product.id}"
        audit.record(session, at, caller.actor, "hand_over.withdraw", object_, details)


def was_reset(session: Session, product_id: str, said_at: int, at: int) -> None:
    """Take in that a product was reset to factory settings.

    Args:
        session: a writing session.
        product_id: which product.
        said_at: when it was reset as the device says, ns; it may be anything.
        at: time of receipt, ns.
    """
    product = session.get_one(Product, product_id)
    present = open_ownership(session, product_id)
    if present is None:
        return
    if product.made_at <= said_at < present.started_at - CLOCK_OFF_NS:
        return  # late, and of somebody else's time
    prepared = _prepared(session, product, present, said_at, at)
    if prepared is None:
        letters.write(session, present.owner_id, product, "product.reset", at)
        return
    details = {"epoch": present.epoch, "owner": present.owner_id, "after": "reset"}
    by = prepared.prepared_by
    cut.end(session, present, at)
    audit.record(session, at, by, "product.release", f"product:{product.id}", details)
    letters.write(session, present.owner_id, product, "product.reset_released", at)


def _prepared(
    session: Session, product: Product, present: Ownership, said_at: int, at: int
) -> HandOver | None:
    row = session.get(HandOver, product.id)
    if row is None or row.epoch != present.epoch or row.expires_at <= at:
        return None
    if not row.prepared_at - CLOCK_OFF_NS <= said_at <= at + CLOCK_OFF_NS:
        return None
    try:
        refuse_if_held(session, product, HANDING_ON, at, "released", present.owner_id)
    except ConflictError:
        return None
    return None if open_dispute(session, product.id, at) else row
