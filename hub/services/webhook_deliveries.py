"""Deliveries: what still has to be told to whom and when, what came of each try, and sending again.

1. Tried at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h (as Standard Webhooks proposes:
   three days), each up to a fifth longer by chance, and never before the time that the receiver asks for.
2. 2xx is success, all else is not. 410 disables an endpoint, and so does a delivery that was tried to the end while
   nothing else succeeded for three days. What waits for a disabled endpoint waits.
3. Each delivery has its own times, so one that a receiver cannot digest holds up no other.
4. Events are kept for thirty days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, NotFoundError
from hub.ports.database.webhook_tables import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from hub.ports.webhook.port import Posted
from hub.services import audit, webhook_endpoints, webhook_events
from hub.services.caller import HUB, Caller, Scope
from hub.services.tokens import Tokens
from hub.services.webhook_events import EventType

_S: Final = 1_000_000_000
WAITS_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
SPREAD: Final = 0.2
LASTING_NS: Final = sum(WAITS_S) * _S
KEPT_NS: Final = 30 * 86_400 * _S
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come."""

    delivery: WebhookDelivery
    event: WebhookEvent
    endpoint: WebhookEndpoint


def due(session: Session, at: int, limit: int) -> list[Due]:
    """Return what is due at an instant (ns): of each endpoint the oldest, at most `limit`."""
    first = (
        _waiting(select(func.min(WebhookDelivery.event_id).label("event_id")))
        .add_columns(WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.next_at <= at)
        .group_by(WebhookDelivery.endpoint_id)
        .limit(limit)
        .subquery()
    )
    query = (
        select(WebhookDelivery, WebhookEvent, WebhookEndpoint)
        .join(
            first,
            (first.c.event_id == WebhookDelivery.event_id)
            & (first.c.endpoint_id == WebhookDelivery.endpoint_id),
        )
        .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
    )
    return [Due(*row) for row in session.execute(query)]


