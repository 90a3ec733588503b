"""Erases a person everywhere: what goes at once, what takes longer, and what becomes of their products.

1. Everything in the database goes in one transaction; `personal_tables` says what of which table.
2. What becomes of households and products is said in `departures`.
3. Telemetry goes by orders (`telemetry_erasure`).
4. What takes longer is listed with the instant by which it is done, and is followed up until then.
5. A preview changes nothing.
What must never live here: files; see `hub/app/erasure_desk.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import Person
from hub.ports.database.privacy_tables import Erasure
from hub.ports.database.product_tables import Product
from hub.services import (
    audit,
    audit_erasure,
    departures,
    payment_removals,
    sessions,
    telemetry_erasure,
    ties,
)
from hub.services.caller import HUB, Caller, Scope
from hub.services.departures import Departure, PassedOn, departure
from hub.services.erasure_parts import Horizon, Later, parts_of
from hub.services.people import normal_email
from hub.services.personal_data import Blank, Delete, Holding, Keep, Subject
from hub.services.personal_tables import HOLDINGS
from hub.services.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Released:
    """A product that becomes unclaimed."""

    product_id: str
    serial: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an erasure does, or would do.

    Args:
        erasure_id: of the erasure; None for a preview.
        person_id: whose.
        released: products that become unclaimed.
        passed_on: households that go on without the person.
        ended: ids of households that end with the person.
        removed: rows that go or lose their words, by what they are.
        kept: what stays, by what it is, and why.
        later: what cannot be done at once, with the instant by which it is.
    """

    erasure_id: str | None
    person_id: str
    released: Sequence[Released]
    passed_on: Sequence[PassedOn]
    ended: Sequence[str]
    removed: Mapping[str, int]
    kept: Mapping[str, str]
    later: Sequence[Later] = field(default_factory=tuple)


def preview(session: Session, caller: Caller, person_id: str, at: int, horizon: Horizon) -> Outcome:
    """Say what erasing a person would do.

    Args:
        session: any session.
        caller: the person, or an operator.
        person_id: who.
        at: now, ns.
        horizon: how long what cannot be erased at once stays.

    Raises:
        ConflictError: the person was erased before.
        ForbiddenError: an operator's API key without the right to change people.
        NotFoundError: no such person, or not one the caller may erase.
    """
    person = _person(session, caller, person_id)
    plan = departure(session, person, at)
    return _outcome(session, plan, _subject(person, plan), None, at, horizon)


def erase_own(
    engine: Engine, caller: Caller, password: str, at: int, tokens: Tokens, horizon: Horizon
) -> Outcome:
    """Erase the caller, who shows once more that it is them.

    Args:
        engine: the database; the password is checked outside of the transaction.
        caller: somebody who is signed in.
        password: theirs.
        at: now, ns.
        tokens: source of ids.
        horizon: how long what cannot be erased at once stays.

    Raises:
        ConflictError: they were erased before.
        ForbiddenError: the caller is a program or the hub itself.
        NotAuthenticatedError: the password is wrong.
    """
    caller.require_person()
    with read_session(engine) as session:
        _person(session, caller, caller.person_id)
    sessions.check_password(engine, caller, password, at)
    with write_session(engine) as session:
        return erase(session, caller, caller.person_id, at, tokens, horizon)


def erase_other(
    session: Session,
    caller: Caller,
    person_id: str,
    email: str,
    at: int,
    tokens: Tokens,
    horizon: Horizon,
) -> Outcome:
    """Erase somebody at their request, for an operator; arguments and errors as for `erase`.

    Args:
        session: as there.
        caller: an operator.
        person_id: as there.
        email: address of the person, typed once more: ids are easily mistaken.
        at: as there.
        tokens: as there.
        horizon: as there.

    Raises:
        InvalidInputError: it is not theirs.
    """
    if _person(session, caller, person_id).email != normal_email(email):
        raise InvalidInputError(
            f"This is not the e-mail address of person {person_id}. Nothing was erased."
        )
    return erase(session, caller, person_id, at, tokens, horizon)


