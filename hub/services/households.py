"""Households: who belongs to one as what, and how that changes.

1. A household is never without an owner who can sign in: what would leave it so is refused.
2. A change of role ends one membership and begins another; who was what, and when, stays.
3. Owners give roles and take them; everybody may leave. Installers are there for a time, always.
   What an owner gave out that nobody has taken yet ends with their role (`promises`).
4. Everything is audited, and what somebody has open asks anew at once (`ties.note`).
What must never live here: what a role permits; see `relations`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Membership, Owner, Person
from hub.services import audit, promises, ties
from hub.services.caller import Caller, Scope
from hub.services.relations import Act, Relation
from hub.services.tokens import Tokens

MAX_STAY_NS = 366 * 86_400_000_000_000
"""An installer stays for a year at most; then they are asked again."""
MAX_NAMED = 100
"""Products that a membership or grant may name."""


@dataclass(frozen=True, slots=True)
class Place:
    """What somebody is to be in a household.

    Args:
        relation: as what.
        ends_at: until when, ns; installers need it, owners have none.
        product_ids: for installers: only these products; None: all.
    """

    relation: Relation
    ends_at: int | None = None
    product_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class HouseholdView:
    """A household that somebody belongs to, and as what; instants in ns."""

    id: str
    name: str
    relation: Relation
    own: bool
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class MemberView:
    """Somebody who belongs to a household; instants in ns."""

    person_id: str
    name: str
    email: str
    relation: Relation
    product_ids: Sequence[str] | None
    since: int
    until: int | None
    given_by: str


def mine(session: Session, caller: Caller, at: int) -> list[HouseholdView]:
    """List the households that the caller belongs to, their own first."""
    caller.require(Scope.PRODUCTS_READ)
    query = (
        in_force(at)
        .add_columns(Owner.name)
        .join(Owner, Owner.id == Membership.owner_id)
        .where(Membership.person_id == caller.person_id)
        .order_by(Owner.name, Owner.id)
    )
    found = [
        HouseholdView(
            id=row.owner_id,
            name=name,
            relation=Relation(row.relation),
            own=row.owner_id == caller.owner_id,
            since=row.starts_at,
            until=row.ends_at,
        )
        for row, name in session.execute(query)
    ]
    return sorted(found, key=lambda one: not one.own)


def people(session: Session, caller: Caller, owner_id: str, at: int) -> list[MemberView]:
    """List who belongs to a household.

    Raises:
        ForbiddenError: the caller's role does not permit it.
        NotFoundError: no such household, or none of the caller's.
    """
    check(session, caller, owner_id, Act.PEOPLE)
    query = (
        in_force(at)
        .add_columns(Person.name, Person.email)
        .join(Person, Person.id == Membership.person_id)
        .where(Membership.owner_id == owner_id)
        .order_by(Membership.starts_at, Membership.id)
    )
    return [
        MemberView(
            person_id=row.person_id,
            name=name,
            email=email,
            relation=Relation(row.relation),
            product_ids=row.product_ids,
            since=row.starts_at,
            until=row.ends_at,
            given_by=row.given_by,
        )
        for row, name, email in session.execute(query)
    ]


def give_role(
    session: Session,
    caller: Caller,
    owner_id: str,
    person_id: str,
    place: Place,
    at: int,
    tokens: Tokens,
) -> Membership:
    """Make somebody of a household something else in it.

    Args:
        session: a writing session.
        caller: an owner of the household, or an operator.
        owner_id: the household.
        person_id: who; they must belong to it.
        place: what they are to be.
        at: now, ns.
        tokens: source of ids.

    Raises:
        ConflictError: the household would be without an owner.
        ForbiddenError: the caller is no owner of the household.
        InvalidInputError: a place that cannot be.
        NotFoundError: no such household, person in it, or product of it.
    """
    check(session, caller, owner_id, Act.INVITE)
    check_place(session, owner_id, place, at)
    before = _membership(session, owner_id, person_id, at)
    end(session, caller, before, at)
    row = begin(session, caller.actor, owner_id, person_id, place, at, tokens)
    _keep_owner(session, owner_id)
    details = {"person": person_id, "from": before.relation, "to": str(place.relation)}
    audit.record(session, at, caller.actor, "household.role", f"owner:{owner_id}", details)
    return row


def remove(
    session: Session, caller: Caller, owner_id: str, person_id: str, at: int, tokens: Tokens
) -> None:
    """Take somebody out of a household; everybody may take themselves.

    Whose own household it was gets a new one, empty: customers always have one to claim into.

    Raises:
        ConflictError: the household would be without an owner.
        ForbiddenError: the caller is no owner of the household.
        NotFoundError: no such household, or person in it.
    """
    leaves = person_id == caller.person_id
    check(session, caller, owner_id, Act.SEE if leaves else Act.INVITE)
    row = _membership(session, owner_id, person_id, at)
    end(session, caller, row, at)
    _keep_owner(session, owner_id)
    person = session.get_one(Person, person_id)
    if person.owner_id == owner_id:
        give_own(session, caller, person, at, tokens)
    details = {"person": person_id, "relation": row.relation}
    action = "household.leave" if leaves else "household.remove"
    audit.record(session, at, caller.actor, action, f"owner:{owner_id}", details)


def hand_over(
    session: Session, caller: Caller, owner_id: str, person_id: str, at: int, tokens: Tokens
) -> None:
    """Make somebody of a household its owner, and the caller a member of it.

    Raises:
        ConflictError: the household would be without an owner who can sign in.
        ForbiddenError: the caller is no owner of the household.
        InvalidInputError: the caller would hand it to themselves.
        NotFoundError: no such household, or person in it.
    """
    check(session, caller, owner_id, Act.INVITE)
    if person_id == caller.person_id:
        raise InvalidInputError("The household is yours already. Name somebody else of it.")
    give_role(session, caller, owner_id, person_id, Place(Relation.OWNER), at, tokens)
    own = _membership(session, owner_id, caller.person_id, at)
    end(session, caller, own, at)
    begin(session, caller.actor, owner_id, caller.person_id, Place(Relation.MEMBER), at, tokens)
    _keep_owner(session, owner_id)
    details = {"to": person_id}
    audit.record(session, at, caller.actor, "household.hand_over", f"owner:{owner_id}", details)


def check(session: Session, caller: Caller, owner_id: str, act: Act) -> None:
    """Raise unless the caller may do something with a household as a whole; operators may.

    Raises:
        ForbiddenError: the caller belongs to it, but may not do this, or not with this API key.
        NotFoundError: no such household, or none of the caller's.
    """
    require(caller, act)
    belongs = caller.is_staff or any(tie.owner_id == owner_id for tie in caller.ties)
    if not belongs or session.get(Owner, owner_id) is None:
        raise NotFoundError(f"There is no household {owner_id}.", owner=owner_id)
    if caller.is_operator or (caller.is_staff and act is Act.PEOPLE):
        return
    if act is Act.SEE and not caller.is_staff:
        return
    if not caller.may(act, owner_id):
        raise ForbiddenError(
            f"Your role in this household does not permit: {act}. Ask one of its owners.",
            owner=owner_id,
            act=str(act),
        )


def require(caller: Caller, act: Act) -> None:
    """Raise unless a caller's account or API key permits to do something with households at all.

    Raises:
        ForbiddenError: it does not.
    """
    if act is Act.PEOPLE:
        caller.require(Scope.PRODUCTS_READ)
    else:
        caller.require(Scope.PEOPLE_WRITE if caller.is_staff else Scope.PRODUCTS_CLAIM)


def check_place(session: Session, owner_id: str, place: Place, at: int) -> None:
    """Raise unless somebody could be given a place in a household now.

    Raises:
        InvalidInputError: an installer without an end, an end in the past or too far, an owner
            with an end, or products named for anybody but an installer.
        NotFoundError: a product that is none of the household's.
    """
    installer = place.relation is Relation.INSTALLER
    if installer and place.ends_at is None:
        raise InvalidInputError("An installer comes for a time. Say until when.")
    if place.relation is Relation.OWNER and place.ends_at is not None:
        raise InvalidInputError("An owner has no end. Leave it out, or choose another role.")
    if place.ends_at is not None and not at < place.ends_at <= at + MAX_STAY_NS:
        raise InvalidInputError("The role would have ended already, or last over a year.")
    if place.product_ids is not None:
        if not installer:
            raise InvalidInputError("Only an installer is for some products. Leave them out.")
        check_products(session, owner_id, place.product_ids)


def check_products(session: Session, owner_id: str, product_ids: Collection[str]) -> None:
    """Raise unless a household owns all of some products.

    Raises:
        InvalidInputError: none, or too many, are named.
        NotFoundError: one of them is none of the household's.
    """
    if not 1 <= len(product_ids) <= MAX_NAMED:
        raise InvalidInputError(f"Name 1 to {MAX_NAMED} products, or leave them out for all.")
    owned = select(Ownership.product_id).where(
        Ownership.owner_id == owner_id,
        Ownership.ended_at.is_(None),
        Ownership.product_id.in_(sorted(product_ids)),
    )
    for missing in sorted(set(product_ids) - set(session.scalars(owned))):
        raise NotFoundError(f"There is no product {missing}.", product=missing)


def begin(
    session: Session,
    given_by: str,
    owner_id: str,
    person_id: str,
    place: Place,
    at: int,
    tokens: Tokens,
) -> Membership:
    """Begin a membership; the caller of this checked that it may be."""
    row = Membership(
        id=tokens.new_id(),
        owner_id=owner_id,
        person_id=person_id,
        relation=str(place.relation),
        product_ids=None if place.product_ids is None else sorted(set(place.product_ids)),
        starts_at=at,
        ends_at=place.ends_at,
        given_by=given_by,
    )
    session.add(row)
    session.flush()
    ties.note(session, person_id)
    return row


def give_own(session: Session, caller: Caller, person: Person, at: int, tokens: Tokens) -> None:
    """Give a customer whose own household is no longer theirs a new one, empty."""
    new = Owner(id=tokens.new_id(), name=person.name, created_at=at)
    session.add(new)
    session.flush()
    person.owner_id = new.id
    begin(session, caller.actor, new.id, person.id, Place(Relation.OWNER), at, tokens)


def end(session: Session, caller: Caller, row: Membership, at: int) -> None:
    """End a membership now."""
    row.ended_at = max(at, row.starts_at)
    row.ended_by = caller.actor
    session.flush()
    if row.relation == Relation.OWNER:
        promises.end(session, caller, row.owner_id, row.person_id, at)
    ties.note(session, row.person_id)


def current(session: Session, owner_id: str, person_id: str, at: int) -> Membership | None:
    """Return what somebody is in a household; one that ran out is closed on the way."""
    query = select(Membership).where(
        Membership.owner_id == owner_id,
        Membership.person_id == person_id,
        Membership.ended_at.is_(None),
    )
    row = session.scalars(query).first()
    if row is not None and row.ends_at is not None and row.ends_at <= at:
        row.ended_at, row.ended_by = row.ends_at, "hub"
        session.flush()
        return None
    return row


def check_not_last(session: Session, person_id: str) -> None:
    """Raise if somebody is the only owner of a household with products or other people in it.

    Raises:
        ConflictError: they are.
    """
    for owner_id in owned_by(session, person_id):
        others = session.scalar(_owners(owner_id).where(Membership.person_id != person_id))
        if not others and _is_used(session, owner_id, person_id):
            raise ConflictError(
                f"This is the last owner of household {owner_id}, which has products or other "
                "people. Make somebody else its owner, or release its products, and try again.",
                owner=owner_id,
            )


def owned_by(session: Session, person_id: str) -> Sequence[str]:
    """Return the ids of the households that somebody is an owner of."""
    owned = select(Membership.owner_id).where(
        Membership.person_id == person_id,
        Membership.relation == Relation.OWNER,
        Membership.ended_at.is_(None),
    )
    return session.scalars(owned).all()


def in_force(at: int) -> Select[Membership]:
    """Return a query for the memberships that hold at an instant (ns)."""
    return select(Membership).where(
        Membership.starts_at <= at,
        Membership.ended_at.is_(None),
        or_(Membership.ends_at.is_(None), Membership.ends_at > at),
    )


def _membership(session: Session, owner_id: str, person_id: str, at: int) -> Membership:
    row = current(session, owner_id, person_id, at)
    if row is None:
        raise NotFoundError(f"Nobody with the id {person_id} is in this household.", owner=owner_id)
    return row


def _keep_owner(session: Session, owner_id: str) -> None:
    """Refuse what leaves a household without an owner; writers queue, so of two one is refused."""
    if not session.scalar(_owners(owner_id)):
        raise ConflictError(
            "The household would be without an owner. Make somebody else an owner first.",
            owner=owner_id,
        )


def _owners(owner_id: str) -> Select[int]:
    return (
        select(func.count())
        .select_from(Membership)
        .join(Person, Person.id == Membership.person_id)
        .where(
            Membership.owner_id == owner_id,
            Membership.relation == Relation.OWNER,
            Membership.ended_at.is_(None),
            Person.disabled_at.is_(None),
        )
    )


def _is_used(session: Session, owner_id: str, person_id: str) -> bool:
    products = select(Ownership.product_id).where(
        Ownership.owner_id == owner_id, Ownership.ended_at.is_(None)
    )
    others = select(Membership.id).where(
        Membership.owner_id == owner_id,
        Membership.person_id != person_id,
        Membership.ended_at.is_(None),
    )
    return (
        session.scalar(products.limit(1)) is not None or session.scalar(others.limit(1)) is not None
    )
