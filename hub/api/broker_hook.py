"""What EMQX asks: may this client come in, and may it use this topic.

Not run against the server: written from EMQX 5's documentation, tested at HTTP level.

1. Only who knows the secret of `broker.hook_secret` gets an answer; without one there is no hook.
2. The answer is 200 with `allow` or `deny`, whatever was asked: EMQX takes any other status as
   "no opinion" and goes on, which must never let a client in.
3. EMQX has verified the certificate against the hub's authority; its common name is who asks.
4. The decision is that of the auth callout: known, not revoked, client id equal to common name.
"""

import hmac
import json
import logging
from typing import Any, Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from device_sdk.wire.topics import is_device_id
from hub.api.bodies import Answer, examples
from hub.api.context import Hub
from hub.api.guard import GuardedRoute, HubDep
from hub.errors import NotAuthenticatedError, NotFoundError
from hub.ports.broker.grants import (
    Topics,
    device_topics,
    internal_topics,
    may_publish,
    may_subscribe,
)
from hub.ports.database.engine import read_session
from hub.services import admission
from hub.services.tokens import secret_hash

HOOK_HEADER: Final = "X-Homeport-Hook"

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1/broker/emqx", tags=["devices"])
_LOG = logging.getLogger("homeport.broker")


class Verdict(Answer):
    """What EMQX is told."""

    result: str
    is_superuser: bool = False

    model_config = examples({"result": "allow", "is_superuser": False})


@ROUTER.post("/auth", operation_id="emqx_auth", summary="Whether a client may connect")
async def authenticate(request: Request, hub: HubDep) -> Verdict:
    """Answer EMQX's HTTP authentication: `{clientid, cert_common_name}`."""
    _check_secret(request, hub)
    asked = await _body(request)
    name = asked.get("cert_common_name", "")
    topics = await run_in_threadpool(_topics, hub, name) if name == asked.get("clientid") else None
    return _verdict("auth", name, allowed=topics is not None)


@ROUTER.post("/acl", operation_id="emqx_acl", summary="Whether a client may use a topic")
async def authorize(request: Request, hub: HubDep) -> Verdict:
    """Answer EMQX's HTTP authorization: `{clientid, cert_common_name, action, topic}`."""
    _check_secret(request, hub)
    asked = await _body(request)
    name, topic = asked.get("cert_common_name", ""), asked.get("topic", "")
    topics = await run_in_threadpool(_topics, hub, name) if name == asked.get("clientid") else None
    may = {"publish": may_publish, "subscribe": may_subscribe}.get(asked.get("action", ""))
    return _verdict("acl", name, allowed=bool(topics and may and may(topics, topic)))


def _check_secret(request: Request, hub: Hub) -> None:
    if not hub.hook_secret_hash:
        raise NotFoundError("This hub answers no broker: the setting broker.hook_secret is empty.")
    shown = secret_hash(request.headers.get(HOOK_HEADER, ""))
    if not hmac.compare_digest(shown, hub.hook_secret_hash):
        raise NotAuthenticatedError(
            f"The header {HOOK_HEADER} is missing or wrong. Set it in EMQX to the hub's setting "
            "broker.hook_secret."
        )


async def _body(request: Request) -> dict[str, str]:
    """Read an object of texts; what is none reads as empty, and so is denied."""
    try:
        body: Any = json.loads(await request.body())
    except ValueError:
        return {}
    if not isinstance(body, dict):
        return {}
    return {key: value for key, value in body.items() if isinstance(value, str)}


def _topics(hub: Hub, name: str) -> Topics | None:
    """Return what a client may do, None if it may not be here."""
    if not is_device_id(name):
        return internal_topics(name)
    with read_session(hub.engine) as session:
        return device_topics(name) if admission.welcome(session, name) else None


def _verdict(what: str, name: str, *, allowed: bool) -> Verdict:
    if not allowed:
        _LOG.debug("emqx %s denied", what, extra={"client": name[:64]})
    return Verdict(result="allow" if allowed else "deny")
