"""How somebody leaves all of their households for good, and what becomes of these and of the products.

1. A household that nobody else can lead ends, with what it agreed about paying, and its products become unclaimed.
   Others go on; where the person was the only owner, the member who is there longest becomes it.
2. Who lived in a household that ends, and had no other, gets an empty one of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Membership, Owner, Person
from hub.ports.database.product_tables import Product
from hub.services import agreements, audit, cut, households
from hub.services.caller import Caller
from hub.services.households import Place
from hub.services.parties import open_ownership
from hub.services.relations import Relation
from hub.services.tokens import Tokens


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A household that goes on; `to` is who becomes its owner, None if it has another one."""

    owner_id: str
    name: str
    to: str | None


@dataclass(frozen=True, slots=True)
class Departure:
    """What becomes of somebody's households.

    Args:
        person_id: who leaves.
        ending: ids of the households that end.
        passed_on: the ones that go on.
    """

    person_id: str
    ending: Sequence[str]
    passed_on: Sequence[PassedOn]


def departure(session: Session, person: Person, at: int) -> Departure:
    """Work out what becomes of a person's households if they leave at an instant (ns)."""
    ending, passed_on = [], []
    of_person = households.in_force(at).where(Membership.person_id == person.id)
    for membership in session.scalars(of_person.order_by(Membership.owner_id)):
        owner_id = membership.owner_id
        others = households.in_force(at).where(
            Membership.owner_id == owner_id, Membership.person_id != person.id
        )
        usable = others.join(Person, Person.id == Membership.person_id).where(
            Person.disabled_at.is_(None)
        )
        rows = session.scalars(usable.order_by(Membership.starts_at, Membership.id)).all()
        name = session.get_one(Owner, owner_id).name
        if membership.relation != Relation.OWNER or any(r.relation == Relation.OWNER for r in rows):
            passed_on.append(PassedOn(owner_id, name, None))
            continue
        heir = next((row for row in rows if row.relation == Relation.MEMBER), None)
        if heir is None:
            ending.append(owner_id)
        else:
            passed_on.append(PassedOn(owner_id, name, heir.person_id))
    if person.owner_id is not None and all(person.owner_id != p.owner_id for p in passed_on):
        ending.append(person.owner_id)  # also one without a membership, of long ago
    ending = sorted(set(ending))
    return Departure(person.id, ending, passed_on)


def owned(owner_ids: Sequence[str]) -> Select[Product]:
    """Return a query for the products of households."""
    return (
        select(Product)
        .join(Ownership, Ownership.product_id == Product.id)
        .where(Ownership.owner_id.in_(owner_ids), Ownership.ended_at.is_(None))
    )


def leave(session: Session, caller: Caller, plan: Departure, at: int, tokens: Tokens) -> None:
    """Take the person out of their households, and let go of the products of those that end."""
    for going_on in plan.passed_on:
        _hand_on(session, caller, plan.person_id, going_on, at, tokens)
    agreed = select(Agreement).where(
        Agreement.owner_id.in_(plan.ending), Agreement.closed_at.is_(None)
    )
    for agreement in session.scalars(agreed).all():
        agreements.drop_bill(session, agreement, at)
        agreements.set_dates(session, agreement, at, ends_at=at)
        agreements.close(session, agreement, at)
    for product in session.scalars(owned(plan.ending)).all():
        present = open_ownership(session, product.id)
        if present is not None:
            cut.end(session, present, at)
            details = {"epoch": present.epoch, "owner": present.owner_id, "after": "erasure"}
            audit.record(
                session, at, caller.actor, "product.release", f"product:{product.id}", details
            )
        product.name = None
    members = select(Membership).where(
        Membership.owner_id.in_(plan.ending), Membership.ended_at.is_(None)
    )
    for row in session.scalars(members).all():
        households.end(session, caller, row, at)
    stranded = select(Person).where(Person.owner_id.in_(plan.ending), Person.id != plan.person_id)
    for other in session.scalars(stranded).all():
        households.give_own(session, caller, other, at, tokens)
    session.flush()


def _hand_on(
    session: Session, caller: Caller, person_id: str, to: PassedOn, at: int, tokens: Tokens
) -> None:
    mine = households.current(session, to.owner_id, person_id, at)
    if to.to is not None:
        before = households.current(session, to.owner_id, to.to, at)
        if before is not None:
            households.end(session, caller, before, at)
        place = Place(Relation.OWNER)
        households.begin(session, caller.actor, to.owner_id, to.to, place, at, tokens)
        details = {"to": to.to, "after": "erasure"}
        audit.record(
            session, at, caller.actor, "household.hand_over", f"owner:{to.owner_id}", details
        )
    if mine is not None:
        households.end(session, caller, mine, at)
