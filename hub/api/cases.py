"""Cases: requests for help, with the deadlines that a contract promises.

1. Lists are in the order of deadlines: what is due next comes first.
2. Steps are separate operations, as different people may do them; a closed case takes no more.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query
from pydantic import Field, model_validator
from sqlalchemy.orm import Session

from hub.api.bodies import ID_PATTERN, Answer, Id, Line, Request, Scalar, examples
from hub.api.context import Hub
from hub.api.coverage_bodies import shown_arguments
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.coverage_tables import NEVER_DUE
from hub.ports.database.engine import read_session, write_session
from hub.services import case_desk, cases, looks, products
from hub.services.caller import Caller, Reason
from hub.services.case_desk import CaseView, Status, StepView
from hub.services.coverage_document import Severity
from hub.services.looks import Part

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["cases"])

CaseId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the case.")]
Message = Annotated[str, Field(min_length=1, max_length=cases.LONGEST_MESSAGE)]


class OpenCase(Request):
    """What somebody needs help with."""

    device_id: Id | None = Field(default=None, description="Device or product id.")
    alert_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = Field(
        default=None, description="The alert that told of it; its product then."
    )
    severity: Severity | None = Field(default=None, description="Null: the alert's, or `warning`.")
    subject: Line
    message: Message

    @model_validator(mode="after")
    def _about(self) -> Self:
        if self.device_id is None and self.alert_id is None:
            raise ValueError("needs device_id or alert_id: what is the case about?")
        return self

    model_config = examples(
        {
            "device_id": "kx3q8m0d5c7r2v1z",
            "severity": "critical",
            "subject": "No hot water",
            "message": "Since this morning it shows E41.",
        }
    )


class Said(Request):
    """What is said with a step."""

    message: Message

    model_config = examples({"message": "Which code does it show?"})


class Assign(Request):
    """Who is to look after a case."""

    person_id: Id

    model_config = examples({"person_id": "h7d2n4v9s0b6j1t5"})


class Close(Request):
    """How a case ends."""

    chargeable: bool = Field(
        description="False gives its place in the contract back: it was our fault, or none at all."
    )
    message: Annotated[str, Field(max_length=cases.LONGEST_MESSAGE)] = ""

    model_config = examples({"chargeable": True})


class Step(Answer):
    """Something that was done with a case."""

    at: Instant
    kind: str = Field(
        description="`opened`, `assigned`, `replied`, `waiting`, `resumed`, `resolved`, `closed` or "
        "`closed_free`."
    )
    by_staff: bool
    actor: str = Field(description="Empty for customers if somebody of the staff did it.")
    message: str

    model_config = examples(
        {
            "at": "2026-01-30T08:00:00Z",
            "kind": "opened",
            "by_staff": False,
            "actor": "person:h7d2n4v9s0b6j1t5",
            "message": "Since this morning it shows E41.",
        }
    )


_CASE = {
    "id": "q6w2e8r4t0y5u1i7",
    "product_id": "b7x2m9q4k1v8c3z6",
    "serial": "HP-2026-000017",
    "alert_id": None,
    "severity": "critical",
    "status": "open",
    "subject": "No hot water",
    "opened_at": "2026-01-30T08:00:00Z",
    "opened_by": "person:h7d2n4v9s0b6j1t5",
    "assigned_to": None,
    "responded_at": None,
    "waiting_since": None,
    "resolved_at": None,
    "closed_at": None,
    "covered": True,
    "code": "warranty",
    "arguments": {"until_at": "2028-03-02T00:00:00Z"},
    "sentence": "Under warranty until 2028-03-02 00:00 UTC.",
    "contract_id": None,
    "takes_place": False,
    "response_due": "2026-01-30T09:00:00Z",
    "resolution_due": "2026-02-02T09:00:00Z",
    "due_at": "2026-01-30T09:00:00Z",
    "overdue": False,
}


class Case(Answer):
    """A request for help with a product."""

    id: str
    product_id: str
    serial: str
    alert_id: str | None
    severity: Severity
    status: Status
    subject: str
    opened_at: Instant
    opened_by: str = Field(description="Shown to staff only.")
    assigned_to: str | None = Field(description="Shown to staff only.")
    responded_at: Instant | None
    waiting_since: Instant | None = Field(description="The customer is waited for.")
    resolved_at: Instant | None
    closed_at: Instant | None
    covered: bool = Field(description="Decided when it was opened; does not change.")
    code: str
    arguments: dict[str, Scalar]
    sentence: str = Field(description="Who pays, or why nobody does.")
    contract_id: str | None = Field(description="The contract that its deadlines follow from.")
    takes_place: bool = Field(description="Whether it is one of the cases its term pays for.")
    response_due: Instant | None
    resolution_due: Instant | None = Field(description="Null also while the clock stands still.")
    due_at: Instant | None = Field(description="The deadline that is to be met next.")
    overdue: bool

    model_config = examples(_CASE)


class CaseDetail(Case):
    """A case with all that was done, the first step first."""

    steps: list[Step]

    model_config = examples({**_CASE, "steps": []})


@ROUTER.post("/cases", operation_id="open_case", summary="Ask for help", status_code=201)
def open_case(hub: HubDep, caller: CallerDep, body: OpenCase) -> CaseDetail:
    """Open a case about a product, or about an alert."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        named = body.device_id
        case = cases.open_case(
            session,
            caller,
            body.subject,
            body.message,
            at,
            hub.tokens,
            product_id=None if named is None else product_id_of(session, named),
            alert_id=body.alert_id,
            severity=body.severity,
        )
        return _detail(session, caller, case.id, at)


