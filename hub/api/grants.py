"""Grants: features given to a product beside any plan; who gave them, and why.

1. A grant has a beginning and perhaps an end; withdrawing it sets its end and may be repeated.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from hub.api.bodies import ID_PATTERN, Answer, DeviceId, Line, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session, write_session
from hub.services import feature_grants

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["products"])

GrantId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the grant.")]
_Value = bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[str, Field(max_length=200)]


class GiveGrant(Request):
    """Which feature is given, on which terms, why, and until when."""

    feature: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
    reason: Line
    value: _Value | None = Field(default=None, description="Null: what the model gives.")
    ends_at: Instant | None = Field(default=None, description="Null: for good.")

    model_config = examples({"feature": "remote_control", "reason": "three days without service"})


class Grant(Answer):
    """A feature that was given to a product."""

    id: str
    feature: str
    value: bool | int | str | None
    reason: str
    author: str
    starts_at: Instant
    ends_at: Instant | None

    model_config = examples(
        {
            "id": "w2k7f4c9x1m8d3q5",
            "feature": "remote_control",
            "value": None,
            "reason": "three days without service",
            "author": "person:h7d2n4v9s0b6j1t5",
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": None,
        }
    )


class Grants(Answer):
    """All grants that a product ever had, the latest first."""

    grants: list[Grant]


@ROUTER.post(
    "/products/{device_id}/grants",
    operation_id="give_grant",
    summary="Give a product a feature",
    status_code=201,
)
def give_grant(hub: HubDep, caller: CallerDep, device_id: DeviceId, body: GiveGrant) -> Grant:
    """Give a feature beside any plan, from now on; it is audited."""
    with write_session(hub.engine) as session:
        row = feature_grants.give(
            session,
            caller,
            product_id_of(session, device_id),
            body.feature,
            body.reason,
            hub.clock(),
            hub.tokens,
            value=body.value,
            ends_at=body.ends_at,
        )
        return Grant.model_validate(row)


@ROUTER.get(
    "/products/{device_id}/grants", operation_id="list_grants", summary="List a product's grants"
)
def list_grants(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Grants:
    """List the grants of a product, those that are over too."""
    with read_session(hub.engine) as session:
        rows = feature_grants.listed(session, caller, product_id_of(session, device_id))
        return Grants(grants=[Grant.model_validate(row) for row in rows])


@ROUTER.post(
    "/grants/{grant_id}/withdraw", operation_id="withdraw_grant", summary="Withdraw a grant"
)
def withdraw_grant(hub: HubDep, caller: CallerDep, grant_id: GrantId) -> Grant:
    """End a grant now; one that is over stays as it is."""
    with write_session(hub.engine) as session:
        row = feature_grants.withdraw(session, caller, grant_id, hub.clock())
        return Grant.model_validate(row)
