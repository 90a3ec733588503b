"""Who looked at a product, when and why; and the household's consent to support seeing its data.

1. Consent is given for days, for one product or all, and withdrawn at any time, at once.
2. Support states a reason before it looks; the page tells it in the words in which it was stated.
3. In an emergency support opens an hour without consent; the household is told.
"""

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.services import consent, looks, products
from hub.services.caller import Role
from hub.services.consent import Policy
from hub.services.looks import Part
from hub.services.relations import Act
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

DAY_NS = 86_400_000_000_000
MAX_LOOKS = 100

PARTS: Mapping[Part, str] = {
    Part.PRODUCT: N_("the product's page"),
    Part.TELEMETRY: N_("what it measured"),
    Part.FINDINGS: N_("what was noticed"),
    Part.TIMELINE: N_("what happened to it"),
    Part.CASES: N_("its cases"),
    Part.MONEY: N_("its plan, bills and usage"),
}
ROLES: Mapping[Role, str] = {
    Role.SUPPORT: N_("Support"),
    Role.OPERATOR: N_("Operator"),
    Role.PARTNER: N_("Partner"),
}


@ROUTER.get("/products/{product_id}/looks", operation_id="page_looks")
def page_looks(request: Request, product_id: ID, failed: str = "") -> Response:
    """Show who looked at a product, and what support may see."""
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    hub.looks.flush()
    with read_session(hub.engine) as session:
        products.visible(session, caller, product_id, Act.PEOPLE)
        summary = products.summary(session, caller, product_id)
        if summary.owner_id is None:
            raise NotFoundError(f"There is no product {product_id}.", product=product_id)
        names = hub.names_in_looks
        seen = looks.listed(session, caller, product_id, hub.tokens, names=names, limit=MAX_LOOKS)
        broken = consent.emergencies(
            session, caller, product_id, hub.tokens, names=names, limit=MAX_LOOKS
        )
        given = consent.listed(session, caller, summary.owner_id, at)
        asked = consent.policy(session) is Policy.REQUIRED
        mine = caller.may(Act.CONSENT, summary.owner_id)
    return pages_of(request).page(
        request,
        "looks.html",
        summary=summary,
        looks=seen,
        emergencies=broken,
        consents=[one for one in given if one.product_id in {None, product_id}],
        mine=mine,
        asked=asked,
        parts=PARTS,
        roles=ROLES,
        failed=bool(failed),
    )


@ROUTER.post("/products/{product_id}/consent", operation_id="do_consent")
def do_consent(request: Request, product_id: ID) -> Response:
    """Let support see what was measured, for some days; or take that back."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    at, page = hub.clock(), f"/products/{product_id}/looks"
    with write_session(hub.engine) as session:
        if withdrawn := form.get("withdraw", ""):
            consent.withdraw(session, visitor.known, withdrawn, at)
            return RedirectResponse(page, 303)
    days = form.get("days", "")
    try:
        with write_session(hub.engine) as session:
            summary = products.summary(session, visitor.known, product_id)
            consent.give(
                session,
                visitor.known,
                summary.owner_id or "",
                at + (int(days) if days.isdecimal() and len(days) < 4 else 0) * DAY_NS,
                at,
                hub.tokens,
                product_id=None if form.get("all") else product_id,
            )
    except InvalidInputError:
        return RedirectResponse(f"{page}?failed=1", 303)
    return RedirectResponse(page, 303)
