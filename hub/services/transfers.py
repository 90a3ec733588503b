"""Handing a product from one household to another: offer, accept, decline, cancel, expire.

1. An offer is to an e-mail address or to whoever has its code, which is shown once; its hash is kept.
   It is of one owner epoch: whatever else changes the owner makes it stale.
2. Accepting is one transaction: the owner epoch rises, what the former owner made ends, both sides
   get a receipt and a letter (`cut`, `receipts`). Of two who accept at once, one wins.
3. Nothing is handed on during a hold for theft, fraud or payment, nor while it is disputed.
4. An offer that expired needs no one to close it: it is looked at with the time.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import ColumnElement, false, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.ownership_tables import Ownership, TransferOffer
from hub.ports.database.people_tables import Person
from hub.ports.database.product_tables import Product
from hub.services import audit, cut, health_certificates, letters, receipts
from hub.services.caller import HUB, Caller
from hub.services.health_certificates import Issuer
from hub.services.parties import (
    HANDING_ON,
    TAKING_OVER,
    check_exists,
    household_of,
    households,
    may_act_for,
    open_dispute,
    open_ownership,
    own_product,
    refuse_if_held,
)
from hub.services.people import checked_email
from hub.services.relations import Act
from hub.services.tokens import Tokens, secret_hash

USUAL_DAYS: Final = 14
MOST_DAYS: Final = 90
PREFIX: Final = "hpt_"
"""Begins a transfer code, so that people and programs can tell what it opens."""
_DAY: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer that was just made; `code` is shown now and never again."""

    id: str
    product_id: str
    expires_at: int
    code: str | None


@dataclass(frozen=True, slots=True)
class OfferView:
    """An offer as either side sees it; `status` is `open`, `expired` or how it ended."""

    id: str
    product_id: str
    serial: str
    email: str | None
    mine: bool
    status: str
    created_at: int
    expires_at: int
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A product that has a new owner by a transfer or a dispute.

    `certificate_link` leads to the certificate of what passed on; it is shown now and never again.
    """

    product_id: str
    serial: str
    epoch: int
    receipt_id: str
    certificate_link: str | None = field(default=None, repr=False)


def offer(
    session: Session,
    caller: Caller,
    product_id: str,
    at: int,
    tokens: Tokens,
    *,
    email: str | None = None,
    days: int = USUAL_DAYS,
) -> Offered:
    """Offer a product to somebody.

    Args:
        session: a writing session.
        caller: an owner of the household that has it.
        product_id: which product.
        at: now, ns.
        tokens: source of id and code.
        email: of the one who may take it; None: whoever has the code may.
        days: after which the offer expires, 1 to 90.

    Raises:
        ConflictError: it is offered already, on hold, disputed, or it would go to its owner.
        InvalidInputError: no such address or number of days.
        NotFoundError: no such product, or not one of theirs.
    """
    product, present = own_product(session, caller, product_id, Act.TRANSFER)
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInputError(f"An offer is open for 1 to {MOST_DAYS} days.", days=days)
    _check_free(session, product, present, at)
    taker = None
    if email is not None:
        email = checked_email(email)
        taker = session.scalar(select(Person.owner_id).where(Person.email == email))
        if taker == present.owner_id:
            raise _to_themselves(product)
    for before in session.scalars(
        select(TransferOffer).where(
            TransferOffer.product_id == product.id, TransferOffer.closed_at.is_(None)
        )
    ):
        if before.expires_at > at:
            raise ConflictError(
                f"Product {product.serial} is offered already. Cancel that offer first.",
                serial=product.serial,
                offer=before.id,
            )
        before.closed_at, before.outcome = before.expires_at, "expired"
    session.flush()
    code = None if email is not None else tokens.secret(PREFIX)
    row = TransferOffer(
        id=tokens.new_id(),
        product_id=product.id,
        epoch=present.epoch,
        owner_id=present.owner_id,
        email=email,
        code_hash=None if code is None else secret_hash(code),
        created_at=at,
        expires_at=at + days * _DAY,
    )
    session.add(row)
    serial = product.serial  # a flush that fails takes it away
    try:
        session.flush()
    except IntegrityError as error:
        raise ConflictError(
            f"Product {serial} was offered at the same time. Cancel that offer first.",
            serial=serial,
        ) from error
    _record(session, caller, row, "transfer.offer", at)
    if taker is not None:
        letters.write(session, taker, product, "transfer.offered", at, until_at=row.expires_at)
    return Offered(row.id, product.id, row.expires_at, code)


def cancel(session: Session, caller: Caller, offer_id: str, at: int) -> None:
    """Take an offer back.

    Raises:
        ConflictError: it is not open any more.
        NotFoundError: no such offer of the caller's household.
    """
    row = session.get(TransferOffer, offer_id)
    if row is None or not may_act_for(caller, row.owner_id, Act.TRANSFER):
        raise _missing(offer_id)
    _check_open(row, at)
    _close(session, row, "cancelled", at)
    _record(session, caller, row, "transfer.cancel", at)
    taker = _taker_of(session, row)
    if taker is not None:
        product = session.get_one(Product, row.product_id)
        letters.write(session, taker, product, "transfer.cancelled", at)


def decline(session: Session, caller: Caller, at: int, offer_id: str) -> None:
    """Decline an offer to the caller's e-mail address; arguments and errors as for `accept`."""
    row = _addressed(session, caller, offer_id)
    _check_open(row, at)
    _close(session, row, "declined", at)
    _record(session, caller, row, "transfer.decline", at)
    product = session.get_one(Product, row.product_id)
    letters.write(session, row.owner_id, product, "transfer.declined", at)


