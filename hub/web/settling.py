"""What support settles: disputes, wrong claims, and the list of cases by their deadlines.

1. Whatever is decided here wants a reason, and is audited by the services.
2. Cases are listed in the order of their deadlines; what is overdue comes first.
"""

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.services import case_desk, disputes, ownership
from hub.services.health_certificates import Issuer
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.hands import OUTCOMES, disputed
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

CASES: Mapping[str, str] = {
    "open": N_("not answered yet"),
    "working": N_("in work"),
    "waiting": N_("waits for the customer"),
    "resolved": N_("solved"),
    "closed": N_("closed"),
}
OWN_CASES: Mapping[str, str] = {**CASES, "waiting": N_("waits for your answer")}
"""The same, as the customer reads it."""
NEVER_DUE = (1 << 63) - 1
_REFUSED = N_(
    "This cannot be settled so: it has ended, a hold stands against it, or it lacks a reason."
)


@ROUTER.get("/support/disputes", operation_id="page_disputes")
def page_disputes(request: Request) -> Response:
    """Show all disputes, those that can be decided first."""
    return _disputes(request)


@ROUTER.post("/support/disputes/{dispute_id}", operation_id="do_decide")
def do_decide(request: Request, dispute_id: ID) -> Response:
    """Decide a dispute."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    try:
        with write_session(hub.engine) as session:
            disputes.decide(
                session,
                visitor.known,
                dispute_id,
                form.get("reason", "").strip(),
                hub.clock(),
                hub.tokens,
                Issuer(hub.signing_keys, hub.place.api),
                to_claimant=form.get("to") == "claimant",
            )
    except (ConflictError, InvalidInputError) as refused:
        return _disputes(request, visitor.language.text(_REFUSED), refused.status)
    return RedirectResponse("/support/disputes", 303)


@ROUTER.get("/support/cases", operation_id="page_cases")
def page_cases(request: Request) -> Response:
    """Show the cases that are not closed, the one that is due next first."""
    hub, visitor = hub_of(request), visitor_of(request)
    with read_session(hub.engine) as session:
        found = case_desk.listed(session, visitor.known, hub.clock())
    return pages_of(request).page(
        request, "cases.html", cases=found, statuses=CASES, never=NEVER_DUE
    )


@ROUTER.post("/support/products/{product_id}/undo", operation_id="do_undo")
def do_undo(request: Request, product_id: ID) -> Response:
    """Undo a wrong claim."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    page = f"/support/products/{product_id}"
    try:
        with write_session(hub.engine) as session:
            ownership.undo(
                session,
                visitor.known,
                product_id,
                form.get("reason", ""),
                hub.clock(),
                hub.tokens,
                restore=bool(form.get("restore")),
            )
    except (ConflictError, InvalidInputError):
        return RedirectResponse(f"{page}?undo_failed=1#owner", 303)
    return RedirectResponse(f"{page}#owner", 303)


def _disputes(request: Request, error: str = "", status: int = 200) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    with read_session(hub.engine) as session:
        found = disputed(session, visitor.known, hub.clock())
    found.sort(key=lambda one: not one.decidable)
    return pages_of(request).page(
        request, "disputes.html", status=status, disputes=found, outcomes=OUTCOMES, error=error
    )
