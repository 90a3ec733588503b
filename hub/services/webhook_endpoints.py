"""Endpoints: who is told of events, and the secrets by which they know that it is the hub who tells.

1. Signatures and headers are those of Standard Webhooks 1.0 (https://www.standardwebhooks.com): HMAC-SHA256 (`v1`) over
   `id.timestamp.body`. After a change of the secret both sign for a while.
2. A secret follows from a key of the hub, the endpoint and the number of the secret; the database has none.
3. An address is https, without user name; where it may lead is checked again at each sending (`ports/webhook`).
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from hub.services import audit
from hub.services.caller import Caller, Scope
from hub.services.tokens import Tokens
from hub.services.webhook_events import EventType

MOST: Final = 50
OVERLAP_S: Final = 86_400
_S: Final = 1_000_000_000
_ID: Final = "webhook-id"


def register(
    session: Session,
    caller: Caller,
    url: str,
    types: Sequence[EventType],
    description: str,
    at: int,
    tokens: Tokens,
    *,
    plain: bool = False,
) -> WebhookEndpoint:
    """Let an address hear of events.

    Args:
        session: a writing session.
        caller: needs `webhooks:write`.
        url: where to.
        types: of which; empty: of all.
        description: for people.
        at: now, ns.
        tokens: source of the id.
        plain: whether http without TLS may be.

    Raises:
        ConflictError: there are too many.
        InvalidInputError: the address cannot be used.
    """
    caller.require(Scope.WEBHOOKS_WRITE)
    _check(url, plain=plain)
    if (session.scalar(select(func.count()).select_from(WebhookEndpoint)) or 0) >= MOST:
        raise ConflictError(
            f"There are {MOST} webhook endpoints already. Remove one that is not used."
        )
    row = WebhookEndpoint(
        id=tokens.new_id(),
        url=url,
        types=sorted({str(kind) for kind in types}),
        description=description,
        secret_number=1,
        created_at=at,
    )
    session.add(row)
    session.flush()
    _record(session, caller, row, "register", at)
    return row


def listed(session: Session, caller: Caller) -> Sequence[WebhookEndpoint]:
    """List all endpoints, the oldest first."""
    caller.require(Scope.RECORDS_READ)
    query = select(WebhookEndpoint).order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)
    return session.scalars(query).all()


def one(session: Session, caller: Caller, endpoint_id: str) -> WebhookEndpoint:
    """Return an endpoint.

    Raises:
        NotFoundError: no such endpoint.
    """
    caller.require(Scope.RECORDS_READ)
    row = session.get(WebhookEndpoint, endpoint_id)
    if row is None:
        raise NotFoundError(f"There is no webhook endpoint {endpoint_id}.", endpoint=endpoint_id)
    return row


def change(
    session: Session,
    caller: Caller,
    endpoint_id: str,
    at: int,
    *,
    url: str | None = None,
    types: Sequence[EventType] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
    plain: bool = False,
) -> WebhookEndpoint:
    """Change an endpoint; None leaves as it is. One that is enabled again is sent what still waits.

    Raises:
        InvalidInputError: the address cannot be used.
        NotFoundError: no such endpoint.
    """
    caller.require(Scope.WEBHOOKS_WRITE)
    row = one(session, caller, endpoint_id)
    if url is not None:
        _check(url, plain=plain)
        row.url = url
    if types is not None:
        row.types = sorted({str(kind) for kind in types})
    if description is not None:
        row.description = description
    if enabled is not None and enabled is (row.disabled_at is not None):
        row.disabled_at, row.disabled_why = (None, None) if enabled else (at, "by_hand")
        row.failing_since = None
    session.flush()
    _record(session, caller, row, "change", at)
    return row


def remove(session: Session, caller: Caller, endpoint_id: str, at: int) -> None:
    """Remove an endpoint and the log of what it was told.

    Raises:
        NotFoundError: no such endpoint.
    """
    caller.require(Scope.WEBHOOKS_WRITE)
    row = one(session, caller, endpoint_id)
    told = select(WebhookDelivery.id).where(WebhookDelivery.endpoint_id == row.id)
    session.execute(delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(told)))
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.endpoint_id == row.id))
    _record(session, caller, row, "remove", at)
    session.delete(row)
    session.flush()


def rotate(
    session: Session, caller: Caller, endpoint_id: str, at: int, overlap_s: int = OVERLAP_S
) -> WebhookEndpoint:
    """Give an endpoint a new secret; the former one signs beside it for `overlap_s` more seconds.

    Raises:
        NotFoundError: no such endpoint.
    """
    caller.require(Scope.WEBHOOKS_WRITE)
    row = one(session, caller, endpoint_id)
    row.secret_number += 1
    row.former_until = at + overlap_s * _S
    session.flush()
    _record(session, caller, row, "rotate", at)
    return row


def secret(tokens: Tokens, endpoint_id: str, number: int) -> str:
    """Return a secret of an endpoint, as its receiver writes it down."""
    octets = tokens.derived(f"webhook/{endpoint_id}/{number}")
    return f"whsec_{base64.b64encode(octets).decode()}"


def headers(
    tokens: Tokens, row: WebhookEndpoint, delivery_id: str, body: bytes, at: int, world_s: int
) -> dict[str, str]:
    """Return the headers of a delivery.

    Args:
        tokens: knows the hub's key.
        row: of whom.
        delivery_id: of what.
        body: as it goes out.
        at: now, ns.
        world_s: seconds since 1970 in the world, by which receivers judge how old it is.
    """
    numbers = [row.secret_number]
    if row.former_until is not None and at < row.former_until:
        numbers.append(row.secret_number - 1)
    signed = f"{message_id(delivery_id)}.{world_s}.".encode() + body
    signatures = []
    for number in numbers:
        key = tokens.derived(f"webhook/{row.id}/{number}")
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        signatures.append(f"v1,{base64.b64encode(digest).decode()}")
    return {
        "Content-Type": "application/json",
        "User-Agent": "Homeport-Webhooks/1",
        _ID: message_id(delivery_id),
        "webhook-timestamp": str(world_s),
        "webhook-signature": " ".join(signatures),
    }


def message_id(delivery_id: str) -> str:
    """Return the id under which a receiver knows a delivery, the same at each try."""
    return f"msg_{delivery_id}"


def problems(session: Session) -> list[str]:
    """Say which endpoints were disabled because they failed, one sentence each."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.disabled_why.in_(("failing", "gone")))
    why = {"gone": "it answered 410 Gone", "failing": "it failed for days"}
    return [
        f"Webhook endpoint {row.id} was disabled: {why[row.disabled_why or 'failing']}. "
        "Set it right, enable it, and send again what it missed."
        for row in session.scalars(query.order_by(WebhookEndpoint.id))
    ]


def _check(url: str, *, plain: bool) -> None:
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    schemes = {"https", "http"} if plain else {"https"}
    if not fits or parts.scheme not in schemes or parts.username is not None or parts.fragment:
        raise InvalidInputError(
            "A webhook goes to an address such as https://example.org/hooks: https, with a host, without user name, "
            "password or fragment."
        )


def _record(session: Session, caller: Caller, row: WebhookEndpoint, what: str, at: int) -> None:
    host = urlsplit(row.url).hostname
    details = {"host": host, "types": row.types, "secret_number": row.secret_number}
    audit.record(
        session, at, caller.actor, f"webhook.{what}", f"webhook_endpoint:{row.id}", details
    )
