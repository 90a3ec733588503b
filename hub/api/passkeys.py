"""Passkeys: making, listing and removing one's own, and signing in with one.

1. Options and answers are those of WebAuthn's JSON (`PublicKeyCredential.toJSON`).
2. Without a DNS name browsers have no passkeys; then there are none here (409).
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from hub.api import callers
from hub.api.bodies import ID_PATTERN, Answer, Line, Request, examples
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.people import SignedIn, address_of, entered
from hub.errors import ConflictError, NotAuthenticatedError
from hub.ports.database.engine import read_session, write_session
from hub.services import passkeys
from hub.services.passkeys import Begun, Site

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["people"])

_CREDENTIAL = {"id": "mF2x...", "type": "public-key", "response": {}}
FlowSecret = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PasskeyOptions(Answer):
    """What `navigator.credentials` needs."""

    flow: str = Field(description="Sent back with the answer; only this browser has it.")
    options: dict[str, Any] = Field(description="In WebAuthn's JSON form.")

    model_config = examples({"flow": "ab" * 32, "options": {"challenge": "x9..."}})


class NewPasskey(Request):
    """A passkey that a browser has made."""

    flow: FlowSecret
    name: Line = "Passkey"
    credential: dict[str, Any]

    model_config = examples({"flow": "ab" * 32, "name": "Phone", "credential": _CREDENTIAL})


class PasskeyAnswer(Request):
    """The answer of a passkey."""

    flow: FlowSecret
    credential: dict[str, Any]

    model_config = examples({"flow": "ab" * 32, "credential": _CREDENTIAL})


class PasskeyFacts(Answer):
    """A passkey."""

    id: str
    name: str
    created_at: Instant
    used_at: Instant | None

    model_config = examples(
        {
            "id": "k5v8q2m0c7x3r9w1",
            "name": "Phone",
            "created_at": "2026-01-31T08:00:00Z",
            "used_at": None,
        }
    )


class Passkeys(Answer):
    """Passkeys, the oldest first."""

    passkeys: list[PasskeyFacts]

    model_config = examples({"passkeys": []})


@ROUTER.get("/me/passkeys", operation_id="list_passkeys", summary="List the own passkeys")
def list_passkeys(hub: HubDep, caller: CallerDep) -> Passkeys:
    """List the caller's passkeys."""
    with read_session(hub.engine) as session:
        found = passkeys.listed(session, caller)
    return Passkeys(passkeys=[PasskeyFacts.model_validate(one) for one in found])


@ROUTER.post(
    "/me/passkeys/options", operation_id="begin_passkey", summary="Begin to make a passkey"
)
def begin_passkey(hub: HubDep, caller: CallerDep, request: HttpRequest) -> PasskeyOptions:
    """Return what a browser needs to make a passkey; the caller has just signed in."""
    proof = callers.proof_of(request)
    with write_session(hub.engine) as session:
        token = proof.token if proof else ""
        begun = passkeys.begin_new(session, caller, site_of(hub), token, hub.clock(), hub.tokens)
    return _options(begun)


@ROUTER.post(
    "/me/passkeys", operation_id="add_passkey", summary="Keep a new passkey", status_code=201
)
def add_passkey(hub: HubDep, caller: CallerDep, body: NewPasskey) -> Passkeys:
    """Keep a passkey that a browser has made, and list all."""
    with write_session(hub.engine) as session:
        passkeys.end_new(
            session,
            caller,
            site_of(hub),
            body.flow,
            body.credential,
            body.name,
            hub.clock(),
            hub.tokens,
        )
    return list_passkeys(hub, caller)


@ROUTER.delete(
    "/me/passkeys/{passkey_id}",
    operation_id="remove_passkey",
    summary="Remove a passkey",
    status_code=204,
    response_class=Response,
)
def remove_passkey(
    hub: HubDep, caller: CallerDep, passkey_id: Annotated[str, Path(pattern=ID_PATTERN)]
) -> None:
    """Remove one of the caller's passkeys."""
    with write_session(hub.engine) as session:
        passkeys.remove(session, caller, passkey_id, hub.clock())


@ROUTER.post(
    "/sessions/passkey/options",
    operation_id="begin_passkey_sign_in",
    summary="Begin to sign in with a passkey",
)
def begin_passkey_sign_in(hub: HubDep, request: HttpRequest) -> PasskeyOptions:
    """Return what a browser needs to ask for a passkey."""
    at = hub.clock()
    hub.limits.sign_in_address.take(address_of(request), at)
    with write_session(hub.engine) as session:
        begun = passkeys.begin_sign_in(session, site_of(hub), at, hub.tokens)
    return _options(begun)


@ROUTER.post(
    "/sessions/passkey",
    operation_id="sign_in_with_passkey",
    summary="Sign in with a passkey",
    status_code=201,
)
def sign_in_with_passkey(
    hub: HubDep, request: HttpRequest, response: Response, body: PasskeyAnswer
) -> SignedIn:
    """Open a session by the answer of a passkey."""
    at, agent = hub.clock(), request.headers.get("user-agent", "")
    hub.limits.sign_in_address.take(address_of(request), at)
    try:
        with write_session(hub.engine) as session:
            opened = passkeys.sign_in(
                session, site_of(hub), body.flow, body.credential, at, hub.tokens, agent=agent
            )
    except NotAuthenticatedError:
        hub.metrics.sign_ins.labels("refused").inc()
        raise
    return entered(hub, response, opened, at)


def site_of(hub: Hub) -> Site:
    """Return the hub as browsers know it.

    Raises:
        ConflictError: it has no DNS name.
    """
    if hub.site is None:
        raise ConflictError("This hub has no DNS name, so there are no passkeys. Use a password.")
    return hub.site


def _options(begun: Begun) -> PasskeyOptions:
    return PasskeyOptions(flow=begun.flow, options=json.loads(begun.options))