def erase(
    session: Session,
    caller: Caller,
    person_id: str,
    at: int,
    tokens: Tokens,
    horizon: Horizon,
    *,
    erasure_id: str | None = None,
) -> Outcome:
    """Erase a person; errors as for `preview`.

    Args:
        session: a writing session.
        caller: the person, or an operator.
        person_id: who.
        at: now, ns.
        tokens: source of ids.
        horizon: how long what cannot be erased at once stays.
        erasure_id: of an erasure that is done again after a backup was restored.
    """
    person = _person(session, caller, person_id)
    plan = departure(session, person, at)
    subject = _subject(person, plan)
    row_id = erasure_id or tokens.new_id()
    outcome = _outcome(session, plan, subject, row_id, at, horizon)
    row = Erasure(
        id=row_id,
        person_id=person_id,
        households=list(plan.ending),
        at=at,
        asked_by=caller.actor,
        counted=dict(outcome.removed),
        parts={str(later.part): None for later in outcome.later},
    )
    session.add(row)
    departures.leave(session, caller, plan, at, tokens)
    telemetry_erasure.place(session, row_id, plan.ending)
    for customer in payment_removals.customers(session, plan.ending):
        payment_removals.order(session, "customer", customer, at)
    for holding in HOLDINGS:
        _carry_out(session, holding, subject)
    session.expire_all()
    audit_erasure.erase(session, subject, caller.actor, at)
    session.get_one(Person, person_id).disabled_at = at
    ties.note(session, person_id)
    details = {"erasure": row_id, "households": list(plan.ending)}
    audit.record(session, at, caller.actor, "person.erase", subject.actor, details)
    session.flush()
    return outcome


def _carry_out(session: Session, holding: Holding, subject: Subject) -> None:
    where = holding.rows(subject)
    match holding.fate:
        case Delete():
            session.execute(delete(holding.table).where(where))
        case Blank(values):
            filled = {
                name: value(holding.table) if callable(value) else value
                for name, value in values.items()
            }
            session.execute(update(holding.table).where(where).values(**filled))
        case Keep():
            pass


def _subject(person: Person, plan: Departure) -> Subject:
    return Subject(person.id, person.email, tuple(plan.ending))


def again(session: Session, erasure_id: str, person_id: str, at: int, tokens: Tokens) -> bool:
    """Erase somebody again, in a database restored from a backup of before.

    Args:
        session: a writing session.
        erasure_id: of the erasure, as it was listed.
        person_id: who was erased.
        at: now, ns.
        tokens: source of ids.

    Returns:
        Whether there was anything to erase: False if the backup has the erasure, or never had them.
    """
    known = session.get(Erasure, erasure_id) is not None
    if known or session.get(Person, person_id) is None:
        return False
    erase(session, HUB, person_id, at, tokens, Horizon(), erasure_id=erasure_id)
    return True


def one(session: Session, caller: Caller, erasure_id: str) -> Erasure:
    """Return an erasure, to see what of it is done.

    Raises:
        ForbiddenError: the caller may not.
        NotFoundError: there is none.
    """
    caller.require(Scope.PEOPLE_WRITE)
    row = session.get(Erasure, erasure_id)
    if row is None:
        raise NotFoundError(f"There is no erasure {erasure_id}.", erasure=erasure_id)
    return row


def _person(session: Session, caller: Caller, person_id: str) -> Person:
    person = session.get(Person, person_id)
    if person is None or not (caller.is_operator or caller.person_id == person_id):
        raise NotFoundError(f"There is no person {person_id}.", person=person_id)
    if caller.person_id != person_id:
        caller.require(Scope.PEOPLE_WRITE)
    done = session.scalar(select(Erasure.id).where(Erasure.person_id == person_id))
    if done is not None:
        raise ConflictError(f"Person {person_id} was erased before.", erasure=done)
    return person


def _outcome(
    session: Session,
    plan: Departure,
    subject: Subject,
    erasure_id: str | None,
    at: int,
    horizon: Horizon,
) -> Outcome:
    measured = telemetry_erasure.has_telemetry(session, plan.ending)
    paid = bool(payment_removals.customers(session, plan.ending))
    kept = {
        holding.file: holding.fate.why
        for holding in HOLDINGS
        if holding.file and isinstance(holding.fate, Keep)
    }
    return Outcome(
        erasure_id=erasure_id,
        person_id=plan.person_id,
        released=[
            Released(product.id, product.serial)
            for product in session.scalars(departures.owned(plan.ending).order_by(Product.serial))
        ],
        passed_on=plan.passed_on,
        ended=plan.ending,
        removed=_removed(session, subject),
        kept=kept,
        later=[
            Later(part, horizon.until(part, at))
            for part in parts_of(horizon, telemetry=measured, provider=paid)
        ],
    )


def _removed(session: Session, subject: Subject) -> dict[str, int]:
    found: dict[str, int] = {}
    for holding in HOLDINGS:
        if isinstance(holding.fate, Keep):
            continue
        query = select(func.count()).select_from(holding.table).where(holding.rows(subject))
        count = session.scalar(query) or 0
        if count:
            name = holding.file or holding.table.__tablename__
            found[name] = found.get(name, 0) + count
    return found
