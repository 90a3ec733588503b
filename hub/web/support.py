"""Support's two pages: one box to look a product up, one screen to see all of it.

1. The box takes what somebody on the phone can say: serial, e-mail, order, device id.
2. The screen begins with a sentence; what was decided stands beside what the product believes.
3. Business and technical events are on one line of time.
4. What support does here it does by the services, audited as through the API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from entitlements.facts import HoldKind, in_force
from hub.errors import InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Hold, Ownership
from hub.ports.database.people_tables import Owner
from hub.services import (
    case_desk,
    consent,
    holds,
    incidents,
    looks,
    products,
    support_money,
    timeline,
)
from hub.services.looks import ReasonRequiredError
from hub.web.bills import STATES
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.product import viewed
from hub.web.sentences import HOLDS, LEVELS, STATUSES, Sentences
from hub.web.series import ID, RANGES
from hub.web.settling import CASES, NEVER_DUE
from hub.web.standing import LAYERS

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_FOUND = 25
MAX_CAUSES = 5
MAX_HOLD_DAYS = 3_650
DAY_NS = 86_400_000_000_000

SCOPES: Mapping[str, str] = {
    "account": N_("on the account"),
    "model": N_("on all that were built alike"),
    "subscription": N_("on one subscription"),
}
_OWNERS = (
    select(Ownership, Owner.name)
    .join(Owner, Owner.id == Ownership.owner_id)
    .order_by(Ownership.epoch.desc())
)


@dataclass(frozen=True, slots=True)
class Held:
    """A hold in force; instants in ns."""

    id: str
    kind: str
    reason: str
    starts_at: int
    ends_at: int | None
    features: Sequence[str] | None
    scope: str
    evidence: str | None

    @classmethod
    def of(cls, row: Hold) -> "Held":
        """Take what a page shows of a hold."""
        scope = "subscription" if row.subscription_id is not None else ""
        if row.owner_id is not None:
            scope = "account"
        elif row.model_number is not None:
            scope = "model"
        return cls(
            row.id,
            row.kind,
            row.reason,
            row.starts_at,
            row.ends_at,
            row.features,
            scope,
            row.evidence,
        )


@dataclass(frozen=True, slots=True)
class OwnedTime:
    """One owner's time with the product; instants in ns."""

    epoch: int
    name: str
    started_at: int
    ended_at: int | None
    undone: bool


@ROUTER.get("/support", operation_id="page_lookup")
def page_lookup(request: Request, q: str = "") -> Response:
    """Look products up."""
    hub, visitor = hub_of(request), visitor_of(request)
    text = q.strip()[:200]
    with read_session(hub.engine) as session:
        found = products.found(session, visitor.known, text, limit=MAX_FOUND) if text else []
        common = [] if text else incidents.listed(session, visitor.known, limit=MAX_CAUSES)
    causes = [] if text else hub.causes.causes(hub.engine, hub.clock())
    return pages_of(request).page(
        request,
        "lookup.html",
        q=text,
        found=found,
        most=MAX_FOUND,
        incidents=common,
        causes=causes[:MAX_CAUSES],
        said=Sentences(visitor.language, visitor.formats),
    )


