"""Who looked at somebody's product and why, and consent for support to see what it measured.

1. Staff say why they look: with the header `X-Homeport-Reason`, or once for a product here.
2. The household reads who looked, when, at what and why; under a pseudonym unless the hub names.
3. Consent is for a time, and taken back at once. Broken glass is for an hour, and written to the
   household.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from hub.api.bodies import ID_PATTERN, Answer, DeviceId, Id, Line, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.households import OwnerId
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.engine import read_session, write_session
from hub.services import consent, looks
from hub.services.caller import Role
from hub.services.looks import Part

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["people"])

ConsentId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the consent.")]
_Case = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class StateReason(Request):
    """Why somebody of the staff looks at a product; its household reads it."""

    reason: Annotated[str, Field(max_length=looks.MAX_REASON)] = ""
    case: _Case | None = Field(default=None, description="Number of a support case.")

    model_config = examples({"reason": "The owner called: it does not heat.", "case": "4711"})


class StatedReason(Answer):
    """A reason that is remembered for the product."""

    until: Instant

    model_config = examples({"until": "2026-01-31T12:00:00Z"})


class Look(Answer):
    """Somebody looked at a part of the product, or at its household's bills; once for a quarter of an hour."""

    id: int
    role: Role
    who: str = Field(description="Stable pseudonym, or the name where the hub names people.")
    part: Part
    reason: str
    case_reference: str | None
    at: Instant

    model_config = examples(
        {
            "id": 17,
            "role": "support",
            "who": "3F9A21C7",
            "part": "telemetry",
            "reason": "The owner called: it does not heat.",
            "case_reference": "4711",
            "at": "2026-01-31T08:00:00Z",
        }
    )


class GiveConsent(Request):
    """Until when support may see what products measured."""

    ends_at: Instant
    product_id: Id | None = Field(default=None, description="Only this product; null: all.")
    case: _Case | None = Field(default=None, description="Only for this case; null: any.")

    model_config = examples({"ends_at": "2026-02-14T08:00:00Z", "case": "4711"})


class Consent(Answer):
    """A consent in force."""

    id: str
    product_id: str | None
    case_reference: str | None
    starts_at: Instant
    ends_at: Instant
    given_by: str

    model_config = examples(
        {
            "id": "c5v8q2m0c7x3r9w1",
            "product_id": None,
            "case_reference": "4711",
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": "2026-02-14T08:00:00Z",
            "given_by": "person:p3k9x0c7w2m5q8r1",
        }
    )


class Consents(Answer):
    """The consents of a household in force, the earliest end first."""

    consents: list[Consent]


class BreakGlass(Request):
    """Why what a product measured must be seen without consent."""

    reason: Line

    model_config = examples({"reason": "Gas alarm in the house, nobody answers."})


class BrokenGlass(Answer):
    """Until when its telemetry is open to who broke the glass."""

    until: Instant

    model_config = examples({"until": "2026-01-31T09:00:00Z"})


@ROUTER.post(
    "/products/{device_id}/reason", operation_id="state_reason", summary="Say why you look"
)
def state_reason(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: StateReason
) -> StatedReason:
    """Remember for some hours why the caller looks at a product."""
    with write_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        until = looks.state(session, caller, named, body.reason, body.case, hub.clock())
    return StatedReason(until=until)


@ROUTER.get(
    "/products/{device_id}/looks", operation_id="list_looks", summary="Who looked at a product"
)
def list_looks(
    hub: HubDep,
    caller: CallerDep,
    device_id: DeviceId,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[Look]:
    """List who of staff and partners looked at a product in the household's time, and why."""
    listing = Listing("list_looks", (int,), device=device_id)
    key = listing.key(after)
    hub.looks.flush()
    with read_session(hub.engine) as session:
        rows = looks.listed(
            session,
            caller,
            product_id_of(session, device_id),
            hub.tokens,
            names=hub.names_in_looks,
            before=None if key is None else int(key[0]),
            limit=limit + 1,
        )
    following = listing.following([(row.id,) for row in rows], limit)
    return Page(items=[Look.model_validate(row) for row in rows[:limit]], next=following)


@ROUTER.post(
    "/households/{owner_id}/consents",
    operation_id="give_consent",
    summary="Let support see what products measured",
    status_code=201,
)
def give_consent(hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: GiveConsent) -> Consent:
    """Consent until an instant, for one product or all, one case or any."""
    with write_session(hub.engine) as session:
        row = consent.give(
            session,
            caller,
            owner_id,
            body.ends_at,
            hub.clock(),
            hub.tokens,
            product_id=body.product_id,
            case=body.case,
        )
        return Consent.model_validate(row)


@ROUTER.get(
    "/households/{owner_id}/consents",
    operation_id="list_consents",
    summary="What support may see",
)
def list_consents(hub: HubDep, caller: CallerDep, owner_id: OwnerId) -> Consents:
    """List the consents of a household that are in force."""
    with read_session(hub.engine) as session:
        rows = consent.listed(session, caller, owner_id, hub.clock())
        return Consents(consents=[Consent.model_validate(row) for row in rows])


@ROUTER.delete(
    "/consents/{consent_id}",
    operation_id="withdraw_consent",
    summary="Take a consent back",
    status_code=204,
    response_class=Response,
)
def withdraw_consent(hub: HubDep, caller: CallerDep, consent_id: ConsentId) -> None:
    """Take a consent back, at once."""
    with write_session(hub.engine) as session:
        consent.withdraw(session, caller, consent_id, hub.clock())


@ROUTER.post(
    "/products/{device_id}/break-glass",
    operation_id="break_glass",
    summary="See what a product measured without consent",
    status_code=201,
)
def break_glass(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: BreakGlass
) -> BrokenGlass:
    """Open a product's telemetry to the caller for an hour; audited, and its owner is told."""
    with write_session(hub.engine) as session:
        row = consent.break_glass(
            session,
            caller,
            product_id_of(session, device_id),
            body.reason,
            hub.clock(),
            hub.tokens,
        )
        return BrokenGlass(until=row.ends_at)
