"""Stripe's events: who may say that they come from Stripe, and what they mean.

1. An event counts only if it is signed with the endpoint's secret over its bytes as they came, within
   five minutes; compared in constant time (https://docs.stripe.com/webhooks#verify-manually).
2. An event says something of an attempt (by its metadata), of a dispute or a refund that was made at
   Stripe, or gives a means of payment. All others are taken and mean nothing.
3. Events come twice and in any order; who takes them must not mind (`payments.record`).
"""

import hashlib
import hmac
import json
from typing import Any, Final

from hub.errors import NotAuthenticatedError
from hub.ports.payment.port import Answer, Event, Outcome, Place, Reversal
from hub.ports.payment.stripe_objects import intent_answer, money_of, refund_answer

TOLERANCE_S: Final = 300
_SECOND: Final = 1_000_000_000
_DISPUTES: Final[dict[str, tuple[Place, int]]] = {
    "warning_needs_response": (Place.KEPT, 0),
    "warning_under_review": (Place.KEPT, 0),
    "needs_response": (Place.HELD, 1),
    "under_review": (Place.HELD, 1),
    "warning_closed": (Place.KEPT, 2),
    "prevented": (Place.KEPT, 2),
    "won": (Place.KEPT, 2),
    "lost": (Place.GONE, 2),
}
"""Where the money is and how far the dispute has come, https://docs.stripe.com/api/disputes/object."""
_REFUNDS: Final = {
    Outcome.PENDING: (Place.GONE, 0),
    Outcome.PAID: (Place.GONE, 1),
    Outcome.FAILED: (Place.KEPT, 2),
}


ASKED_FOR: Final = (
    "setup_intent.succeeded",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
)
"""Kinds of events that the hub asks for where they did not come; of its own attempts it asks by themselves."""


def signature(secret: str, body: bytes, at_s: int) -> str:
    """Return the header with which Stripe signs a body at an instant (Unix seconds)."""
    signed = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={signed.hexdigest()}"


def verify(secret: str, body: bytes, header: str, now_s: int) -> None:
    """Raise unless a body was signed by Stripe just now.

    Args:
        secret: of the endpoint; empty: none is set, and nothing is believed.
        body: as it came, byte for byte.
        header: `Stripe-Signature`; may hold several signatures while the secret is changed.
        now_s: now, Unix seconds.

    Raises:
        NotAuthenticatedError: it was not.
    """
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v1"]
    if not secret or len(times) != 1 or not times[0].isascii() or not times[0].isdecimal():
        raise _refused()
    at_s = int(times[0])
    expected = signature(secret, body, at_s).partition(",v1=")[2].encode()
    matches = [hmac.compare_digest(expected, one.encode()) for one in given]
    if not any(matches) or abs(now_s - at_s) > TOLERANCE_S:
        raise _refused()


def _refused() -> NotAuthenticatedError:
    return NotAuthenticatedError(
        "The event is not signed with the secret of this endpoint within the last five minutes. "
        "Check the setting billing.stripe_webhook_secret and the clocks."
    )


def read(body: bytes) -> Event:
    """Read an event whose signature was verified.

    Raises:
        ValueError: it is no event.
    """
    try:
        return event_of(json.loads(body))
    except ValueError as error:
        raise ValueError("the body is no event of Stripe") from error


def event_of(said: Any) -> Event:
    """Read an event that Stripe itself gave.

    Raises:
        ValueError: it is no event, or about money that there is not.
    """
    try:
        found: dict[str, Any] = said["data"]["object"]
        id_, kind = str(said["id"])[:200], str(said["type"])
        return _event(id_, kind, found, int(said.get("created") or 0))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{error!r} in an event of Stripe") from error


def _event(id_: str, kind: str, found: dict[str, Any], said_at: int) -> Event:
    metadata = found.get("metadata") or {}
    match kind:
        case (
            "payment_intent.succeeded"
            | "payment_intent.payment_failed"
            | "payment_intent.canceled"
            | "payment_intent.processing"
        ):
            answer = intent_answer(found)
        case "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated":
            answer = refund_answer(found)
            if not metadata.get("attempt"):
                return Event(id_, kind, reversal=_refund(found, answer, said_at))
        case "setup_intent.succeeded":
            owner, method = metadata.get("owner", ""), found.get("payment_method") or ""
            customer = found.get("customer") or ""
            return Event(id_, kind, "", None, owner, customer, method, said_at=said_at)
        case _ if kind.startswith("charge.dispute."):
            return Event(id_, kind, reversal=_dispute(found, said_at))
        case _:
            return Event(id_, kind)
    return Event(id_, kind, str(metadata.get("attempt", "")), answer)


def _dispute(found: dict[str, Any], said_at: int) -> Reversal | None:
    """Read a dispute; one in a state that Stripe did not have when this was written says nothing."""
    if found["status"] not in _DISPUTES or not found.get("payment_intent"):
        return None
    place, stage = _DISPUTES[found["status"]]
    due_by = (found.get("evidence_details") or {}).get("due_by")
    return Reversal(
        str(found["id"])[:200],
        "dispute",
        str(found["payment_intent"])[:200],
        money_of(int(found["amount"]), str(found["currency"])),
        place,
        stage,
        said_at,
        str(found.get("reason") or "")[:200],
        int(due_by) * _SECOND if due_by and place is Place.HELD else None,
    )


def _refund(found: dict[str, Any], answer: Answer, said_at: int) -> Reversal | None:
    """Read a refund that somebody made at Stripe; one of a payment without an intent is none of the hub's."""
    if not found.get("payment_intent"):
        return None
    place, stage = _REFUNDS[answer.outcome]
    return Reversal(
        str(found["id"])[:200],
        "refund",
        str(found["payment_intent"])[:200],
        money_of(int(found["amount"]), str(found["currency"])),
        place,
        stage,
        said_at,
        str(found.get("reason") or "")[:200],
    )
