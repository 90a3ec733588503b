"""One's own account: where one is signed in, passkeys, keys of programs; and signing in by a provider.

1. What is ended here is ended everywhere at once.
2. Passkeys are made by `passkeys.js` over the API, as browsers do that in a script only.
3. A browser that comes back from a provider carries the cookie of the flow that it began, or it was not
   this one. The session's cookie is strict, so a page leads on: a redirect would come without it.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import HubError, NotAuthenticatedError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.services import passkeys, provider_sign_in, session_list, sessions, sign_in_flows
from hub.services.sign_in_flows import Flow
from hub.services.tokens import same
from hub.web.context import Hub, hub_of
from hub.web.formats import NS
from hub.web.guard import PageRoute, form_of, local, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.visitor import set_session

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

FLOW_COOKIE = "__Host-homeport-flow"
_NOT_SIGNED_IN = N_(
    "That did not work. Try again, or sign in with your password; an operator can help."
)
METHODS = {
    "password": N_("Password"),
    "passkey": N_("Passkey"),
    "provider": N_("Single sign-on"),
}
_Answer = Annotated[str, Query(max_length=4_096)]


@ROUTER.get("/account", operation_id="page_account")
def page_account(request: Request) -> Response:
    """Show where the visitor is signed in, and by what they sign in."""
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        return pages_of(request).page(
            request,
            "account.html",
            sessions=session_list.listed(session, caller, at, token=visitor.token),
            guessed=session_list.guessed(session, caller, at),
            api_keys=session_list.keys(session, caller, at),
            passkeys=passkeys.listed(session, caller),
            site=hub.site,
            methods=METHODS,
        )


@ROUTER.post("/account/sessions", operation_id="do_end_session")
def do_end_session(request: Request) -> Response:
    """End a session, or all others."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    with write_session(hub.engine) as session:
        if named := form.get("session", ""):
            session_list.end(session, visitor.known, named, hub.clock())
        else:
            session_list.end_all(session, visitor.known, hub.clock(), but=visitor.token)
    return RedirectResponse("/account", 303)


@ROUTER.post("/account/passkeys", operation_id="do_remove_passkey")
def do_remove_passkey(request: Request) -> Response:
    """Remove a passkey."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    with write_session(hub.engine) as session:
        passkeys.remove(session, visitor.known, form.get("passkey", ""), hub.clock())
    return RedirectResponse("/account", 303)


@ROUTER.post("/account/keys", operation_id="do_revoke_key")
def do_revoke_key(request: Request) -> Response:
    """End a key of a program."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    with write_session(hub.engine) as session:
        sessions.revoke_api_key(session, visitor.known, form.get("key", ""), hub.clock())
    return RedirectResponse("/account", 303)


@ROUTER.get("/sign-in/provider", operation_id="get_provider")
def get_provider(request: Request, next: str = "/") -> Response:  # noqa: A002  name in the address
    """Send the browser to the identity provider."""
    hub, at = hub_of(request), hub_of(request).clock()
    if hub.provider is None:
        raise NotFoundError("There is nothing at this address.")
    hub.limits.sign_in_address.take(_address_of(request), at)
    with write_session(hub.engine) as session:
        details = {"next": local(next)}
        secret = sign_in_flows.begin(session, Flow.PROVIDER, at, hub.tokens, details=details)
    response = RedirectResponse(hub.provider.address(provider_sign_in.expected(secret)), 303)
    # Lax: the provider sends the browser back from another site.
    response.set_cookie(
        FLOW_COOKIE, secret, max_age=600, path="/", secure=True, httponly=True, samesite="lax"
    )
    return response


@ROUTER.get("/sign-in/provider/back", operation_id="get_provider_back")
def get_provider_back(request: Request, code: _Answer = "", state: _Answer = "") -> Response:
    """Take in a browser that comes back from the identity provider."""
    hub, secret = hub_of(request), request.cookies.get(FLOW_COOKIE, "")[:256]
    try:
        response = _came_back(request, hub, code, state, secret)
    except HubError as error:
        if error.status not in {401, 502}:
            raise
        hub.metrics.sign_ins.labels("refused").inc()
        said = visitor_of(request).language.text(_NOT_SIGNED_IN)
        response = pages_of(request).page(
            request,
            "sign_in.html",
            status=error.status,
            next="/",
            email="",
            error=said,
            provider=hub.provider,
            site=hub.site,
        )
    response.delete_cookie(FLOW_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _came_back(request: Request, hub: Hub, code: str, state: str, secret: str) -> Response:
    at = hub.clock()
    if hub.provider is None:
        raise NotFoundError("There is nothing at this address.")
    hub.limits.sign_in_address.take(_address_of(request), at)
    expected = provider_sign_in.expected(secret)
    if not secret or not code or not same(expected.state, state):
        raise NotAuthenticatedError("This sign-in was not begun in this browser. Begin again.")
    with write_session(hub.engine) as session:
        flow = sign_in_flows.take(session, Flow.PROVIDER, secret, at)
    identity = hub.provider.identify(code, expected)
    with write_session(hub.engine) as session:
        opened = provider_sign_in.sign_in(
            session,
            identity,
            at,
            hub.tokens,
            link_by_email=hub.link_by_email,
            agent=request.headers.get("user-agent", ""),
        )
    hub.metrics.sign_ins.labels("ok").inc()
    onward = local(str(flow.details.get("next", "/")))
    response = pages_of(request).page(request, "onward.html", onward=onward)
    response.headers["Refresh"] = f"0; url={onward}"
    set_session(response, opened.token, (opened.expires_at - at) // NS)
    return response


def _address_of(request: Request) -> str:
    return request.client.host if request.client else "unknown"
