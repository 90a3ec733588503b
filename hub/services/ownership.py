"""Who owns a product: claiming with the code on its label, releasing, and undoing a wrong claim.

1. The claim code and the product in hand (`possession`) are the proof.
2. Ten wrong codes within an hour, by one person or for one product, and every further try is
   refused for a while, the right code too. Refusals are audited.
3. A product has one owner at a time; each change of owner has a new owner epoch, never reused.
4. A claim can be undone: by who claimed, by releasing; by staff within `UNDO_NS`, who may give the
   product back to the owner before. That one gets a new epoch, and sees both times (`own_time`).
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, inspect, select
from sqlalchemy.orm import Session

from entitlements.facts import HoldKind
from hub.errors import ConflictError, InvalidInputError, NotFoundError, RateLimitedError
from hub.ports.database.ownership_tables import ClaimAttempt, Ownership, Subscription
from hub.ports.database.product_tables import Product
from hub.services import audit, cut, letters, possession, products, succession
from hub.services.caller import Caller, Scope
from hub.services.parties import (
    TAKING_OVER,
    UNDO_NS,
    household_of,
    open_ownership,
    own_product,
    refuse_if_held,
)
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
        ConflictError: somebody owns the product, it is on hold for theft or fraud, or nobody
            pressed its button just now and its model wants that.
        ForbiddenError: the caller is not a customer.
        NotFoundError: no product has this code.
        RateLimitedError: too many wrong codes.
    """
    owner_id = household_of(caller)
    product = product_of_code(session, caller, code, at, tokens, serial=serial)
    refuse_if_held(session, product, TAKING_OVER, at, "claimed", owner_id)
    present = open_ownership(session, product.id)
    if present is not None:
        raise _owned(product, mine=present.owner_id == owner_id)
    if possession.needed(session, product):
        check_possession(session, product, at)
    row = cut.begin(session, product, owner_id, at)
    details = {"epoch": row.epoch, "owner": owner_id}
    audit.record(session, at, caller.actor, "product.claim", f"product:{product.id}", details)
    return Claimed(product.id, product.serial, row.epoch)


def release(session: Session, caller: Caller, product_id: str, at: int) -> None:
    """End the present ownership of a product: the owner gives it up, or staff take it back.

    Raises:
        ConflictError: nobody owns it, or its owner locked it because it was stolen.
        NotFoundError: no such product, or not one of the caller's.
    """
    if caller.is_staff:
        caller.require(Scope.ENTITLEMENTS_WRITE)
        product = products.visible(session, caller, product_id)
        present = open_ownership(session, product.id)
    else:
        product, present = own_product(session, caller, product_id, Act.RELEASE)
        refuse_if_held(session, product, (HoldKind.THEFT,), at, "given up")
    if present is None:
        raise ConflictError(
            f"Nobody owns product {product.serial}, so nothing was released.", product=product_id
        )
    cut.end(session, present, at)
    details = {"epoch": present.epoch, "owner": present.owner_id}
    audit.record(session, at, caller.actor, "product.release", f"product:{product.id}", details)
    if caller.is_staff:
        letters.write(session, present.owner_id, product, "ownership.taken_back", at)


def undo(
    session: Session,
    caller: Caller,
    product_id: str,
    reason: str,
    at: int,
    tokens: Tokens,
    *,
    restore: bool = True,
) -> Claimed | None:
    """Undo the present ownership of a product, which should never have been.

    What was measured during it shows to nobody but staff: whose home that was is not known.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: which product.
        reason: why, for the audit.
        at: now, ns.
        tokens: source of ids.
        restore: give it back to the owner before, if there was one; else it is nobody's.

    Returns:
        The ownership that was restored, if one was.

    Raises:
        ConflictError: nobody owns it, or it is too late.
        InvalidInputError: no reason.
        NotFoundError: no such product.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")
    product = products.visible(session, caller, product_id)
    present = open_ownership(session, product.id)
    if present is None:
        raise ConflictError(
            f"Nobody owns product {product.serial}, so there is nothing to undo.",
            product=product_id,
        )
    if at >= present.started_at + UNDO_NS:
        days = UNDO_NS // (86_400 * _S)
        raise ConflictError(
            f"Product {product.serial} has had its owner for more than {days} days. Ask them to "
            "hand it on, or open a case.",
            product=product_id,
        )
    ended = cut.end(session, present, at)
    present.undone_at = ended
    letters.write(session, present.owner_id, product, "ownership.undone", at)
    before = _last_before(session, present) if restore else None
    restored = None
    if before is not None:
        restored = cut.begin(session, product, before.owner_id, ended)
        goes_on = _give_back_plans(session, tokens, before, restored)
        succession.undo(session, caller, present, before, restored, goes_on)
        letters.write(session, before.owner_id, product, "ownership.restored", at)
    details = {
        "epoch": present.epoch,
        "owner": present.owner_id,
        "reason": reason,
        "restored": None if restored is None else restored.epoch,
    }
    audit.record(session, at, caller.actor, "product.undo", f"product:{product.id}", details)
    return None if restored is None else Claimed(product.id, product.serial, restored.epoch)


def product_of_code(
    session: Session, caller: Caller, code: str, at: int, tokens: Tokens, *, serial: str | None
) -> Product:
    """Return the product of a claim code; arguments and errors as for `claim`."""
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
    return product


def check_possession(session: Session, product: Product, at: int) -> int:
    """Raise unless somebody pressed the button of a product just now; return when (ns)."""
    opened = possession.opened_at(session, product.id, at)
    if opened is None:
        raise ConflictError(
            f"Show that you have product {product.serial} in hand: switch it on, let it connect, "
            "press its button, and try again within five minutes.",
            serial=product.serial,
            possession="window",
        )
    return opened


def _owned(product: Product, *, mine: bool) -> ConflictError:
    if mine:
        return ConflictError(
            f"You own product {product.serial} already. Its owner must release it before it can be "
            "claimed again.",
            serial=product.serial,
        )
    return ConflictError(
        f"Somebody owns product {product.serial} already. Its owner must release it or hand it to "
        "you before you can claim it. If they cannot be reached, open a dispute.",
        serial=product.serial,
    )


def _give_back_plans(
    session: Session, tokens: Tokens, before: Ownership, restored: Ownership
) -> dict[str, Subscription]:
    """Have the subscriptions of the time before go on in the new epoch, with the same dates.

    Those of the time before stay as they are, so that the past is explained as it was.

    Returns:
        Those that go on, by the ids of those before.
    """
    goes_on: dict[str, Subscription] = {}
    query = select(Subscription).where(
        Subscription.product_id == before.product_id, Subscription.epoch == before.epoch
    )
    for row in session.scalars(query):
        terms = {
            column.key: getattr(row, column.key)
            for column in inspect(Subscription).column_attrs
            if column.key not in {"id", "epoch", "starts_at"}
        }
        starts_at = max(row.starts_at, restored.started_at)
        if row.ends_at is None or row.ends_at > starts_at:
            goes_on[row.id] = Subscription(
                id=tokens.new_id(), epoch=restored.epoch, starts_at=starts_at, **terms
            )
            session.add(goes_on[row.id])
    session.flush()
    return goes_on


def _last_before(session: Session, present: Ownership) -> Ownership | None:
    """Return the ownership before one, those that were undone left out."""
    query = (
        select(Ownership)
        .where(
            Ownership.product_id == present.product_id,
            Ownership.epoch < present.epoch,
            Ownership.undone_at.is_(None),
        )
        .order_by(Ownership.epoch.desc())
    )
    return session.scalars(query.limit(1)).first()


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
