"""Holds: a product, an account or all that was built alike, blocked for a while; by whom, and why.

1. A hold cancels nothing: lifting it, or its end, gives back what the plan gives.
2. Safe functions go on whatever is held.
3. Lifting sets the end of a hold and may be repeated; a hold is never removed.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from entitlements.facts import HoldKind
from hub.api.bodies import ID_PATTERN, Answer, DeviceId, Id, Line, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session, write_session
from hub.services import holds

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["products"])

HoldId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the hold.")]
OwnerId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the owner.")]
ModelName = Annotated[str, Path(pattern="^[a-z][a-z0-9-]{0,47}$", description="Name of the model.")]
_Feature = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
_Features = Annotated[list[_Feature], Field(min_length=1, max_length=64)]


class _Hold(Request):
    """What every hold says."""

    reason: Line = Field(description="As support writes it down; customers do not see it.")
    evidence: Line | None = Field(
        default=None, description="What it rests on, such as the number of a police report."
    )
    ends_at: Instant | None = Field(default=None, description="Null: until it is lifted.")


class PlaceHold(_Hold):
    """What is blocked, why, and until when."""

    kind: HoldKind
    features: _Features | None = Field(
        default=None, description="Null: all but the safe functions."
    )
    subscription_id: Id | None = Field(
        default=None, description="Block only what this subscription grants; null: all."
    )

    model_config = examples({"kind": "payment", "reason": "invoice 4711 was charged back"})


class HoldAccount(_Hold):
    """Why an account is blocked, and until when."""

    kind: HoldKind = Field(
        description="`payment` blocks only what is not paid for at the instant; `fraud` and "
        "`theft` block the owner's products."
    )

    model_config = examples({"kind": "payment", "reason": "two bills are open"})


class RecallModel(_Hold):
    """Which products of a model are recalled, why, and until when."""

    firmware: Line | None = Field(
        default=None, description="Only products for as long as they run this firmware."
    )
    hardware_lot: Line | None = Field(default=None, description="Only products of this lot.")
    features: _Features | None = Field(
        default=None, description="Null: all but the safe functions."
    )

    model_config = examples(
        {"reason": "pump may leak", "hardware_lot": "L17", "evidence": "bulletin 2026-03"}
    )


class Hold(Answer):
    """A hold, in force or over, and what it is on: a product, an account or a model."""

    id: str
    kind: HoldKind
    reason: str
    evidence: str | None
    author: str = Field(description="Who placed it; `hub` where it did so by itself.")
    starts_at: Instant
    ends_at: Instant | None = Field(description="When it ends or ended; null: when it is lifted.")
    features: list[str] | None = Field(description="Null: all but the safe functions.")
    product_id: str | None
    subscription_id: str | None
    owner_id: str | None
    model_number: int | None
    firmware: str | None
    hardware_lot: str | None

    model_config = examples(
        {
            "id": "w2k7f4c9x1m8d3q5",
            "kind": "payment",
            "reason": "invoice 4711 was charged back",
            "evidence": None,
            "author": "person:h7d2n4v9s0b6j1t5",
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": None,
            "features": None,
            "product_id": "b7x2m9q4k1v8c3z6",
            "subscription_id": None,
            "owner_id": None,
            "model_number": None,
            "firmware": None,
            "hardware_lot": None,
        }
    )


class Holds(Answer):
    """All holds there ever were on something, the latest first."""

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
            subscription_id=body.subscription_id,
            evidence=body.evidence,
            ends_at=body.ends_at,
        )
        return Hold.model_validate(row)


@ROUTER.post(
    "/owners/{owner_id}/holds",
    operation_id="hold_account",
    summary="Block an account for a while",
    status_code=201,
)
def hold_account(hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: HoldAccount) -> Hold:
    """Block an owner's products from now on; it is audited. What is paid for is never cut."""
    with write_session(hub.engine) as session:
        row = holds.place_on_account(
            session,
            caller,
            owner_id,
            body.kind,
            body.reason,
            hub.clock(),
            hub.tokens,
            evidence=body.evidence,
            ends_at=body.ends_at,
        )
        return Hold.model_validate(row)


@ROUTER.get(
    "/owners/{owner_id}/holds",
    operation_id="list_account_holds",
    summary="List an account's holds",
)
def list_account_holds(hub: HubDep, caller: CallerDep, owner_id: OwnerId) -> Holds:
    """List the holds on an account, those that are over too."""
    with read_session(hub.engine) as session:
        rows = holds.on_account(session, caller, owner_id)
        return Holds(holds=[Hold.model_validate(row) for row in rows])


@ROUTER.post(
    "/models/{model}/holds", operation_id="recall_model", summary="Recall a model", status_code=201
)
def recall_model(hub: HubDep, caller: CallerDep, model: ModelName, body: RecallModel) -> Hold:
    """Block all products of a model, of a lot of it or with a firmware, from now on."""
    with write_session(hub.engine) as session:
        row = holds.recall(
            session,
            caller,
            model,
            body.reason,
            hub.clock(),
            hub.tokens,
            firmware=body.firmware,
            hardware_lot=body.hardware_lot,
            features=body.features,
            evidence=body.evidence,
            ends_at=body.ends_at,
        )
        return Hold.model_validate(row)


@ROUTER.get("/models/{model}/holds", operation_id="list_recalls", summary="List a model's recalls")
def list_recalls(hub: HubDep, caller: CallerDep, model: ModelName) -> Holds:
    """List the recalls of a model, those that are over too."""
    with read_session(hub.engine) as session:
        rows = holds.recalls(session, caller, model)
        return Holds(holds=[Hold.model_validate(row) for row in rows])


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
