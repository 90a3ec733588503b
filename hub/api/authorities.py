"""The authorities that issue certificates: which there are, a new one, and the end of an old one.

1. For operators; devices learn of authorities by their signed states.
2. No private key ever passes here.
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from hub.api.bodies import Answer, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.ports.database.engine import read_session
from hub.services import authority_rotation

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["operation"])


class Authority(Answer):
    """One authority and when it counts."""

    name: str
    issues: bool = Field(description="Whether it issues certificates now.")
    trusted: bool
    announced_at: Instant | None = Field(description="Null: since the first start.")
    issues_from: Instant | None = Field(description="Null: since the first start.")
    retires_at: Instant | None = Field(
        description="From when it is retired as soon as no device depends on it. Null: open."
    )
    retired_at: Instant | None = Field(description="Since when nobody trusts it.")
    not_after: Instant = Field(description="When its own certificate ends.")
    depending: int = Field(description="Devices whose present certificate is by it.")

    model_config = examples(
        {
            "name": "9f86d081884c7d65",
            "issues": True,
            "trusted": True,
            "announced_at": None,
            "issues_from": None,
            "retires_at": None,
            "retired_at": None,
            "not_after": "2046-01-31T08:00:00Z",
            "depending": 1200,
        }
    )


class Authorities(Answer):
    """All authorities there ever were, the oldest first."""

    authorities: list[Authority]

    model_config = examples({"authorities": []})


class RotateAuthority(Request):
    """A wish for a new authority."""

    lead_days: Annotated[
        int,
        Field(
            ge=0,
            le=365,
            description="Days from when it is trusted until it issues. 0: the keys there are may be "
            "known to others; all are retired at once.",
        ),
    ] = authority_rotation.LEAD_DAYS
    overlap_days: Annotated[
        int | None,
        Field(
            ge=0,
            le=3_650,
            description="Days that the one before stays trusted after the lead. Null: as long as "
            "certificates of devices last, and 30 days.",
        ),
    ] = None

    model_config = examples({"lead_days": 30, "overlap_days": None})


class RetireAuthority(Request):
    """A wish to trust an authority no more."""

    force: bool = Field(
        default=False,
        description="Also while devices depend on it; they come back by their keys over HTTPS.",
    )

    model_config = examples({"force": False})


@ROUTER.get("/authorities", operation_id="list_authorities", summary="List the authorities")
def list_authorities(hub: HubDep, caller: CallerDep) -> Authorities:
    """List the authorities, and how many devices depend on each."""
    del caller  # operators, by the table
    return _shown(hub)


@ROUTER.post("/authorities/rotate", operation_id="rotate_authority", summary="Make a new authority")
def rotate_authority(hub: HubDep, caller: CallerDep, body: RotateAuthority) -> Authorities:
    """Trust a new authority beside the old one; it issues after a lead."""
    authority_rotation.rotate(
        hub.ca, hub.engine, caller, hub.ca.world(hub.clock()), body.lead_days, body.overlap_days
    )
    return _shown(hub)


@ROUTER.post(
    "/authorities/{name}/retire", operation_id="retire_authority", summary="Retire an authority"
)
def retire_authority(
    hub: HubDep, caller: CallerDep, name: str, body: RetireAuthority
) -> Authorities:
    """Trust an authority no more and destroy its key; refused while devices depend on it."""
    authority_rotation.retire(
        hub.ca, hub.engine, caller, name, hub.ca.world(hub.clock()), force=body.force
    )
    return _shown(hub)


def _shown(hub: HubDep) -> Authorities:
    with read_session(hub.engine) as session:
        found = authority_rotation.shown(hub.ca, session, hub.ca.world(hub.clock()))
    return Authorities(
        authorities=[Authority.model_validate(one, from_attributes=True) for one in found]
    )
