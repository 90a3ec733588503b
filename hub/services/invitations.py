"""Invitations into a household: to an e-mail address, or to whoever is given a one-time code.

1. A code is shown once, kept as a keyed hash, good for one person and for a time.
2. An invitation to an address is for the account with that address alone; nobody else finds it.
3. What was offered is checked again when it is accepted: products may have been sold since, and the
   person may have come another way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.people_tables import Invitation, Membership, Owner, Person
from hub.services import audit, households
from hub.services.caller import Caller, Role, Scope
from hub.services.households import Place
from hub.services.people import checked_email
from hub.services.relations import Act, Relation
from hub.services.tokens import Tokens

LASTS_NS = 7 * 86_400_000_000_000
MOST_NS = 30 * 86_400_000_000_000
MAX_OPEN = 50
"""Open invitations of one household."""


@dataclass(frozen=True, slots=True)
class Invited:
    """A new invitation; `code` is shown now and never again, None where an address was given."""

    id: str
    code: str | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class InvitationView:
    """An open invitation; instants in ns."""

    id: str
    owner_id: str
    household: str
    email: str | None
    relation: Relation
    product_ids: Sequence[str] | None
    ends_at: int | None
    created_at: int
    expires_at: int


def invite(
    session: Session,
    caller: Caller,
    owner_id: str,
    place: Place,
    at: int,
    tokens: Tokens,
    *,
    email: str | None = None,
    expires_at: int | None = None,
) -> Invited:
    """Offer somebody a place in a household.

    Args:
        session: a writing session.
        caller: an owner of it.
        owner_id: the household.
        place: what they would be.
        at: now, ns.
        tokens: source of ids and codes.
        email: of whom; None: of whoever is given the code.
        expires_at: until when it can be accepted, ns; None: for a week.

    Raises:
        ConflictError: the person belongs to the household, is invited already, or too many are.
        ForbiddenError: the caller is no owner of the household.
        InvalidInputError: the caller's own address, a place that cannot be, or an expiry that is
            past or more than 30 days ahead.
        NotFoundError: no such household, or product of it.
    """
    households.check(session, caller, owner_id, Act.INVITE)
    households.check_place(session, owner_id, place, at)
    expires_at = at + LASTS_NS if expires_at is None else expires_at
    if not at < expires_at <= at + MOST_NS:
        raise InvalidInputError("An invitation expires in the future and within 30 days.")
    _close_expired(session, owner_id, at)
    code = None
    if email is None:
        code = tokens.claim_code()
    else:
        email = checked_email(email)
        _check_address(session, caller, owner_id, email, at)
    if len(session.scalars(_open(at).where(Invitation.owner_id == owner_id)).all()) >= MAX_OPEN:
        raise ConflictError(f"{MAX_OPEN} invitations are open. Withdraw one first.")
    row = Invitation(
        id=tokens.new_id(),
        owner_id=owner_id,
        email=email,
        code_hash=None if code is None else tokens.claim_hash(code),
        relation=str(place.relation),
        product_ids=None if place.product_ids is None else sorted(set(place.product_ids)),
        ends_at=place.ends_at,
        created_at=at,
        created_by=caller.actor,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    _record(session, caller, row, "household.invite", at)
    return Invited(row.id, code, expires_at)


def of_household(session: Session, caller: Caller, owner_id: str, at: int) -> list[InvitationView]:
    """List the open invitations of a household.

    Raises:
        ForbiddenError: the caller is no owner of the household.
        NotFoundError: no such household, or none of the caller's.
    """
    households.check(session, caller, owner_id, Act.INVITE)
    return _views(session, _open(at).where(Invitation.owner_id == owner_id))


def mine(session: Session, caller: Caller, at: int) -> list[InvitationView]:
    """List the open invitations to the caller's address."""
    caller.require(Scope.PRODUCTS_READ)
    person = session.get(Person, caller.person_id)
    if person is None:
        return []
    return _views(session, _open(at).where(Invitation.email == person.email))


def accept(
    session: Session,
    caller: Caller,
    at: int,
    tokens: Tokens,
    *,
    invitation_id: str | None = None,
    code: str | None = None,
) -> Membership:
    """Take a place that was offered.

    Args:
        session: a writing session.
        caller: a customer.
        at: now, ns.
        tokens: hashes the code, and source of ids.
        invitation_id: which invitation to the caller's address, or
        code: the code of one.

    Raises:
        ConflictError: it has expired, or the caller belongs to the household.
        ForbiddenError: the caller is not a customer.
        InvalidInputError: what was offered cannot be any more.
        NotFoundError: no such invitation, or not to the caller.
    """
    if caller.role is not Role.CUSTOMER:
        raise ForbiddenError("Only a customer can join a household. Sign in as one.")
    caller.require(Scope.PRODUCTS_CLAIM)
    row = _offered(session, caller, tokens, invitation_id, code)
    if row.expires_at <= at:
        raise ConflictError("This invitation has expired. Ask for a new one.", invitation=row.id)
    place = Place(Relation(row.relation), row.ends_at, row.product_ids)
    households.check_place(session, row.owner_id, place, at)
    if households.current(session, row.owner_id, caller.person_id, at) is not None:
        raise ConflictError("You belong to this household already.", owner=row.owner_id)
    _answer(session, row, caller, "accepted", at)
    _record(session, caller, row, "household.join", at)
    given_by = row.created_by
    return households.begin(session, given_by, row.owner_id, caller.person_id, place, at, tokens)


