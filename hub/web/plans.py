"""The plan of a product: what it is, what comes next, and every change in two clicks.

1. The first click shows what a change means: what is to be paid now or given back, and what follows.
   It is the change itself, tried and taken back; the second click does it.
2. What may be done says the table of transitions; a button that is not shown is refused by the services.
3. After a change that costs money the page says that it is being collected until it is.

What must never live here: what a change does, or what it costs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from entitlements.billing.money import Money
from hub.errors import ConflictError, HubError, InvalidInputError, NotFoundError
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.billing_tables import Invoice
from hub.ports.database.catalogue_tables import Plan
from hub.ports.database.engine import read_session, write_session
from hub.services import (
    agreement_view,
    agreements,
    cancellations,
    orders,
    plan_changes,
    promotions,
    renewals,
    subscribing,
    usage,
)
from hub.services.agreement_view import BillView
from hub.services.billing_accounts import NoMethodError
from hub.services.caller import Caller
from hub.services.relations import Act
from hub.services.tokens import Tokens
from hub.web import bill_sentences
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.plan_view import gathered
from hub.web.sentences import STATUSES
from hub.web.series import ID
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

DAY_NS: Final = 86_400_000_000_000
MOST_DAYS: Final = 366

STEPS: Mapping[str, tuple[str, str]] = {
    "subscribe": (N_("Choose this plan"), N_("Order and pay")),
    "change": (N_("Change the plan"), N_("Change the plan now")),
    "change_later": (N_("Change the plan at the end of the period"), N_("Change it then")),
    "undo_change": (N_("Keep the present plan"), N_("Keep the present plan")),
    "addon": (N_("Change an add-on"), N_("Change it now")),
    "promotion": (N_("Use a code"), N_("Use the code")),
    "pause": (N_("Pause the plan"), N_("Pause it now")),
    "resume": (N_("Go on with the plan"), N_("Go on now")),
    "cancel": (N_("Cancel the plan"), N_("Cancel it")),
    "cancel_now": (N_("End the plan at once"), N_("End it at once")),
    "undo_cancel": (N_("Keep the plan after all"), N_("Keep the plan")),
    "withdraw": (N_("Withdraw from the contract"), N_("Withdraw now")),
    "pay": (N_("Pay what is open"), N_("Pay now")),
    "topup": (N_("Buy more"), N_("Order and pay")),
}
"""What can be done: as the first click calls it, and the second."""

_NO_METHOD = N_("There is no means of payment yet. Add one first.")
_REFUSED = N_(
    "This is not possible now: the plan may have changed, or a payment is being collected."
)
_NO_CODE = N_("This code is not known, is over, or is not for this plan.")
_WRONG = N_("Check the number of days or the quantity.")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done to a plan; fields that it does not need are empty."""

    act: str
    plan: str = ""
    quantity: int = 0
    code: str = ""
    days: int = 0


@ROUTER.get("/products/{product_id}/plan", operation_id="page_plan")
def page_plan(request: Request, product_id: ID) -> Response:
    """Show the plan of a product and what can be done about it."""
    return _shown(request, product_id)


@ROUTER.get("/products/{product_id}/plan/step", operation_id="page_step")
def page_step(
    request: Request,
    product_id: ID,
    act: str = "",
    plan: Annotated[str, Query(max_length=48)] = "",
    quantity: str = "",
    code: Annotated[str, Query(max_length=64)] = "",
    days: str = "",
) -> Response:
    """Show what a change would mean, before it is done."""
    hub, visitor = hub_of(request), visitor_of(request)
    at, tokens = hub.clock(), hub.tokens
    step = _step({"act": act, "plan": plan, "quantity": quantity, "code": code, "days": days})
    try:
        with write_session(hub.engine) as session:
            doing = _Doing(session, visitor.known, product_id, at, tokens)
            with _tried(doing, step) as bill:
                page = gathered(session, visitor, product_id, at)
                lines = _lines(session, visitor, bill)
    except HubError as refused:
        return _refused(request, product_id, refused, step.act)
    return pages_of(request).page(
        request,
        "plan_step.html",
        page=page,
        step=step,
        words=STEPS[step.act],
        bill=bill,
        lines=lines,
        statuses=STATUSES,
    )


@ROUTER.post("/products/{product_id}/plan/step", operation_id="do_step")
def do_step(request: Request, product_id: ID) -> Response:
    """Do to a plan what was shown before."""
    hub, visitor = hub_of(request), visitor_of(request)
    step = _step(form_of(request))
    try:
        with write_session(hub.engine) as session:
            _act(_Doing(session, visitor.known, product_id, hub.clock(), hub.tokens), step)
    except HubError as refused:
        return _refused(request, product_id, refused, step.act)
    return RedirectResponse(f"/products/{product_id}/plan", 303)


def _step(fields: Mapping[str, str]) -> Step:
    act = fields.get("act", "")
    if act not in STEPS:
        raise NotFoundError("There is nothing at this address.")
    numbers = {
        name: int(text)
        if (text := fields.get(name, "").strip()).isdecimal() and len(text) < 6
        else 0
        for name in ("quantity", "days")
    }
    return Step(act, fields.get("plan", ""), code=fields.get("code", "").strip(), **numbers)


