"""Renewals: the clock of agreements, and what follows from attempts to collect their bills.

1. Each period is billed once, at the instant at which it begins, and the next one only when this one is
   paid. So a hub that slept for months catches up in order, and bills what it would have billed.
2. A payment that failed is tried again by the plan's retry days; then come the grace and the lapse, by
   the dates alone. Paying late reinstates.
3. Nobody is billed for a product that is not theirs any more.

What must never live here: the payment provider (`payments`), and a second rule for what is due: `bill_of`
says what the next period costs, to the clock and to whoever asks before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.billing.agreements import Item, Period, first_period, next_retry
from entitlements.billing.money import Money
from entitlements.status import Status
from hub.errors import ConflictError
from hub.ports.database.agreement_tables import Agreement, AgreementBill
from hub.ports.database.billing_tables import Invoice, PaymentAttempt
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.ports.database.product_tables import Product
from hub.services import (
    agreement_lines,
    agreements,
    audit,
    billing_accounts,
    letters,
    orders,
    payments,
    promotions,
    settlements,
    succession,
)
from hub.services.caller import HUB, Caller
from hub.services.invoices import Line
from hub.services.parties import open_ownership
from hub.services.payments import Hooks
from hub.services.tokens import Tokens


@dataclass(frozen=True, slots=True)
class NextBill:
    """What the next period of an agreement costs.

    Args:
        due: when it is billed, ns.
        period: that is then paid for.
        version: the plan version in it.
        items: what is paid for; its subscriptions as they are now, that of the plan first.
        lines: of the invoice.
    """

    due: int
    period: Period
    version: PlanVersion
    items: list[tuple[str, Item]]
    lines: list[Line]

    @property
    def amount(self) -> Money:
        """What the lines add up to; with the tax if prices contain it."""
        zero = Money.zero(self.items[0][1].amount.currency)
        return sum((line.amount for line in self.lines), zero)


def bill_of(session: Session, agreement: Agreement, due: int, at: int) -> NextBill:
    """Return what the next period of an agreement costs if nothing changes before.

    Args:
        session: a writing session.
        agreement: which.
        due: when the period begins, ns.
        at: now, ns.
    """
    first, *addons = agreements.live(session, agreement)
    version, plan = first.version, first.plan
    if agreement.next_version_id is not None:
        version = session.get_one(PlanVersion, agreement.next_version_id)
        plan = session.get_one(Plan, version.plan_id)
    over = agreement.promotion_left == 1 and agreement.billed > 0
    discount = None if over else agreements.discount_of(session, agreement, plan.name)
    owner, currency = agreement.owner_id, agreement.currency
    items = [
        (
            first.row.id,
            agreements.priced(session, owner, currency, version, plan, at, discount=discount),
        )
    ]
    for one in addons:
        item = agreements.priced(
            session, owner, currency, one.version, one.plan, at, quantity=one.row.quantity
        )
        items.append((one.row.id, item))
    interval = agreements.interval_of(session, version)
    present = agreements.period_of(agreement)
    goes_on = present is not None and interval == agreements.interval_of(session, first.version)
    period = (
        present.following(agreement.zone, interval)
        if present is not None and goes_on and present.end == due
        else first_period(agreement.zone, due, interval)
    )
    title = "" if discount is None else promotions.title_of(session, agreement)
    lines = list(agreement_lines.of_period(agreement, items, period, title))
    return NextBill(due, period, version, items, lines)


def due(session: Session, at: int, limit: int = 100) -> Sequence[str]:
    """Return the agreements for which the clock has to act at an instant (ns), the oldest first.

    Those with a bill that waits for its payment go on when that is settled.
    """
    waiting = select(AgreementBill.agreement_id).where(AgreementBill.settled_at.is_(None))
    query = (
        select(Agreement.id)
        .where(Agreement.next_at <= at, Agreement.id.not_in(waiting))
        .order_by(Agreement.next_at, Agreement.id)
        .limit(limit)
    )
    return session.scalars(query).all()


def next_due(session: Session, after: int) -> int | None:
    """Return the first instant (ns) behind one at which the clock has to act; `None`: there is none."""
    return session.scalar(select(func.min(Agreement.next_at)).where(Agreement.next_at > after))


def act(session: Session, tokens: Tokens, agreement_id: str, at: int) -> bool:
    """Do what is due for one agreement, one thing at a time.

    Args:
        session: a writing session.
        tokens: source of ids.
        agreement_id: which.
        at: now, ns.

    Returns:
        Whether something was done.
    """
    agreement = session.get(Agreement, agreement_id, with_for_update=True)
    if agreement is None or agreement.next_at is None or agreement.next_at > at:
        return False
    if agreements.waiting_bill(session, agreement) is not None:
        return False
    if agreement.closed_at is not None:
        succession.wind_up(session, tokens, agreement, at)
        return True
    instant = agreement.next_at
    state = agreements.state(session, agreement, instant)
    owned = open_ownership(session, agreement.product_id)
    if state in {Status.ENDED, Status.WITHDRAWN} or owned is None or owned.epoch != agreement.epoch:
        agreements.close(session, agreement, instant)
    else:
        _renew(session, tokens, agreement, instant, at)
    return True


def pay(session: Session, caller: Caller, product_id: str, at: int, tokens: Tokens) -> Invoice:
    """Have the bill that waits collected now; a plan that lapsed after its trial is billed first.

    Args:
        session: a writing session.
        caller: who may pay for the product, or staff.
        product_id: which product.
        at: now, ns.
        tokens: source of ids.

    Returns:
        The invoice; what is to be paid of it is being collected.

    Raises:
        ConflictError: nothing waits, or there is no means of payment.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product or agreement.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    bill = agreements.waiting_bill(session, agreement)
    if bill is not None:
        invoice = session.get_one(Invoice, bill.invoice_id)
        billing_accounts.with_method(session, agreement.owner_id, at)
        payments.charge(session, invoice, at)
    elif agreements.state(session, agreement, at) is Status.LAPSED and agreement.next_at is None:
        billing_accounts.with_method(session, agreement.owner_id, at)
        bill = _bill(session, tokens, agreement, at, at)
        if bill is None:
            raise ConflictError("There is nothing to pay.", agreement=agreement.id)
        invoice = session.get_one(Invoice, bill.invoice_id)
    else:
        raise ConflictError("There is nothing to pay.", agreement=agreement.id)
    object_ = f"agreement:{agreement.id}"
    audit.record(session, at, caller.actor, "agreement.pay", object_, {"invoice": invoice.number})
    return invoice