@ROUTER.get("/support/products/{product_id}", operation_id="page_support_product")
def page_support_product(
    request: Request,
    product_id: ID,
    metric: str = "",
    range: str = "",  # noqa: A002  name in the address
    hold_failed: str = "",
    undo_failed: str = "",
    money_failed: str = "",
    sent: str = "",
    glass_failed: str = "",
) -> Response:
    """Show everything about a product on one screen."""
    hub, visitor = hub_of(request), visitor_of(request)
    try:
        view = viewed(hub, visitor, product_id, metric, range)
    except ReasonRequiredError:
        return _asked(request, product_id)
    at = hub.clock()
    with read_session(hub.engine) as session:
        entries = timeline.timeline(session, visitor.known, product_id, at)
        placed = holds.listed(session, visitor.known, product_id)
        held = [Held.of(one) for one in placed if in_force(one.starts_at, one.ends_at, at)]
        emergency_until = consent.emergency_until(session, visitor.known, product_id, at)
        cases = case_desk.listed(session, visitor.known, at, product_id=product_id)
        money = support_money.of_product(
            session, hub.archive or hub.store, hub.accounts, visitor.known, product_id, at
        )
        owners = [
            OwnedTime(row.epoch, name, row.started_at, row.ended_at, row.undone_at is not None)
            for row, name in session.execute(_OWNERS.where(Ownership.product_id == product_id))
        ]
    return pages_of(request).page(
        request,
        "support_product.html",
        view=view,
        entries=entries,
        held=held,
        kinds=HOLDS,
        scopes=SCOPES,
        hold_failed=bool(hold_failed),
        undo_failed=bool(undo_failed),
        glass_failed=bool(glass_failed),
        emergency_until=emergency_until,
        owners=owners,
        money=money,
        money_failed=bool(money_failed),
        sent=bool(sent),
        once=hub.tokens.new_id(),
        bill_states=STATES,
        cases=cases,
        case_statuses=CASES,
        never=NEVER_DUE,
        layers=LAYERS,
        ranges=RANGES,
        levels=LEVELS,
        statuses=STATUSES,
    )


@ROUTER.post("/support/products/{product_id}/reason", operation_id="do_reason")
def do_reason(request: Request, product_id: ID) -> Response:
    """Remember why somebody looks at a product, and show it."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    reason, case = form.get("reason", ""), form.get("case", "")
    try:
        with write_session(hub.engine) as session:
            looks.state(session, visitor.known, product_id, reason, case, hub.clock())
    except InvalidInputError:
        return _asked(request, product_id, failed=True)
    return RedirectResponse(f"/support/products/{product_id}", 303)


@ROUTER.post("/support/products/{product_id}/break-glass", operation_id="do_break_glass")
def do_break_glass(request: Request, product_id: ID) -> Response:
    """Show what a product measured without consent, for an hour."""
    hub, visitor, reason = hub_of(request), visitor_of(request), form_of(request).get("reason", "")
    page = f"/support/products/{product_id}"
    try:
        with write_session(hub.engine) as session:
            consent.break_glass(session, visitor.known, product_id, reason, hub.clock(), hub.tokens)
    except InvalidInputError:
        return RedirectResponse(f"{page}?glass_failed=1#now", 303)
    return RedirectResponse(f"{page}#now", 303)


@ROUTER.post("/support/products/{product_id}/holds", operation_id="do_hold")
def do_hold(request: Request, product_id: ID) -> Response:
    """Put a product on hold."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    page, at = f"/support/products/{product_id}", hub.clock()
    try:
        kind = HoldKind(form.get("kind", ""))
        days = _days(form.get("days", "").strip())
        ends_at = None if days is None else at + days * DAY_NS
        with write_session(hub.engine) as session:
            holds.place(
                session,
                visitor.known,
                product_id,
                kind,
                form.get("reason", "").strip(),
                at,
                hub.tokens,
                ends_at=ends_at,
            )
    except (InvalidInputError, ValueError):  # of a form whose limits the browser did not keep
        return RedirectResponse(f"{page}?hold_failed=1#plan", 303)
    return RedirectResponse(f"{page}#plan", 303)


@ROUTER.post("/support/holds/{hold_id}/lift", operation_id="do_lift")
def do_lift(request: Request, hold_id: ID) -> Response:
    """Lift a hold."""
    hub, visitor = hub_of(request), visitor_of(request)
    with write_session(hub.engine) as session:
        product_id = holds.lift(session, visitor.known, hold_id, hub.clock()).product_id
    # One on an account or a model is of many products.
    page = "/support" if product_id is None else f"/support/products/{product_id}#plan"
    return RedirectResponse(page, 303)


def _days(text: str) -> int | None:
    if not text:
        return None
    days = int(text)
    if not 1 <= days <= MAX_HOLD_DAYS:
        raise ValueError(text)
    return days


def _asked(request: Request, product_id: str, *, failed: bool = False) -> Response:
    """Ask why somebody looks at a product."""
    status = 422 if failed else 403
    return pages_of(request).page(
        request, "reason.html", status=status, product_id=product_id, failed=failed
    )
