"""The page that compares plans: what each would have cost on what the product used.

1. Every amount comes from the service; here it is said in words.
2. Months of which nothing is stored are named, so that nobody takes them for months without usage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from entitlements.billing.money import Money
from entitlements.billing.price import Price
from entitlements.billing.simulation import Simulation
from hub.ports.database.engine import read_session
from hub.services import products, simulation, timeline
from hub.services.simulation import Comparison, PlanCost
from hub.services.usage_meters import ModelMeter
from hub.web.context import hub_of
from hub.web.formats import Formats
from hub.web.guard import PageRoute, visitor_of
from hub.web.languages import N_, Language
from hub.web.pages import pages_of
from hub.web.series import ID
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

_FREE = N_("free of charge")
_MONTHLY, _YEARLY = N_("{amount} a month"), N_("{amount} a year")
_INTERVAL = N_("{amount} for {months} months")
_AS_MUCH = N_("as much as your plan")
_LESS, _MORE = N_("{amount} less than your plan"), N_("{amount} more than your plan")
_INCLUDED, _UNLIMITED = N_("{quota} a month included"), N_("without limit")
_OVER = N_("{quantity} beyond the quota")
_CLOSED = N_("It would not have allowed {quantity} of it.")


@dataclass(frozen=True, slots=True)
class Side:
    """What a plan says of one meter, and what that would have meant."""

    title: str
    included: str
    over: str
    closed: str


@dataclass(frozen=True, slots=True)
class Card:
    """One plan of the comparison; texts are ready to show, empty ones are left out.

    Args:
        plan: the plan and its simulation.
        price: what it costs.
        total: what it would have cost.
        difference: how that compares with the present plan.
        cheaper: whether it would have cost less.
        sides: of the meters.
        months: what each month would have cost, the earliest first.
    """

    plan: PlanCost
    price: str
    total: str
    difference: str
    cheaper: bool
    sides: Sequence[Side]
    months: Sequence[str]


def price_text(price: Price, currency: str, language: Language, formats: Formats) -> str:
    """Say what a plan costs in a currency that it is sold in."""
    amount = price.amount(currency)
    if price.free:
        return language.text(_FREE)
    template = {1: _MONTHLY, 12: _YEARLY}.get(price.interval_months, _INTERVAL)
    shown = formats.money(amount)
    return language.text(template, amount=shown, months=formats.whole(price.interval_months))


@ROUTER.get("/products/{product_id}/compare", operation_id="page_compare")
def page_compare(request: Request, product_id: ID) -> Response:
    """Show what each plan would have cost."""
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        found = simulation.compare(session, hub.archive or hub.store, caller, product_id, at)
        summary = products.summary(session, caller, product_id)
        titles = timeline.titles(session, summary.model)
    present = next((one.simulation for one in found.plans if one.present), None)
    return pages_of(request).page(
        request,
        "compare.html",
        summary=summary,
        found=found,
        cards=[_card(one, found, present, visitor, titles.features) for one in found.plans],
        missing=[
            (_title(found.meters[code], titles.features), starts)
            for code, starts in found.without_data.items()
        ],
    )


def _card(
    one: PlanCost,
    found: Comparison,
    present: Simulation | None,
    visitor: Visitor,
    titles: Mapping[str, str],
) -> Card:
    language, formats = visitor.language, visitor.formats
    if one.simulation is None:
        return Card(one, "", "", "", False, (), ())
    gross = one.simulation.total.gross
    difference, cheaper = "", False
    if present is not None and not one.present:
        difference, cheaper = _compared(gross - present.total.gross, language, formats)
    return Card(
        plan=one,
        price=price_text(one.price, found.currency, language, formats),
        total=formats.money(gross),
        difference=difference,
        cheaper=cheaper,
        sides=[
            side
            for code, meter in found.meters.items()
            if (side := _side(one, one.simulation, code, meter, visitor, titles)) is not None
        ],
        months=[formats.money(month.taxed.gross) for month in one.simulation.months],
    )


def _compared(more: Money, language: Language, formats: Formats) -> tuple[str, bool]:
    if not more:
        return language.text(_AS_MUCH), False
    amount = formats.money(-more if more.minor < 0 else more)
    return language.text(_LESS if more.minor < 0 else _MORE, amount=amount), more.minor < 0


def _side(
    one: PlanCost,
    simulated: Simulation,
    code: str,
    meter: ModelMeter,
    visitor: Visitor,
    titles: Mapping[str, str],
) -> Side | None:
    language, formats = visitor.language, visitor.formats

    def shown(quantity: int) -> str:
        return formats.exact(Decimal(quantity).scaleb(-meter.meter.decimals), meter.unit)

    included = ""
    if code in one.quotas:
        quota = one.quotas[code]
        included = (
            language.text(_UNLIMITED)
            if quota is None
            else language.text(_INCLUDED, quota=formats.exact(quota, meter.unit))
        )
    over = sum(month.meters[code].over for month in simulated.months)
    cost = sum(
        (month.meters[code].cost for month in simulated.months),
        Money.zero(simulated.total.net.currency),
    )
    closed = simulated.closed.get(code, 0)
    if not included and not over and not closed:
        return None
    beyond = language.text(_OVER, quantity=shown(over)) if over else ""
    return Side(
        title=_title(meter, titles),
        included=included,
        over=f"{beyond}: {formats.money(cost)}" if over else "",
        closed=language.text(_CLOSED, quantity=shown(closed)) if closed else "",
    )


def _title(meter: ModelMeter, titles: Mapping[str, str]) -> str:
    return meter.title or titles.get(meter.meter.code, meter.meter.code)
