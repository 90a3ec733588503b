"""Where somebody is signed in, and ending it: their own, or anybody's by an operator.

1. A session is named by the beginning of its token's hash, which opens nothing.
2. Ended is ended everywhere at once: each request looks the session up, and live streams ask again.
3. Who had to be slowed down because somebody guessed at their password is told so.
4. API keys are listed beside, by name; only their person ends one, an operator ends all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from hub.errors import NotFoundError
from hub.ports.database.people_tables import ApiKey, Person, WebSession
from hub.ports.database.record_tables import Audit
from hub.services import audit, sessions, ties
from hub.services.caller import Caller, Scope
from hub.services.tokens import same, secret_hash

_ID = 16
GUESSED_NS = 30 * 86_400_000_000_000
"""How long people are told of guesses at their password."""
MAX_GUESSED = 10


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session in force; instants in ns. `present` is the one that asks."""

    id: str
    created_at: int
    expires_at: int
    method: str
    agent: str
    present: bool


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """An API key in force; instants in ns."""

    id: str
    name: str
    scopes: Sequence[str]
    created_at: int
    expires_at: int | None


def listed(
    session: Session, caller: Caller, at: int, *, token: str = "", person_id: str | None = None
) -> list[SessionView]:
    """List the sessions in force, the newest first.

    Args:
        session: any session.
        caller: a person; or an operator, for anybody.
        at: now, ns.
        token: of the session that asks.
        person_id: whose; None: the caller's own.

    Raises:
        ForbiddenError: the caller is a program, or may not look after people.
        NotFoundError: no such person.
    """
    whose = _whose(session, caller, person_id)
    query = select(WebSession).where(
        WebSession.person_id == whose,
        WebSession.revoked_at.is_(None),
        WebSession.expires_at > at,
    )
    digest = secret_hash(token) if token else ""
    return [
        SessionView(
            id=row.token_hash[:_ID],
            created_at=row.created_at,
            expires_at=row.expires_at,
            method=row.method,
            agent=row.agent or "",
            present=same(row.token_hash, digest),
        )
        for row in session.scalars(query.order_by(WebSession.created_at.desc()))
    ]


def keys(
    session: Session, caller: Caller, at: int, *, person_id: str | None = None
) -> list[ApiKeyView]:
    """List the API keys in force, the newest first; otherwise as `listed`."""
    whose = _whose(session, caller, person_id)
    query = select(ApiKey).where(
        ApiKey.person_id == whose,
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at),
    )
    return [
        ApiKeyView(row.id, row.name, row.scopes, row.created_at, row.expires_at)
        for row in session.scalars(query.order_by(ApiKey.created_at.desc()))
    ]


def guessed(session: Session, caller: Caller, at: int) -> Sequence[int]:
    """Return when (ns) guesses at the caller's password had to be slowed down, the latest first.

    One instant for each series of guesses, of the last 30 days.

    Raises:
        ForbiddenError: the caller is a program.
    """
    query = select(Audit.at).where(
        Audit.object == f"person:{caller.require_person()}",
        Audit.action == sessions.SLOWED,
        Audit.at > at - GUESSED_NS,
    )
    return session.scalars(query.order_by(Audit.id.desc()).limit(MAX_GUESSED)).all()


def end(session: Session, caller: Caller, session_id: str, at: int) -> None:
    """End one of the caller's own sessions.

    Raises:
        ForbiddenError: the caller is a program.
        NotFoundError: the caller has no such session.
    """
    person_id = caller.require_person()
    found = session.scalars(
        select(WebSession).where(
            WebSession.person_id == person_id,
            WebSession.token_hash.startswith(session_id),
            WebSession.revoked_at.is_(None),
        )
    ).first()
    if found is None or len(session_id) != _ID:
        raise NotFoundError(f"You have no session {session_id}.", session=session_id)
    found.revoked_at = at
    ties.note(session, person_id)
    audit.record(session, at, caller.actor, "session.end", caller.actor, {"session": session_id})


def end_all(
    session: Session, caller: Caller, at: int, *, but: str = "", person_id: str | None = None
) -> int:
    """End all sessions at once; an operator who ends somebody's ends their API keys too.

    Args:
        session: a writing session.
        caller: a person; or an operator, for anybody.
        at: now, ns.
        but: token of a session that stays.
        person_id: whose; None: the caller's own.

    Returns:
        How many sessions ended.

    Raises:
        ForbiddenError: the caller is a program, or may not look after people.
        NotFoundError: no such person.
    """
    whose = _whose(session, caller, person_id)
    ended = sessions.revoke_all(session, whose, at, but)
    details = {"sessions": ended}
    if person_id is not None:
        closed: Any = session.execute(
            update(ApiKey)
            .where(ApiKey.person_id == whose, ApiKey.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        details["api_keys"] = int(closed.rowcount)
    audit.record(session, at, caller.actor, "session.end_all", f"person:{whose}", details)
    return ended


def _whose(session: Session, caller: Caller, person_id: str | None) -> str:
    if person_id is None:
        return caller.require_person()
    caller.require(Scope.PEOPLE_WRITE)
    if session.get(Person, person_id) is None:
        raise NotFoundError(f"There is no person {person_id}.", person=person_id)
    return person_id
