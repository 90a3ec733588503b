"""What a page about a plan shows: the agreement and its dates in words, and what can be done now.

1. All of it is read from the services for one instant; nothing is reckoned here.
2. Which buttons there are follows from the table of transitions and from who looks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from entitlements.facts import Subscription
from entitlements.status import NS_PER_S, Status, ended_at, grace_until
from entitlements.transitions import Trigger, permits
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.billing_tables import BillingAccount, Invoice
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.services import (
    agreements,
    billing_accounts,
    cancellations,
    catalogue_offers,
    catalogue_store,
    invoice_book,
    invoices,
    product_detail,
    products,
    promotions,
    renewals,
)
from hub.services.catalogue_offers import OfferedFeature
from hub.services.product_detail import PlanView
from hub.services.products import ProductSummary
from hub.services.relations import Act
from hub.web.formats import DASH
from hub.web.languages import N_
from hub.web.simulation import price_text
from hub.web.visitor import Visitor

_RENEWS = N_("It renews on {day} for {amount}.")
_FREE_ON = N_("It goes on without end, free of charge.")
_BEGINS = N_("It begins on {day}.")
_TRIAL = N_("It is free until {day}; then it costs {amount}.")
_TRIAL_BARE = N_("It is free until {day}. Without a means of payment it ends then.")
_FIRST = N_("It begins as soon as the first payment has come.")
_DUE = N_("The payment failed and is tried again. The plan runs on until {day}.")
_GRACE = N_("It is not paid. The plan runs on until {day}; pay before.")
_GIVEN = N_("Grace was extended by {time} for an outage of the service.")
_PAUSED = N_("It is paused and goes on on {day}. Paid time is not lost.")
_PAUSED_OPEN = N_("It is paused until you go on. Paid time is not lost.")
_CANCELLED = N_("It is cancelled and runs until {day}. Nothing more is billed.")
_LAPSED = N_("It was not paid, so only safety functions go on. Pay, and it goes on.")
_OVER = N_("It is over.")
_LATER = N_("On {day} it changes to {plan}.")


@dataclass(frozen=True, slots=True)
class Offered:
    """A plan or an add-on that the product could have.

    Args:
        name: of the plan.
        title: as people read it.
        price: in words; empty where it is not sold in the household's currency.
        features: what it includes.
        had: whether the product has it now.
        quantity: how many of it, for add-ons.
        trial_days: of its free trial.
    """

    name: str
    title: str
    price: str
    features: Sequence[OfferedFeature]
    had: bool
    quantity: int
    trial_days: int


@dataclass(frozen=True, slots=True)
class PlanPage:
    """All that the page of a plan shows.

    Args:
        summary: of the product.
        status: of the plan that is paid for here; `None` without one.
        title: of that plan.
        said: what comes next, in sentences.
        acts: what can be done, by names of `plans.STEPS`.
        waiting: the invoice that is being collected or waits to be paid.
        owed: what is to be paid of it.
        next_try: when it is collected next, ns.
        plans: on sale.
        addons: on sale.
        granted: subscriptions that are not paid for here.
        withdrawal_until: until when (ns) one can withdraw; `None`: one cannot.
        promotion: title of the promotion in force.
        has_method: whether a means of payment is stored.
    """

    summary: ProductSummary
    status: Status | None
    title: str
    said: Sequence[str]
    acts: frozenset[str]
    waiting: Invoice | None
    owed: Money | None
    next_try: int | None
    plans: Sequence[Offered]
    addons: Sequence[Offered]
    granted: Sequence[PlanView]
    withdrawal_until: int | None
    promotion: str
    has_method: bool

    @property
    def returning(self) -> Sequence[str]:
        """What takes back what was done before."""
        return [act for act in ("undo_cancel", "undo_change", "resume") if act in self.acts]

    @property
    def leaving(self) -> bool:
        """Whether there is something with which to pause or end it."""
        return bool(self.acts & {"pause", "cancel", "cancel_now", "withdraw"})


def gathered(session: Session, visitor: Visitor, product_id: str, at: int) -> PlanPage:
    """Gather what the page of a plan shows.

    Args:
        session: any session.
        visitor: who looks.
        product_id: of the product.
        at: now, ns.

    Raises:
        ForbiddenError: the visitor's role does not let them see bills.
        NotFoundError: no such product, or not one of the visitor's.
    """
    caller = visitor.known
    products.visible(session, caller, product_id, Act.BILLS)
    summary = products.summary(session, caller, product_id)
    account = billing_accounts.shown(session, caller, summary.owner_id, at)
    agreement = agreements.open_agreement(session, product_id)
    had = (
        {}
        if agreement is None
        else {one.plan.name: one.row.quantity for one in agreements.live(session, agreement)}
    )
    plans, addons = _offered(session, visitor, summary, account, had)
    pays = products.permits(session, caller, product_id, Act.PAY)
    if agreement is None:
        granted = product_detail.plans(session, caller, product_id, at)
        state, waiting = None, None
        said: list[str] = []
    else:
        state = agreements.state(session, agreement, at)
        waiting = _waiting(session, agreement)
        granted = tuple(
            one
            for one in product_detail.plans(session, caller, product_id, at)
            if one.plan not in had
        )
        said = list(_said(session, visitor, agreement, state, account, at))
    withdrawal = None if agreement is None else cancellations.withdrawal_until(session, agreement)
    return PlanPage(
        summary=summary,
        status=state,
        title="" if agreement is None else _title(agreements.live(session, agreement)[0].plan),
        said=said,
        acts=_acts(agreement, state, waiting, withdrawal, at) if pays else frozenset(),
        waiting=waiting,
        owed=None if waiting is None else invoices.owed(session, waiting),
        next_try=_next_try(session, waiting),
        plans=plans,
        addons=addons,
        granted=granted,
        withdrawal_until=withdrawal,
        promotion="" if agreement is None else promotions.title_of(session, agreement),
        has_method=account.method is not None,
    )


def _acts(
    agreement: Agreement | None,
    state: Status | None,
    waiting: Invoice | None,
    withdrawal: int | None,
    at: int,
) -> frozenset[str]:
    """Return what can be done now."""
    if agreement is None or state is None:
        return frozenset({"subscribe"})
    free = waiting is None
    later = agreement.period_end is not None or agreement.next_at is not None
    wanted = {
        "change": free and permits(Trigger.CHANGE_NOW, state),
        "addon": free and permits(Trigger.CHANGE_NOW, state),
        "change_later": later and permits(Trigger.CHANGE_LATER, state),
        "undo_change": agreement.next_version_id is not None,
        "promotion": free
        and agreement.promotion_id is None
        and permits(Trigger.CHANGE_LATER, state),
        "pause": free and permits(Trigger.PAUSE, state),
        "resume": permits(Trigger.RESUME, state),
        "cancel": permits(Trigger.CANCEL, state),
        "cancel_now": permits(Trigger.CANCEL_NOW, state),
        "undo_cancel": permits(Trigger.UNDO_CANCEL, state),
        "withdraw": permits(Trigger.WITHDRAW, state) and withdrawal is not None and at < withdrawal,
        "pay": waiting is not None or state is Status.LAPSED,
    }
    return frozenset(name for name, possible in wanted.items() if possible)


def _said(
    session: Session,
    visitor: Visitor,
    agreement: Agreement,
    state: Status,
    account: BillingAccount,
    at: int,
) -> Iterator[str]:
    """Yield what comes next, with its date, in words."""
    text, formats = visitor.language.text, visitor.formats
    fact = agreements.fact_of(session, agreements.base(session, agreement))

    def day(instant: int | None) -> str:
        return DASH if instant is None else formats.day(instant)

    if state in {Status.TRIAL, Status.ACTIVE}:
        yield _running(session, visitor, agreement, state, account, at)
    else:
        template, until = _DATED.get(state, (_OVER, _nothing))
        if state is Status.PAUSED and fact.resumes_at is None:
            template = _PAUSED_OPEN
        yield text(template, day=day(until(fact)))
        if state in {Status.PAST_DUE, Status.GRACE} and fact.outage_s:
            yield text(_GIVEN, time=formats.length(fact.outage_s * NS_PER_S))
    if agreement.next_version_id is not None:
        version = session.get_one(PlanVersion, agreement.next_version_id)
        plan = _title(session.get_one(Plan, version.plan_id))
        yield text(_LATER, day=day(agreement.next_at), plan=plan)


def _running(
    session: Session,
    visitor: Visitor,
    agreement: Agreement,
    state: Status,
    account: BillingAccount,
    at: int,
) -> str:
    """Say what comes after a trial or a paid period."""
    text, formats = visitor.language.text, visitor.formats
    if agreement.next_at is None:
        return text(_FREE_ON)
    day = formats.day(agreement.next_at)
    if state is Status.TRIAL and account.method is None:
        return text(_TRIAL_BARE, day=day)
    bill = renewals.bill_of(session, agreement, agreement.next_at, at)
    template = _TRIAL if state is Status.TRIAL else _RENEWS
    return text(template, day=day, amount=formats.money(bill.amount))


def _nothing(_fact: Subscription) -> int | None:
    return None


_DATED: Mapping[Status, tuple[str, Callable[[Subscription], int | None]]] = {
    Status.SCHEDULED: (_BEGINS, lambda fact: fact.start),
    Status.INCOMPLETE: (_FIRST, _nothing),
    Status.PAST_DUE: (_DUE, grace_until),
    Status.GRACE: (_GRACE, grace_until),
    Status.PAUSED: (_PAUSED, lambda fact: fact.resumes_at),
    Status.CANCELLED: (_CANCELLED, ended_at),
    Status.LAPSED: (_LAPSED, _nothing),
}
"""What is said of the other states, and of which instant."""


def _waiting(session: Session, agreement: Agreement) -> Invoice | None:
    bill = agreements.waiting_bill(session, agreement)
    return None if bill is None else session.get_one(Invoice, bill.invoice_id)


def _next_try(session: Session, waiting: Invoice | None) -> int | None:
    tries = () if waiting is None else invoice_book.attempts(session, waiting)
    return next((one.next_at for one in tries if one.answered_at is None), None)


def _title(plan: Plan) -> str:
    return plan.title or plan.name


def _offered(
    session: Session,
    visitor: Visitor,
    summary: ProductSummary,
    account: BillingAccount,
    had: Mapping[str, int],
) -> tuple[list[Offered], list[Offered]]:
    """Return the plans and the add-ons on sale for a product."""
    document = catalogue_store.read(session)
    plans: list[Offered] = []
    addons: list[Offered] = []
    for offer in catalogue_offers.model(session, visitor.known, summary.model).offers:
        entry = document.plans[offer.plan]
        version = next(one for one in entry.versions if one.version == offer.version)
        price = version.value
        sold = price.free or account.currency in price.amounts
        text = (
            price_text(price, account.currency, visitor.language, visitor.formats) if sold else ""
        )
        one = Offered(
            name=offer.plan,
            title=offer.title or offer.plan,
            price=text,
            features=offer.features,
            had=offer.plan in had,
            quantity=had.get(offer.plan, 0),
            trial_days=version.trial_days,
        )
        (addons if entry.addon else plans).append(one)
    return plans, addons
