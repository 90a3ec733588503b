"""The page of a household's means of payment: what is stored, and how it is given, replaced and removed.

1. Numbers of cards and accounts are given on the payment provider's own page; we only lead there, by a link.
2. A hub that rehearses lets its households choose how payments turn out, and says that nothing is collected.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import PaymentUnreachableError
from hub.services import billing_accounts, households, means
from hub.services.relations import Act
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

OwnerId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]
REHEARSED: Final[Mapping[str, str]] = {
    "local:ok": N_("Payments succeed"),
    "local:declines:2": N_("The first two payments are declined"),
    "local:declines": N_("Every payment is declined"),
}
"""How payments turn out on a hub that rehearses, by the provider's word."""
_AWAY = N_("The payment provider does not answer. Try again in a minute.")


@ROUTER.get("/bills/means", operation_id="page_means")
def page_means(request: Request, of: str = "", back: str = "") -> Response:
    """Show with what a household pays."""
    return _shown(request, of, back=bool(back))


@ROUTER.post("/bills/means/{owner_id}", operation_id="do_means")
def do_means(request: Request, owner_id: OwnerId) -> Response:
    """Give, choose or remove a means of payment."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    caller, at, here = visitor.known, hub.clock(), f"/bills/means?of={owner_id}"
    match form.get("act", ""):
        case "give":
            back = f"{hub.place.api}{here}&back=1"
            try:
                url = means.begun(hub.engine, hub.payment, caller, owner_id, back, at)
            except PaymentUnreachableError as error:
                said = visitor.language.text(_AWAY)
                return _shown(request, owner_id, error=said, status=error.status)
            # Leading there by a redirect of the form is not allowed (form-action 'self'); a link is.
            return pages_of(request).page(request, "means_onward.html", onward=url, here=here)
        case "remove":
            with write_session(hub.engine) as session:
                means.removed(session, caller, owner_id, at)
        case "choose":
            with write_session(hub.engine) as session:
                method, choices = form.get("method", ""), hub.payment.choices
                means.chosen(session, caller, owner_id, method, at, choices)
        case _:
            raise InvalidInputError("There is nothing to do in this form. Open the page again.")
    return RedirectResponse(here, 303)


def _shown(
    request: Request, of: str, *, back: bool = False, error: str = "", status: int = 200
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        mine = [one for one in households.mine(session, caller, at) if caller.may(Act.PAY, one.id)]
        owner_id = of or (mine[0].id if mine else None)
        billing_accounts.household(session, caller, owner_id, Act.PAY)
        account = billing_accounts.shown(session, caller, owner_id, at)
    return pages_of(request).page(
        request,
        "means.html",
        status=status,
        account=account,
        mine=mine,
        back=back,
        error=error,
        has_page=hub.payment.has_page,
        choices={name: REHEARSED[name] for name in hub.payment.choices},
    )
