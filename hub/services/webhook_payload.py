"""What a webhook says: what happened, and in full what holds now.

1. The whole set that is in force goes out, not the difference: a receiver that lost, repeated or swapped deliveries is
   right again with the next one.
2. `version` is the number of the newest event that the data knows of. It rises with every change of the hub's facts, so
   a receiver keeps what has the greatest (version, as_of) and drops the rest.
3. It is made in one reading transaction, when it is sent. Ids, states and amounts go out, no names of people.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.decision import decide
from entitlements.grants import feature_names
from hub.errors import NotFoundError
from hub.ports.database.alert_tables import Alert
from hub.ports.database.billing_tables import Invoice
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device
from hub.ports.database.webhook_tables import WebhookEvent
from hub.services import product_detail, products
from hub.services.alert_kinds import kind_word
from hub.services.caller import HUB
from hub.services.facts import load_one

MOST_PRODUCTS: Final = 50
MOST_INVOICES: Final = 100
_S: Final = 1_000_000_000


def version(session: Session) -> int:
    """Return the version of what a session sees."""
    return session.scalar(select(func.max(WebhookEvent.id))) or 0


def body(session: Session, event: WebhookEvent, at: int) -> bytes:
    """Return what a receiver is sent of an event now.

    Args:
        session: any session.
        event: what happened.
        at: now, ns.
    """
    kind, _, named = event.subject.partition(":")
    data: dict[str, Any] = {"version": version(session), "as_of": _text(at), "cause": event.details}
    if kind == "product":
        data |= _product(session, named, at)
    elif kind == "owner":
        data |= _owner(session, named, event.details, at)
    told = {"type": event.type, "timestamp": _text(event.at), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def _product(session: Session, product_id: str, at: int) -> dict[str, Any]:
    try:
        one = products.summary(session, HUB, product_id)
    except NotFoundError:
        return {"product": None}
    facts = load_one(session, product_id)
    plans = product_detail.plans(session, HUB, product_id, at)
    return {
        "product": {
            "id": one.product_id,
            "device_id": one.device_id,
            "serial": one.serial,
            "model": one.model,
            "owner_id": one.owner_id,
            "epoch": one.epoch,
        },
        "subscriptions": [
            {
                "id": plan.subscription_id,
                "plan": plan.plan,
                "version": plan.version,
                "status": str(plan.status),
                "starts_at": _text(plan.starts_at),
                "trial_end": _text(plan.trial_end),
                "paid_until": _text(plan.paid_until),
                "cancelled_at": _text(plan.cancelled_at),
                "ends_at": _text(plan.ends_at),
            }
            for plan in plans
        ],
        "entitlements": [
            {
                "feature": found.feature,
                "allowed": found.allowed,
                "code": str(found.code),
                "value": found.value,
                "until": _text(found.until),
            }
            for found in (decide(facts, name, at) for name in feature_names(facts))
        ],
        "open_alerts": _alerts(session, product_id),
    }


def _alerts(session: Session, product_id: str) -> list[dict[str, Any]]:
    query = (
        select(Alert)
        .join(Device, Device.slot == Alert.slot)
        .where(Device.product_id == product_id, Alert.resolved_at.is_(None))
        .order_by(Alert.opened_at, Alert.id)
    )
    return [
        {
            "id": row.id,
            "kind": kind_word(row.kind),
            "severity": row.severity,
            "code": row.code,
            "opened_at": _text(row.opened_at),
        }
        for row in session.scalars(query)
    ]


def _owner(session: Session, owner_id: str, details: Mapping[str, Any], at: int) -> dict[str, Any]:
    owned = (
        select(Ownership.product_id)
        .where(Ownership.owner_id == owner_id, Ownership.ended_at.is_(None))
        .order_by(Ownership.product_id)
        .limit(MOST_PRODUCTS + 1)
    )
    still_open = (
        select(Invoice)
        .where(
            Invoice.owner_id == owner_id,
            Invoice.paid_at.is_(None),
            Invoice.voided_at.is_(None),
            Invoice.written_off_at.is_(None),
        )
        .order_by(Invoice.issued_at, Invoice.number)
        .limit(MOST_INVOICES + 1)
    )
    about = details.get("invoice_id")
    invoice = session.get(Invoice, about) if about else None
    invoices, mine = session.scalars(still_open).all(), session.scalars(owned).all()
    return {
        "owner_id": owner_id,
        "invoice": None if invoice is None else _invoice(invoice),
        "open_invoices": [_invoice(row) for row in invoices[:MOST_INVOICES]],
        "products": [_product(session, named, at) for named in mine[:MOST_PRODUCTS]],
        "complete": len(mine) <= MOST_PRODUCTS and len(invoices) <= MOST_INVOICES,
    }


def _invoice(row: Invoice) -> dict[str, Any]:
    return {
        "id": row.id,
        "number": row.number,
        "state": row.state,
        "currency": row.currency,
        "net": row.net,
        "tax": row.tax,
        "gross": row.gross,
        "issued_at": _text(row.issued_at),
        "paid_at": _text(row.paid_at),
    }


def _text(at: int | None) -> str | None:
    """Return an instant as RFC 3339 in UTC, to the microsecond; None stays None."""
    if at is None:
        return None
    whole, rest = divmod(at, _S)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // 1_000:06d}Z"
