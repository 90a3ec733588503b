"""Coming and going: signing in and out, the own password, language and light.

1. Sign-in is slowed down exactly as the API's, by the same counters.
2. Refusals say nothing about who exists.
3. After signing in people go where they wanted to, on this host only.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import HubError, InvalidInputError, NotAuthenticatedError, RateLimitedError
from hub.ports.database.engine import write_session
from hub.services import people, sessions
from hub.services.sessions import SignedIn
from hub.web.context import Hub, hub_of
from hub.web.formats import NS
from hub.web.guard import PageRoute, form_of, local, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.visitor import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    drop_session,
    set_preference,
    set_session,
)

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

_WRONG = N_("E-mail address and password do not fit. Check both and try again.")
_TOO_MANY = N_("Too many attempts. Try again in {minutes} min.")
_OLD_WRONG = N_("The present password is not right. Try again.")
_NEW_BAD = N_(
    "Choose a new password of {shortest} to {longest} characters, other than the old one."
)
_NOT_SAME = N_("The new password and its repetition differ. Type both again.")


@ROUTER.get("/sign-in", operation_id="page_sign_in")
def page_sign_in(request: Request, next: str = "/") -> Response:  # noqa: A002  name in the address
    """Show the form to sign in, or go on if that is done."""
    if visitor_of(request).caller is not None:
        return RedirectResponse(local(next), 303)
    return _form(request, 200, local(next), "", "")


@ROUTER.post("/sign-in", operation_id="do_sign_in")
def do_sign_in(request: Request) -> Response:
    """Open a session."""
    hub, form, visitor = hub_of(request), form_of(request), visitor_of(request)
    email, onward = form.get("email", "")[:200], local(form.get("next"))
    try:
        opened = _opened(request, hub, email, form.get("password", ""))
    except (NotAuthenticatedError, RateLimitedError, InvalidInputError) as error:
        said = _refusal(request, error, _WRONG)
        return _form(request, error.status, onward, email, said)
    if visitor.token:
        with write_session(hub.engine) as session:
            sessions.sign_out(session, visitor.token, hub.clock())
    response = RedirectResponse("/password" if opened.must_change_password else onward, 303)
    set_session(response, opened.token, (opened.expires_at - hub.clock()) // NS)
    return response


@ROUTER.post("/sign-out", operation_id="do_sign_out")
def do_sign_out(request: Request) -> Response:
    """End the session."""
    hub, visitor = hub_of(request), visitor_of(request)
    if visitor.token:
        with write_session(hub.engine) as session:
            sessions.sign_out(session, visitor.token, hub.clock())
    response = RedirectResponse("/sign-in", 303)
    drop_session(response)
    return response


@ROUTER.get("/password", operation_id="page_password")
def page_password(request: Request) -> Response:
    """Show the form to change one's password."""
    return pages_of(request).page(request, "password.html", error="")


@ROUTER.post("/password", operation_id="do_password")
def do_password(request: Request) -> Response:
    """Change the password, end all sessions and begin a new one."""
    hub, form, visitor = hub_of(request), form_of(request), visitor_of(request)
    at, text = hub.clock(), visitor.language.text
    person = visitor.person
    if person is None:
        raise NotAuthenticatedError("Sign in first.")
    try:
        if form.get("new") != form.get("again"):
            said = text(_NOT_SAME)
            return pages_of(request).page(request, "password.html", status=422, error=said)
        old, new = form.get("old", ""), form.get("new", "")
        sessions.change_password(hub.engine, visitor.known, old, new, at)
    except InvalidInputError:
        said = text(_NEW_BAD, shortest=people.MIN_PASSWORD, longest=people.MAX_PASSWORD)
        return pages_of(request).page(request, "password.html", status=422, error=said)
    except (NotAuthenticatedError, RateLimitedError) as error:
        said = _refusal(request, error, _OLD_WRONG)
        return pages_of(request).page(request, "password.html", status=error.status, error=said)
    opened = sessions.sign_in(
        hub.engine, person.email, new, at, hub.tokens, agent=request.headers.get("user-agent", "")
    )
    response = RedirectResponse("/", 303)
    set_session(response, opened.token, (opened.expires_at - at) // NS)
    return response


@ROUTER.post("/preferences", operation_id="do_prefer")
def do_prefer(request: Request) -> Response:
    """Keep a language, or light or dark, in this browser; a language with the account too."""
    form, visitor = form_of(request), visitor_of(request)
    response = RedirectResponse(local(form.get("next")), 303)
    language, theme = form.get("language"), form.get("theme")
    if language in pages_of(request).languages:
        set_preference(response, LANGUAGE_COOKIE, str(language))
        if visitor.caller is not None:
            with write_session(hub_of(request).engine) as session:
                people.prefer_language(session, visitor.caller, str(language))
    if theme in {"", "light", "dark"}:
        set_preference(response, THEME_COOKIE, str(theme))
    return response


def _opened(request: Request, hub: Hub, email: str, password: str) -> SignedIn:
    at = hub.clock()
    address = request.client.host if request.client else "unknown"
    hub.limits.sign_in_address.take(address, at)
    agent = request.headers.get("user-agent", "")
    try:
        opened = sessions.sign_in(
            hub.engine, email, password, at, hub.tokens, address=address, agent=agent
        )
    except (NotAuthenticatedError, RateLimitedError):
        hub.metrics.sign_ins.labels("refused").inc()
        raise
    hub.metrics.sign_ins.labels("ok").inc()
    return opened


def _form(request: Request, status: int, onward: str, email: str, error: str) -> Response:
    hub = hub_of(request)
    return pages_of(request).page(
        request,
        "sign_in.html",
        status,
        next=onward,
        email=email,
        error=error,
        provider=hub.provider,
        site=hub.site,
    )


def _refusal(request: Request, error: HubError, wrong: str) -> str:
    text = visitor_of(request).language.text
    if isinstance(error, RateLimitedError):
        return text(_TOO_MANY, minutes=-(-error.retry_after_s // 60))
    return text(wrong)
