"""Claiming a product: serial number and code, then the press of its button, or a dispute.

1. A claim is refused in words that say what to do; the service counts wrong codes.
2. While the button is waited for the page asks again by itself; without scripts a button does.
3. Somebody else's product is never named: the form says only what the label says.
"""

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ConflictError, HubError, NotFoundError, RateLimitedError
from hub.ports.database.engine import write_session
from hub.services import disputes, ownership
from hub.web.context import hub_of
from hub.web.formats import NS
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

WAIT_S = 300
"""How long the page waits for the button."""

_EMPTY = N_("Type the claim code from the label.")
_NO_SUCH = N_(
    "Serial number and code do not fit any product. Check both against the label: a code has "
    "twelve letters and digits, without 0, 1, I, L, O and U."
)
_TAKEN = N_("This product has an owner already.")
_HELD = N_("This product cannot be claimed or disputed at present. Please ask support.")
_TOO_MANY = N_("Too many wrong codes. Try again in {minutes} min.")
_FAILED = N_("This product cannot be claimed. Please ask support.")
_NO_PRESS = N_("The button was not pressed in time. Check that the product is connected.")


@dataclass(frozen=True, slots=True)
class Form:
    """What the page shows.

    Args:
        serial: as typed.
        code: as typed.
        error: what went wrong, empty for nothing.
        step: `label` for the form, `button` while the press is waited for, `owned` where somebody
            else has it.
        until: when the waiting ends, s since 1970 UTC; 0 where nothing is waited for.
        aim: `claim` or `dispute`: what the press is for.
    """

    serial: str = ""
    code: str = ""
    error: str = ""
    step: str = "label"
    until: int = 0
    aim: str = "claim"


@ROUTER.get("/claim", operation_id="page_claim")
def page_claim(request: Request, serial: str = "", code: str = "") -> Response:
    """Show the form to claim a product; a label's QR code fills it in."""
    return _shown(request, Form(serial[:64], code[:64]))


@ROUTER.post("/claim", operation_id="do_claim")
def do_claim(request: Request) -> Response:
    """Claim a product, or say that one that is somebody else's is the visitor's."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    serial, code = form.get("serial", "").strip()[:64], form.get("code", "").strip()[:64]
    aim = "dispute" if form.get("aim") == "dispute" else "claim"
    if not code:
        return _shown(request, Form(serial, code, visitor.language.text(_EMPTY)), 422)
    at = hub.clock()
    try:
        with write_session(hub.engine) as session:
            if aim == "dispute":
                disputes.begin(
                    session,
                    visitor.known,
                    code,
                    at,
                    hub.tokens,
                    hub.dispute_days,
                    serial=serial or None,
                )
                return _onward(request, "/hand-overs?disputed=1")
            claimed = ownership.claim(
                session, visitor.known, code, at, hub.tokens, serial=serial or None
            )
        return _onward(request, f"/products/{claimed.product_id}?claimed=1")
    except ConflictError as refused:
        return _conflict(request, refused, serial, code, aim, at // NS)
    except HubError as refused:
        return _shown(request, Form(serial, code, _said(visitor, refused)), refused.status)


def _conflict(
    request: Request, refused: ConflictError, serial: str, code: str, aim: str, now: int
) -> Response:
    visitor, form = visitor_of(request), form_of(request)
    text = visitor.language.text
    if refused.context.get("possession") == "window":
        until = form.get("until", "")
        ends = int(until) if until.isdecimal() and len(until) < 12 else now + WAIT_S
        if ends > now + WAIT_S or ends <= now:
            return _shown(request, Form(serial, code, text(_NO_PRESS), aim=aim), 409)
        return _shown(request, Form(serial, code, "", "button", ends, aim))
    if "hold" in refused.context or aim == "dispute":
        return _shown(request, Form(serial, code, text(_HELD)), 409)
    return _shown(request, Form(serial, code, text(_TAKEN), "owned"), 409)


def _shown(request: Request, form: Form, status: int = 200) -> Response:
    # htmx swaps what is no error only.
    if "hx-request" in request.headers:
        status = 200
    hint = hub_of(request).button_hints.get(visitor_of(request).language.tag, "")
    return pages_of(request).page(
        request,
        "claim.html",
        status=status,
        form=form,
        wait_s=WAIT_S,
        hint=hint.replace("{serial}", form.serial),
    )


def _onward(request: Request, address: str) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def _said(visitor: Visitor, error: HubError) -> str:
    text = visitor.language.text
    match error:
        case RateLimitedError():
            return text(_TOO_MANY, minutes=-(-error.retry_after_s // 60))
        case NotFoundError():
            return text(_NO_SUCH)
        case _:
            return text(_FAILED)