def decline(
    session: Session,
    caller: Caller,
    at: int,
    tokens: Tokens,
    *,
    invitation_id: str | None = None,
    code: str | None = None,
) -> None:
    """Turn an invitation down; arguments as for `accept`.

    Raises:
        ForbiddenError: the caller is not a customer, or their API key does not permit it.
        NotFoundError: no such invitation, or not to the caller.
    """
    caller.require(Scope.PRODUCTS_CLAIM)
    row = _offered(session, caller, tokens, invitation_id, code)
    _answer(session, row, caller, "declined", at)
    _record(session, caller, row, "household.decline", at)


def withdraw(session: Session, caller: Caller, invitation_id: str, at: int) -> None:
    """Take an invitation back.

    Raises:
        ForbiddenError: the caller is no owner of the household.
        NotFoundError: no such open invitation.
    """
    row = session.get(Invitation, invitation_id)
    if row is None or row.answered_at is not None:
        raise _missing()
    households.check(session, caller, row.owner_id, Act.INVITE)
    _answer(session, row, caller, "withdrawn", at)
    _record(session, caller, row, "household.withdraw", at)


def _check_address(session: Session, caller: Caller, owner_id: str, email: str, at: int) -> None:
    invited = session.scalars(select(Person).where(Person.email == email)).first()
    if invited is not None and invited.id == caller.person_id:
        raise InvalidInputError("This is your own address. Invite somebody else.")
    if invited is not None and households.current(session, owner_id, invited.id, at) is not None:
        raise ConflictError(f"{email} belongs to this household already.", email=email)
    query = _open(at).where(Invitation.owner_id == owner_id, Invitation.email == email)
    if session.scalars(query).first() is not None:
        raise ConflictError(f"{email} is invited already. Withdraw that first.", email=email)


def _close_expired(session: Session, owner_id: str, at: int) -> None:
    session.execute(
        update(Invitation)
        .where(
            Invitation.owner_id == owner_id,
            Invitation.answered_at.is_(None),
            Invitation.expires_at <= at,
        )
        .values(answered_at=at, answer="expired")
    )


def _offered(
    session: Session,
    caller: Caller,
    tokens: Tokens,
    invitation_id: str | None,
    code: str | None,
) -> Invitation:
    if (invitation_id is None) == (code is None):
        raise InvalidInputError("Name the invitation, or give its code.")
    query = select(Invitation).where(Invitation.answered_at.is_(None))
    if code is not None:
        query = query.where(Invitation.code_hash == tokens.claim_hash(code))
    else:
        email = select(Person.email).where(Person.id == caller.person_id).scalar_subquery()
        query = query.where(Invitation.id == invitation_id, Invitation.email == email)
    row = session.scalars(query).first()
    if row is None:
        raise _missing()
    return row


def _answer(session: Session, row: Invitation, caller: Caller, answer: str, at: int) -> None:
    row.answered_at, row.answer, row.answered_by = at, answer, caller.actor
    session.flush()


def _record(session: Session, caller: Caller, row: Invitation, action: str, at: int) -> None:
    details = {"invitation": row.id, "relation": row.relation}
    audit.record(session, at, caller.actor, action, f"owner:{row.owner_id}", details)


def _open(at: int) -> Select[Invitation]:
    return select(Invitation).where(Invitation.answered_at.is_(None), Invitation.expires_at > at)


def _views(session: Session, query: Select[Invitation]) -> list[InvitationView]:
    named = query.add_columns(Owner.name).join(Owner, Owner.id == Invitation.owner_id)
    return [
        InvitationView(
            id=row.id,
            owner_id=row.owner_id,
            household=name,
            email=row.email,
            relation=Relation(row.relation),
            product_ids=row.product_ids,
            ends_at=row.ends_at,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )
        for row, name in session.execute(named.order_by(Invitation.created_at, Invitation.id))
    ]


def _missing() -> NotFoundError:
    return NotFoundError("There is no such invitation, or it was answered. Ask for a new one.")
