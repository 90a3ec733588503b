"""Who owns a product: claiming with the code on its label, and releasing.

1. The claim code is the proof; whoever has the product in hand can read it.
2. Ten wrong codes within an hour, by one person or for one product, and every further try is
   refused for a while, the right code too. Refusals are audited.
3. A product has one owner at a time; each change of owner has a new owner epoch, never reused.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, ForbiddenError, NotFoundError, RateLimitedError
from hub.ports.database.ownership_tables import ClaimAttempt, Ownership
from hub.ports.database.product_tables import Product
from hub.services import audit, cut, products
from hub.services.caller import Caller, Role, Scope
from hub.services.relations import Act
from hub.services.tokens import Tokens

WRONG_TRIES = 10
WINDOW_NS = 3_600_000_000_000
_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """A product that has a new owner."""

    product_id: str
    serial: str
    epoch: int


def claim(
    session: Session,
    caller: Caller,
    code: str,
    at: int,
    tokens: Tokens,
    *,
    serial: str | None = None,
) -> Claimed:
    """Make the caller's household the owner of a product.

    A wrong code is remembered even though this raises: it commits what it remembers itself.

    Args:
        session: a writing session of its own, used for nothing else.
        caller: a customer.
        code: the claim code as typed.
        at: now, ns.
        tokens: hashes the code.
        serial: serial number as typed, if asked for; the code must then be of that product.

    Raises:
        ConflictError: somebody owns the product.
        ForbiddenError: the caller is not a customer.
        NotFoundError: no product has this code.
        RateLimitedError: too many wrong codes.
    """
    caller.require(Scope.PRODUCTS_CLAIM)
    if caller.role is not Role.CUSTOMER:
        raise ForbiddenError("Only a customer can claim a product. Sign in as one.")
    owner_id = caller.household(Act.CLAIM)
    by_code = select(Product).where(Product.claim_code_hash == tokens.claim_hash(code))
    product = session.scalars(by_code).first()
    named = product
    if serial is not None and (product is None or product.serial != serial.strip()):
        named = session.scalars(select(Product).where(Product.serial == serial.strip())).first()
        product = None
    _check_tries(session, caller, named, at)
    if product is None:
        tried = ClaimAttempt(
            at=at, person_id=caller.person_id, product_id=named.id if named else None
        )
        session.add(tried)
        session.commit()
        raise NotFoundError(
            "No product has this claim code. Check it against the label: it has twelve letters and "
            "digits, without 0, 1, I, L, O and U."
        )
    return _take(session, caller, product, owner_id, at)


def release(session: Session, caller: Caller, product_id: str, at: int) -> None:
    """End the present ownership of a product: the owner gives it up, or staff take it back.

    Raises:
        ConflictError: nobody owns it.
        ForbiddenError: the caller may see the product, but is no owner of its household.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE if caller.is_staff else Scope.PRODUCTS_CLAIM)
    product = products.visible(session, caller, product_id, Act.RELEASE)
    present = open_ownership(session, product.id)
    if present is None:
        raise ConflictError(
            f"Nobody owns product {product.serial}, so nothing was released.", product=product_id
        )
    cut.end(session, present, at)
    details = {"epoch": present.epoch, "owner": present.owner_id}
    audit.record(session, at, caller.actor, "product.release", f"product:{product.id}", details)


def open_ownership(session: Session, product_id: str) -> Ownership | None:
    """Return the ownership of a product that lasts, if there is one."""
    return session.scalars(
        select(Ownership).where(Ownership.product_id == product_id, Ownership.ended_at.is_(None))
    ).first()


def _take(session: Session, caller: Caller, product: Product, owner_id: str, at: int) -> Claimed:
    present = open_ownership(session, product.id)
    if present is not None:
        whose = "You own" if present.owner_id == owner_id else "Somebody owns"
        raise ConflictError(
            f"{whose} product {product.serial} already. Its owner must release it before it can be "
            "claimed again.",
            serial=product.serial,
        )
    row = cut.begin(session, product, owner_id, at)
    details = {"epoch": row.epoch, "owner": owner_id}
    audit.record(session, at, caller.actor, "product.claim", f"product:{product.id}", details)
    return Claimed(product.id, product.serial, row.epoch)


def _check_tries(session: Session, caller: Caller, product: Product | None, at: int) -> None:
    """Refuse if the person or the product has had too many wrong codes within the window."""
    wait = _wait(session, ClaimAttempt.person_id == caller.person_id, at)
    if product is not None:
        wait = max(wait, _wait(session, ClaimAttempt.product_id == product.id, at))
    if not wait:
        return
    about = f"product:{product.id}" if product else f"person:{caller.person_id}"
    audit.record_refusal(session, at, caller.actor, "product.claim.refused", about, {})
    minutes = -(-wait // (60 * _S))
    raise RateLimitedError(
        f"There were {WRONG_TRIES} wrong claim codes within an hour. Try again in {minutes} "
        "minute(s).",
        retry_after_s=-(-wait // _S),
    )


def _wait(session: Session, whose: ColumnElement[bool], at: int) -> int:
    """Return how long (ns) until fewer than the allowed wrong tries are in the window; 0: now."""
    tries = session.scalars(
        select(ClaimAttempt.at)
        .where(whose, ClaimAttempt.at > at - WINDOW_NS)
        .order_by(ClaimAttempt.at.desc())
        .limit(WRONG_TRIES)
    ).all()
    return tries[-1] + WINDOW_NS - at if len(tries) == WRONG_TRIES else 0
