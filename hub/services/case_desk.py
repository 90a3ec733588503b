"""Cases as people see them: one with its steps, and lists in the order of deadlines.

1. Who sees which case is said by `cases.seen_by`.
2. Lists begin with what is due next; what has no deadline, or stands still, comes last.
3. Who of the staff did something is shown to staff only.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from entitlements.coverage_sentences import sentence
from entitlements.service_levels import Deadlines
from hub.ports.database.coverage_tables import CaseStep, SupportCase
from hub.ports.database.product_tables import Product
from hub.services import cases
from hub.services.caller import Caller, Scope

Status = Literal["open", "working", "waiting", "resolved", "closed"]
Place = tuple[int, str]
"""`(due_at, case id)`, the place of a case in the list."""


@dataclass(frozen=True, slots=True)
class StepView:
    """Something that was done with a case; `actor` is empty for customers if staff did it."""

    at: int
    kind: str
    by_staff: bool
    actor: str
    message: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case; instants in ns. `overdue`: a deadline was missed by now."""

    id: str
    product_id: str
    serial: str
    alert_id: str | None
    severity: str
    status: Status
    subject: str
    opened_at: int
    opened_by: str
    assigned_to: str | None
    responded_at: int | None
    waiting_since: int | None
    resolved_at: int | None
    closed_at: int | None
    covered: bool
    code: str
    arguments: dict[str, Any]
    sentence: str
    contract_id: str | None
    takes_place: bool
    response_due: int | None
    resolution_due: int | None
    due_at: int
    overdue: bool


def listed(
    session: Session,
    caller: Caller,
    at: int,
    *,
    product_id: str | None = None,
    assigned_to: str | None = None,
    closed: bool = False,
    after: Place | None = None,
    limit: int = 50,
) -> list[CaseView]:
    """List cases, the one that is due next first.

    Args:
        session: any session.
        caller: customers get their own.
        at: now, ns.
        product_id: only of this product.
        assigned_to: only of this person.
        closed: those that are closed instead of those that are not.
        after: place of the last case of the page before.
        limit: at most so many.
    """
    caller.require(Scope.ALERTS_READ)
    is_closed = SupportCase.closed_at.is_not(None)
    query = (
        select(SupportCase, Product.serial)
        .join(Product, Product.id == SupportCase.product_id)
        .where(cases.seen_by(caller), is_closed if closed else ~is_closed)
        .order_by(SupportCase.due_at, SupportCase.id)
        .limit(limit)
    )
    if product_id is not None:
        query = query.where(SupportCase.product_id == product_id)
    if assigned_to is not None:
        query = query.where(SupportCase.assigned_to == assigned_to)
    if after is not None:
        query = query.where(tuple_(SupportCase.due_at, SupportCase.id) > after)
    return [_view(case, serial, caller, at) for case, serial in session.execute(query)]


def view(
    session: Session, caller: Caller, case_id: str, at: int
) -> tuple[CaseView, tuple[StepView, ...]]:
    """Return one case with its steps, the first one first.

    Raises:
        NotFoundError: no such case, or not one of the caller's.
    """
    caller.require(Scope.ALERTS_READ)
    case = cases.visible(session, caller, case_id)
    serial = session.get_one(Product, case.product_id).serial
    query = select(CaseStep).where(CaseStep.case_id == case_id).order_by(CaseStep.id)
    steps = tuple(
        StepView(
            at=step.at,
            kind=step.kind,
            by_staff=step.by_staff,
            actor=_actor(step.actor, caller, by_staff=step.by_staff),
            message=step.message if caller.is_staff or step.kind != "assigned" else "",
        )
        for step in session.scalars(query)
    )
    return _view(case, serial, caller, at), steps


def _view(case: SupportCase, serial: str, caller: Caller, at: int) -> CaseView:
    promised = Deadlines(case.response_due, case.resolution_due)
    return CaseView(
        id=case.id,
        product_id=case.product_id,
        serial=serial,
        alert_id=case.alert_id,
        severity=case.severity,
        status=_status(case),
        subject=case.subject,
        opened_at=case.opened_at,
        opened_by=case.opened_by if caller.is_staff else "",
        assigned_to=case.assigned_to if caller.is_staff else None,
        responded_at=case.responded_at,
        waiting_since=case.waiting_since,
        resolved_at=case.resolved_at,
        closed_at=case.closed_at,
        covered=case.covered,
        code=case.cover_code,
        arguments=case.cover_arguments,
        sentence=sentence(case.cover_code, case.cover_arguments),
        contract_id=case.contract_id,
        takes_place=case.place is not None and case.given_back_at is None,
        response_due=case.response_due,
        resolution_due=case.resolution_due,
        due_at=case.due_at,
        overdue=promised.missed(cases.course_of(case), at),
    )


def _actor(actor: str, caller: Caller, *, by_staff: bool) -> str:
    return actor if caller.is_staff or not by_staff else ""


def _status(case: SupportCase) -> Status:
    if case.closed_at is not None:
        return "closed"
    if case.resolved_at is not None:
        return "resolved"
    if case.waiting_since is not None:
        return "waiting"
    return "open" if case.responded_at is None else "working"
