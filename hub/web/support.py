"""Support's two pages: one box to look a product up, one screen to see all of it.

1. The box takes what somebody on the phone can say: serial, e-mail, order, device id.
2. The screen begins with a sentence; what was decided stands beside what the product believes.
3. Business and technical events are on one line of time.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.ports.database.engine import read_session
from hub.services import incidents, products, timeline
from hub.web.context import hub_of
from hub.web.guard import PageRoute, visitor_of
from hub.web.pages import pages_of
from hub.web.product import viewed
from hub.web.sentences import LEVELS, STATUSES, Sentences
from hub.web.series import ID, RANGES

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_FOUND = 25
MAX_CAUSES = 5


@ROUTER.get("/support", operation_id="page_lookup")
def page_lookup(request: Request, q: str = "") -> Response:
    """Look products up."""
    hub, visitor = hub_of(request), visitor_of(request)
    text = q.strip()[:200]
    with read_session(hub.engine) as session:
        found = products.found(session, visitor.known, text, limit=MAX_FOUND) if text else []
        common = [] if text else incidents.listed(session, visitor.known, limit=MAX_CAUSES)
    causes = [] if text else hub.causes.causes(hub.engine, hub.clock())
    return pages_of(request).page(
        request,
        "lookup.html",
        q=text,
        found=found,
        most=MAX_FOUND,
        incidents=common,
        causes=causes[:MAX_CAUSES],
        said=Sentences(visitor.language, visitor.formats),
    )


@ROUTER.get("/support/products/{product_id}", operation_id="page_support_product")
def page_support_product(
    request: Request,
    product_id: ID,
    metric: str = "",
    range: str = "",  # noqa: A002  name in the address
) -> Response:
    """Show everything about a product on one screen."""
    hub, visitor = hub_of(request), visitor_of(request)
    view = viewed(hub, visitor, product_id, metric, range)
    with read_session(hub.engine) as session:
        entries = timeline.timeline(session, visitor.known, product_id, hub.clock())
    return pages_of(request).page(
        request,
        "support_product.html",
        view=view,
        entries=entries,
        ranges=RANGES,
        levels=LEVELS,
        statuses=STATUSES,
    )
