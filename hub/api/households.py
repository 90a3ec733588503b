"""Households: who belongs to one as what, and invitations into it.

1. What is none of the caller's household is not found; what their role does not permit is forbidden.
2. Whoever is taken out, or given another role, notices at once, in open streams too.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from hub.api.bodies import ID_PATTERN, Answer, Email, Id, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.people import person_of
from hub.ports.database.engine import read_session, write_session
from hub.services import households, invitations
from hub.services.households import Place
from hub.services.relations import Relation

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["people"])

OwnerId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the household.")]
PersonId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the person.")]
InvitationId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the invitation.")]
_ProductIds = Annotated[list[Id], Field(min_length=1, max_length=households.MAX_NAMED)]
_END = "An installer's end; a member or viewer may have one, an owner has none."
_FOR_INSTALLERS = "Only these products, for installers; null: all of the household."


class Household(Answer):
    """A household that the caller belongs to."""

    id: str
    name: str
    relation: Relation
    own: bool = Field(description="Whether the caller claims products into this one.")
    since: Instant
    until: Instant | None

    model_config = examples(
        {
            "id": "h7d2n4v9s0b6j1t5",
            "name": "Ada",
            "relation": "owner",
            "own": True,
            "since": "2026-01-01T00:00:00Z",
            "until": None,
        }
    )


class Households(Answer):
    """All households that the caller belongs to, their own first."""

    households: list[Household]


class HouseholdPerson(Answer):
    """Somebody who belongs to a household."""

    person_id: str
    name: str
    email: str
    relation: Relation
    product_ids: list[str] | None = Field(description=_FOR_INSTALLERS)
    since: Instant
    until: Instant | None
    given_by: str = Field(description="Who gave the role.")

    model_config = examples(
        {
            "person_id": "p3k9x0c7w2m5q8r1",
            "name": "Ada",
            "email": "ada@example.org",
            "relation": "owner",
            "product_ids": None,
            "since": "2026-01-01T00:00:00Z",
            "until": None,
            "given_by": "hub",
        }
    )


class HouseholdPeople(Answer):
    """Everybody who belongs to a household now."""

    people: list[HouseholdPerson]


class GiveRole(Request):
    """What somebody is to be in a household."""

    relation: Relation
    ends_at: Instant | None = Field(default=None, description=_END)
    product_ids: _ProductIds | None = Field(default=None, description=_FOR_INSTALLERS)

    model_config = examples({"relation": "installer", "ends_at": "2026-03-01T00:00:00Z"})

    def place(self) -> Place:
        """Return it as the services know it."""
        return Place(self.relation, self.ends_at, self.product_ids)


class HandOver(Request):
    """Who is to own the household."""

    person_id: Id

    model_config = examples({"person_id": "p3k9x0c7w2m5q8r1"})


class Invite(GiveRole):
    """What somebody would be, and who is asked."""

    email: Email | None = Field(
        default=None, description="The account with this address; null makes a one-time code."
    )
    expires_at: Instant | None = Field(default=None, description="Null: in a week.")

    model_config = examples({"relation": "member", "email": "bob@example.org"})


class Invited(Answer):
    """A new invitation."""

    id: str
    code: str | None = Field(description="One-time code, shown only here; null with an address.")
    expires_at: Instant

    model_config = examples(
        {"id": "n5v8q2m0c7x3r9w1", "code": "ABCD-EFGH-JKMN", "expires_at": "2026-02-07T08:00:00Z"}
    )


class Invitation(Answer):
    """An open invitation."""

    id: str
    owner_id: str
    household: str = Field(description="Name of the household.")
    email: str | None
    relation: Relation
    product_ids: list[str] | None = Field(description=_FOR_INSTALLERS)
    ends_at: Instant | None = Field(description=_END)
    created_at: Instant
    expires_at: Instant

    model_config = examples(
        {
            "id": "n5v8q2m0c7x3r9w1",
            "owner_id": "h7d2n4v9s0b6j1t5",
            "household": "Ada",
            "email": "bob@example.org",
            "relation": "member",
            "product_ids": None,
            "ends_at": None,
            "created_at": "2026-01-31T08:00:00Z",
            "expires_at": "2026-02-07T08:00:00Z",
        }
    )


class Invitations(Answer):
    """Open invitations."""

    invitations: list[Invitation]


class AnswerInvitation(Request):
    """Which invitation: one to the caller's address by its id, or any by its code."""

    invitation_id: Id | None = None
    code: Annotated[str, Field(min_length=1, max_length=40)] | None = None

    model_config = examples({"code": "ABCD-EFGH-JKMN"})


class Joined(Answer):
    """A household that the caller belongs to from now on."""

    owner_id: str
    relation: Relation
    until: Instant | None

    model_config = examples({"owner_id": "h7d2n4v9s0b6j1t5", "relation": "member", "until": None})


@ROUTER.get("/households", operation_id="list_households", summary="The caller's households")
def list_households(hub: HubDep, caller: CallerDep) -> Households:
    """List the households that the caller belongs to, and as what."""
    with read_session(hub.engine) as session:
        found = households.mine(session, caller, hub.clock())
    return Households(households=[Household.model_validate(one) for one in found])


