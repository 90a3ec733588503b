"""Webhooks: programs that are told what happens, by Standard Webhooks (https://www.standardwebhooks.com).

1. A secret is shown once, when an endpoint is made or its secret changed. No answer that holds one is ever kept.
2. What is sent says what holds, in full and with a version that rises; the log says what became of each try.
3. Receivers may see a delivery twice and late; its `webhook-id` stays the same.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from hub.api.bodies import ID_PATTERN, Answer, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.webhook_tables import WebhookDelivery, WebhookEvent
from hub.services import webhook_deliveries, webhook_endpoints
from hub.services.webhook_events import EventType

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["webhooks"])

EndpointId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the endpoint.")]
DeliveryId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the delivery.")]
_Url = Annotated[str, Field(min_length=10, max_length=2_000, pattern=r"^[!-~]+$")]
_Types = Annotated[list[EventType], Field(max_length=len(EventType))]
_About = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_ENDPOINT: dict[str, Any] = {
    "id": "w2k7f4c9x1m8d3q5",
    "url": "https://example.org/hooks/homeport",
    "types": ["invoice.paid", "subscription.changed"],
    "description": "Our shop",
    "created_at": "2026-01-31T08:00:00Z",
    "former_until": None,
    "failing_since": None,
    "disabled_at": None,
    "disabled_why": None,
}
_DELIVERY: dict[str, Any] = {
    "id": "q5k7f4c9x1m8d3w2",
    "endpoint_id": "w2k7f4c9x1m8d3q5",
    "event": 4711,
    "type": "invoice.paid",
    "subject": "owner:h7d2n4v9s0b6j1t5",
    "happened_at": "2026-01-31T08:00:00Z",
    "tries": 1,
    "next_at": None,
    "delivered_at": "2026-01-31T08:00:01Z",
}


class CreateEndpoint(Request):
    """Where to tell of what."""

    url: _Url = Field(description="An https address, without user name.")
    types: _Types = Field(default_factory=list, description="Empty: all.")
    description: _About = ""

    model_config = examples({"url": _ENDPOINT["url"], "types": ["invoice.paid"]})


class ChangeEndpoint(Request):
    """What is to change; what is left out stays."""

    url: _Url | None = None
    types: _Types | None = None
    description: _About | None = None
    enabled: bool | None = None

    model_config = examples({"enabled": True})


class RotateSecret(Request):
    """How long the former secret signs too."""

    overlap_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = webhook_endpoints.OVERLAP_S

    model_config = examples({"overlap_s": 86_400})


class WebhookEndpoint(Answer):
    """Somebody who is told."""

    id: str
    url: str
    types: list[EventType] = Field(description="Empty: all.")
    description: str
    created_at: Instant
    former_until: Instant | None = Field(description="Until then the former secret signs too.")
    failing_since: Instant | None = Field(description="Nothing has succeeded since.")
    disabled_at: Instant | None
    disabled_why: str | None = Field(description="`by_hand`, `failing` or `gone`.")

    model_config = examples(_ENDPOINT)


class WebhookEndpoints(Answer):
    """All who are told, the oldest first."""

    endpoints: list[WebhookEndpoint]


class EndpointSecret(Answer):
    """An endpoint and its secret, which is not shown again."""

    endpoint: WebhookEndpoint
    secret: str

    model_config = examples(
        {"endpoint": _ENDPOINT, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    )


class Delivery(Answer):
    """One event on its way to one endpoint."""

    id: str = Field(description="Its `webhook-id` is `msg_` and this.")
    endpoint_id: str
    event: int = Field(description="Number of the event; versions are such numbers.")
    type: str
    subject: str = Field(description="`product:ID` or `owner:ID`.")
    happened_at: Instant
    tries: int
    next_at: Instant | None = Field(description="When it is tried next; null: not any more.")
    delivered_at: Instant | None

    model_config = examples(_DELIVERY)


class Attempt(Answer):
    """One try."""

    number: int
    at: Instant
    version: int = Field(description="Of the data that was sent.")
    status: int | None = Field(description="Of the answer; null: none came.")
    error: str | None
    duration_ms: int

    model_config = examples(
        {
            "number": 1,
            "at": "2026-01-31T08:00:01Z",
            "version": 4711,
            "status": 204,
            "error": None,
            "duration_ms": 84,
        }
    )


class DeliveryLog(Answer):
    """A delivery with every try, the first one first."""

    delivery: Delivery
    attempts: list[Attempt]


@ROUTER.post(
    "/webhook-endpoints",
    operation_id="create_webhook_endpoint",
    summary="Let an address hear of events",
    status_code=201,
)
def create_endpoint(hub: HubDep, caller: CallerDep, body: CreateEndpoint) -> EndpointSecret:
    """Register an endpoint and show its secret once; it is audited."""
    with write_session(hub.engine) as session:
        row = webhook_endpoints.register(
            session,
            caller,
            body.url,
            body.types,
            body.description,
            hub.clock(),
            hub.tokens,
            plain=hub.plain_webhooks,
        )
        made = WebhookEndpoint.model_validate(row)
    return EndpointSecret(endpoint=made, secret=webhook_endpoints.secret(hub.tokens, made.id, 1))


@ROUTER.get("/webhook-endpoints", operation_id="list_webhook_endpoints", summary="List who is told")
def list_endpoints(hub: HubDep, caller: CallerDep) -> WebhookEndpoints:
    """List all endpoints, the oldest first."""
    with read_session(hub.engine) as session:
        rows = webhook_endpoints.listed(session, caller)
        return WebhookEndpoints(endpoints=[WebhookEndpoint.model_validate(row) for row in rows])


@ROUTER.get(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="get_webhook_endpoint",
    summary="One endpoint",
)
def get_endpoint(hub: HubDep, caller: CallerDep, endpoint_id: EndpointId) -> WebhookEndpoint:
    """Return an endpoint, with the ETag that a change of it needs."""
    with read_session(hub.engine) as session:
        return WebhookEndpoint.model_validate(webhook_endpoints.one(session, caller, endpoint_id))


@ROUTER.patch(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="change_webhook_endpoint",
    summary="Change, disable or enable an endpoint",
)
def change_endpoint(
    hub: HubDep, caller: CallerDep, endpoint_id: EndpointId, body: ChangeEndpoint
) -> WebhookEndpoint:
    """Change an endpoint; one that is enabled again is sent what still waits."""
    with write_session(hub.engine) as session:
        row = webhook_endpoints.change(
            session,
            caller,
            endpoint_id,
            hub.clock(),
            url=body.url,
            types=body.types,
            description=body.description,
            enabled=body.enabled,
            plain=hub.plain_webhooks,
        )
        return WebhookEndpoint.model_validate(row)


@ROUTER.delete(
    "/webhook-endpoints/{endpoint_id}",
    operation_id="remove_webhook_endpoint",
    summary="Remove an endpoint",
    status_code=204,
    response_class=Response,
)
def remove_endpoint(hub: HubDep, caller: CallerDep, endpoint_id: EndpointId) -> None:
    """Remove an endpoint and the log of what it was told."""
    with write_session(hub.engine) as session:
        webhook_endpoints.remove(session, caller, endpoint_id, hub.clock())


@ROUTER.post(
    "/webhook-endpoints/{endpoint_id}/rotate-secret",
    operation_id="rotate_webhook_secret",
    summary="Give an endpoint a new secret",
)
def rotate_secret(
    hub: HubDep, caller: CallerDep, endpoint_id: EndpointId, body: RotateSecret
) -> EndpointSecret:
    """Make a new secret and show it once; for a while both sign, so that nothing is missed."""
    with write_session(hub.engine) as session:
        row = webhook_endpoints.rotate(session, caller, endpoint_id, hub.clock(), body.overlap_s)
        shown, number = WebhookEndpoint.model_validate(row), row.secret_number
    secret = webhook_endpoints.secret(hub.tokens, shown.id, number)
    return EndpointSecret(endpoint=shown, secret=secret)


@ROUTER.post(
    "/webhook-endpoints/{endpoint_id}/test",
    operation_id="test_webhook_endpoint",
    summary="Send an endpoint a test event",
    status_code=202,
)
def test_endpoint(hub: HubDep, caller: CallerDep, endpoint_id: EndpointId) -> Delivery:
    """Send an event `webhook.test` to one endpoint, whatever it wants to hear of."""
    with write_session(hub.engine) as session:
        row, event = webhook_deliveries.test(session, caller, endpoint_id, hub.clock(), hub.tokens)
        return _shown(row, event)


@ROUTER.get(
    "/webhook-deliveries", operation_id="list_webhook_deliveries", summary="List deliveries"
)
def list_deliveries(
    hub: HubDep,
    caller: CallerDep,
    endpoint_id: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    waiting: Annotated[
        bool | None, Query(description="Only those that still wait, or only those that do not.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[Delivery]:
    """List what was or is to be told, the newest first; it is kept for thirty days."""
    listing = Listing("list_webhook_deliveries", (int, str), endpoint=endpoint_id, waiting=waiting)
    key = listing.key(after)
    with read_session(hub.engine) as session:
        found = webhook_deliveries.listed(
            session,
            caller,
            endpoint_id=endpoint_id,
            waiting=waiting,
            before=None if key is None else (int(key[0]), str(key[1])),
            limit=limit + 1,
        )
        following = listing.following([(row.event_id, row.id) for row, _ in found], limit)
        return Page(items=[_shown(*one) for one in found[:limit]], next=following)


@ROUTER.get(
    "/webhook-deliveries/{delivery_id}",
    operation_id="get_webhook_delivery",
    summary="What became of a delivery",
)
def get_delivery(hub: HubDep, caller: CallerDep, delivery_id: DeliveryId) -> DeliveryLog:
    """Return a delivery with every try: when, with which answer, and how long it took."""
    with read_session(hub.engine) as session:
        row, event, tries = webhook_deliveries.one(session, caller, delivery_id)
        attempts = [Attempt.model_validate(one) for one in tries]
        return DeliveryLog(delivery=_shown(row, event), attempts=attempts)


@ROUTER.post(
    "/webhook-deliveries/{delivery_id}/resend",
    operation_id="resend_webhook_delivery",
    summary="Send a delivery again",
    status_code=202,
)
def resend_delivery(hub: HubDep, caller: CallerDep, delivery_id: DeliveryId) -> Delivery:
    """Send a delivery again under its own id, with what holds now; the tries begin anew."""
    with write_session(hub.engine) as session:
        webhook_deliveries.send_again(session, caller, delivery_id, hub.clock())
        row, event, _ = webhook_deliveries.one(session, caller, delivery_id)
        return _shown(row, event)


def _shown(row: WebhookDelivery, event: WebhookEvent) -> Delivery:
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        event=event.id,
        type=event.type,
        subject=event.subject,
        happened_at=event.at,
        tries=row.tries,
        next_at=row.next_at,
        delivered_at=row.delivered_at,
    )