def method_added(session: Session, owner_id: str, at: int) -> None:
    """Let trials of a household that has a means of payment now be followed by collection and grace.

    Args:
        session: a writing session.
        owner_id: the household.
        at: now, ns.
    """
    query = select(Agreement).where(
        Agreement.owner_id == owner_id, Agreement.closed_at.is_(None), Agreement.billed == 0
    )
    for agreement in session.scalars(query):
        if agreements.state(session, agreement, at) is Status.TRIAL:
            _let_collect(session, agreement, at)


def hooks(tokens: Tokens) -> Hooks:
    """Return what the payment desk calls with answers.

    Args:
        tokens: source of ids.
    """

    def paid(session: Session, invoice: Invoice, at: int) -> None:
        on_paid(session, invoice, at, tokens)

    return Hooks(paid, on_failed)


def on_paid(session: Session, invoice: Invoice, at: int, tokens: Tokens) -> None:
    """Do what follows from the payment of an invoice of an agreement or an order."""
    orders.on_paid(session, invoice, at, tokens)
    found = _waiting(session, invoice)
    if found is not None:
        agreement, bill = found
        as_of = settlements.paid_as_of(session, invoice, at)
        settlements.settle(session, tokens, agreement, bill, max(as_of, bill.asked_at), at)


def on_failed(session: Session, invoice: Invoice, attempt: PaymentAttempt, at: int) -> None:
    """Try again by the plan's retry days; a first payment or a change that fails does not happen."""
    orders.on_failed(session, invoice, at)
    found = _waiting(session, invoice)
    if found is None:
        return
    agreement, bill = found
    again = None
    if bill.kind == "period" and agreement.closed_at is None:
        base = agreements.base(session, agreement)
        version = session.get_one(PlanVersion, base.plan_version_id)
        if base.cancelled_at is None:
            retry_days = agreements.terms_of(version).retry_days
            again = next_retry(bill.asked_at, retry_days, attempt.due_at)
            if again is not None:
                payments.charge(session, invoice, again)
            _tell(session, agreement, "subscription.payment_failed", at, next_at=again)
            return
    agreements.drop_bill(session, agreement, at)
    if bill.settled_at is None:  # another attempt is being made; what comes of that counts
        return
    if bill.kind == "period" and agreement.closed_at is None:  # it was cancelled meanwhile
        agreement.next_at = at
    if bill.kind == "first" and agreement.closed_at is None:
        agreements.set_dates(session, agreement, at, ends_at=at)
        promotions.give_back(session, agreement)
        agreements.close(session, agreement, at)
        _tell(session, agreement, "subscription.not_begun", at)
    elif bill.kind == "change" and agreement.closed_at is None:
        _tell(session, agreement, "subscription.not_changed", at)