@ROUTER.get(
    "/households/{owner_id}/people",
    operation_id="list_household_people",
    summary="Who belongs to a household",
)
def list_household_people(hub: HubDep, caller: CallerDep, owner_id: OwnerId) -> HouseholdPeople:
    """List the people of a household; installers do not see them."""
    with read_session(hub.engine) as session:
        found = households.people(session, caller, owner_id, hub.clock())
    return HouseholdPeople(people=[HouseholdPerson.model_validate(one) for one in found])


@ROUTER.put(
    "/households/{owner_id}/people/{person_id}",
    operation_id="give_household_role",
    summary="Give somebody of a household another role",
    status_code=204,
    response_class=Response,
)
def give_household_role(
    hub: HubDep, caller: CallerDep, owner_id: OwnerId, person_id: PersonId, body: GiveRole
) -> None:
    """Change what somebody of a household is in it; the last owner stays one."""
    with write_session(hub.engine) as session:
        households.give_role(
            session, caller, owner_id, person_id, body.place(), hub.clock(), hub.tokens
        )


@ROUTER.delete(
    "/households/{owner_id}/people/{person_id}",
    operation_id="remove_from_household",
    summary="Leave a household, or take somebody out of it",
    status_code=204,
    response_class=Response,
)
def remove_from_household(
    hub: HubDep, caller: CallerDep, owner_id: OwnerId, person_id: PersonId
) -> None:
    """Owners take anybody out, everybody may leave; the last owner stays."""
    with write_session(hub.engine) as session:
        households.remove(session, caller, owner_id, person_id, hub.clock(), hub.tokens)


@ROUTER.post(
    "/households/{owner_id}/hand-over",
    operation_id="hand_over_household",
    summary="Make somebody else the owner of a household",
    status_code=204,
    response_class=Response,
)
def hand_over_household(hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: HandOver) -> None:
    """Make somebody of the household its owner and the caller a member, in one step."""
    with write_session(hub.engine) as session:
        households.hand_over(session, caller, owner_id, body.person_id, hub.clock(), hub.tokens)


@ROUTER.post(
    "/households/{owner_id}/invitations",
    operation_id="invite",
    summary="Invite somebody into a household",
    status_code=201,
)
def invite(hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: Invite) -> Invited:
    """Offer a place to the account with an address, or to whoever is given a one-time code."""
    with write_session(hub.engine) as session:
        made = invitations.invite(
            session,
            caller,
            owner_id,
            body.place(),
            hub.clock(),
            hub.tokens,
            email=body.email,
            expires_at=body.expires_at,
        )
    return Invited.model_validate(made)


@ROUTER.get(
    "/households/{owner_id}/invitations",
    operation_id="list_invitations",
    summary="Open invitations into a household",
)
def list_invitations(hub: HubDep, caller: CallerDep, owner_id: OwnerId) -> Invitations:
    """List the open invitations into a household, for its owners."""
    with read_session(hub.engine) as session:
        found = invitations.of_household(session, caller, owner_id, hub.clock())
    return Invitations(invitations=[Invitation.model_validate(one) for one in found])


@ROUTER.get(
    "/me/invitations", operation_id="list_my_invitations", summary="Invitations to the caller"
)
def list_my_invitations(hub: HubDep, caller: CallerDep) -> Invitations:
    """List the open invitations to the caller's address."""
    with read_session(hub.engine) as session:
        found = invitations.mine(session, caller, hub.clock())
    return Invitations(invitations=[Invitation.model_validate(one) for one in found])


@ROUTER.post("/invitations/accept", operation_id="accept_invitation", summary="Join a household")
def accept_invitation(hub: HubDep, caller: CallerDep, body: AnswerInvitation) -> Joined:
    """Take a place that was offered; an invitation is good for one person, once."""
    at = hub.clock()
    hub.limits.invitation_code.take(person_of(caller), at)
    with write_session(hub.engine) as session:
        row = invitations.accept(
            session,
            caller,
            at,
            hub.tokens,
            invitation_id=body.invitation_id,
            code=body.code,
        )
        return Joined(owner_id=row.owner_id, relation=Relation(row.relation), until=row.ends_at)


@ROUTER.post(
    "/invitations/decline",
    operation_id="decline_invitation",
    summary="Turn an invitation down",
    status_code=204,
    response_class=Response,
)
def decline_invitation(hub: HubDep, caller: CallerDep, body: AnswerInvitation) -> None:
    """Turn an invitation down; it cannot be accepted any more."""
    at = hub.clock()
    hub.limits.invitation_code.take(person_of(caller), at)
    with write_session(hub.engine) as session:
        invitations.decline(
            session,
            caller,
            at,
            hub.tokens,
            invitation_id=body.invitation_id,
            code=body.code,
        )


@ROUTER.delete(
    "/invitations/{invitation_id}",
    operation_id="withdraw_invitation",
    summary="Take an invitation back",
    status_code=204,
    response_class=Response,
)
def withdraw_invitation(hub: HubDep, caller: CallerDep, invitation_id: InvitationId) -> None:
    """Take an open invitation back, by an owner of the household."""
    with write_session(hub.engine) as session:
        invitations.withdraw(session, caller, invitation_id, hub.clock())