@ROUTER.get("/cases", operation_id="list_cases", summary="List cases")
def list_cases(
    hub: HubDep,
    caller: CallerDep,
    device_id: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    assigned_to: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    closed: Annotated[bool, Query(description="Those that are closed instead.")] = False,  # noqa: FBT002  a query parameter
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[Case]:
    """List the cases the caller sees, the one that is due next first."""
    listing = Listing(
        "list_cases", (int, str), device=device_id, assigned_to=assigned_to, closed=closed
    )
    key = listing.key(after)
    with read_session(hub.engine) as session:
        product_id = None
        if device_id is not None:
            product_id = products.visible(session, caller, product_id_of(session, device_id)).id
        rows = case_desk.listed(
            session,
            caller,
            hub.clock(),
            product_id=product_id,
            assigned_to=assigned_to,
            closed=closed,
            after=None if key is None else (int(key[0]), str(key[1])),
            limit=limit + 1,
        )
    following = listing.following([(row.due_at, row.id) for row in rows], limit)
    return Page(items=[Case(**_fields(row)) for row in rows[:limit]], next=following)


@ROUTER.get("/cases/{case_id}", operation_id="get_case", summary="Show a case")
def get_case(hub: HubDep, caller: CallerDep, case_id: CaseId) -> CaseDetail:
    """Return one case with all that was done; its household reads that support looked."""
    at = hub.clock()
    with read_session(hub.engine) as session:
        found = _detail(session, caller, case_id, at)
        why = caller if caller.reason else replace(caller, reason=Reason("case", case_id))
        looks.look(session, why, found.product_id, Part.CASES, at)
        return found


@ROUTER.post("/cases/{case_id}/assign", operation_id="assign_case", summary="Assign a case")
def assign_case(hub: HubDep, caller: CallerDep, case_id: CaseId, body: Assign) -> CaseDetail:
    """Give a case to somebody of the staff."""
    return _done(
        hub,
        caller,
        case_id,
        lambda session, at: cases.assign(session, caller, case_id, body.person_id, at),
    )


@ROUTER.post("/cases/{case_id}/reply", operation_id="reply_to_case", summary="Write to a case")
def reply_to_case(hub: HubDep, caller: CallerDep, case_id: CaseId, body: Said) -> CaseDetail:
    """Say something: staff's first word is the answer, the customer's ends the waiting for them."""
    return _done(
        hub,
        caller,
        case_id,
        lambda session, at: cases.reply(session, caller, case_id, body.message, at),
    )


@ROUTER.post("/cases/{case_id}/wait", operation_id="wait_for_customer", summary="Ask the customer")
def wait_for_customer(hub: HubDep, caller: CallerDep, case_id: CaseId, body: Said) -> CaseDetail:
    """Ask the customer something; the clock of the solution stands still until they reply."""
    return _done(
        hub,
        caller,
        case_id,
        lambda session, at: cases.wait(session, caller, case_id, body.message, at),
    )


@ROUTER.post("/cases/{case_id}/resume", operation_id="resume_case", summary="Stop waiting")
def resume_case(hub: HubDep, caller: CallerDep, case_id: CaseId) -> CaseDetail:
    """Stop waiting for the customer, who said it some other way."""
    return _done(
        hub, caller, case_id, lambda session, at: cases.resume(session, caller, case_id, at)
    )


@ROUTER.post("/cases/{case_id}/resolve", operation_id="resolve_case", summary="Solve a case")
def resolve_case(hub: HubDep, caller: CallerDep, case_id: CaseId, body: Said) -> CaseDetail:
    """Say what solved it; the customer may still say that it did not."""
    return _done(
        hub,
        caller,
        case_id,
        lambda session, at: cases.resolve(session, caller, case_id, body.message, at),
    )


@ROUTER.post("/cases/{case_id}/close", operation_id="close_case", summary="Close a case")
def close_case(hub: HubDep, caller: CallerDep, case_id: CaseId, body: Close) -> CaseDetail:
    """Close a case for good."""
    return _done(
        hub,
        caller,
        case_id,
        lambda session, at: cases.close(
            session, caller, case_id, body.message, at, chargeable=body.chargeable
        ),
    )


def _done(
    hub: Hub, caller: Caller, case_id: str, act: Callable[[Session, int], object]
) -> CaseDetail:
    at = hub.clock()
    with write_session(hub.engine) as session:
        act(session, at)
        return _detail(session, caller, case_id, at)


def _detail(session: Session, caller: Caller, case_id: str, at: int) -> CaseDetail:
    view, steps = case_desk.view(session, caller, case_id, at)
    return CaseDetail(**_fields(view), steps=[_step(step) for step in steps])


def _step(step: StepView) -> Step:
    return Step.model_validate(step)


def _fields(view: CaseView) -> dict[str, object]:
    fields = {name: getattr(view, name) for name in view.__slots__}
    fields["due_at"] = None if view.due_at == NEVER_DUE else view.due_at
    fields["arguments"] = shown_arguments(view.arguments)
    return fields
