"""The page of a product that was the visitor's: what was measured in their time, and nothing else.

1. There is nothing to do here: no alerts to answer, no configuration, no owner.
2. What shows is decided by the services, by the ownerships of the household.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import NotFoundError
from hub.ports.database.engine import read_session
from hub.ports.database.product_tables import Product
from hub.services import former, telemetry
from hub.services.former import FormerProduct
from hub.services.telemetry import MetricView
from hub.web.context import hub_of
from hub.web.guard import PageRoute, visitor_of
from hub.web.pages import pages_of
from hub.web.series import ID, MS, RANGES, TABLE_ROWS, Chart, drawn

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

_USUAL = "30d"


@dataclass(frozen=True, slots=True)
class FormerView:
    """What the page shows; `end` is the end of the visitor's time, ms."""

    product: FormerProduct
    metrics: Sequence[MetricView]
    chart: Chart | None
    range: str

    @property
    def product_id(self) -> str:
        """Of the product."""
        return self.product.product_id

    @property
    def end(self) -> int:
        """Where the chart ends, ms since 1970 UTC."""
        return self.product.ended_at // MS


@ROUTER.get("/former/{product_id}", operation_id="page_former")
def page_former(
    request: Request,
    product_id: ID,
    metric: str = "",
    range: str = "",  # noqa: A002  name in the address
) -> Response:
    """Show what a product measured while it was the visitor's."""
    hub, visitor = hub_of(request), visitor_of(request)
    span = range if range in RANGES else _USUAL
    with read_session(hub.engine) as session:
        product = _former(former.listed(session, visitor.known), product_id)
        number = session.get_one(Product, product_id).model_number
        metrics = telemetry.metrics_of(session, number)
        names = [one.name for one in metrics]
        chosen = metric if metric in names else next(iter(names), "")
        chart = None
        if chosen and product.device_id is not None:
            series = telemetry.series(session, visitor.known, product_id, chosen, hub.clock())
            end = product.ended_at
            chart = drawn(hub.store, series, end - RANGES[span], end, TABLE_ROWS)
    view = FormerView(product, metrics, chart, span)
    return pages_of(request).page(request, "former.html", view=view, ranges=RANGES)


def _former(listed: list[FormerProduct], product_id: str) -> FormerProduct:
    for one in listed:
        if one.product_id == product_id:
            return one
    raise NotFoundError(f"There is no product {product_id}.", product=product_id)
