"""The operator's pages of outgoing webhooks: who is told, what became of each delivery, and doing something about it.

1. A secret is shown once, on the page that answers its making; it is in no address and no page is kept by browsers.
2. What is done here is done by the services, audited as through the API.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.webhook_tables import WebhookEndpoint
from hub.services import webhook_deliveries, webhook_endpoints
from hub.services.webhook_events import EventType
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

EndpointId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]
DeliveryId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]
MOST: Final = 50
WHY: Final[Mapping[str, str]] = {
    "by_hand": N_("paused by hand"),
    "failing": N_("stopped: it failed for days"),
    "gone": N_("stopped: it answered 410 Gone"),
}
"""Why an endpoint is told nothing."""
_ADDRESS = N_("The address must begin with https:// and have a host, without user name.")
_PAUSED = N_("It is paused. Let it go on first; what waits is then sent by itself.")
_MANY = N_("There are too many endpoints already. Remove one that is not used.")


@ROUTER.get("/operator/webhooks", operation_id="page_webhooks")
def page_webhooks(request: Request) -> Response:
    """Show who is told of events."""
    return _listed(request)


@ROUTER.post("/operator/webhooks", operation_id="do_webhook")
def do_webhook(request: Request) -> Response:
    """Let an address hear of events, and show its secret once."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    chosen = [kind for kind in EventType if form.get(f"type-{kind}")]
    text = visitor.language.text
    try:
        with write_session(hub.engine) as session:
            row = webhook_endpoints.register(
                session,
                visitor.known,
                form.get("url", "").strip()[:2_000],
                chosen,
                form.get("description", "").strip()[:200],
                hub.clock(),
                hub.tokens,
                plain=hub.plain_webhooks,
            )
    except InvalidInputError as refused:
        return _listed(request, error=text(_ADDRESS), status=refused.status)
    except ConflictError as refused:
        return _listed(request, error=text(_MANY), status=refused.status)
    return _secret(request, row)


@ROUTER.get("/operator/webhooks/{endpoint_id}", operation_id="page_webhook")
def page_webhook(
    request: Request,
    endpoint_id: EndpointId,
    show: str = "",
    delivery: Annotated[str, Query(max_length=16)] = "",
) -> Response:
    """Show an endpoint and what it was told; `show=waiting`: what it is still to be told."""
    return _one(request, endpoint_id, waiting=show == "waiting", delivery=delivery)


@ROUTER.post("/operator/webhooks/{endpoint_id}", operation_id="do_webhook_act")
def do_webhook_act(request: Request, endpoint_id: EndpointId) -> Response:
    """Pause an endpoint, let it go on, test it, give it a new secret, or remove it."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    caller, at, act = visitor.known, hub.clock(), form.get("act", "")
    try:
        with write_session(hub.engine) as session:
            match act:
                case "pause" | "go_on":
                    enabled = act == "go_on"
                    webhook_endpoints.change(session, caller, endpoint_id, at, enabled=enabled)
                case "test":
                    webhook_deliveries.test(session, caller, endpoint_id, at, hub.tokens)
                case "rotate":
                    row = webhook_endpoints.rotate(session, caller, endpoint_id, at)
                case "remove":
                    webhook_endpoints.remove(session, caller, endpoint_id, at)
                case _:
                    raise InvalidInputError("There is nothing to do in this form.")
    except ConflictError as refused:
        return _one(
            request, endpoint_id, error=visitor.language.text(_PAUSED), status=refused.status
        )
    if act == "rotate":
        return _secret(request, row)
    page = "/operator/webhooks"
    return RedirectResponse(page if act == "remove" else f"{page}/{endpoint_id}", 303)


@ROUTER.post("/operator/deliveries/{delivery_id}/resend", operation_id="do_resend")
def do_resend(request: Request, delivery_id: DeliveryId) -> Response:
    """Send a delivery once more."""
    hub, visitor = hub_of(request), visitor_of(request)
    with read_session(hub.engine) as session:
        endpoint_id = webhook_deliveries.one(session, visitor.known, delivery_id)[0].endpoint_id
    try:
        with write_session(hub.engine) as session:
            webhook_deliveries.send_again(session, visitor.known, delivery_id, hub.clock())
    except ConflictError as refused:
        return _one(
            request, endpoint_id, error=visitor.language.text(_PAUSED), status=refused.status
        )
    return RedirectResponse(f"/operator/webhooks/{endpoint_id}?delivery={delivery_id}", 303)


def _listed(request: Request, *, error: str = "", status: int = 200) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    with read_session(hub.engine) as session:
        rows = webhook_endpoints.listed(session, visitor.known)
        backlog = webhook_deliveries.backlog(session)
    return pages_of(request).page(
        request,
        "webhooks.html",
        status=status,
        endpoints=rows,
        backlog=backlog,
        types=[kind for kind in EventType if kind is not EventType.TEST],
        why=WHY,
        error=error,
    )


def _one(
    request: Request,
    endpoint_id: str,
    *,
    waiting: bool = False,
    delivery: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    caller = visitor.known
    with read_session(hub.engine) as session:
        row = webhook_endpoints.one(session, caller, endpoint_id)
        told = webhook_deliveries.listed(
            session, caller, endpoint_id=row.id, waiting=waiting or None, limit=MOST
        )
        tries = webhook_deliveries.one(session, caller, delivery)[2] if delivery else ()
    return pages_of(request).page(
        request,
        "webhook.html",
        status=status,
        endpoint=row,
        told=told,
        most=MOST,
        waiting=waiting,
        opened=delivery,
        tries=tries,
        why=WHY,
        error=error,
    )


def _secret(request: Request, row: WebhookEndpoint) -> Response:
    """Show the secret of an endpoint, this once."""
    tokens = hub_of(request).tokens
    return pages_of(request).page(
        request,
        "webhook_secret.html",
        status=201,
        endpoint=row,
        secret=webhook_endpoints.secret(tokens, row.id, row.secret_number),
    )
