"""What products used in their present billing periods, and how much of their quotas that is.

1. Quantities are decimal numbers as text: exact, whatever reads them.
"""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, PlainSerializer

from hub.api.bodies import Answer, DeviceId, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session
from hub.services import usage

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["products"])

Quantity = Annotated[Decimal, PlainSerializer(lambda value: f"{value:f}", return_type=str)]


class Balance(Answer):
    """What one grant gave, and what is left of it now."""

    grant: str = Field(description="Id of a credit grant, or `quota:` and an instant.")
    kind: str = Field(description="`quota` of the plan, or the kind of the credit grant.")
    amount: Quantity
    left: Quantity
    paid: Quantity = Field(description="What it paid for in this period.")
    ends_at: Instant | None

    model_config = examples(
        {
            "grant": "c5m1x8q4k7w2d9f3",
            "kind": "topup",
            "amount": "5.0",
            "left": "5.0",
            "paid": "0.0",
            "ends_at": None,
        }
    )


class Payment(Answer):
    """Which grant paid for what was used in a stretch of time."""

    start: Instant
    end: Instant
    grant: str
    quantity: Quantity

    model_config = examples(
        {
            "start": "2026-01-15T08:00:00Z",
            "end": "2026-01-28T21:12:00Z",
            "grant": "quota:1768464000000000000",
            "quantity": "12.5",
        }
    )


class Threshold(Answer):
    """A share of what may be used was reached, or is not reached any more."""

    at: Instant
    share: int = Field(description="Percent.")
    up: bool = Field(description="Reached; false: not any more.")
    used: Quantity
    allowance: Quantity

    model_config = examples(
        {
            "at": "2026-01-28T21:12:00Z",
            "share": 50,
            "up": True,
            "used": "12.5",
            "allowance": "25.0",
        }
    )


class Usage(Answer):
    """What one meter counted in the present period."""

    meter: str
    title: str
    unit: str = Field(description="UCUM code.")
    start: Instant = Field(description="First instant of the period.")
    end: Instant = Field(description="End of the period.")
    total: Quantity = Field(description="What was used, exactly.")
    feature: str | None = Field(description="Feature whose quota it counts against.")
    quota: int | None = Field(description="What the plan gives in the period; null: without limit.")
    allowance: Quantity | None = Field(
        description="What may be used in the period in all, with what was given beside the plan."
    )
    left: Quantity | None = Field(description="What is left of that; null: without limit.")
    overage: Quantity = Field(description="What was used beyond it and is still owed.")
    outage_credit: Quantity = Field(
        description="What of the allowance was given because the hub was down in the period."
    )
    hard: bool = Field(description="Whether the feature closes when nothing is left.")
    used_up: bool
    exhausted_at: Instant | None = Field(
        description="When nothing is left if it goes on as on the median of the last 14 days; null: not in this period."
    )
    balances: list[Balance] = Field(description="In the order in which they are used.")
    payments: list[Payment] = Field(description="Which grant paid for what, the earliest first.")
    thresholds: list[Threshold] = Field(description="Of this period, the earliest first.")

    model_config = examples(
        {
            "meter": "boost",
            "title": "Boost hours",
            "unit": "h",
            "start": "2026-01-15T08:00:00Z",
            "end": "2026-02-15T08:00:00Z",
            "total": "12.5",
            "feature": "boost_hours",
            "quota": 20,
            "allowance": "25.0",
            "left": "12.5",
            "overage": "0.0",
            "outage_credit": "0.0",
            "hard": True,
            "used_up": False,
            "exhausted_at": "2026-02-10T17:24:00Z",
            "balances": [
                {
                    "grant": "quota:1768464000000000000",
                    "kind": "quota",
                    "amount": "20.0",
                    "left": "7.5",
                    "paid": "12.5",
                    "ends_at": "2026-02-15T08:00:00Z",
                },
                {
                    "grant": "c5m1x8q4k7w2d9f3",
                    "kind": "topup",
                    "amount": "5.0",
                    "left": "5.0",
                    "paid": "0.0",
                    "ends_at": None,
                },
            ],
            "payments": [
                {
                    "start": "2026-01-15T08:00:00Z",
                    "end": "2026-01-31T08:00:00Z",
                    "grant": "quota:1768464000000000000",
                    "quantity": "12.5",
                }
            ],
            "thresholds": [
                {
                    "at": "2026-01-29T19:12:00Z",
                    "share": 50,
                    "up": True,
                    "used": "12.5",
                    "allowance": "25.0",
                }
            ],
        }
    )


class Usages(Answer):
    """What all meters of a product counted."""

    usage: list[Usage]


@ROUTER.get(
    "/products/{device_id}/usage",
    operation_id="get_usage",
    summary="What a product used in this period",
)
def get_usage(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Usages:
    """Return what each meter of a product counted in its present period."""
    with read_session(hub.engine) as session:
        found = usage.of_product(
            session,
            hub.archive or hub.store,
            hub.accounts,
            caller,
            product_id_of(session, device_id),
            hub.clock(),
        )
    return Usages(usage=[Usage.model_validate(one) for one in found])
