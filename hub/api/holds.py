"""Holds: a product, or some of its features, blocked for a while; who placed it, and why.

1. A hold cancels nothing: lifting it, or its end, gives back what the plan gives.
2. Safe functions go on whatever is held.
3. Lifting sets the end of a hold and may be repeated; a hold is never removed.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from entitlements.facts import HoldKind
from hub.api.bodies import ID_PATTERN, Answer, DeviceId, Line, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session, write_session
from hub.services import holds

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["products"])

HoldId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the hold.")]
_Feature = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]


class PlaceHold(Request):
    """What is blocked, why, and until when."""

    kind: HoldKind
    reason: Line = Field(description="As support writes it down; customers do not see it.")
    features: Annotated[list[_Feature], Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="Null: all but the safe functions."
    )
    ends_at: Instant | None = Field(default=None, description="Null: until it is lifted.")

    model_config = examples({"kind": "payment", "reason": "invoice 4711 was charged back"})


class Hold(Answer):
    """A hold, in force or over."""

    id: str
    kind: HoldKind
    reason: str
    author: str = Field(description="Who placed it.")
    starts_at: Instant
    ends_at: Instant | None = Field(description="When it ends or ended; null: when it is lifted.")
    features: list[str] | None = Field(description="Null: all but the safe functions.")

    model_config = examples(
        {
            "id": "w2k7f4c9x1m8d3q5",
            "kind": "payment",
            "reason": "invoice 4711 was charged back",
            "author": "person:h7d2n4v9s0b6j1t5",
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": None,
            "features": None,
        }
    )


class Holds(Answer):
    """All holds that a product ever had, the latest first."""

    holds: list[Hold]


@ROUTER.post(
    "/products/{device_id}/holds",
    operation_id="place_hold",
    summary="Block a product for a while",
    status_code=201,
)
def place_hold(hub: HubDep, caller: CallerDep, device_id: DeviceId, body: PlaceHold) -> Hold:
    """Block a product, or some of its features, from now on; it is audited."""
    with write_session(hub.engine) as session:
        row = holds.place(
            session,
            caller,
            product_id_of(session, device_id),
            body.kind,
            body.reason,
            hub.clock(),
            hub.tokens,
            features=body.features,
            ends_at=body.ends_at,
        )
        return Hold.model_validate(row)


@ROUTER.get(
    "/products/{device_id}/holds", operation_id="list_holds", summary="List a product's holds"
)
def list_holds(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Holds:
    """List the holds of a product, those that are over too."""
    with read_session(hub.engine) as session:
        rows = holds.listed(session, caller, product_id_of(session, device_id))
        return Holds(holds=[Hold.model_validate(row) for row in rows])


@ROUTER.post("/holds/{hold_id}/lift", operation_id="lift_hold", summary="Lift a hold")
def lift_hold(hub: HubDep, caller: CallerDep, hold_id: HoldId) -> Hold:
    """End a hold now; one that is over stays as it is."""
    with write_session(hub.engine) as session:
        return Hold.model_validate(holds.lift(session, caller, hold_id, hub.clock()))
