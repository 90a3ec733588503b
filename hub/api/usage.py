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


class Usage(Answer):
    """What one meter counted in the present period."""

    meter: str
    title: str
    unit: str = Field(description="UCUM code.")
    start: Instant = Field(description="First instant of the period.")
    end: Instant = Field(description="End of the period.")
    total: Quantity = Field(description="What was used, exactly.")
    feature: str | None = Field(description="Feature whose quota it counts against.")
    quota: int | None = Field(description="What may be used in the period; null: without limit.")
    used_up: bool
    exhausted_at: Instant | None = Field(
        description="When the quota is used up if it goes on so; null: not in this period."
    )

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
            "used_up": False,
            "exhausted_at": "2026-02-10T17:24:00Z",
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
