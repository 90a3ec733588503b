"""Cases: requests for help with a product, from the opening to the close.

1. A case is always taken. Whether it is covered is decided when it is opened, for the instant at
   which the fault began, and does not change.
2. A contract that pays for so many cases in a term pays for this one with a place of its own; closing
   it as not chargeable gives the place back. What the warranty pays for takes none.
3. Deadlines follow from the contract, whether it or the warranty pays. Waiting for the customer stops
   the clock of the solution; asking them something is an answer.
4. Everything done with a case is a step, with who and when; a closed case takes no more of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, false, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from entitlements import contracts, coverage
from entitlements.business_hours import NeverOpenError
from entitlements.coverage_facts import CoverageFacts
from entitlements.covers import Cover, CoverCode, CoverKind
from entitlements.service_levels import Course, Deadlines, Targets, deadlines
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.coverage_tables import (
    NEVER_DUE,
    CaseStep,
    ContractVersion,
    SupportCase,
    SupportContract,
)
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.people_tables import Person
from hub.services import alert_covers, alert_desk, audit, products
from hub.services.caller import STAFF, Caller, Scope
from hub.services.coverage_catalogue import load_calendar
from hub.services.coverage_facts import load_one
from hub.services.parties import open_ownership
from hub.services.relations import Act
from hub.services.tokens import Tokens

LONGEST_MESSAGE = 4_000


@dataclass(frozen=True, slots=True)
class _Fault:
    """What a case is about: which product, since when, and which alert told of it."""

    product_id: str
    since: int
    severity: str
    alert_id: str | None = None
    marked: Cover | None = None


def open_case(
    session: Session,
    caller: Caller,
    subject: str,
    message: str,
    at: int,
    tokens: Tokens,
    *,
    product_id: str | None = None,
    alert_id: str | None = None,
    severity: str | None = None,
) -> SupportCase:
    """Ask for help with a product.

    Args:
        session: a writing session.
        caller: its owner, or staff.
        subject: one line.
        message: what is wrong.
        at: now, ns.
        tokens: source of the id.
        product_id: which product; None: the alert's.
        alert_id: the alert that told of it, if one did.
        severity: `notice`, `warning` or `critical`; None: the alert's, or `warning`.

    Raises:
        ConflictError: the alert has an open case already.
        InvalidInputError: neither a product nor an alert, or an alert of another product.
        NotFoundError: no such product or alert, or not one of the caller's.
    """
    caller.require(Scope.ALERTS_WRITE)
    fault = _fault(session, caller, product_id, alert_id, at)
    facts = load_one(session, fault.product_id)
    when = max(min(fault.since, at), facts.made_at)
    covers = coverage.covers_at(facts, when)
    by = coverage.deciding(covers)
    if fault.marked is not None and fault.marked.kind is CoverKind.WARRANTY:
        by = fault.marked  # what began inside stays covered
    present = open_ownership(session, fault.product_id)
    case = SupportCase(
        id=tokens.new_id(),
        product_id=fault.product_id,
        epoch=present.epoch if present else 0,
        alert_id=alert_id,
        severity=severity or fault.severity,
        subject=subject,
        opened_at=at,
        opened_by=caller.actor,
        pauses=[],
        counted_at=when,
        covered=by.covered,
        cover_code=str(by.code),
        cover_arguments=dict(by.args),
        due_at=NEVER_DUE,
    )
    _take_contract(session, case, facts, covers, by)
    _derive(session, case)
    session.add(case)
    try:
        session.flush()
    except IntegrityError as error:  # the index decides, should two come at once
        raise ConflictError(
            "The alert has an open case already. Add to that one.", alert=alert_id
        ) from error
    _step(session, caller, case, "opened", message, at)
    return case


def assign(session: Session, caller: Caller, case_id: str, person_id: str, at: int) -> SupportCase:
    """Give a case to somebody of the staff.

    Raises:
        ConflictError: it is closed.
        NotFoundError: no such case, or nobody of the staff has this id.
    """
    case = _open(session, caller, case_id, staff=True)
    person = session.get(Person, person_id)
    if person is None or person.role not in STAFF:
        raise NotFoundError(f"Nobody of the staff has the id {person_id}.", person=person_id)
    if case.assigned_to != person_id:
        case.assigned_to = person_id
        _step(session, caller, case, "assigned", person_id, at)
    return case


def reply(session: Session, caller: Caller, case_id: str, message: str, at: int) -> SupportCase:
    """Say something: staff's first word is the answer, the customer's ends the waiting for them.

    A customer who writes to a case that was solved opens it again.

    Raises:
        ConflictError: it is closed.
        NotFoundError: no such case, or not one of the caller's.
    """
    case = _open(session, caller, case_id)
    if caller.is_staff:
        case.responded_at = _first(case.responded_at, at)
    else:
        _end_pause(case, at)
        if case.resolved_at is not None:
            # The clock stood still since it was solved.
            case.pauses = [*case.pauses, [case.resolved_at, max(at, case.resolved_at)]]
            case.resolved_at = None
    _derive(session, case)
    _step(session, caller, case, "replied", message, at)
    return case


def wait(session: Session, caller: Caller, case_id: str, message: str, at: int) -> SupportCase:
    """Ask the customer something; the clock of the solution stands still until they reply.

    Raises:
        ConflictError: it is solved or closed.
        NotFoundError: no such case.
    """
    case = _open(session, caller, case_id, staff=True)
    if case.resolved_at is not None:
        raise ConflictError(
            f"Case {case_id} is solved; there is nothing to wait for.", case=case_id
        )
    case.responded_at = _first(case.responded_at, at)
    case.waiting_since = _first(case.waiting_since, at)
    _derive(session, case)
    _step(session, caller, case, "waiting", message, at)
    return case


def resume(session: Session, caller: Caller, case_id: str, at: int) -> SupportCase:
    """Stop waiting for the customer, who said it some other way; doing it again changes nothing.

    Raises:
        ConflictError: it is closed.
        NotFoundError: no such case.
    """
    case = _open(session, caller, case_id, staff=True)
    if case.waiting_since is not None:
        _end_pause(case, at)
        _derive(session, case)
        _step(session, caller, case, "resumed", "", at)
    return case


def resolve(session: Session, caller: Caller, case_id: str, message: str, at: int) -> SupportCase:
    """Say what solved it.

    Raises:
        ConflictError: it is closed.
        NotFoundError: no such case.
    """
    case = _open(session, caller, case_id, staff=True)
    if case.resolved_at is None:
        _resolve(case, at)
        _derive(session, case)
        _step(session, caller, case, "resolved", message, at)
    return case


def close(
    session: Session, caller: Caller, case_id: str, message: str, at: int, *, chargeable: bool
) -> SupportCase:
    """Close a case for good; one that is not chargeable gives its place in the contract back.

    Raises:
        ConflictError: it is closed.
        NotFoundError: no such case.
    """
    case = _open(session, caller, case_id, staff=True)
    if case.resolved_at is None:
        _resolve(case, at)
    case.closed_at = at
    if not chargeable and case.place is not None:
        case.given_back_at = at
    _derive(session, case)
    _step(session, caller, case, "closed" if chargeable else "closed_free", message, at)
    return case


def course_of(case: SupportCase) -> Course:
    """Return how a case went so far."""
    pauses: list[tuple[int, int | None]] = [(since, until) for since, until in case.pauses]
    if case.waiting_since is not None:
        pauses.append((case.waiting_since, None))
    return Course(case.opened_at, case.responded_at, case.resolved_at, tuple(pauses))


def visible(session: Session, caller: Caller, case_id: str) -> SupportCase:
    """Return a case that the caller may see: staff see all, others those of their own time.

    Raises:
        NotFoundError: no such case, or not one of the caller's.
    """
    query = select(SupportCase).where(SupportCase.id == case_id, seen_by(caller))
    case = session.scalars(query).first()
    if case is None:
        raise NotFoundError(f"There is no case {case_id}.", case=case_id)
    return case


def seen_by(caller: Caller) -> ColumnElement[bool]:
    """Return the condition, on `SupportCase`, under which somebody may see a case.

    Staff see all. A household keeps those of the time in which it owned the product; whoever else it
    lets in sees those of the present owner, from the beginning of that tie on.
    """
    if caller.is_staff:
        return true()
    ways: list[ColumnElement[bool]] = []
    for tie in caller.ties:
        if Act.CASES not in tie.acts:
            continue
        if tie.lasting:
            ways.append(_in_time_of(Ownership.owner_id == tie.owner_id))
        else:
            reached = SupportCase.product_id.in_(products.reached(tie))
            present = _in_time_of(Ownership.ended_at.is_(None))
            ways.append(and_(reached, present, SupportCase.opened_at >= tie.since))
    return or_(false(), *ways)


def _in_time_of(whose: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        Ownership.product_id == SupportCase.product_id,
        Ownership.epoch == SupportCase.epoch,
        Ownership.undone_at.is_(None),
        whose,
    )


def _fault(
    session: Session, caller: Caller, product_id: str | None, alert_id: str | None, at: int
) -> _Fault:
    if alert_id is None:
        if product_id is None:
            raise InvalidInputError("Say which product the case is about, or which alert.")
        return _Fault(products.visible(session, caller, product_id, Act.CASES).id, at, "warning")
    alert = alert_desk.view(session, caller, alert_id)
    if product_id not in {None, alert.product_id}:
        raise InvalidInputError(
            f"Alert {alert_id} is about another product. Leave the product out.", alert=alert_id
        )
    products.visible(session, caller, alert.product_id, Act.CASES)
    busy = select(SupportCase.id).where(
        SupportCase.alert_id == alert_id, SupportCase.closed_at.is_(None)
    )
    if (present := session.scalar(busy)) is not None:
        raise ConflictError(
            f"Alert {alert_id} has the open case {present} already. Add to that one.", case=present
        )
    mark = alert_covers.mark_of(session, alert_id)
    marked = None
    if mark is not None and mark.kind is not None:
        code, kind = CoverCode(mark.code), CoverKind(mark.kind)
        marked = Cover(kind, mark.contract_id or "", True, code, mark.arguments, transferable=False)
    return _Fault(alert.product_id, alert.since, alert.severity, alert_id, marked)


def _take_contract(
    session: Session,
    case: SupportCase,
    facts: CoverageFacts,
    covers: Sequence[Cover],
    by: Cover,
) -> None:
    """Let a contract give its deadlines, and a place if it is what pays."""
    giving = by if by.kind is CoverKind.CONTRACT and by.covered else None
    if giving is None:
        paying = (one for one in covers if one.kind is CoverKind.CONTRACT and one.covered)
        giving = next(paying, None)
    if giving is None:
        return
    contract = next(one for one in facts.contracts if one.id == giving.id)
    case.contract_id = contract.id
    case.term = contracts.term_of(contract, facts.zone, case.counted_at)
    if giving is not by or contract.incidents is None:
        return
    query = select(SupportCase.place).where(
        SupportCase.contract_id == contract.id,
        SupportCase.term == case.term,
        SupportCase.place.is_not(None),
        SupportCase.given_back_at.is_(None),
    )
    taken = set(session.scalars(query))
    free = [place for place in range(1, contract.incidents + 1) if place not in taken]
    if free:
        case.place = free[0]
        return
    # Another fault, which began later, was there first.
    case.covered, case.cover_code = False, str(CoverCode.CONTRACT_USED_UP)
    end = contracts.term_end(contract, facts.zone, case.term or 0)
    case.cover_arguments = {
        "plan": contract.plan,
        "incidents": contract.incidents,
        "until_at": end,
    }


def _derive(session: Session, case: SupportCase) -> None:
    """Derive the deadlines of a case from its contract and course."""
    promised = Deadlines(None, None)
    course = course_of(case)
    if case.contract_id is not None:
        version = session.scalars(
            select(ContractVersion)
            .join(SupportContract, SupportContract.contract_version_id == ContractVersion.id)
            .where(SupportContract.id == case.contract_id)
        ).one()
        targets = Targets(**version.targets.get(case.severity, {}))
        if version.calendar is not None:
            try:
                promised = deadlines(load_calendar(session, version.calendar), targets, course)
            except NeverOpenError:
                # The catalogue was checked when it was applied; help is not refused over holidays.
                promised = Deadlines(None, None)
    case.response_due, case.resolution_due = promised.response_due, promised.resolution_due
    due = promised.next_of(course)
    case.due_at = NEVER_DUE if due is None else due


def _open(session: Session, caller: Caller, case_id: str, *, staff: bool = False) -> SupportCase:
    caller.require(Scope.RECORDS_READ if staff else Scope.ALERTS_WRITE)
    case = visible(session, caller, case_id)
    if case.closed_at is not None:
        raise ConflictError(f"Case {case_id} is closed. Open a new one.", case=case_id)
    return case


def _resolve(case: SupportCase, at: int) -> None:
    _end_pause(case, at)
    case.responded_at = _first(case.responded_at, at)
    case.resolved_at = at


def _end_pause(case: SupportCase, at: int) -> None:
    if case.waiting_since is not None:
        case.pauses = [*case.pauses, [case.waiting_since, max(at, case.waiting_since)]]
        case.waiting_since = None


def _first(before: int | None, at: int) -> int:
    return at if before is None else before


def _step(
    session: Session, caller: Caller, case: SupportCase, kind: str, message: str, at: int
) -> None:
    if len(message) > LONGEST_MESSAGE:
        raise InvalidInputError(f"The message is longer than {LONGEST_MESSAGE} characters.")
    step = CaseStep(
        case_id=case.id,
        at=at,
        actor=caller.actor,
        by_staff=caller.is_staff,
        kind=kind,
        message=message,
    )
    session.add(step)
    session.flush()
    audit.record(session, at, caller.actor, f"case.{kind}", f"case:{case.id}", {})
