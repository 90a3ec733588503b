"""Sign-ins and registrations that take more than one step: begun once, ended once, within minutes.

1. A flow is named by a secret that only the browser that began it has; here is its hash.
2. What must come back (challenge, state, nonce, verifier) is derived from that secret, so it fits that
   browser and no other, and nothing of it is stored.
3. Ending a flow takes it: an answer works once.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from hub.errors import NotAuthenticatedError
from hub.ports.database.sign_in_tables import SignInFlow
from hub.services.tokens import Tokens, secret_hash

FLOW_NS = 600 * 1_000_000_000
"""How long one may take."""


class Flow(StrEnum):
    """What is under way."""

    PROVIDER = "provider"
    PASSKEY = "passkey"
    NEW_PASSKEY = "new-passkey"


@dataclass(frozen=True, slots=True)
class Taken:
    """A flow that has come to its end."""

    person_id: str | None
    details: dict[str, Any]


def begin(
    session: Session,
    kind: Flow,
    at: int,
    tokens: Tokens,
    *,
    person_id: str | None = None,
    details: dict[str, Any] | None = None,
) -> str:
    """Begin a flow and return its secret, for the browser; those that are over are forgotten."""
    session.execute(delete(SignInFlow).where(SignInFlow.expires_at <= at))
    secret = tokens.secret()
    session.add(
        SignInFlow(
            token_hash=secret_hash(secret),
            kind=str(kind),
            person_id=person_id,
            details=details or {},
            expires_at=at + FLOW_NS,
        )
    )
    session.flush()
    return secret


def take(session: Session, kind: Flow, secret: str, at: int) -> Taken:
    """End a flow.

    Raises:
        NotAuthenticatedError: there is none (any more): it took too long, or was ended before.
    """
    row = session.execute(
        delete(SignInFlow)
        .where(
            SignInFlow.token_hash == secret_hash(secret),
            SignInFlow.kind == kind,
            SignInFlow.expires_at > at,
        )
        .returning(SignInFlow.person_id, SignInFlow.details)
    ).first()
    if row is None:
        raise NotAuthenticatedError("This took too long, or was done before. Begin again.")
    return Taken(row.person_id, row.details)


def derived(secret: str, what: str) -> bytes:
    """Return 32 bytes that only who has a flow's secret can know, another for each purpose."""
    return hashlib.sha256(f"homeport/{what}/{secret}".encode()).digest()
