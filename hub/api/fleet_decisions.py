"""Decisions on many products at once, from the compiled decisions of the whole fleet.

1. Customers ask about their own products, staff about all; what is not theirs does not exist.
2. An answer takes in whatever was changed before the request.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hub.api import decisions as shapes
from hub.api.bodies import Answer, Id, Request, examples
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.product_bodies import Decision
from hub.errors import NotReadyError
from hub.ports.database.engine import read_session
from hub.services import decisions as services

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["products"])

_Feature = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
_Features = Annotated[list[_Feature], Field(min_length=1, max_length=64)]


class DecideProducts(Request):
    """Which features of which products, and when."""

    products: Annotated[list[Id], Field(min_length=1, max_length=500)]
    features: _Features | None = Field(
        default=None, description="Null: all that something of the product knows."
    )
    at: Instant | None = Field(default=None, description="Null: now.")

    model_config = examples({"products": ["b7x2m9q4k1v8c3z6"], "features": ["telemetry"]})


class ProductDecisions(Answer):
    """What a product may do."""

    product_id: str
    decisions: list[Decision]


class FleetDecisions(Answer):
    """Decisions on many products, on present facts."""

    at: Instant
    products: list[ProductDecisions] = Field(description="In the order of the request.")


class FeatureTally(Answer):
    """How many enrolled products may use a feature, and why."""

    feature: str
    allowed: int
    refused: int
    codes: dict[str, int] = Field(description="How many products each code decides on.")

    model_config = examples(
        {
            "feature": "telemetry",
            "allowed": 812_004,
            "refused": 1_733,
            "codes": {"plan": 800_312, "grace": 11_692, "lapsed": 1_733},
        }
    )


class FleetTally(Answer):
    """How the whole fleet stands at an instant, on present facts."""

    at: Instant
    features: list[FeatureTally]


@ROUTER.post("/decisions", operation_id="decide_products", summary="Decide on many products")
def decide_products(hub: HubDep, caller: CallerDep, body: DecideProducts) -> FleetDecisions:
    """Say for each of up to 500 products which features may be used, why, and until when."""
    at = hub.clock() if body.at is None else body.at
    _settle(hub)
    with read_session(hub.engine) as session:
        found = services.of_products(
            session, caller, hub.decisions(), body.products, body.features, at
        )
    return FleetDecisions(
        at=at,
        products=[
            ProductDecisions(product_id=id_, decisions=[shapes.shown(one) for one in decided])
            for id_, decided in found.items()
        ],
    )


@ROUTER.get(
    "/decisions/tally", operation_id="tally_decisions", summary="Count who may use what, and why"
)
def tally_decisions(
    hub: HubDep,
    caller: CallerDep,
    feature: Annotated[_Features | None, Query(description="Absent: all.")] = None,
    at: Annotated[
        Instant | None,
        Query(description="Absent: now. A future instant tells what lapses until then."),
    ] = None,
) -> FleetTally:
    """Count over all enrolled products how each feature is decided at an instant."""
    instant = hub.clock() if at is None else at
    _settle(hub)
    counted = services.tally(caller, hub.decisions(), feature, instant)
    return FleetTally(at=instant, features=[FeatureTally.model_validate(one) for one in counted])


def _settle(hub: Hub) -> None:
    if not hub.settle():
        raise NotReadyError(
            "The hub is compiling its entitlements and cannot decide on many products yet. "
            "Try again in a few seconds."
        )