@dataclass(frozen=True, slots=True)
class _Doing:
    """What services are called with; its methods are the steps that take more than that."""

    session: Session
    caller: Caller
    product_id: str
    at: int
    tokens: Tokens

    @property
    def plain(self) -> tuple[Session, Caller, str, int]:
        return self.session, self.caller, self.product_id, self.at

    @property
    def whole(self) -> tuple[Session, Caller, str, int, Tokens]:
        return (*self.plain, self.tokens)

    def subscribe(self, step: Step) -> Agreement:
        session, caller, product_id, at = self.plain
        return subscribing.subscribe(
            session, caller, product_id, step.plan, at, self.tokens, promotion=step.code or None
        )

    def change(self, step: Step) -> Agreement:
        session, caller, product_id, at = self.plain
        when: plan_changes.When = "now" if step.act == "change" else "period_end"
        return plan_changes.change(
            session, caller, product_id, step.plan, at, self.tokens, when=when
        )

    def addon(self, step: Step) -> Agreement:
        session, caller, product_id, at = self.plain
        return plan_changes.set_addon(
            session, caller, product_id, step.plan, step.quantity, at, self.tokens
        )

    def promotion(self, step: Step) -> Agreement:
        session, caller, product_id, at = self.plain
        return promotions.apply(session, caller, product_id, step.code, at)

    def pause(self, step: Step) -> Agreement:
        if step.days > MOST_DAYS:
            raise InvalidInputError(f"A pause is of at most {MOST_DAYS} days.")
        resumes = self.at + step.days * DAY_NS if step.days else None
        return cancellations.pause(*self.plain, resumes_at=resumes)

    def pay(self, _step: Step) -> Agreement:
        renewals.pay(*self.whole)
        return agreements.own_agreement(self.session, self.caller, self.product_id)


_DOES: Final[Mapping[str, Callable[[_Doing, Step], Agreement]]] = {
    "subscribe": _Doing.subscribe,
    "change": _Doing.change,
    "change_later": _Doing.change,
    "undo_change": lambda one, _: plan_changes.undo_change(*one.plain),
    "addon": _Doing.addon,
    "promotion": _Doing.promotion,
    "pause": _Doing.pause,
    "resume": lambda one, _: cancellations.resume(*one.plain),
    "cancel": lambda one, _: cancellations.cancel(*one.whole),
    "cancel_now": lambda one, _: cancellations.cancel(*one.whole, when="now"),
    "undo_cancel": lambda one, _: cancellations.undo_cancel(*one.plain),
    "withdraw": lambda one, _: cancellations.withdraw(*one.whole),
    "pay": _Doing.pay,
}


@contextmanager
def _tried(doing: _Doing, step: Step) -> Iterator[BillView | None]:
    """Do something to a plan, say what it would cost, and take it back at the end of the block."""
    session, tokens, at = doing.session, doing.tokens, doing.at
    if step.act == "topup":
        with agreement_view.taken_back(session):
            order = orders.place(*doing.plain[:3], step.plan, at, tokens)
            yield agreement_view.bill_of(session, session.get_one(Invoice, order.invoice_id))
        return
    do = _DOES[step.act]
    with agreement_view.tried(session, tokens, lambda: do(doing, step), at) as outcome:
        yield outcome.bill


def _act(doing: _Doing, step: Step) -> None:
    """Do something to a plan, or buy something beside it."""
    if step.act == "topup":
        orders.place(*doing.plain[:3], step.plan, doing.at, doing.tokens)
    else:
        _DOES[step.act](doing, step)


def _lines(
    session: Session, visitor: Visitor, bill: BillView | None
) -> Sequence[tuple[str, Money]]:
    """Say what the lines of a bill are for, beside how much."""
    titles = {one.name: one.title for one in session.execute(select(Plan.name, Plan.title))}
    return [
        (bill_sentences.line(visitor.language, one.code, one.args, titles), one.amount)
        for one in (() if bill is None else bill.lines)
    ]


def _shown(request: Request, product_id: str, *, error: str = "", status: int = 200) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        page = gathered(session, visitor, product_id, at)
        store = hub.archive or hub.store
        used = usage.of_product(session, store, hub.accounts, caller, product_id, at)
    with write_session(
        hub.engine
    ) as session:  # prices are in the currency of an account, made if there is none
        more = orders.offers(session, caller, product_id, at)
    return pages_of(request).page(
        request,
        "plan.html",
        status=status,
        page=page,
        error=error,
        statuses=STATUSES,
        words=STEPS,
        more=more,
        pays=caller.may(Act.PAY, page.summary.owner_id or ""),
        soon=[one for one in used if one.used_up or one.exhausted_at is not None],
    )


def _refused(request: Request, product_id: str, error: HubError, step: str) -> Response:
    text = visitor_of(request).language.text
    match error:
        case InvalidInputError():
            said = text(_WRONG)
        case NoMethodError():
            said = text(_NO_METHOD)
        case ConflictError():
            said = text(_REFUSED)
        case NotFoundError() if step == "topup":
            said = text(_REFUSED)
        case NotFoundError() if "promotion" in error.context or "code" in error.context:
            said = text(_NO_CODE)
        case _:
            raise error
    return _shown(request, product_id, error=said, status=error.status)