def _renew(session: Session, tokens: Tokens, agreement: Agreement, instant: int, at: int) -> None:
    """Bill the period that begins at an instant, or let a trial end that nobody can pay for."""
    account = billing_accounts.of_owner(session, agreement.owner_id, at)
    next_bill = bill_of(session, agreement, instant, at)
    if agreement.billed == 0 and not account.method and next_bill.amount.minor > 0:
        agreement.next_at = None
        agreements.set_dates(session, agreement, at, retry_s=0, grace_s=0)
        _tell(session, agreement, "subscription.trial_over", at)
        return
    if agreement.billed == 0:
        _let_collect(session, agreement, at)
    _bill(session, tokens, agreement, instant, at)


def _bill(
    session: Session, tokens: Tokens, agreement: Agreement, instant: int, at: int
) -> AgreementBill | None:
    """Bill the period that begins at an instant; the plan changes then if it was to."""
    found = bill_of(session, agreement, instant, at)
    if agreement.billed > 0:
        promotions.count_period(agreement)
    items = found.items
    if agreement.next_version_id is not None:
        first = agreements.live(session, agreement)[0]
        version = session.get_one(PlanVersion, agreement.next_version_id)
        item = items[0][1]
        agreements.end_subscription(session, first, instant, at)
        row = settlements.begun(session, tokens, agreement, first.row, version, item, instant, at)
        agreement.subscription_id, agreement.next_version_id = row.id, None
        items = [(row.id, item), *items[1:]]
    if not any(item.amount or item.off for _, item in items):  # a plan that is free
        agreements.set_period(agreement, None)
        agreement.billed += 1
        agreements.set_dates(
            session, agreement, at, paid_until=None, trial_end=None, retry_s=0, grace_s=0
        )
        return None
    number = agreement.billed + 1
    lines = agreement_lines.of_period(
        agreement, items, found.period, promotions.title_of(session, agreement)
    )
    return settlements.ask(
        session,
        tokens,
        agreement,
        lines,
        "period",
        instant,
        settlements.period_wanted(found.period, items),
        cause=f"agreement:{agreement.id}:period:{number}",
        at=at,
    )


def _let_collect(session: Session, agreement: Agreement, at: int) -> None:
    version = agreements.live(session, agreement)[0].version
    retry_s = agreements.terms_of(version).retry_s
    agreements.set_dates(session, agreement, at, retry_s=retry_s, grace_s=version.grace_s)


def _waiting(session: Session, invoice: Invoice) -> tuple[Agreement, AgreementBill] | None:
    bill = session.get(AgreementBill, invoice.id)
    if bill is None or bill.settled_at is not None:
        return None
    agreement = session.get_one(Agreement, bill.agreement_id, with_for_update=True)
    return agreement, bill


def _tell(
    session: Session, agreement: Agreement, code: str, at: int, **arguments: int | None
) -> None:
    version = session.get_one(PlanVersion, agreements.base(session, agreement).plan_version_id)
    plan = session.get_one(Plan, version.plan_id)
    product = session.get_one(Product, agreement.product_id)
    letters.write(session, agreement.owner_id, product, code, at, plan=plan.title, **arguments)
    object_ = f"agreement:{agreement.id}"
    details = {"product": product.id, **arguments}
    audit.record(session, at, HUB.actor, code, object_, details)
