"""Owners (households), the people who sign in, and their passwords.

1. Passwords are stored as argon2id hashes and are hashed outside of any transaction.
2. A new person gets a one-time password, shown once, to be changed at the first sign-in.
3. E-mail addresses are compared in lower case.
"""

import re
from dataclasses import dataclass
from typing import Self

from argon2 import PasswordHasher
from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.dates import known_zone
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.people_tables import Membership, Owner, Partner, Person
from hub.services import audit
from hub.services.caller import Caller, Role, Scope
from hub.services.relations import Relation
from hub.services.tokens import Tokens

MIN_PASSWORD = 12
MAX_PASSWORD = 256
HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's recommendation for argon2id: 19 MiB, two passes."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class OneTimePassword:
    """A first password and its hash; made before a transaction, as hashing takes long."""

    text: str
    hash: str

    @classmethod
    def new(cls, tokens: Tokens) -> Self:
        """Make one."""
        text = tokens.password()
        return cls(text, HASHER.hash(text))


@dataclass(frozen=True, slots=True)
class NewPerson:
    """A person that was just created; `one_time_password` is shown now and never again."""

    person_id: str
    owner_id: str | None
    email: str
    one_time_password: str


@dataclass(frozen=True, slots=True)
class PersonView:
    """A person as others may see them."""

    id: str
    email: str
    name: str
    role: Role
    owner_id: str | None
    partner_id: str | None
    locale: str
    zone: str
    must_change_password: bool


def create_owner(session: Session, caller: Caller, name: str, at: int, tokens: Tokens) -> str:
    """Create a household and return its id."""
    caller.require(Scope.PEOPLE_WRITE)
    owner = Owner(id=tokens.new_id(), name=_name(name), created_at=at)
    session.add(owner)
    session.flush()
    audit.record(session, at, caller.actor, "owner.create", f"owner:{owner.id}", {})
    return owner.id


def create_person(
    session: Session,
    caller: Caller,
    *,
    email: str,
    name: str,
    role: Role,
    at: int,
    tokens: Tokens,
    password: OneTimePassword,
    owner_id: str | None = None,
    partner_id: str | None = None,
    locale: str = "en",
    zone: str = "UTC",
) -> NewPerson:
    """Create somebody who can sign in.

    Args:
        session: a writing session.
        caller: needs `people:write`.
        email: where to reach them; what they sign in with.
        name: what to call them.
        role: customers without `owner_id` get a household of their own.
        at: now, ns.
        tokens: source of ids.
        password: what they sign in with the first time.
        owner_id: household of a customer, of which they become a member (the first one its owner).
        partner_id: organisation of a partner's person; nobody else has one.
        locale: language tag.
        zone: IANA time zone.

    Raises:
        ConflictError: the e-mail address has an account.
        InvalidInputError: address, name, role or zone is not valid.
        NotFoundError: no such household or partner.
    """
    caller.require(Scope.PEOPLE_WRITE)
    email = checked_email(email)
    if not known_zone(zone):
        raise InvalidInputError(f"There is no time zone {zone!r}. Use an IANA name such as UTC.")
    if role is not Role.CUSTOMER and owner_id is not None:
        raise InvalidInputError("Only customers have a household. Leave the owner out.")
    if (role is Role.PARTNER) != (partner_id is not None):
        raise InvalidInputError("Name the partner of its people, and of nobody else.")
    if session.scalar(select(Person.id).where(Person.email == email)) is not None:
        raise ConflictError(f"{email} has an account already.", email=email)
    if owner_id is not None and session.get(Owner, owner_id) is None:
        raise NotFoundError(f"There is no owner {owner_id}.", owner=owner_id)
    if partner_id is not None and session.get(Partner, partner_id) is None:
        raise NotFoundError(f"There is no partner {partner_id}.", partner=partner_id)
    if role is Role.CUSTOMER and owner_id is None:
        owner_id = create_owner(session, caller, name, at, tokens)
    person = Person(
        id=tokens.new_id(),
        email=email,
        name=_name(name),
        role=str(role),
        owner_id=owner_id,
        partner_id=partner_id,
        password_hash=password.hash,
        password_changed_at=at,
        password_one_time=True,
        locale=locale,
        zone=zone,
        created_at=at,
    )
    session.add(person)
    session.flush()
    if owner_id is not None:
        _join(session, caller, person, owner_id, at, tokens)
    audit.record(
        session, at, caller.actor, "person.create", f"person:{person.id}", {"role": str(role)}
    )
    return NewPerson(person.id, owner_id, email, password.text)


def _join(
    session: Session, caller: Caller, person: Person, owner_id: str, at: int, tokens: Tokens
) -> None:
    """Make a new person the owner of their household, or a member of one that has an owner."""
    owned = select(Membership.id).where(
        Membership.owner_id == owner_id,
        Membership.relation == Relation.OWNER,
        Membership.ended_at.is_(None),
    )
    first = session.scalar(owned) is None
    session.add(
        Membership(
            id=tokens.new_id(),
            owner_id=owner_id,
            person_id=person.id,
            relation=str(Relation.OWNER if first else Relation.MEMBER),
            starts_at=at,
            given_by=caller.actor,
        )
    )
    session.flush()


def person_view(session: Session, caller: Caller, person_id: str) -> PersonView:
    """Return a person: oneself, or anybody for staff.

    Raises:
        NotFoundError: no such person, or not one the caller may know of.
    """
    person = session.get(Person, person_id)
    if person is None or not (caller.is_staff or caller.person_id == person_id):
        raise NotFoundError(f"There is no person {person_id}.", person=person_id)
    return PersonView(
        id=person.id,
        email=person.email,
        name=person.name,
        role=Role(person.role),
        owner_id=person.owner_id,
        partner_id=person.partner_id,
        locale=person.locale,
        zone=person.zone,
        must_change_password=person.password_one_time,
    )


def prefer_language(session: Session, caller: Caller, tag: str) -> None:
    """Keep the language that somebody chose, so that every browser of theirs begins with it."""
    person = session.get(Person, caller.person_id)
    if person is not None and person.locale != tag:
        person.locale = tag
        session.flush()


def check_new_password(password: str) -> None:
    """Raise `InvalidInputError` unless a password is of a length we take."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidInputError(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters. Choose another."
        )


def normal_email(email: str) -> str:
    """Return an e-mail address as it is stored."""
    return email.strip().lower()


def checked_email(email: str) -> str:
    """Return an e-mail address as it is stored.

    Raises:
        InvalidInputError: it is none.
    """
    email = normal_email(email)
    if len(email) > 200 or not _EMAIL.fullmatch(email):
        raise InvalidInputError(f"{email!r} is not an e-mail address.")
    return email


def _name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 200:
        raise InvalidInputError("A name has 1 to 200 characters.")
    return name
