"""The page of what a product uses: this period with its quotas, and the periods before.

1. Quantities are shown in full, as they are billed.
2. What counts, and when it starts anew, is said beside each number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from entitlements.billing.meters import NO_METRIC, Aggregation, Meter
from hub.ports.database.engine import read_session
from hub.services import products, telemetry, timeline, usage, usage_history
from hub.services.catalogue_facts import load_catalogue
from hub.services.relations import Act
from hub.services.usage import Usage
from hub.services.usage_history import PastPeriod
from hub.services.usage_periods import DAY
from hub.web.context import hub_of
from hub.web.guard import PageRoute, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

COUNTS: Mapping[Aggregation, str] = {
    Aggregation.COUNT: N_("Counts how many readings of “{metric}” there were."),
    Aggregation.SUM: N_("Adds up all readings of “{metric}”."),
    Aggregation.MAX: N_("Takes the highest reading of “{metric}”."),
    Aggregation.LAST: N_("Takes the latest reading of “{metric}”."),
    Aggregation.INCREASE: N_("Counts by how much “{metric}” went up."),
    Aggregation.UNIQUE: N_("Counts how many different readings of “{metric}” there were."),
}
TOLD = N_("Counts what other programs report.")

KINDS: Mapping[str, str] = {
    "quota": N_("Included in the plan"),
    "topup": N_("Bought beside the plan"),
    "addon": N_("From an add-on"),
    "promotion": N_("A promotion"),
    "goodwill": N_("A courtesy"),
    "outage": N_("For a time without service"),
}
"""What credit for usage is called, by `credit_grants.KINDS`."""


@dataclass(frozen=True, slots=True)
class Metered:
    """One thing that is counted of a product.

    Args:
        now: the present period.
        title: what to call it.
        counts: what counts, in words.
        past: periods before, the latest first.
    """

    now: Usage
    title: str
    counts: str
    past: Sequence[PastPeriod]


@ROUTER.get("/products/{product_id}/usage", operation_id="page_usage")
def page_usage(request: Request, product_id: ID) -> Response:
    """Show what a product used, and of which quotas."""
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    store = hub.archive or hub.store
    with read_session(hub.engine) as session:
        product = products.visible(session, caller, product_id, Act.BILLS)
        summary = products.summary(session, caller, product_id)
        now = usage.of_product(session, store, hub.accounts, caller, product_id, at)
        past = usage_history.of_product(session, store, caller, product_id, at)
        meters = {
            one.meter.code: one.meter
            for one in load_catalogue(session).meters.get(product.model_number, ())
        }
        metrics = {
            one.index: one.title for one in telemetry.metrics_of(session, product.model_number)
        }
        titles = timeline.titles(session, summary.model)
    metered = [
        Metered(
            now=one,
            title=titles.features.get(one.feature or "", "") or one.title,
            counts=visitor.language.text(
                _counts(meters[one.meter]), metric=metrics.get(meters[one.meter].metric, "")
            ),
            past=[period for period in past[one.meter] if _is_told(period)],
        )
        for one in now
    ]
    metered.sort(key=lambda one: one.now.allowance is None)
    return pages_of(request).page(
        request, "usage.html", summary=summary, metered=metered, kinds=KINDS
    )


def _counts(meter: Meter) -> str:
    return TOLD if meter.metric == NO_METRIC else COUNTS[meter.aggregation]


def _is_told(period: PastPeriod) -> bool:
    """Say whether a past period is worth a line: not what a plan's change cut off before anything was stored."""
    return period.stored or period.end - period.start >= DAY
