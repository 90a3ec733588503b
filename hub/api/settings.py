"""Settings of products: what each layer says, and which one wins.

1. The model's default, then the plan, then the household, then the product itself (its desired
   configuration, see `pushes.py`).
2. What wins goes down to the product in its signed state.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from entitlements.settings import Layer
from hub.api.bodies import ID_PATTERN, Answer, DeviceId, Request, Scalar, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.lookup import product_id_of
from hub.api.pushes import Values
from hub.ports.database.engine import read_session, write_session
from hub.services import settings

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["pushes"])

OwnerId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the household.")]


class Setting(Answer):
    """One setting: its value, and who says so."""

    value: Scalar
    winner: Layer
    layers: dict[Layer, Scalar] = Field(description="What each layer says, the weakest first.")

    model_config = examples(
        {"value": 21, "winner": "owner", "layers": {"model": 19, "plan": 20, "owner": 21}}
    )


class Settings(Answer):
    """What a product is configured to."""

    settings: dict[str, Setting]


class ChangeSettings(Request):
    """Settings by name; null removes one."""

    values: Values

    model_config = examples({"values": {"target_c": 21, "eco": None}})


class OwnerSettings(Answer):
    """What a household wants for all of its products."""

    owner_id: str
    values: dict[str, Scalar]

    model_config = examples({"owner_id": "h7d2n4v9s0b6j1t5", "values": {"target_c": 21}})


@ROUTER.get(
    "/products/{device_id}/settings",
    operation_id="get_settings",
    summary="What a product is configured to, and who says so",
)
def get_settings(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Settings:
    """Resolve the settings of a product: model, plan, household, product; the later one wins."""
    with read_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        found = settings.of_product(session, caller, named, hub.clock())
    return Settings(settings={name: Setting.model_validate(one) for name, one in found.items()})


@ROUTER.get(
    "/owners/{owner_id}/settings",
    operation_id="get_owner_settings",
    summary="Settings of a household",
)
def get_owner_settings(hub: HubDep, caller: CallerDep, owner_id: OwnerId) -> OwnerSettings:
    """Return what a household wants for all of its products."""
    with read_session(hub.engine) as session:
        values = settings.of_owner(session, caller, owner_id)
    return OwnerSettings(owner_id=owner_id, values=values)


@ROUTER.patch(
    "/owners/{owner_id}/settings",
    operation_id="change_owner_settings",
    summary="Change settings of a household",
)
def change_owner_settings(
    hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: ChangeSettings
) -> OwnerSettings:
    """Merge settings into those of a household; its products are sent what changed."""
    with write_session(hub.engine) as session:
        values = settings.change_owner(session, caller, owner_id, body.values, hub.clock())
    return OwnerSettings(owner_id=owner_id, values=values)
