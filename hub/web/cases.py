"""Support cases on pages: a customer asks for help and follows it, support answers, waits and solves.

1. One page of a case for both sides: what was said in its order, and the buttons of who looks.
2. Who may do what, deadlines and the audit trail are the services'; a look of support is told to the
   household, with the case as its reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.services import case_desk, cases, looks, products
from hub.services.caller import Caller, Reason
from hub.services.looks import Part
from hub.services.relations import Act
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID
from hub.web.settling import CASES, NEVER_DUE, OWN_CASES

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_SUBJECT = 200
STEPS: Mapping[str, str] = {
    "opened": N_("asked for help"),
    "assigned": N_("looks after it"),
    "replied": N_("wrote"),
    "waiting": N_("asked the customer"),
    "resumed": N_("goes on"),
    "resolved": N_("solved it"),
    "closed": N_("closed it"),
    "closed_free": N_("closed it, free of charge"),
}
_WORDLESS = frozenset({"take", "resume", "close", "close_free"})
"""What is done without saying something; all else needs words."""
_EMPTY = N_("Write something first, and not too long.")
_ENDED = N_("This is not possible any more: the case was closed or solved meanwhile.")

CaseId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]
Step = Callable[[Session, Caller, str, str, int], object]


@ROUTER.post("/products/{product_id}/cases", operation_id="do_ask")
def do_ask(request: Request, product_id: ID) -> Response:
    """Ask for help with a product."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    subject = form.get("subject", "").strip()[:MAX_SUBJECT]
    message, caller = form.get("message", "").strip(), visitor.known
    with write_session(hub.engine) as session:
        products.visible(session, caller, product_id, Act.CASES)
        if not subject or not message:
            raise InvalidInputError("Say in a few words what it is about, and what is wrong.")
        case = cases.open_case(
            session, caller, subject, message, hub.clock(), hub.tokens, product_id=product_id
        )
        onward = f"/cases/{case.id}"
    return RedirectResponse(onward, 303)


@ROUTER.get("/cases/{case_id}", operation_id="page_case")
def page_case(request: Request, case_id: CaseId) -> Response:
    """Show a case with all that was done."""
    return _case(request, case_id)


@ROUTER.post("/cases/{case_id}", operation_id="do_case")
def do_case(request: Request, case_id: CaseId) -> Response:
    """Do the next step of a case."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    step, message = form.get("step", ""), form.get("message", "").strip()
    try:
        with write_session(hub.engine) as session:
            cases.visible(session, visitor.known, case_id)
            _chosen(step, message)(session, visitor.known, case_id, message, hub.clock())
    except (ConflictError, InvalidInputError) as refused:
        error = _ENDED if isinstance(refused, ConflictError) else _EMPTY
        return _case(request, case_id, error=error, message=message, status=refused.status)
    return RedirectResponse(f"/cases/{case_id}", 303)


def _chosen(step: str, message: str) -> Step:
    if step not in _ACTS or (not message and step not in _WORDLESS):
        raise InvalidInputError("A step of a case needs words.")
    return _ACTS[step]


def _case(
    request: Request, case_id: str, *, error: str = "", message: str = "", status: int = 200
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        found, steps = case_desk.view(session, caller, case_id, at)
        why = caller if caller.reason else replace(caller, reason=Reason("case", case_id))
        looks.look(session, why, found.product_id, Part.CASES, at)
    return pages_of(request).page(
        request,
        "case.html",
        status=status,
        case=found,
        steps=steps,
        said=STEPS,
        statuses=CASES if caller.is_staff else OWN_CASES,
        never=NEVER_DUE,
        error=error,
        message=message,
        longest=cases.LONGEST_MESSAGE,
    )


def _take(session: Session, caller: Caller, case_id: str, message: str, at: int) -> object:
    del message
    return cases.assign(session, caller, case_id, caller.person_id, at)


def _resume(session: Session, caller: Caller, case_id: str, message: str, at: int) -> object:
    del message
    return cases.resume(session, caller, case_id, at)


_ACTS: Mapping[str, Step] = {
    "reply": cases.reply,
    "take": _take,
    "wait": cases.wait,
    "resume": _resume,
    "resolve": cases.resolve,
    "close": partial(cases.close, chargeable=True),
    "close_free": partial(cases.close, chargeable=False),
}
