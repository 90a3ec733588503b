"""Disputed claims: somebody has the code and the product, and somebody else is its owner.

1. Possession alone never takes a product over, and nothing does at once: the owner is told, and has
   until the deadline to say no. A no ends the dispute; support may then decide, audited.
2. If the owner stays silent, the claimant ends it after the deadline with the product in hand again.
   Who does not do so within as long again has given up.
3. A product has one dispute at a time, and none while a hold for theft or fraud stands.
4. A dispute always wants a window opened on the device, also where the label is enough to claim.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.ownership_tables import Dispute, Ownership
from hub.ports.database.product_tables import Product
from hub.services import audit, letters, ownership, possession
from hub.services.caller import Caller, Scope
from hub.services.health_certificates import Issuer
from hub.services.parties import (
    TAKING_OVER,
    household_of,
    households,
    lapses_at,
    may_act_for,
    open_dispute,
    open_ownership,
    refuse_if_held,
)
from hub.services.relations import Act
from hub.services.tokens import Tokens
from hub.services.transfers import HandedOver, hand_over

_DAY: Final = 86_400_000_000_000
DECIDE_NS: Final = 90 * _DAY
"""How long after a dispute ended by the owner's no support may still decide it."""


def begin(
    session: Session,
    caller: Caller,
    code: str,
    at: int,
    tokens: Tokens,
    days: int,
    *,
    serial: str | None = None,
) -> Dispute:
    """Say that a product which somebody else owns is the caller's.

    Args:
        session: a writing session of its own, used for nothing else; see `ownership.claim`.
        caller: a customer.
        code: the claim code as typed.
        at: now, ns.
        tokens: hashes the code.
        days: until the deadline.
        serial: serial number as typed, if asked for.

    Raises:
        ConflictError: nobody else owns it, it is disputed already or on hold for theft or fraud, or
            nobody pressed its button just now.
        ForbiddenError: the caller is not a customer.
        NotFoundError: no product has this code.
        RateLimitedError: too many wrong codes.
    """
    claimant = household_of(caller)
    product = ownership.product_of_code(session, caller, code, at, tokens, serial=serial)
    refuse_if_held(session, product, TAKING_OVER, at, "disputed", claimant)
    present = open_ownership(session, product.id)
    if present is None or present.owner_id == claimant:
        whose = "Nobody owns" if present is None else "You own"
        raise ConflictError(
            f"{whose} product {product.serial}, so there is nothing to dispute.",
            serial=product.serial,
        )
    if open_dispute(session, product.id, at) is not None:
        raise _disputed(product.serial)
    ownership.check_possession(session, product, at)
    _close_lapsed(session, product)
    row = Dispute(
        id=tokens.new_id(),
        product_id=product.id,
        epoch=present.epoch,
        owner_id=present.owner_id,
        claimant_id=claimant,
        opened_at=at,
        deadline=at + days * _DAY,
    )
    session.add(row)
    serial = product.serial  # a flush that fails takes it away
    try:
        session.flush()
    except IntegrityError as error:
        raise _disputed(serial) from error
    possession.use_up(session, product.id)
    _record(session, caller, row, "dispute.open", at)
    letters.write(session, present.owner_id, product, "dispute.opened", at, until_at=row.deadline)
    letters.write(session, claimant, product, "dispute.yours", at, until_at=row.deadline)
    return row


def refuse(session: Session, caller: Caller, dispute_id: str, at: int) -> None:
    """Say as the owner that the product stays; that ends the dispute.

    Raises:
        ConflictError: it has ended.
        NotFoundError: no such dispute about a product of the caller's.
    """
    row, product, _ = _of_owner(session, caller, dispute_id, at)
    row.objected_at = at
    _close(session, row, "refused", at)
    _record(session, caller, row, "dispute.refuse", at)
    letters.write(session, row.claimant_id, product, "dispute.refused", at)


def agree(
    session: Session, caller: Caller, dispute_id: str, at: int, tokens: Tokens, issuer: Issuer
) -> None:
    """Say as the owner that the product is the claimant's, and hand it over at once.

    Raises:
        ConflictError: it has ended, or a hold for theft or fraud was placed.
        NotFoundError: no such dispute about a product of the caller's.
    """
    row, product, present = _of_owner(session, caller, dispute_id, at)
    refuse_if_held(session, product, TAKING_OVER, at, "handed over", row.claimant_id)
    _close(session, row, "agreed", at)
    _record(session, caller, row, "dispute.agree", at)
    hand_over(session, product, present, row.claimant_id, at, tokens, issuer)


def withdraw(session: Session, caller: Caller, dispute_id: str, at: int) -> None:
    """Take a dispute back as its claimant; errors as for `refuse`."""
    row, product, _ = _of_claimant(session, caller, dispute_id, at)
    _close(session, row, "withdrawn", at)
    _record(session, caller, row, "dispute.withdraw", at)
    letters.write(session, row.owner_id, product, "dispute.withdrawn", at)


