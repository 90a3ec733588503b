"""What each plan on sale would have cost on a product's stored usage.

1. Amounts are decimal numbers as text, in the currency that is named; quantities likewise.
"""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, PlainSerializer

from entitlements.billing.simulation import MonthCost
from hub.api.bodies import Answer, DeviceId, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session
from hub.services import simulation
from hub.services.simulation import Comparison, PlanCost

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["products"])

Exact = Annotated[Decimal, PlainSerializer(lambda value: f"{value:f}", return_type=str)]


class SimulatedMeter(Answer):
    """What a meter would have meant in a month."""

    used: Exact | None = Field(description="What was used; null: nothing of the month is stored.")
    over: Exact = Field(description="What of it would have been paid for beyond the quota.")
    closed: Exact = Field(description="What of it the plan would not have allowed.")
    cost: Exact

    model_config = examples({"used": "24.0", "over": "4.0", "closed": "0.0", "cost": "2.00"})


class SimulatedMonth(Answer):
    """What a month would have cost."""

    start: Instant
    end: Instant
    price: Exact = Field(description="The plan's own price for the month.")
    meters: dict[str, SimulatedMeter]
    net: Exact
    tax: Exact
    gross: Exact


class SimulatedPlan(Answer):
    """What a plan would have cost."""

    plan: str
    title: str
    version: int
    present: bool = Field(description="Whether the product has it now.")
    sold: bool = Field(description="Whether it is sold in the household's currency.")
    net: Exact | None
    tax: Exact | None
    gross: Exact | None
    months: list[SimulatedMonth]


class Simulated(Answer):
    """What all plans would have cost."""

    currency: str = Field(description="ISO 4217 code.")
    running: bool = Field(description="Whether the only month is not over yet.")
    without_data: dict[str, list[Instant]] = Field(
        description="Beginnings of the months of which nothing is stored, by meter."
    )
    plans: list[SimulatedPlan] = Field(description="The present one first, then by their costs.")

    model_config = examples(
        {
            "currency": "EUR",
            "running": False,
            "without_data": {},
            "plans": [
                {
                    "plan": "comfort",
                    "title": "Comfort",
                    "version": 1,
                    "present": True,
                    "sold": True,
                    "net": "10.08",
                    "tax": "1.92",
                    "gross": "12.00",
                    "months": [
                        {
                            "start": "2026-01-15T08:00:00Z",
                            "end": "2026-02-15T08:00:00Z",
                            "price": "10.00",
                            "meters": {
                                "boost": {
                                    "used": "24.0",
                                    "over": "4.0",
                                    "closed": "0.0",
                                    "cost": "2.00",
                                }
                            },
                            "net": "10.08",
                            "tax": "1.92",
                            "gross": "12.00",
                        }
                    ],
                }
            ],
        }
    )


@ROUTER.get(
    "/products/{device_id}/plan-simulation",
    operation_id="simulate_plans",
    summary="What each plan would have cost on the usage of the last twelve months",
)
def simulate_plans(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Simulated:
    """Lay each plan on sale over the stored usage of the last twelve months, or of as many as there are.

    A plan is taken by itself, without add-ons, promotions and trials.
    """
    with read_session(hub.engine) as session:
        product_id = product_id_of(session, device_id)
        found = simulation.compare(
            session, hub.archive or hub.store, caller, product_id, hub.clock()
        )
    return Simulated(
        currency=found.currency,
        running=found.running,
        without_data={code: list(starts) for code, starts in found.without_data.items()},
        plans=[_plan(one, found) for one in found.plans],
    )


def _plan(one: PlanCost, found: Comparison) -> SimulatedPlan:
    total = None if one.simulation is None else one.simulation.total
    months = () if one.simulation is None else one.simulation.months
    return SimulatedPlan(
        plan=one.plan,
        title=one.title,
        version=one.version,
        present=one.present,
        sold=total is not None,
        net=None if total is None else total.net.decimal,
        tax=None if total is None else total.tax.decimal,
        gross=None if total is None else total.gross.decimal,
        months=[_month(month, found) for month in months],
    )


def _month(month: MonthCost, found: Comparison) -> SimulatedMonth:
    def units(code: str, quantity: int) -> Decimal:
        return Decimal(quantity).scaleb(-found.meters[code].meter.decimals)

    return SimulatedMonth(
        start=month.start,
        end=month.end,
        price=month.price.decimal,
        meters={
            code: SimulatedMeter(
                used=None if one.used is None else units(code, one.used),
                over=units(code, one.over),
                closed=units(code, one.closed),
                cost=one.cost.decimal,
            )
            for code, one in month.meters.items()
        },
        net=month.taxed.net.decimal,
        tax=month.taxed.tax.decimal,
        gross=month.taxed.gross.decimal,
    )
