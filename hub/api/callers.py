"""Turns the proof that a request carries into a caller.

1. `Authorization: Bearer` is stronger than the cookie: a browser sends that one unasked.
2. The operator token stands for the hub itself; it is known here by its hash only.
3. The cookie has the prefix `__Host-`: only this host over TLS can have set it.
"""

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from hub.api.access import Role
from hub.api.context import Hub
from hub.errors import NotAuthenticatedError
from hub.ports.database.engine import read_session
from hub.services import sessions
from hub.services.caller import HUB, Caller
from hub.services.tokens import same, secret_hash

COOKIE = sessions.COOKIE
_MAX_TOKEN = 256


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request carries to say who it is from; `by_cookie` where a browser sent it."""

    token: str = field(repr=False)
    by_cookie: bool


def proof_of(request: Request) -> Proof | None:
    """Return the proof of a request, `None` if it carries none.

    Raises:
        NotAuthenticatedError: the header `Authorization` is there but cannot be a token.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_TOKEN:
            raise NotAuthenticatedError(
                "The header Authorization must be `Bearer` and a token. Sign in at "
                "/api/v1/sessions to get one."
            )
        return Proof(token, by_cookie=False)
    key = request.headers.get("x-api-key", "")
    if key:  # as OpenFeature's clients send theirs
        return Proof(key[:_MAX_TOKEN], by_cookie=False)
    cookie = request.cookies.get(COOKIE)
    return Proof(cookie[:_MAX_TOKEN], by_cookie=True) if cookie else None


def authenticate(hub: Hub, proof: Proof) -> Caller:
    """Return who a proof stands for.

    Raises:
        NotAuthenticatedError: it stands for nobody (any more).
    """
    if same(secret_hash(proof.token), hub.operator_token_hash):
        return HUB
    with read_session(hub.engine) as session:
        return sessions.authenticate(session, proof.token, hub.clock())


def role_of(caller: Caller) -> Role:
    """Return the kind of a caller, as the access table names it."""
    return Role(caller.role.value)


def set_cookie(response: Response, token: str, seconds: int) -> None:
    """Give a browser its session."""
    response.set_cookie(
        COOKIE, token, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict"
    )


def drop_cookie(response: Response) -> None:
    """Take the session from a browser."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
