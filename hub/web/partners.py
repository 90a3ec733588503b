"""What households let partners (installers' companies, dealers) do: given and ended on one page.

1. A household reads every grant that reaches its products, the operator's too; it ends its own.
2. A partner's people have one page: what was granted to them, and the products that it reaches.
3. What a grant permits is the services' business; the page says it in words.
"""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.services import households, partners, products
from hub.services.partners import Reach
from hub.services.relations import Act
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

DAY_NS = 86_400_000_000_000
MAX_PRODUCTS = 100

SAID: Mapping[Act, str] = {
    Act.SEE: N_("sees the products, their state and settings"),
    Act.ALERTS: N_("reads what was noticed"),
    Act.HISTORY: N_("sees what they measured"),
    Act.ACKNOWLEDGE: N_("looks after what was noticed"),
    Act.CONFIGURE: N_("changes settings"),
    Act.COMMAND: N_("operates the products"),
    Act.CASES: N_("opens cases with support"),
}
_INVALID = N_("A grant needs a reason of at most 200 characters, and 1 to 732 days.")
_UNKNOWN = N_("No partner, or more than one, has this name. Ask them for their number.")

GrantId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]


@ROUTER.get("/household/{owner_id}/partners", operation_id="page_partners")
def page_partners(request: Request, owner_id: ID) -> Response:
    """Show what partners may do with a household's products."""
    return _page(request, owner_id)


@ROUTER.post("/household/{owner_id}/partners", operation_id="do_grant")
def do_grant(request: Request, owner_id: ID) -> Response:
    """Let a partner do something, for some days."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    at, days, product = hub.clock(), form.get("days", "").strip(), form.get("product", "")[:16]
    acts = [act for act in SAID if form.get(f"may-{act}")]
    try:
        with write_session(hub.engine) as session:
            households.check(session, visitor.known, owner_id, Act.INVITE)
            named = partners.named(session, visitor.known, form.get("partner", "")[:200])
            partners.grant(
                session,
                visitor.known,
                named.id,
                Reach([product] if product else None),
                [Act.SEE, *acts],
                form.get("reason", ""),
                at + (int(days) if days.isdecimal() and len(days) < 4 else 0) * DAY_NS,
                at,
                hub.tokens,
                owner_id=owner_id,
            )
    except InvalidInputError as refused:
        return _page(request, owner_id, error=_INVALID, form=form, status=refused.status)
    except NotFoundError as refused:
        if refused.context:  # of the household or a product: there is no such page
            raise
        return _page(request, owner_id, error=_UNKNOWN, form=form, status=refused.status)
    return RedirectResponse(f"/household/{owner_id}/partners", 303)


@ROUTER.post("/household/{owner_id}/partners/{grant_id}/end", operation_id="do_end_grant")
def do_end_grant(request: Request, owner_id: ID, grant_id: GrantId) -> Response:
    """End a grant now."""
    hub, visitor = hub_of(request), visitor_of(request)
    with write_session(hub.engine) as session:
        partners.revoke(session, visitor.known, grant_id, hub.clock())
    return RedirectResponse(f"/household/{owner_id}/partners", 303)


@ROUTER.get("/partner", operation_id="page_partner")
def page_partner(request: Request) -> Response:
    """Show a partner what was granted to it, and the products that this reaches."""
    hub, visitor = hub_of(request), visitor_of(request)
    with read_session(hub.engine) as session:
        organisation = partners.of_caller(session, visitor.known)
        given = partners.listed(session, visitor.known, None, hub.clock())
        seen = products.listed(session, visitor.known, limit=MAX_PRODUCTS + 1)
    return pages_of(request).page(
        request,
        "partner.html",
        number=organisation.id,
        name=organisation.name,
        grants=given,
        products=seen[:MAX_PRODUCTS],
        more=len(seen) > MAX_PRODUCTS,
        serials={one.product_id: one.serial for one in seen},
        said=SAID,
    )


def _page(
    request: Request,
    owner_id: str,
    *,
    error: str = "",
    form: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        given = partners.listed(session, caller, owner_id, at)
        seen = products.listed(session, caller, limit=MAX_PRODUCTS)
        mine = households.mine(session, caller, at)
    return pages_of(request).page(
        request,
        "partners.html",
        status=status,
        household=next(one for one in mine if one.id == owner_id),
        grants=given,
        products=[one for one in seen if one.owner_id == owner_id],
        serials={one.product_id: one.serial for one in seen},
        owns=caller.may(Act.INVITE, owner_id),
        said=SAID,
        possible=[act for act in SAID if act is not Act.SEE],
        error=error,
        form=form or {},
    )
