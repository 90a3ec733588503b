"""The door of every route: who is it, may they, did they mean it, and is the body small enough.

1. The door comes before everything else: a body is not read, nor a parameter looked at, for
   somebody who may not call.
2. A cookie is sent by browsers on their own, so a write with a cookie must also show that it comes
   from our own pages: the header `X-Homeport-Request`, or an `Origin` that is this host.
3. A route without a row in the access table is refused when the application is put together.
"""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from hub.api import access, callers, conditional
from hub.api.access import Role
from hub.api.context import Hub
from hub.errors import ForbiddenError, NotAuthenticatedError
from hub.services import looks
from hub.services.caller import Caller

INTENT_HEADER = "X-Homeport-Request"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class GuardedRoute(APIRoute):
    """A route that asks the access table before it does anything."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        operation = str(options["operation_id"])
        status = options.get("status_code")
        written = conditional.endpoint(endpoint, operation, access.RULES[operation], status)
        super().__init__(path, written, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the door in front of the route."""
        handle = super().get_route_handler()
        operation = str(self.operation_id)
        rule = access.RULES[operation]
        conditions = conditional.heeded(operation, rule)

        async def guarded(request: Request) -> Response:
            hub = hub_of(request)
            if Role.ANONYMOUS not in rule.roles:
                request.state.caller = await _admitted(request, hub, rule)
            limit = rule.body_bytes or hub.request_bytes
            limited = _limited(request, limit)
            if not conditions:
                return await handle(limited)
            asked = await conditional.conditions(limited, hub, caller_of(request), rule)
            with hub.running.alone(asked.wish), conditional.applied(asked):
                return await handle(limited)

        return guarded


async def _admitted(request: Request, hub: Hub, rule: access.Rule) -> Caller:
    proof = callers.proof_of(request)
    if proof is None:
        raise NotAuthenticatedError(
            "This needs a signed-in caller. Sign in at /api/v1/sessions, or send "
            "`Authorization: Bearer` with a token or API key."
        )
    caller = await run_in_threadpool(callers.authenticate, hub, proof)
    if callers.role_of(caller) not in rule.roles:
        wanted = " or ".join(sorted(rule.roles))
        raise ForbiddenError(
            f"This is for {wanted} only; you are signed in as {callers.role_of(caller)}."
        )
    if proof.by_cookie and request.method not in _READS:
        _check_intent(request)
    return replace(caller, reason=looks.reason_in(request.headers)) if caller.is_staff else caller


def _check_intent(request: Request) -> None:
    if INTENT_HEADER in request.headers:
        return  # another site cannot set it without asking us first (CORS), and we never allow it
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc == request.headers.get("host"):
        return
    raise ForbiddenError(
        f"A write with a session cookie needs the header {INTENT_HEADER} or the Origin of this "
        "hub. Send `X-Homeport-Request: 1`."
    )


def _limited(request: Request, limit: int) -> Request:
    """Return the request with a body that ends in an error past `limit` bytes."""
    sentence = f"The body is larger than the {limit} bytes this operation takes. Send less at once."
    # FastAPI turns whatever else ends the reading of a body into a bare 400.
    refusal = HTTPException(413, sentence)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise refusal
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise refusal
        return message

    return Request(request.scope, receive)


def hub_of(request: Request) -> Hub:
    """Return the collaborators the application was put together with."""
    hub: Hub = request.app.state.hub
    return hub


def caller_of(request: Request) -> Caller:
    """Return who the guard let in."""
    caller: Caller = request.state.caller
    return caller


HubDep = Annotated[Hub, Depends(hub_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
