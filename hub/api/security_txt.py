"""`/.well-known/security.txt` (RFC 9116): whom to tell of a weakness.

1. It is there only if the settings name a contact, and not after the day they say it expires.
"""

import datetime as dt

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from hub.api.guard import GuardedRoute, HubDep
from hub.errors import NotFoundError

ROUTER = APIRouter(route_class=GuardedRoute, tags=["operation"])

_RENEWED = dt.timedelta(days=90)
_EXAMPLE = "Contact: mailto:security@example.org\nExpires: 2026-05-01T00:00:00Z\n"


@ROUTER.get(
    "/.well-known/security.txt",
    operation_id="get_security_txt",
    summary="Say whom to tell of a weakness",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": _EXAMPLE}}}},
)
def get_security_txt(hub: HubDep) -> PlainTextResponse:
    """Say whom to tell of a weakness in this hub, by RFC 9116."""
    now = dt.datetime.fromtimestamp(hub.clock() // 1_000_000_000, dt.UTC)
    day = hub.security.expires or (now + _RENEWED).date()
    expires = dt.datetime.combine(day, dt.time(), dt.UTC)
    if not hub.security.contact or expires <= now:
        raise NotFoundError("This hub names nobody to tell of a weakness.")
    lines = {
        "Contact": hub.security.contact,
        "Expires": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages": "en, de",
        "Canonical": f"{hub.place.api}/.well-known/security.txt",
        "Policy": hub.security.policy,
    }
    text = "".join(f"{name}: {value}\n" for name, value in lines.items() if value)
    return PlainTextResponse(text, headers={"Cache-Control": "public, max-age=86400"})
