"""The first page of a customer.

1. One verdict over all products: everything is fine, or the worst problem with one button.
2. Staff have no products; their first page is the look-up. A partner's shows what it was granted.
3. What was offered to the visitor, or waits for their answer, is told here; and that somebody
   guessed at their password.
"""

from dataclasses import dataclass

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.ports.database.engine import read_session
from hub.services import (
    invitations,
    product_detail,
    products,
    session_list,
    telemetry,
    timeline,
    transfers,
)
from hub.services.caller import Role
from hub.services.products import ProductSummary
from hub.services.telemetry import LatestValue
from hub.web import verdict
from hub.web.context import Hub, hub_of
from hub.web.guard import PageRoute, visitor_of
from hub.web.hands import disputed
from hub.web.pages import pages_of
from hub.web.product import reading_since
from hub.web.sentences import Sentences
from hub.web.verdict import Problem
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_PRODUCTS = 50


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
    if visitor.known.role is Role.PARTNER:
        return RedirectResponse("/partner", 303)
    at = hub.clock()
    with read_session(hub.engine) as session:
        found = products.listed(session, visitor.known, limit=MAX_PRODUCTS)
        cards = [_card(session, hub, visitor, summary, at) for summary in found]
        offers = transfers.listed(session, visitor.known, at)
        waiting = sum(1 for one in offers if not one.mine and one.status == "open")
        waiting += sum(
            1 for one in disputed(session, visitor.known, at) if one.mine and one.going_on
        )
        invited = len(invitations.mine(session, visitor.known, at))
        guessed = session_list.guessed(session, visitor.known, at)
    cards.sort(key=lambda card: (-card.problem.level, card.summary.serial))
    worst = next((card for card in cards if card.problem.level > verdict.Level.NOTICE), None)
    return pages_of(request).page(
        request,
        "home.html",
        cards=cards,
        worst=worst,
        waiting=waiting,
        invited=invited,
        guessed=guessed[:1],
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
