"""Signing in and out, who one is, and the people of the hub.

1. A token, a key and a one-time password are shown once, in the answer that makes them.
2. Floods are slowed down by address here, guessing by the service; refusals say nothing about who
   exists.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from hub.api import callers
from hub.api.bodies import ID_PATTERN, Answer, Email, Id, Line, Request, examples
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.errors import ForbiddenError, NotAuthenticatedError, RateLimitedError
from hub.ports.database.engine import read_session, write_session
from hub.services import people, sessions
from hub.services.caller import Caller, Role, Scope

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["people"])

Password = Annotated[str, Field(min_length=1, max_length=people.MAX_PASSWORD)]


class SignIn(Request):
    """E-mail address and password."""

    email: Email
    password: Password

    model_config = examples({"email": "ada@example.org", "password": "correct horse battery"})


class SignedIn(Answer):
    """A session that has just begun."""

    token: str = Field(description="Bearer token of the session; shown only here.")
    expires_at: Instant
    role: Role
    must_change_password: bool

    model_config = examples(
        {
            "token": "hps_2f7c...",
            "expires_at": "2026-01-31T20:00:00Z",
            "role": "customer",
            "must_change_password": False,
        }
    )


class Me(Answer):
    """Who the caller is."""

    role: Role
    person_id: str | None = Field(description="Null for the operator token.")
    owner_id: str | None = Field(description="The customer's household; null for staff.")
    email: str | None
    name: str | None
    locale: str
    zone: str = Field(description="IANA time zone for display.")
    must_change_password: bool
    scopes: list[Scope]

    model_config = examples(
        {
            "role": "customer",
            "person_id": "p3k9x0c7w2m5q8r1",
            "owner_id": "h7d2n4v9s0b6j1t5",
            "email": "ada@example.org",
            "name": "Ada",
            "locale": "en",
            "zone": "Europe/Berlin",
            "must_change_password": False,
            "scopes": ["products:read"],
        }
    )


class ChangePassword(Request):
    """The old password and the new one."""

    old: Password
    new: Password

    model_config = examples({"old": "AB2C-DE3F-GH4J-KM5N", "new": "correct horse battery"})


class CreateApiKey(Request):
    """What a key is for and what it permits."""

    name: Line
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_at: Instant | None = None

    model_config = examples({"name": "nightly export", "scopes": ["telemetry:read"]})


class NewApiKey(Answer):
    """A key that has just been made."""

    id: str
    key: str = Field(description="Shown only here.")
    expires_at: Instant | None

    model_config = examples({"id": "k5v8q2m0c7x3r9w1", "key": "hpk_91ad...", "expires_at": None})


class CreatePerson(Request):
    """Somebody who shall be able to sign in."""

    email: Email
    name: Line
    role: Role
    owner_id: Id | None = Field(
        default=None, description="Household of a customer; null makes a new one."
    )
    partner_id: Id | None = Field(default=None, description="Organisation of a partner's person.")
    locale: Line = "en"
    zone: Line = "UTC"

    model_config = examples({"email": "ada@example.org", "name": "Ada", "role": "customer"})


class NewPerson(Answer):
    """A person that has just been created."""

    person_id: str
    owner_id: str | None
    email: str
    one_time_password: str = Field(description="For the first sign-in; shown only here.")

    model_config = examples(
        {
            "person_id": "p3k9x0c7w2m5q8r1",
            "owner_id": "h7d2n4v9s0b6j1t5",
            "email": "ada@example.org",
            "one_time_password": "AB2C-DE3F-GH4J-KM5N",
        }
    )


@ROUTER.post("/sessions", operation_id="sign_in", summary="Sign in", status_code=201)
def sign_in(hub: HubDep, request: HttpRequest, response: Response, body: SignIn) -> SignedIn:
    """Open a session; browsers get it as a cookie, programs use the token as bearer."""
    at = hub.clock()
    hub.limits.sign_in_address.take(address_of(request), at)
    try:
        opened = sessions.sign_in(
            hub.engine,
            body.email,
            body.password,
            at,
            hub.tokens,
            address=address_of(request),
            agent=request.headers.get("user-agent", ""),
        )
    except (NotAuthenticatedError, RateLimitedError):
        hub.metrics.sign_ins.labels("refused").inc()
        raise
    return entered(hub, response, opened, at)


def entered(hub: Hub, response: Response, opened: sessions.SignedIn, at: int) -> SignedIn:
    """Answer who has just signed in (at an instant in ns), browsers by their cookie too."""
    hub.metrics.sign_ins.labels("ok").inc()
    callers.set_cookie(response, opened.token, (opened.expires_at - at) // 1_000_000_000)
    return SignedIn(
        token=opened.token,
        expires_at=opened.expires_at,
        role=opened.caller.role,
        must_change_password=opened.must_change_password,
    )


@ROUTER.delete(
    "/sessions/current",
    operation_id="sign_out",
    summary="Sign out",
    status_code=204,
    response_class=Response,
)
def sign_out(hub: HubDep, request: HttpRequest, response: Response) -> None:
    """End the session that this request carries; an API key or the operator token stays."""
    proof = callers.proof_of(request)
    if proof is not None:
        with write_session(hub.engine) as session:
            sessions.sign_out(session, proof.token, hub.clock())
    callers.drop_cookie(response)


@ROUTER.get("/me", operation_id="get_me", summary="Who the caller is")
def get_me(hub: HubDep, caller: CallerDep) -> Me:
    """Return the caller's account and what it may do."""
    scopes = sorted(caller.scopes)
    if not caller.person_id:
        return Me(
            role=caller.role,
            person_id=None,
            owner_id=None,
            email=None,
            name=None,
            locale="en",
            zone="UTC",
            must_change_password=False,
            scopes=scopes,
        )
    with read_session(hub.engine) as session:
        person = people.person_view(session, caller, caller.person_id)
    return Me(
        role=person.role,
        person_id=person.id,
        owner_id=person.owner_id,
        email=person.email,
        name=person.name,
        locale=person.locale,
        zone=person.zone,
        must_change_password=person.must_change_password,
        scopes=scopes,
    )


