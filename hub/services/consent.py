"""Consent: whether support may see what somebody's product measured.

1. The hub's setting `support.consent` says: `required`, the household must have consented, for a time,
   for one product or all, for one case or any; or `notice`, stating a reason is enough, and the
   household reads it.
2. Without consent support sees the status: model, online, open alerts, coverage, decisions.
3. In an emergency glass can be broken: for an hour, with a reason, audited, and the household is
   written to.
4. The hub itself (the operator token) is not asked: it is the one that keeps the data. Its looks are
   kept like others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true
from sqlalchemy.orm import Session

from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.access_tables import BrokenGlass, Consent
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Person
from hub.ports.database.product_tables import Product
from hub.ports.database.record_tables import Setting
from hub.services import audit, households, letters, looks, products
from hub.services.caller import Caller
from hub.services.relations import Act
from hub.services.tokens import Tokens

MOST_NS = 366 * 86_400_000_000_000
GLASS_NS = 3_600_000_000_000
_SETTING = "support.consent"


class Policy(StrEnum):
    """Whether support needs consent; the words of the setting `support.consent`."""

    REQUIRED = "required"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Emergency:
    """An hour in which somebody of support saw without consent; instants in ns."""

    who: str
    reason: str
    starts_at: int
    ends_at: int


class ConsentRequiredError(ForbiddenError):
    """The household has not consented to support seeing what its product measured."""

    code = "consent-required"
    title = "The household has not consented"


def set_policy(session: Session, policy: Policy) -> None:
    """Keep what the hub's settings say, where every service finds it."""
    session.merge(Setting(name=_SETTING, value=str(policy)))


def policy(session: Session) -> Policy:
    """Return whether support needs consent."""
    row = session.get(Setting, _SETTING)
    return Policy.REQUIRED if row is None else Policy(row.value)


def check_history(session: Session, caller: Caller, product_id: str, at: int) -> None:
    """Raise if a caller of the staff may not see what a product measured.

    Raises:
        ConsentRequiredError: its household has not consented.
    """
    if not history_open(session, caller, product_id, at):
        raise ConsentRequiredError(
            "The household has not consented to support seeing what this product measured. Ask its "
            "owner to consent on the product's page, or in an emergency break the glass: on its "
            f"page for support, or POST /api/v1/products/{product_id}/break-glass with a reason.",
            product=product_id,
        )


def history_open(session: Session, caller: Caller, product_id: str, at: int) -> bool:
    """Whether consent, or no need of it, lets a caller see what a product measured."""
    if not caller.is_staff or not caller.person_id or policy(session) is Policy.NOTICE:
        return True
    if session.scalar(select(Product.id).where(Product.id == product_id, open_to(caller, at))):
        return True
    why = looks.reason_of(session, caller, product_id, at)
    if why.case is None:
        return False
    by_case = select(Consent.id).where(
        Consent.owner_id == looks.owner_of(session, product_id),
        _in_force(at),
        or_(Consent.product_id.is_(None), Consent.product_id == product_id),
        Consent.case_reference == why.case,
    )
    return session.scalar(by_case.limit(1)) is not None


def open_to(caller: Caller, at: int) -> ColumnElement[bool]:
    """The condition, on `Product`, under which consent lets staff see what products measured.

    Consents for a case are left out: they are for who names the case.
    """
    if not caller.person_id:
        return true()
    owned = and_(Ownership.product_id == Product.id, Ownership.ended_at.is_(None))
    consented = (
        exists()
        .where(
            owned,
            Consent.owner_id == Ownership.owner_id,
            _in_force(at),
            or_(Consent.product_id.is_(None), Consent.product_id == Product.id),
            Consent.case_reference.is_(None),
        )
        .correlate(Product)
    )
    broken = (
        exists()
        .where(
            owned,
            BrokenGlass.owner_id == Ownership.owner_id,
            BrokenGlass.product_id == Product.id,
            BrokenGlass.person_id == caller.person_id,
            BrokenGlass.starts_at <= at,
            BrokenGlass.ends_at > at,
        )
        .correlate(Product)
    )
    return or_(~exists().where(owned).correlate(Product), consented, broken)


def give(
    session: Session,
    caller: Caller,
    owner_id: str,
    ends_at: int,
    at: int,
    tokens: Tokens,
    *,
    product_id: str | None = None,
    case: str | None = None,
) -> Consent:
    """Let support see what the household's products measured, from now until an instant.

    Args:
        session: a writing session.
        caller: an owner of the household.
        owner_id: the household.
        ends_at: ns.
        at: now, ns.
        tokens: source of ids.
        product_id: only this product; None: all.
        case: only for this case; None: any.

    Raises:
        ForbiddenError: the caller is no owner of the household.
        InvalidInputError: an end in the past or more than a year ahead.
        NotFoundError: no such household, or product of it.
    """
    households.check(session, caller, owner_id, Act.CONSENT)
    if not at < ends_at <= at + MOST_NS:
        raise InvalidInputError("A consent ends in the future and within a year.")
    if product_id is not None:
        households.check_products(session, owner_id, [product_id])
    row = Consent(
        id=tokens.new_id(),
        owner_id=owner_id,
        product_id=product_id,
        case_reference=(case or "").strip()[:64] or None,
        starts_at=at,
        ends_at=ends_at,
        given_by=caller.actor,
    )
    session.add(row)
    session.flush()
    audit.record(session, at, caller.actor, "consent.give", f"owner:{owner_id}", {"id": row.id})
    return row


