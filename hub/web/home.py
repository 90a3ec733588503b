"""The first page of a customer, and claiming a product.

1. One verdict over all products: everything is fine, or the worst problem with one button.
2. Staff have no products; their first page is the look-up.
3. A claim is refused in words that say what to do; the service counts wrong codes.
"""

from dataclasses import dataclass

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ConflictError, HubError, NotFoundError, RateLimitedError
from hub.ports.database.engine import read_session, write_session
from hub.services import ownership, product_detail, products, telemetry, timeline
from hub.services.products import ProductSummary
from hub.services.telemetry import LatestValue
from hub.web import verdict
from hub.web.context import Hub, hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.product import reading_since
from hub.web.sentences import Sentences
from hub.web.verdict import Problem
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_PRODUCTS = 50

_EMPTY = N_("Type the claim code from the label.")
_NO_SUCH = N_(
    "Serial number and code do not fit any product. Check both against the label: a code has "
    "twelve letters and digits, without 0, 1, I, L, O and U."
)
_TAKEN = N_(
    "This product has an owner already. If you bought it used, ask the seller to release it."
)
_TOO_MANY = N_("Too many wrong codes. Try again in {minutes} min.")
_FAILED = N_("This product cannot be claimed. Please ask support.")


@dataclass(frozen=True, slots=True)
class Card:
    """One product on the first page."""

    summary: ProductSummary
    problem: Problem
    sentence: str
    action: str
    more: int
    reading: LatestValue | None


@ROUTER.get("/", operation_id="page_home")
def page_home(request: Request) -> Response:
    """Show how the visitor's products are doing."""
    hub, visitor = hub_of(request), visitor_of(request)
    if visitor.known.is_staff:
        return RedirectResponse("/support", 303)
    at = hub.clock()
    with read_session(hub.engine) as session:
        found = products.listed(session, visitor.known, limit=MAX_PRODUCTS)
        cards = [_card(session, hub, visitor, summary, at) for summary in found]
    cards.sort(key=lambda card: (-card.problem.level, card.summary.serial))
    worst = next((card for card in cards if card.problem.level > verdict.Level.NOTICE), None)
    return pages_of(request).page(request, "home.html", cards=cards, worst=worst)


@ROUTER.get("/claim", operation_id="page_claim")
def page_claim(request: Request, serial: str = "", code: str = "") -> Response:
    """Show the form to claim a product; a label's QR code fills it in."""
    return pages_of(request).page(
        request, "claim.html", serial=serial[:64], code=code[:64], error=""
    )


@ROUTER.post("/claim", operation_id="do_claim")
def do_claim(request: Request) -> Response:
    """Claim a product."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    serial, code = form.get("serial", "").strip(), form.get("code", "").strip()
    error = visitor.language.text(_EMPTY)
    status = 422
    if code:
        try:
            with write_session(hub.engine) as session:
                claimed = ownership.claim(
                    session, visitor.known, code, hub.clock(), hub.tokens, serial=serial or None
                )
            return RedirectResponse(f"/products/{claimed.product_id}?claimed=1", 303)
        except HubError as refused:
            error, status = _refusal(visitor, refused), refused.status
    return pages_of(request).page(
        request, "claim.html", status=status, serial=serial[:64], code=code[:64], error=error
    )


def _card(session: Session, hub: Hub, visitor: Visitor, summary: ProductSummary, at: int) -> Card:
    found = product_detail.detail(session, visitor.known, summary.product_id, at)
    listed = verdict.problems(found, at)
    worst = verdict.verdict(listed)
    titles = timeline.titles(session, summary.model)
    said = Sentences(visitor.language, visitor.formats, titles.counters)
    reading = None
    if worst.alert is not None:
        latest = telemetry.latest(
            session, hub.store, visitor.known, summary.product_id, at, facts=found.facts
        )
        reading = reading_since(latest, worst.alert, titles.counters)
    return Card(
        summary=summary,
        problem=worst,
        sentence=said.problem(worst, summary.model_title, titles),
        action=said.action(worst),
        more=max(0, len(listed) - 1),
        reading=reading,
    )


def _refusal(visitor: Visitor, error: HubError) -> str:
    text = visitor.language.text
    match error:
        case RateLimitedError():
            return text(_TOO_MANY, minutes=-(-error.retry_after_s // 60))
        case NotFoundError():
            return text(_NO_SUCH)
        case ConflictError():
            return text(_TAKEN)
        case _:
            return text(_FAILED)