def next_due(session: Session, after: int) -> int | None:
    """Return the first instant after one at which a delivery is due; None: nothing waits."""
    return session.scalar(
        _waiting(select(func.min(WebhookDelivery.next_at))).where(WebhookDelivery.next_at > after)
    )


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for endpoints in use; instants in ns, None: nothing waits.

    Args:
        waiting: how many deliveries.
        oldest_at: when the oldest event of them happened.
        due_since: the earliest instant at which one is or was to be tried next.
    """

    waiting: int
    oldest_at: int | None
    due_since: int | None


def backlog(session: Session) -> Backlog:
    """Return what waits for endpoints in use."""
    query = (
        select(func.count(), func.min(WebhookEvent.at), func.min(WebhookDelivery.next_at))
        .select_from(WebhookDelivery)
        .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.next_at.is_not(None), WebhookEndpoint.disabled_at.is_(None))
    )
    return Backlog(*session.execute(query).one())


def record(
    session: Session, delivery_id: str, posted: Posted, version: int, at: int, chance: float
) -> str | None:
    """Write down what came of a try, and when the next one is.

    Args:
        session: a writing session.
        delivery_id: of what; one that was removed meanwhile is passed over.
        posted: what came of it.
        version: of the data that was sent.
        at: when the try ended, ns.
        chance: from 0 to 1.

    Returns:
        The id of the endpoint if this disabled it.
    """
    row = session.get(WebhookDelivery, delivery_id)
    if row is None or row.next_at is None:
        return None
    endpoint = session.get_one(WebhookEndpoint, row.endpoint_id)
    newest = select(func.max(WebhookAttempt.number)).where(WebhookAttempt.delivery_id == row.id)
    session.add(
        WebhookAttempt(
            delivery_id=row.id,
            number=(session.scalar(newest) or 0) + 1,
            at=at,
            version=version,
            status=posted.status,
            error=posted.error or None,
            duration_ms=posted.duration_ms,
        )
    )
    row.tries += 1
    if posted.status is not None and 200 <= posted.status < 300:
        row.delivered_at, row.next_at, endpoint.failing_since = at, None, None
        session.flush()
        return None
    endpoint.failing_since = endpoint.failing_since or at
    if row.tries > len(WAITS_S):
        row.next_at = None
    else:
        wait_s = WAITS_S[row.tries - 1] * (1 + SPREAD * chance)
        row.next_at = at + int(max(wait_s, posted.retry_after_s or 0) * _S)
    session.flush()
    return _disable(session, endpoint, row, posted, at)


def _disable(
    session: Session, endpoint: WebhookEndpoint, row: WebhookDelivery, posted: Posted, at: int
) -> str | None:
    lasting = at - (endpoint.failing_since or at) >= LASTING_NS
    given_up = row.next_at is None and lasting
    if endpoint.disabled_at is not None or not (posted.status == _GONE or given_up):
        return None
    endpoint.disabled_at = at
    endpoint.disabled_why = "gone" if posted.status == _GONE else "failing"
    row.next_at = row.next_at or at  # so that it goes out when the endpoint is enabled again
    row.tries = 0
    session.flush()
    details = {"why": endpoint.disabled_why, "failing_since": endpoint.failing_since}
    audit.record(
        session, at, HUB.actor, "webhook.disable", f"webhook_endpoint:{endpoint.id}", details
    )
    return endpoint.id


def listed(
    session: Session,
    caller: Caller,
    *,
    endpoint_id: str | None = None,
    waiting: bool | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> Sequence[tuple[WebhookDelivery, WebhookEvent]]:
    """List deliveries, those of the newest events first.

    Args:
        session: any session.
        caller: needs `records:read`.
        endpoint_id: only to this endpoint.
        waiting: only those that still wait, or only those that do not.
        before: only those behind this event and delivery.
        limit: at most so many.
    """
    caller.require(Scope.RECORDS_READ)
    query = _both().order_by(WebhookDelivery.event_id.desc(), WebhookDelivery.id.desc())
    if endpoint_id is not None:
        query = query.where(WebhookDelivery.endpoint_id == endpoint_id)
    if waiting is not None:
        query = query.where(WebhookDelivery.next_at.is_not(None) == waiting)
    if before is not None:
        event_id, delivery_id = before
        query = query.where(
            (WebhookDelivery.event_id < event_id)
            | ((WebhookDelivery.event_id == event_id) & (WebhookDelivery.id < delivery_id))
        )
    return [(row, event) for row, event in session.execute(query.limit(limit))]


def one(
    session: Session, caller: Caller, delivery_id: str
) -> tuple[WebhookDelivery, WebhookEvent, Sequence[WebhookAttempt]]:
    """Return a delivery with its event and all tries, the first one first.

    Raises:
        NotFoundError: no such delivery.
    """
    caller.require(Scope.RECORDS_READ)
    found = session.execute(_both().where(WebhookDelivery.id == delivery_id)).first()
    if found is None:
        raise NotFoundError(
            f"There is no delivery {delivery_id}; they are kept for thirty days.",
            delivery=delivery_id,
        )
    tries = (
        select(WebhookAttempt)
        .where(WebhookAttempt.delivery_id == delivery_id)
        .order_by(WebhookAttempt.number)
    )
    row, event = found
    return row, event, session.scalars(tries).all()


def send_again(session: Session, caller: Caller, delivery_id: str, at: int) -> WebhookDelivery:
    """Send a delivery again now, under its own id, with what then holds; the tries begin anew.

    Raises:
        ConflictError: its endpoint is disabled.
        NotFoundError: no such delivery.
    """
    caller.require(Scope.WEBHOOKS_WRITE)
    row, _, _ = one(session, caller, delivery_id)
    if session.get_one(WebhookEndpoint, row.endpoint_id).disabled_at is not None:
        raise ConflictError(
            f"Webhook endpoint {row.endpoint_id} is disabled. Enable it; what waits is then sent by itself."
        )
    row.next_at, row.tries = at, 0
    session.flush()
    audit.record(session, at, caller.actor, "webhook.resend", f"webhook_delivery:{row.id}", {})
    return row


def test(
    session: Session, caller: Caller, endpoint_id: str, at: int, tokens: Tokens
) -> tuple[WebhookDelivery, WebhookEvent]:
    """Send an event that means nothing to one endpoint.

    Raises:
        ConflictError: it is disabled.
        NotFoundError: no such endpoint.
    """
    caller.require(Scope.WEBHOOKS_WRITE)
    row = webhook_endpoints.one(session, caller, endpoint_id)
    if row.disabled_at is not None:
        raise ConflictError(f"Webhook endpoint {row.id} is disabled. Enable it first.")
    subject = f"webhook_endpoint:{row.id}"
    event = webhook_events.send(session, tokens, str(EventType.TEST), subject, at, [row.id])
    audit.record(session, at, caller.actor, "webhook.test", subject, {})
    made = select(WebhookDelivery).where(WebhookDelivery.event_id == event.id)
    return session.scalars(made).one(), event


def prune(session: Session, at: int) -> None:
    """Forget events that are too old, and what became of telling them."""
    old = select(WebhookEvent.id).where(WebhookEvent.at <= at - KEPT_NS)
    told = select(WebhookDelivery.id).where(WebhookDelivery.event_id.in_(old))
    session.execute(delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(told)))
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.event_id.in_(old)))
    session.execute(delete(WebhookEvent).where(WebhookEvent.at <= at - KEPT_NS))


def _both() -> Select[WebhookDelivery, WebhookEvent]:
    return select(WebhookDelivery, WebhookEvent).join(
        WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id
    )


def _waiting(query: Select[int]) -> Select[int]:
    """Narrow a query of deliveries to those of endpoints in use."""
    return query.join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id).where(
        WebhookEndpoint.disabled_at.is_(None)
    )