def accept(
    session: Session,
    caller: Caller,
    at: int,
    tokens: Tokens,
    issuer: Issuer,
    *,
    offer_id: str | None = None,
    code: str | None = None,
) -> HandedOver:
    """Take a product that was offered.

    Args:
        session: a writing session.
        caller: an owner of the household that takes it.
        at: now, ns.
        tokens: source of ids.
        issuer: signs the papers.
        offer_id: of an offer to the caller's e-mail address.
        code: of an offer to whoever has it; either this or `offer_id`.

    Raises:
        ConflictError: the offer is not open any more, the product is on hold or disputed, or it is
            the caller's already.
        InvalidInputError: neither an offer nor a code, or both.
        NotFoundError: no such offer, or it is for somebody else.
    """
    taker = household_of(caller)
    if (offer_id is None) == (code is None):
        raise InvalidInputError("Name either the offer or its code.")
    row = _by_code(session, code) if code is not None else _addressed(session, caller, offer_id)
    product = session.get_one(Product, row.product_id)
    _check_open(row, at)
    if row.owner_id == taker:
        raise _to_themselves(product)
    present = open_ownership(session, product.id)
    if present is None or present.epoch != row.epoch:
        raise _stale(product)
    _check_free(session, product, present, at)
    refuse_if_held(session, product, TAKING_OVER, at, "taken over", taker)
    check_exists(session, taker)
    row.taker_id = taker
    _close(session, row, "accepted", at)
    handed = hand_over(session, product, present, taker, at, tokens, issuer)
    _record(session, caller, row, "transfer.accept", at, epoch=handed.epoch)
    return handed


def hand_over(
    session: Session,
    product: Product,
    present: Ownership,
    taker: str,
    at: int,
    tokens: Tokens,
    issuer: Issuer,
) -> HandedOver:
    """Hand a product to another household; see `cut.change`.

    Both get a receipt and a letter, and the taker a certificate of what the product is like now.
    """
    giver = present.owner_id
    taken = cut.change(session, product, present, taker, at)
    since = taken.started_at
    certificate = None
    with suppress(ConflictError):  # so many hold already that the taker has one
        certificate = health_certificates.issue(
            session, HUB, product.id, "transfer", at, tokens, issuer
        )
    keys = issuer.keys
    receipts.issue(session, tokens, keys, product, giver, "handed_over", present.epoch, since)
    paper = receipts.issue(
        session,
        tokens,
        keys,
        product,
        taker,
        "taken_over",
        taken.epoch,
        since,
        certificate=None if certificate is None else certificate.signed,
    )
    letters.write(session, giver, product, "transfer.handed_over", at)
    letters.write(session, taker, product, "transfer.taken_over", at)
    link = None if certificate is None else certificate.link
    return HandedOver(product.id, product.serial, taken.epoch, paper.id, link)


