"""What happens that others may want to hear of, written down in the transaction in which it happens.

1. Changes of subscriptions, owners, invoices, alerts and what entitles are seen by the session that writes them, so no
   service can forget to tell. What leaves no such trace is noted (`note`).
2. An event says that something happened and to what; what then holds is told in full when it is sent
   (`webhook_payload`). So two of a kind in one transaction are one.
3. Every event is kept while any endpoint is in use, also those nobody asked for: their numbers are the versions.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Engine, event, inspect, select
from sqlalchemy.orm import Session

from hub.ports.database.alert_tables import Alert, Notice
from hub.ports.database.billing_tables import Invoice, PaymentAttempt
from hub.ports.database.engine import before_commit
from hub.ports.database.ownership_tables import Grant, Hold, Ownership, Subscription
from hub.ports.database.product_tables import Device
from hub.ports.database.webhook_tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from hub.services.tokens import Tokens

_KEY: Final = "webhook_events"
_USAGE_NOTICES: Final = frozenset({"usage.share", "usage.share_left"})


class EventType(StrEnum):
    """What can be heard of."""

    SUBSCRIPTION_STARTED = "subscription.started"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    SUBSCRIPTION_CANCELLED = "subscription.cancelled"
    ENTITLEMENTS_CHANGED = "entitlements.changed"
    USAGE_THRESHOLD = "usage.threshold"
    INVOICE_ISSUED = "invoice.issued"
    INVOICE_PAID = "invoice.paid"
    INVOICE_PAYMENT_FAILED = "invoice.payment_failed"
    INVOICE_VOIDED = "invoice.voided"
    INVOICE_UNCOLLECTIBLE = "invoice.uncollectible"
    PAYMENT_DISPUTED = "payment.disputed"
    PAYMENT_REVERSED = "payment.reversed"
    PAYMENT_KEPT = "payment.kept"
    PRODUCT_CLAIMED = "product.claimed"
    PRODUCT_TRANSFERRED = "product.transferred"
    PRODUCT_RELEASED = "product.released"
    ALERT_OPENED = "alert.opened"
    ALERT_RESOLVED = "alert.resolved"
    TEST = "webhook.test"


@dataclass(slots=True)
class _Happened:
    """What a transaction does, in order; keys make the same thing one."""

    events: dict[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    slots: dict[tuple[str, int, str], Mapping[str, Any]] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)


def note(session: Session, kind: EventType, subject: str, **details: str | int | None) -> None:
    """Note an event in the transaction of a writing session.

    Args:
        session: a writing session.
        kind: what happened.
        subject: to what: `product:ID` or `owner:ID`.
        details: ids and numbers, nothing that names a person.
    """
    happened = session.info.get(_KEY)
    if isinstance(happened, _Happened):
        happened.events[str(kind), subject, repr(sorted(details.items()))] = details


def watch(engine: Engine, tokens: Tokens, clock: Callable[[], int]) -> None:
    """Write down from now on what happens in the writing sessions of a database."""

    def begun(session: Session) -> Callable[[], None]:
        happened = session.info[_KEY] = _Happened()
        event.listen(session, "after_flush", lambda flushed, _: _look(flushed, happened))

        def finish() -> None:
            session.flush()
            _write(session, happened, tokens, clock())

        return finish

    before_commit(engine, begun)


def send(
    session: Session, tokens: Tokens, kind: str, subject: str, at: int, endpoints: Iterable[str]
) -> WebhookEvent:
    """Write an event, and a delivery of it to each of some endpoints."""
    return _deliver(session, tokens, (kind, subject, {}), at, endpoints)


def _look(session: Session, happened: _Happened) -> None:
    for row in session.new:
        _made(row, happened)
    for row in session.dirty:
        _changed(row, happened)


def _made(row: object, happened: _Happened) -> None:
    match row:
        case Subscription():
            _on_product(
                happened, EventType.SUBSCRIPTION_STARTED, row.product_id, subscription_id=row.id
            )
        case Ownership():
            happened.begun[row.product_id] = row.epoch
        case Hold() | Grant():
            _entitled(row, happened)
        case Invoice():
            _on_invoice(happened, EventType.INVOICE_ISSUED, row)
            if row.paid_at is not None:
                _on_invoice(happened, EventType.INVOICE_PAID, row)
        case Alert():
            happened.slots[str(EventType.ALERT_OPENED), row.slot, row.id] = {"alert_id": row.id}
        case Notice(code=code) if code in _USAGE_NOTICES:
            kept = ("feature", "share", "quota", "unit")
            details = {name: row.arguments.get(name) for name in kept}
            details["reached"] = code == "usage.share"
            happened.slots[str(EventType.USAGE_THRESHOLD), row.slot, row.id.hex()] = details
        case _:
            pass


def _changed(row: object, happened: _Happened) -> None:
    match row:
        case Subscription() if _touched(row):
            kind = EventType.SUBSCRIPTION_CHANGED
            if _became(row, "cancelled_at") and row.cancelled_at is not None:
                kind = EventType.SUBSCRIPTION_CANCELLED
            _on_product(happened, kind, row.product_id, subscription_id=row.id)
        case Ownership() if _became(row, "ended_at") and row.ended_at is not None:
            happened.ended[row.product_id] = row.epoch
        case Hold() | Grant() if _touched(row):
            _entitled(row, happened)
        case Invoice():
            _settled(row, happened)
        case PaymentAttempt(invoice_id=str()) if (
            _became(row, "outcome") and row.outcome == "failed"
        ):
            subject, details = f"owner:{row.owner_id}", {"invoice_id": row.invoice_id}
            happened.events[str(EventType.INVOICE_PAYMENT_FAILED), subject, row.id] = details
        case Alert() if _became(row, "resolved_at"):
            over = row.resolved_at is not None
            kind = EventType.ALERT_RESOLVED if over else EventType.ALERT_OPENED
            happened.slots[str(kind), row.slot, row.id] = {"alert_id": row.id}
        case _:
            pass


def _settled(row: Invoice, happened: _Happened) -> None:
    for column, kind in _OF_INVOICES.items():
        if _became(row, column) and getattr(row, column) is not None:
            _on_invoice(happened, kind, row)


_OF_INVOICES: Final = {
    "paid_at": EventType.INVOICE_PAID,
    "voided_at": EventType.INVOICE_VOIDED,
    "written_off_at": EventType.INVOICE_UNCOLLECTIBLE,
}


def _became(row: object, column: str) -> bool:
    return column in _changes(row)


def _touched(row: object) -> bool:
    return bool(_changes(row))


def _changes(row: object) -> set[str]:
    state: Any = inspect(row)
    return {one.key for one in state.attrs if one.history.has_changes()}


def _on_product(happened: _Happened, kind: EventType, product_id: str, **details: str) -> None:
    happened.events[str(kind), f"product:{product_id}", repr(details)] = details


def _on_invoice(happened: _Happened, kind: EventType, row: Invoice) -> None:
    happened.events[str(kind), f"owner:{row.owner_id}", row.id] = {"invoice_id": row.id}


def _entitled(row: Hold | Grant, happened: _Happened) -> None:
    owner_id = row.owner_id if isinstance(row, Hold) else None
    if row.product_id is not None:
        subject = f"product:{row.product_id}"
    elif owner_id is not None:
        subject = f"owner:{owner_id}"
    else:
        return  # a recall: about what was built alike, thousands of products; see the decision
    happened.events[str(EventType.ENTITLEMENTS_CHANGED), subject, ""] = {}


def _write(session: Session, happened: _Happened, tokens: Tokens, at: int) -> None:
    events = [(kind, subject, about) for (kind, subject, _), about in happened.events.items()]
    if not (events or happened.slots or happened.begun or happened.ended):
        return
    in_use = select(WebhookEndpoint).where(WebhookEndpoint.disabled_at.is_(None))
    endpoints = session.scalars(in_use).all()
    if not endpoints:
        return
    for product_id in {**happened.begun, **happened.ended}:
        kind = EventType.PRODUCT_CLAIMED
        if product_id in happened.ended:
            passed_on = product_id in happened.begun
            kind = EventType.PRODUCT_TRANSFERRED if passed_on else EventType.PRODUCT_RELEASED
        epoch = happened.begun.get(product_id, happened.ended.get(product_id))
        events.append((str(kind), f"product:{product_id}", {"epoch": epoch}))
    slots = sorted({slot for _, slot, _ in happened.slots})
    query = select(Device.slot, Device.product_id).where(Device.slot.in_(slots))
    product_of = {row.slot: row.product_id for row in session.execute(query)} if slots else {}
    events += [
        (kind, f"product:{product_of[slot]}", about)
        for (kind, slot, _), about in happened.slots.items()
        if slot in product_of
    ]
    for one in events:
        wanted = [row.id for row in endpoints if not row.types or one[0] in row.types]
        _deliver(session, tokens, one, at, wanted)


def _deliver(
    session: Session,
    tokens: Tokens,
    one: tuple[str, str, Mapping[str, Any]],
    at: int,
    endpoints: Iterable[str],
) -> WebhookEvent:
    kind, subject, details = one
    row = WebhookEvent(type=kind, at=at, subject=subject, details=dict(details))
    session.add(row)
    session.flush()
    for endpoint_id in endpoints:
        session.add(
            WebhookDelivery(
                id=tokens.new_id(), event_id=row.id, endpoint_id=endpoint_id, tries=0, next_at=at
            )
        )
    session.flush()
    return row