def withdraw(session: Session, caller: Caller, consent_id: str, at: int) -> None:
    """Take a consent back, at once; one that is over stays as it is.

    Raises:
        ForbiddenError: the caller is no owner of the household.
        NotFoundError: no such consent of the caller's.
    """
    row = session.get(Consent, consent_id)
    if row is None or not any(tie.owner_id == row.owner_id for tie in caller.ties):
        raise NotFoundError(f"There is no consent {consent_id}.", consent=consent_id)
    households.check(session, caller, row.owner_id, Act.CONSENT)
    if row.withdrawn_at is None and row.ends_at > at:
        row.withdrawn_at, row.withdrawn_by = max(at, row.starts_at), caller.actor
        session.flush()
        about = f"owner:{row.owner_id}"
        audit.record(session, at, caller.actor, "consent.withdraw", about, {"id": row.id})


def listed(session: Session, caller: Caller, owner_id: str, at: int) -> Sequence[Consent]:
    """List the consents of a household that are in force, the earliest end first.

    Raises:
        ForbiddenError: the caller's role does not permit it.
        NotFoundError: no such household, or none of the caller's.
    """
    households.check(session, caller, owner_id, Act.PEOPLE)
    query = select(Consent).where(Consent.owner_id == owner_id, _in_force(at))
    return session.scalars(query.order_by(Consent.ends_at, Consent.id)).all()


def break_glass(
    session: Session, caller: Caller, product_id: str, reason: str, at: int, tokens: Tokens
) -> BrokenGlass:
    """Let a member of the staff see what a product measured without consent, for an hour.

    Raises:
        ConflictError: nobody owns the product, so no consent is needed.
        ForbiddenError: the caller is nobody of the staff.
        InvalidInputError: no reason.
        NotFoundError: no such product.
    """
    product = products.visible(session, caller, product_id)
    if not caller.is_staff or not caller.person_id:
        raise ForbiddenError("Only people of the staff break glass. Sign in as one.")
    why = looks.checked_reason(reason)
    owner_id = looks.owner_of(session, product_id)
    if owner_id is None:
        raise ConflictError(
            f"Nobody owns product {product.serial}, so no consent is needed.", product=product_id
        )
    row = BrokenGlass(
        id=tokens.new_id(),
        product_id=product_id,
        owner_id=owner_id,
        person_id=caller.person_id,
        reason=why.text,
        starts_at=at,
        ends_at=at + GLASS_NS,
    )
    session.add(row)
    session.flush()
    looks.state(session, caller, product_id, why.text, None, at)
    who = looks.pseudonym(tokens, caller.person_id)
    letters.write(session, owner_id, product, "support.break_glass", at, who=who, reason=why.text)
    details = {"id": row.id, "reason": why.text}
    audit.record(session, at, caller.actor, "consent.break_glass", f"product:{product_id}", details)
    return row


def emergency_until(session: Session, caller: Caller, product_id: str, at: int) -> int | None:
    """Return until when (ns) the caller sees a product by broken glass; None: they do not."""
    return session.scalar(
        select(func.max(BrokenGlass.ends_at)).where(
            BrokenGlass.product_id == product_id,
            BrokenGlass.person_id == caller.person_id,
            BrokenGlass.owner_id == looks.owner_of(session, product_id),
            BrokenGlass.ends_at > at,
        )
    )


def emergencies(
    session: Session, caller: Caller, product_id: str, tokens: Tokens, *, names: bool, limit: int
) -> list[Emergency]:
    """List when glass was broken for a product in the time of its present household, newest first.

    Args:
        session: any session.
        caller: of the household, as far as they may know who looked; or staff.
        product_id: of the product.
        tokens: makes the pseudonyms.
        names: name the people instead of giving pseudonyms.
        limit: at most so many.

    Raises:
        ForbiddenError: the caller's relation does not permit it.
        NotFoundError: no such product, or not one of the caller's.
    """
    products.visible(session, caller, product_id, Act.PEOPLE)
    query = (
        select(BrokenGlass, Person.name)
        .join(Person, Person.id == BrokenGlass.person_id)
        .where(
            BrokenGlass.product_id == product_id,
            BrokenGlass.owner_id == looks.owner_of(session, product_id),
        )
        .order_by(BrokenGlass.starts_at.desc(), BrokenGlass.id)
        .limit(limit)
    )
    return [
        Emergency(
            who=name if names else looks.pseudonym(tokens, row.person_id),
            reason=row.reason,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
        )
        for row, name in session.execute(query)
    ]


def _in_force(at: int) -> ColumnElement[bool]:
    return and_(Consent.starts_at <= at, Consent.ends_at > at, Consent.withdrawn_at.is_(None))
