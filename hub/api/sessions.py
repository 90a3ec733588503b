"""Where people are signed in, and ending it: one's own sessions, and anybody's by an operator.

1. What opens a session stays in `people`; a token never passes here.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from hub.api import callers
from hub.api.bodies import ID_PATTERN, Answer, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.ports.database.engine import read_session, write_session
from hub.services import session_list

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["people"])

PersonId = Annotated[str, Path(pattern=ID_PATTERN)]


class SessionFacts(Answer):
    """A session in force."""

    id: str
    created_at: Instant
    expires_at: Instant
    method: str = Field(description="How it began: `password`, `passkey` or `provider`.")
    agent: str = Field(description="What the browser or program says it is.")
    present: bool = Field(description="Whether it is the one that asks.")

    model_config = examples(
        {
            "id": "9f86d081884c7d65",
            "created_at": "2026-01-31T08:00:00Z",
            "expires_at": "2026-01-31T20:00:00Z",
            "method": "passkey",
            "agent": "Mozilla/5.0",
            "present": True,
        }
    )


class Sessions(Answer):
    """Sessions in force, the newest first."""

    sessions: list[SessionFacts]

    model_config = examples({"sessions": []})


class OwnSessions(Sessions):
    """The caller's own sessions, and what they should know of tries to open others."""

    guessed_at: list[Instant] = Field(
        description="When a series of wrong passwords for the account was slowed down, in the last "
        "30 days."
    )

    model_config = examples({"sessions": [], "guessed_at": ["2026-01-30T03:12:00Z"]})


class ApiKeyFacts(Answer):
    """An API key in force; the key itself is not told."""

    id: str
    name: str
    scopes: list[str]
    created_at: Instant
    expires_at: Instant | None

    model_config = examples(
        {
            "id": "k5v8q2m0c7x3r9w1",
            "name": "nightly export",
            "scopes": ["telemetry:read"],
            "created_at": "2026-01-31T08:00:00Z",
            "expires_at": None,
        }
    )


class ApiKeys(Answer):
    """API keys in force, the newest first."""

    api_keys: list[ApiKeyFacts]

    model_config = examples({"api_keys": []})


class Ended(Answer):
    """How many sessions ended."""

    ended: int

    model_config = examples({"ended": 3})


@ROUTER.get("/sessions", operation_id="list_sessions", summary="List the own sessions")
def list_sessions(hub: HubDep, caller: CallerDep, request: HttpRequest) -> OwnSessions:
    """List where the caller is signed in."""
    proof = callers.proof_of(request)
    with read_session(hub.engine) as session:
        at = hub.clock()
        found = session_list.listed(session, caller, at, token=proof.token if proof else "")
        guessed = session_list.guessed(session, caller, at)
    return OwnSessions(
        sessions=[SessionFacts.model_validate(one) for one in found], guessed_at=list(guessed)
    )


@ROUTER.delete("/sessions", operation_id="end_sessions", summary="End all other sessions")
def end_sessions(hub: HubDep, caller: CallerDep, request: HttpRequest) -> Ended:
    """End all of the caller's sessions but the one that asks, everywhere and at once."""
    proof = callers.proof_of(request)
    with write_session(hub.engine) as session:
        ended = session_list.end_all(session, caller, hub.clock(), but=proof.token if proof else "")
    return Ended(ended=ended)


@ROUTER.delete(
    "/sessions/{session_id}",
    operation_id="end_session",
    summary="End a session",
    status_code=204,
    response_class=Response,
)
def end_session(
    hub: HubDep, caller: CallerDep, session_id: Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
) -> None:
    """End one of the caller's sessions."""
    with write_session(hub.engine) as session:
        session_list.end(session, caller, session_id, hub.clock())


@ROUTER.get("/me/api-keys", operation_id="list_api_keys", summary="List the own API keys")
def list_api_keys(hub: HubDep, caller: CallerDep) -> ApiKeys:
    """List the caller's API keys."""
    with read_session(hub.engine) as session:
        found = session_list.keys(session, caller, hub.clock())
    return ApiKeys(api_keys=[ApiKeyFacts.model_validate(one) for one in found])


@ROUTER.get(
    "/people/{person_id}/sessions",
    operation_id="list_sessions_of",
    summary="List somebody's sessions",
)
def list_sessions_of(hub: HubDep, caller: CallerDep, person_id: PersonId) -> Sessions:
    """List where somebody is signed in."""
    with read_session(hub.engine) as session:
        found = session_list.listed(session, caller, hub.clock(), person_id=person_id)
    return _sessions(found)


@ROUTER.delete(
    "/people/{person_id}/sessions",
    operation_id="end_sessions_of",
    summary="End somebody's sessions and API keys",
)
def end_sessions_of(hub: HubDep, caller: CallerDep, person_id: PersonId) -> Ended:
    """End all sessions and API keys of somebody, everywhere and at once; they may sign in again."""
    with write_session(hub.engine) as session:
        ended = session_list.end_all(session, caller, hub.clock(), person_id=person_id)
    return Ended(ended=ended)


def _sessions(found: list[session_list.SessionView]) -> Sessions:
    return Sessions(sessions=[SessionFacts.model_validate(one) for one in found])
