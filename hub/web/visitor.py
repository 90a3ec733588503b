"""Who looks at a page, and how they like to read it.

1. Pages know sessions only, by the cookie that the API sets too: no bearer tokens, no API keys.
2. Language and light or dark are cookies; a person's account says language and zone otherwise.
3. A cookie that stands for nobody is nobody, not an error.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from hub.errors import HubError, InvalidInputError, NotAuthenticatedError
from hub.ports.database.engine import read_session
from hub.services import looks, people, sessions
from hub.services.caller import Caller
from hub.services.people import PersonView
from hub.services.sessions import COOKIE, SESSION_PREFIX
from hub.web.context import Hub
from hub.web.formats import Formats
from hub.web.languages import Language, chosen
from hub.web.pages import Pages

LANGUAGE_COOKIE = "__Host-homeport-language"
THEME_COOKIE = "__Host-homeport-theme"
_MAX_TOKEN = 256
_YEAR_S = 365 * 86_400

Theme = Literal["", "light", "dark"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at a page; `caller` and `person` are None where nobody is signed in.

    `since` is the latest live event when they came: what the page shows was read after it.
    """

    caller: Caller | None
    person: PersonView | None
    token: str = field(repr=False)
    language: Language
    theme: Theme
    formats: Formats
    address: str
    since: str

    @property
    def known(self) -> Caller:
        """Who is signed in; only for pages that nobody else can open."""
        if self.caller is None:
            raise NotAuthenticatedError("Sign in first.")
        return self.caller

    def left(self) -> "Visitor":
        """Return the same browser with nobody signed in."""
        return replace(self, caller=None, person=None, token="")


def arrived(request: Request, hub: Hub, pages: Pages) -> Visitor:
    """Work out who a request is from."""
    since = hub.live.newest
    token = request.cookies.get(COOKIE, "")[:_MAX_TOKEN]
    caller, person = authenticated(hub, token)
    if caller is not None and caller.is_staff:
        with suppress(InvalidInputError):  # then the page asks for a better one
            caller = replace(caller, reason=looks.reason_in(request.headers))
    wishes = (request.cookies.get(LANGUAGE_COOKIE), person.locale if person else None)
    language = chosen(pages.languages, wishes, request.headers.get("accept-language"))
    wished = request.cookies.get(THEME_COOKIE)
    theme: Theme = "light" if wished == "light" else "dark" if wished == "dark" else ""
    zone = ZoneInfo(person.zone if person else "UTC")
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    formats = Formats(language.locale, zone)
    return Visitor(caller, person, token, language, theme, formats, address, since)


def authenticated(hub: Hub, token: str) -> tuple[Caller | None, PersonView | None]:
    """Return who a session's token stands for; nobody if for nobody (any more)."""
    if not token.startswith(SESSION_PREFIX):
        return None, None
    try:
        with read_session(hub.engine) as session:
            caller = sessions.authenticate(session, token, hub.clock())
            return caller, people.person_view(session, caller, caller.person_id)
    except HubError:
        return None, None


def set_session(response: Response, token: str, seconds: int) -> None:
    """Give a browser its session, as the API does."""
    response.set_cookie(
        COOKIE, token, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict"
    )


def drop_session(response: Response) -> None:
    """Take the session from a browser."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


def set_preference(response: Response, cookie: str, value: str) -> None:
    """Keep a preference in the browser for a year; an empty one is forgotten."""
    age = _YEAR_S if value else 0
    response.set_cookie(
        cookie, value, max_age=age, path="/", secure=True, httponly=True, samesite="lax"
    )
