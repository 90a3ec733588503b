"""Who may act on the ownership of a product, and what stands against it.

1. What concerns who owns a product is for the owners of the household it belongs to.
2. A hold that says "not theirs" or "not paid" keeps a product where it is. A recall or a suspected
   clone is no reason to.
What must never live here: what the act is; see `ownership`, `transfers` and `disputes`.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from entitlements.facts import HoldKind
from hub.errors import ConflictError, ForbiddenError
from hub.ports.database.ownership_tables import Dispute, Hold, Ownership
from hub.ports.database.people_tables import Owner
from hub.ports.database.product_tables import Product
from hub.services import products
from hub.services.caller import Caller, Role, Scope
from hub.services.relations import Act

UNDO_NS: Final = 30 * 86_400_000_000_000
"""How long after an ownership began staff can undo it."""
TAKING_OVER: Final = (HoldKind.THEFT, HoldKind.FRAUD)
"""Holds during which nobody comes into a product."""
HANDING_ON: Final = (HoldKind.THEFT, HoldKind.FRAUD, HoldKind.PAYMENT)
"""Holds during which its owner cannot hand it on."""


def household_of(caller: Caller, act: Act = Act.CLAIM) -> str:
    """Return the household that a customer acts for: their own.

    Raises:
        ForbiddenError: they are no customer, or may not do this for it.
    """
    _check_customer(caller)
    return caller.household(act)


def may_act_for(caller: Caller, owner_id: str, act: Act) -> bool:
    """Say whether a customer may do something for a household."""
    _check_customer(caller)
    return caller.may(act, owner_id)


def households(caller: Caller, act: Act) -> list[str]:
    """Return the households for all of which a customer may do something."""
    _check_customer(caller)
    return sorted({str(tie.owner_id) for tie in caller.ties if tie.lasting and act in tie.acts})


def check_exists(session: Session, owner_id: str) -> None:
    """Raise unless there is such a household.

    Raises:
        ConflictError: there is none any more.
    """
    if session.get(Owner, owner_id) is None:
        raise ConflictError(
            "The household does not exist any more, so it can own nothing. Ask support."
        )


def own_product(
    session: Session, caller: Caller, product_id: str, act: Act
) -> tuple[Product, Ownership]:
    """Return a product that somebody owns for whom a customer may do something, and its ownership.

    Raises:
        ForbiddenError: they see the product, but may not do this.
        NotFoundError: no such product, or not one of theirs.
    """
    _check_customer(caller)
    product = products.visible(session, caller, product_id, act)
    present = open_ownership(session, product.id)
    if present is None:
        raise products.missing(product_id)
    return product, present


def open_ownership(session: Session, product_id: str) -> Ownership | None:
    """Return the ownership of a product that lasts, if there is one."""
    return session.scalars(
        select(Ownership).where(Ownership.product_id == product_id, Ownership.ended_at.is_(None))
    ).first()


def open_dispute(session: Session, product_id: str, at: int) -> Dispute | None:
    """Return the dispute about a product that is going on, if there is one.

    One that its claimant did not end within as long again after its deadline goes on no more.
    """
    query = select(Dispute).where(Dispute.product_id == product_id, Dispute.closed_at.is_(None))
    row = session.scalars(query).first()
    return row if row is not None and at < lapses_at(row) else None


def lapses_at(dispute: Dispute) -> int:
    """Return when a dispute ends by itself, ns."""
    return 2 * dispute.deadline - dispute.opened_at


def refuse_if_held(
    session: Session,
    product: Product,
    kinds: Collection[HoldKind],
    at: int,
    what: str,
    *accounts: str,
) -> None:
    """Raise if a hold of one of the kinds is in force on a product, or on an account.

    Args:
        session: any session.
        product: which.
        kinds: that matter here.
        at: now, ns.
        what: what is refused, as in "cannot be ...".
        accounts: households whose account matters, too.

    Raises:
        ConflictError: there is one; it says which.
    """
    query = (
        select(Hold.kind, Hold.owner_id)
        .where(
            or_(Hold.product_id == product.id, Hold.owner_id.in_(accounts)),
            Hold.kind.in_([str(kind) for kind in kinds]),
            Hold.starts_at <= at,
            or_(Hold.ends_at.is_(None), Hold.ends_at > at),
        )
        .order_by(Hold.starts_at, Hold.id)
    )
    found = session.execute(query.limit(1)).first()
    if found is None:
        return
    held = f"Product {product.serial}" if found.owner_id is None else "The account"
    raise ConflictError(
        f"{held} is on hold ({found.kind}), so product {product.serial} cannot be {what}. It can "
        "be as soon as the hold is lifted.",
        serial=product.serial,
        hold=found.kind,
        of="product" if found.owner_id is None else "account",
    )


def _check_customer(caller: Caller) -> None:
    caller.require(Scope.PRODUCTS_CLAIM)
    if caller.role is not Role.CUSTOMER:
        raise ForbiddenError("Only a customer can do this. Sign in as one.")
