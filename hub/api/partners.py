"""Partners, such as dealers, and what they were granted.

1. An operator grants over anybody's products; the owner of a household over its own.
2. Owners see every grant that reaches a product of theirs; grants end by themselves, or are revoked.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from hub.api.bodies import ID_PATTERN, Answer, Id, Line, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.ports.database.engine import read_session, write_session
from hub.services import households, partners
from hub.services.partners import Reach
from hub.services.relations import Act

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["people"])

GrantId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the grant.")]


class CreatePartner(Request):
    """An organisation that shall look after products."""

    name: Line

    model_config = examples({"name": "Heating Huber"})


class NewPartner(Answer):
    """A partner that has just been created; its people are created with its id."""

    partner_id: str

    model_config = examples({"partner_id": "d5v8q2m0c7x3r9w1"})


class GivePartnerGrant(Request):
    """What a partner may do with which products, until when, and what for."""

    partner_id: Id
    acts: Annotated[list[Act], Field(min_length=1, max_length=len(Act))]
    reason: Line
    ends_at: Instant
    owner_id: Id | None = Field(
        default=None, description="Household of the customer who gives it; null: their own."
    )
    product_ids: (
        Annotated[list[Id], Field(min_length=1, max_length=households.MAX_NAMED)] | None
    ) = None
    model: Annotated[str, Field(min_length=1, max_length=48)] | None = None
    region: Line | None = None
    order_prefix: Line | None = None

    model_config = examples(
        {
            "partner_id": "d5v8q2m0c7x3r9w1",
            "acts": ["see", "alerts"],
            "reason": "service contract 2026",
            "ends_at": "2027-01-01T00:00:00Z",
            "region": "south",
        }
    )


class PartnerGrant(Answer):
    """A grant in force; of what is null it does not depend."""

    id: str
    partner_id: str
    partner: str = Field(description="Name of the partner.")
    owner_id: str | None = Field(description="Household that gave it; null: the operator did.")
    product_ids: list[str] | None
    model: str | None
    region: str | None
    order_prefix: str | None
    acts: list[Act]
    reason: str
    starts_at: Instant
    ends_at: Instant

    model_config = examples(
        {
            "id": "g5v8q2m0c7x3r9w1",
            "partner_id": "d5v8q2m0c7x3r9w1",
            "partner": "Heating Huber",
            "owner_id": None,
            "product_ids": None,
            "model": None,
            "region": "south",
            "order_prefix": None,
            "acts": ["alerts", "see"],
            "reason": "service contract 2026",
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": "2027-01-01T00:00:00Z",
        }
    )


class PartnerGrants(Answer):
    """Grants in force that the caller may know of."""

    grants: list[PartnerGrant]


class NewPartnerGrant(Answer):
    """A grant that was just given."""

    id: str

    model_config = examples({"id": "g5v8q2m0c7x3r9w1"})


@ROUTER.post(
    "/partners", operation_id="create_partner", summary="Create a partner", status_code=201
)
def create_partner(hub: HubDep, caller: CallerDep, body: CreatePartner) -> NewPartner:
    """Create an organisation; it may do nothing until it is granted something."""
    with write_session(hub.engine) as session:
        made = partners.create(session, caller, body.name, hub.clock(), hub.tokens)
    return NewPartner(partner_id=made)


@ROUTER.post(
    "/partner-grants",
    operation_id="give_partner_grant",
    summary="Grant a partner something",
    status_code=201,
)
def give_partner_grant(hub: HubDep, caller: CallerDep, body: GivePartnerGrant) -> NewPartnerGrant:
    """Let a partner's people do something with some products until an instant."""
    with write_session(hub.engine) as session:
        row = partners.grant(
            session,
            caller,
            body.partner_id,
            Reach(body.product_ids, body.model, body.region, body.order_prefix),
            body.acts,
            body.reason,
            body.ends_at,
            hub.clock(),
            hub.tokens,
            owner_id=body.owner_id,
        )
        return NewPartnerGrant(id=row.id)


@ROUTER.get(
    "/partner-grants", operation_id="list_partner_grants", summary="What partners were granted"
)
def list_partner_grants(
    hub: HubDep,
    caller: CallerDep,
    owner_id: Annotated[
        str | None,
        Query(pattern=ID_PATTERN, description="Only those that reach this household's products."),
    ] = None,
) -> PartnerGrants:
    """List the grants in force that the caller may know of."""
    with read_session(hub.engine) as session:
        found = partners.listed(session, caller, owner_id, hub.clock())
    return PartnerGrants(grants=[PartnerGrant.model_validate(one) for one in found])


@ROUTER.delete(
    "/partner-grants/{grant_id}",
    operation_id="revoke_partner_grant",
    summary="End a partner's grant",
    status_code=204,
    response_class=Response,
)
def revoke_partner_grant(hub: HubDep, caller: CallerDep, grant_id: GrantId) -> None:
    """End a grant now: an operator any, an owner of a household those of the household."""
    with write_session(hub.engine) as session:
        partners.revoke(session, caller, grant_id, hub.clock())
