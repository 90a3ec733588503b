"""Alerts and the findings behind them.

1. Lists are newest first.
2. Acknowledging and resolving may be repeated, the first one counts; of mutes and opinions the last.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from sqlalchemy.orm import Session

from hub.api.alert_bodies import Alert, Finding, shown_alert, shown_finding
from hub.api.bodies import ID_PATTERN, Request, examples
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.engine import read_session, write_session
from hub.services import alert_desk, products
from hub.services.alert_desk import Status
from hub.services.alerts import AlertChange
from hub.services.caller import Caller
from hub.services.relations import Act

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["alerts"])

AlertId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the alert.")]
OfDevice = Annotated[
    str | None,
    Query(pattern=ID_PATTERN, description="Only of this product: its device id or product id."),
]


@ROUTER.get("/alerts", operation_id="list_alerts", summary="List alerts")
def list_alerts(
    hub: HubDep,
    caller: CallerDep,
    device_id: OfDevice = None,
    status: Annotated[Status | None, Query(description="Only these; absent: all.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[Alert]:
    """List the alerts of the products the caller sees, the newest first."""
    listing = Listing("list_alerts", (int, str), device=device_id, status=status)
    key = listing.key(after)
    with read_session(hub.engine) as session:
        rows = alert_desk.listed(
            session,
            caller,
            product_id=_product(session, caller, device_id, Act.ALERTS),
            status=status,
            after=None if key is None else (int(key[0]), str(key[1])),
            limit=limit + 1,
        )
    following = listing.following([(row.opened_at, row.id) for row in rows], limit)
    return Page(items=[shown_alert(row) for row in rows[:limit]], next=following)


@ROUTER.get("/findings", operation_id="list_findings", summary="List findings of the detector")
def list_findings(
    hub: HubDep,
    caller: CallerDep,
    device_id: OfDevice = None,
    alert_id: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = None,
) -> Page[Finding]:
    """List what the detector remarked on the products the caller sees, the newest first."""
    listing = Listing("list_findings", (int, str), device=device_id, alert=alert_id)
    key = listing.key(after)
    with read_session(hub.engine) as session:
        rows = alert_desk.findings(
            session,
            caller,
            product_id=_product(session, caller, device_id, Act.HISTORY),
            alert_id=alert_id,
            at=hub.clock(),
            after=None if key is None else (int(key[0]), listing.octets(str(key[1]))),
            limit=limit + 1,
        )
    following = listing.following([(row.at, row.id.hex()) for row in rows], limit)
    return Page(items=[shown_finding(row) for row in rows[:limit]], next=following)


@ROUTER.post(
    "/alerts/{alert_id}/acknowledge",
    operation_id="acknowledge_alert",
    summary="Say that somebody looks after an alert",
)
def acknowledge_alert(hub: HubDep, caller: CallerDep, alert_id: AlertId) -> Alert:
    """Acknowledge an alert; a resolved one cannot be."""
    return _changed(hub, caller, alert_id, alert_desk.acknowledge)


@ROUTER.post("/alerts/{alert_id}/resolve", operation_id="resolve_alert", summary="Close an alert")
def resolve_alert(hub: HubDep, caller: CallerDep, alert_id: AlertId) -> Alert:
    """Resolve an alert; it comes back if the same is found again soon."""
    return _changed(hub, caller, alert_id, alert_desk.resolve)


class Mute(Request):
    """How long an alert is to tell nobody."""

    until: Instant | None = Field(description="Null lets it tell again.")

    model_config = examples({"until": "2026-02-28T00:00:00Z"})


class Opinion(Request):
    """What somebody thought of an alert."""

    useful: bool

    model_config = examples({"useful": True})


@ROUTER.post("/alerts/{alert_id}/mute", operation_id="mute_alert", summary="Mute an alert")
def mute_alert(hub: HubDep, caller: CallerDep, alert_id: AlertId, body: Mute) -> Alert:
    """Let an alert tell nobody until an instant, also when it is resolved and comes back."""

    def act(session: Session, caller: Caller, alert_id: str, at: int) -> AlertChange:
        return alert_desk.mute(session, caller, alert_id, body.until or at, at)

    return _changed(hub, caller, alert_id, act)


@ROUTER.put(
    "/alerts/{alert_id}/feedback",
    operation_id="give_alert_feedback",
    summary="Say whether an alert was of use",
    status_code=204,
)
def give_alert_feedback(hub: HubDep, caller: CallerDep, alert_id: AlertId, body: Opinion) -> None:
    """Keep whether an alert was of use; the last word of each caller counts."""
    with write_session(hub.engine) as session:
        alert_desk.give_feedback(session, caller, alert_id, hub.clock(), useful=body.useful)


def _changed(
    hub: Hub,
    caller: Caller,
    alert_id: str,
    act: Callable[[Session, Caller, str, int], AlertChange],
) -> Alert:
    at = hub.clock()
    with write_session(hub.engine) as session:
        change = act(session, caller, alert_id, at)
        view = alert_desk.view(session, caller, alert_id)
    hub.live.publish(alert_desk.live_event(change, view, at))
    return shown_alert(view)


def _product(session: Session, caller: Caller, named: str | None, act: Act) -> str | None:
    """Return the product that a filter names; one that is not the caller's is not found."""
    if named is None:
        return None
    return products.visible(session, caller, product_id_of(session, named), act).id