def listed(session: Session, caller: Caller, at: int, *, limit: int = 100) -> list[OfferView]:
    """List offers by the caller's household and open ones to the caller, the latest first."""
    mine, email = households(caller, Act.TRANSFER), _email_of(session, caller)
    to_caller: ColumnElement[bool] = false()
    if email is not None:
        to_caller = (TransferOffer.email == email) & TransferOffer.closed_at.is_(None)
    query = (
        select(TransferOffer, Product.serial)
        .join(Product, Product.id == TransferOffer.product_id)
        .where(or_(TransferOffer.owner_id.in_(mine), to_caller))
        .order_by(TransferOffer.created_at.desc(), TransferOffer.id)
        .limit(limit)
    )
    views = (
        _view(row, serial, at, mine=row.owner_id in mine) for row, serial in session.execute(query)
    )
    return [view for view in views if view.mine or view.status == "open"]


def _view(row: TransferOffer, serial: str, at: int, *, mine: bool) -> OfferView:
    expired = row.closed_at is None and row.expires_at <= at
    return OfferView(
        id=row.id,
        product_id=row.product_id,
        serial=serial,
        email=row.email,
        mine=mine,
        status="expired" if expired else row.outcome or "open",
        created_at=row.created_at,
        expires_at=row.expires_at,
        closed_at=row.closed_at,
    )


def _by_code(session: Session, code: str) -> TransferOffer:
    query = select(TransferOffer).where(TransferOffer.code_hash == secret_hash(code.strip()))
    row = session.scalars(query).first()
    if row is None:
        raise NotFoundError(
            "No offer has this code. Check that you have all of it, or ask for another one."
        )
    return row


def _addressed(session: Session, caller: Caller, offer_id: str | None) -> TransferOffer:
    household_of(caller)
    row = session.get(TransferOffer, offer_id or "")
    if row is None or row.email is None or row.email != _email_of(session, caller):
        raise _missing(offer_id or "")
    return row


def _email_of(session: Session, caller: Caller) -> str | None:
    return session.scalar(select(Person.email).where(Person.id == caller.person_id))


def _taker_of(session: Session, row: TransferOffer) -> str | None:
    return session.scalar(select(Person.owner_id).where(Person.email == row.email))


def _check_open(row: TransferOffer, at: int) -> None:
    if row.closed_at is None and row.expires_at > at:
        return
    how = "expired" if row.closed_at is None else str(row.outcome)
    raise ConflictError(
        f"This offer is not open any more ({how}). Ask for another one.", offer=row.id, status=how
    )


def _check_free(session: Session, product: Product, present: Ownership, at: int) -> None:
    refuse_if_held(session, product, HANDING_ON, at, "handed on", present.owner_id)
    dispute = open_dispute(session, product.id, at)
    if dispute is not None:
        raise ConflictError(
            f"Somebody disputes who owns product {product.serial}, so it cannot be handed on "
            "before that is settled.",
            serial=product.serial,
            dispute=dispute.id,
        )


def _close(session: Session, row: TransferOffer, outcome: str, at: int) -> None:
    row.closed_at, row.outcome = at, outcome
    session.flush()


def _record(
    session: Session, caller: Caller, row: TransferOffer, action: str, at: int, **more: int
) -> None:
    about = {"offer": row.id, "of_epoch": row.epoch, "open": row.email is None, **more}
    audit.record(session, at, caller.actor, action, f"product:{row.product_id}", about)


def _to_themselves(product: Product) -> ConflictError:
    return ConflictError(
        f"Product {product.serial} is your household's already. Offer it to somebody else.",
        serial=product.serial,
    )


def _stale(product: Product) -> ConflictError:
    return ConflictError(
        f"Product {product.serial} has changed its owner since it was offered.",
        serial=product.serial,
        status="stale",
    )


def _missing(offer_id: str) -> NotFoundError:
    return NotFoundError(f"There is no offer {offer_id}.", offer=offer_id)