def complete(
    session: Session, caller: Caller, dispute_id: str, at: int, tokens: Tokens, issuer: Issuer
) -> HandedOver:
    """Take the product as the claimant, after the deadline passed in silence.

    Args:
        session: a writing session.
        caller: of the household that disputes.
        dispute_id: which dispute.
        at: now, ns.
        tokens: source of ids.
        issuer: signs the papers.

    Raises:
        ConflictError: it has ended, it is too early, a hold for theft or fraud was placed, or nobody
            pressed the button of the product since the deadline.
        NotFoundError: no such dispute of the caller's.
    """
    row, product, present = _of_claimant(session, caller, dispute_id, at)
    if at < row.deadline:
        raise ConflictError(
            f"The owner of product {product.serial} has until the deadline to answer. Come back "
            "after it with the product at hand.",
            dispute=row.id,
            deadline_s=row.deadline // 1_000_000_000,
        )
    refuse_if_held(session, product, TAKING_OVER, at, "handed over", row.claimant_id)
    if ownership.check_possession(session, product, at) < row.deadline:
        raise ConflictError(
            f"Press the button of product {product.serial} again: you must have it now, after the "
            "deadline.",
            dispute=row.id,
        )
    _close(session, row, "given", at)
    _record(session, caller, row, "dispute.complete", at)
    return hand_over(session, product, present, row.claimant_id, at, tokens, issuer)


def decide(
    session: Session,
    caller: Caller,
    dispute_id: str,
    reason: str,
    at: int,
    tokens: Tokens,
    issuer: Issuer,
    *,
    to_claimant: bool,
) -> None:
    """Settle a dispute as support: one that goes on, or one that ended by the owner's no.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        dispute_id: which dispute.
        reason: why, for the audit.
        at: now, ns.
        tokens: source of ids.
        issuer: signs the papers.
        to_claimant: hand the product to the claimant; else it stays where it is.

    Raises:
        ConflictError: it ended otherwise or too long ago, or a hold for theft or fraud stands.
        InvalidInputError: no reason.
        NotFoundError: no such dispute.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")
    row = _row(session, dispute_id)
    refused = row.outcome == "refused" and at < (row.closed_at or 0) + DECIDE_NS
    if refused:
        product = session.get_one(Product, row.product_id)
        present = _same_owner(session, row, product)
    else:
        row, product, present = _going_on(session, dispute_id, at)
    if to_claimant:
        refuse_if_held(session, product, TAKING_OVER, at, "handed over", row.claimant_id)
    _close(session, row, "decided_for_claimant" if to_claimant else "decided_for_owner", at)
    _record(session, caller, row, "dispute.decide", at, reason=reason)
    if to_claimant:
        hand_over(session, product, present, row.claimant_id, at, tokens, issuer)
    else:
        for side in (row.owner_id, row.claimant_id):
            letters.write(session, side, product, "dispute.owner_keeps", at)


def listed(session: Session, caller: Caller, *, limit: int = 100) -> Sequence[Dispute]:
    """List disputes, the latest first: customers those they are part of, staff all."""
    query = select(Dispute).order_by(Dispute.opened_at.desc(), Dispute.id).limit(limit)
    if caller.is_staff:
        caller.require(Scope.RECORDS_READ)
    else:
        mine = households(caller, Act.TRANSFER)
        query = query.where(or_(Dispute.owner_id.in_(mine), Dispute.claimant_id.in_(mine)))
    return session.scalars(query).all()


def status(row: Dispute, at: int) -> str:
    """Return how a dispute stands: `open`, `due` (its claimant may end it), `lapsed`, or its outcome."""
    if row.outcome is not None:
        return row.outcome
    if at < row.deadline:
        return "open"
    return "due" if at < lapses_at(row) else "lapsed"


def _row(session: Session, dispute_id: str) -> Dispute:
    row = session.get(Dispute, dispute_id)
    if row is None:
        raise _missing(dispute_id)
    return row


def _of_owner(
    session: Session, caller: Caller, dispute_id: str, at: int
) -> tuple[Dispute, Product, Ownership]:
    if not may_act_for(caller, _row(session, dispute_id).owner_id, Act.TRANSFER):
        raise _missing(dispute_id)
    return _going_on(session, dispute_id, at)


def _of_claimant(
    session: Session, caller: Caller, dispute_id: str, at: int
) -> tuple[Dispute, Product, Ownership]:
    if not may_act_for(caller, _row(session, dispute_id).claimant_id, Act.CLAIM):
        raise _missing(dispute_id)
    return _going_on(session, dispute_id, at)


def _going_on(session: Session, dispute_id: str, at: int) -> tuple[Dispute, Product, Ownership]:
    row = _row(session, dispute_id)
    how = status(row, at)
    if how not in {"open", "due"}:
        raise ConflictError(f"This dispute has ended ({how}).", dispute=row.id, status=how)
    product = session.get_one(Product, row.product_id)
    return row, product, _same_owner(session, row, product)


def _same_owner(session: Session, row: Dispute, product: Product) -> Ownership:
    present = open_ownership(session, product.id)
    if present is None or present.epoch != row.epoch:
        raise ConflictError(
            f"Product {product.serial} has changed its owner since it was disputed.",
            dispute=row.id,
            status="moot",
        )
    return present


def _close_lapsed(session: Session, product: Product) -> None:
    query = select(Dispute).where(Dispute.product_id == product.id, Dispute.closed_at.is_(None))
    for row in session.scalars(query):
        row.closed_at, row.outcome = lapses_at(row), "lapsed"
    session.flush()


def _close(session: Session, row: Dispute, outcome: str, at: int) -> None:
    row.closed_at, row.outcome = at, outcome
    session.flush()


def _record(
    session: Session, caller: Caller, row: Dispute, action: str, at: int, **more: str
) -> None:
    about = {"dispute": row.id, "of_epoch": row.epoch, "claimant": row.claimant_id, **more}
    audit.record(session, at, caller.actor, action, f"product:{row.product_id}", about)


def _disputed(serial: str) -> ConflictError:
    return ConflictError(
        f"Somebody disputes who owns product {serial} already. That must be settled first.",
        serial=serial,
    )


def _missing(dispute_id: str) -> NotFoundError:
    return NotFoundError(f"There is no dispute {dispute_id}.", dispute=dispute_id)