@ROUTER.put(
    "/me/password",
    operation_id="change_password",
    summary="Change the own password",
    status_code=204,
    response_class=Response,
)
def change_password(
    hub: HubDep, caller: CallerDep, response: Response, body: ChangePassword
) -> None:
    """Change the password and end all of the caller's sessions, this one too."""
    at = hub.clock()
    sessions.change_password(hub.engine, caller, body.old, body.new, at)
    callers.drop_cookie(response)


@ROUTER.post(
    "/me/api-keys", operation_id="create_api_key", summary="Make an API key", status_code=201
)
def create_api_key(hub: HubDep, caller: CallerDep, body: CreateApiKey) -> NewApiKey:
    """Make a key for a program of the caller; it never permits more than the caller may do."""
    person_of(caller)
    with write_session(hub.engine) as session:
        made = sessions.create_api_key(
            session, caller, body.name, body.scopes, body.expires_at, hub.clock(), hub.tokens
        )
    return NewApiKey.model_validate(made)


@ROUTER.delete(
    "/me/api-keys/{key_id}",
    operation_id="revoke_api_key",
    summary="Revoke an API key",
    status_code=204,
    response_class=Response,
)
def revoke_api_key(
    hub: HubDep, caller: CallerDep, key_id: Annotated[str, Path(pattern=ID_PATTERN)]
) -> None:
    """End one of the caller's API keys at once."""
    with write_session(hub.engine) as session:
        sessions.revoke_api_key(session, caller, key_id, hub.clock())


@ROUTER.post("/people", operation_id="create_person", summary="Create a person", status_code=201)
def create_person(hub: HubDep, caller: CallerDep, body: CreatePerson) -> NewPerson:
    """Create somebody who can sign in, and show their one-time password once."""
    password = people.OneTimePassword.new(hub.tokens)
    with write_session(hub.engine) as session:
        made = people.create_person(
            session,
            caller,
            email=body.email,
            name=body.name,
            role=body.role,
            at=hub.clock(),
            tokens=hub.tokens,
            password=password,
            owner_id=body.owner_id,
            partner_id=body.partner_id,
            locale=body.locale,
            zone=body.zone,
        )
    return NewPerson.model_validate(made)


@ROUTER.post(
    "/people/{person_id}/disable",
    operation_id="disable_person",
    summary="Disable an account",
    status_code=204,
    response_class=Response,
)
def disable_person(
    hub: HubDep, caller: CallerDep, person_id: Annotated[str, Path(pattern=ID_PATTERN)]
) -> None:
    """End an account's sessions and let nobody sign in with it; the last owner's stays."""
    with write_session(hub.engine) as session:
        sessions.disable(session, caller, person_id, hub.clock())


def address_of(request: HttpRequest) -> str:
    """Return the network address a request came from."""
    return request.client.host if request.client else "unknown"


def person_of(caller: Caller) -> str:
    """Return the id of the person who calls; the operator token is none."""
    if not caller.person_id:
        raise ForbiddenError("The operator token is no person; sign in as one.")
    return caller.person_id
