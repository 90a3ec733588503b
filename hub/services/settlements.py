"""What follows when a bill of an agreement is paid, or turns out not to be.

1. A bill says, when it is issued, all that follows from its payment; so it does not matter when and in
   which order answers come, and what was shown before is what happens.
2. Paid time is never lost: what was not granted while a payment was missing moves the period.
3. What is paid though the agreement is over is given back.
4. Time that only the hub took counts for nobody: an attempt that was due at an instant and made late,
   because the hub did not run, counts as of that instant.

What must never live here: when something is billed (`renewals`, `plan_changes`, `subscribing`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.agreements import Item, Period
from entitlements.billing.money import Money
from entitlements.status import Status, grace_until, status
from hub.errors import ConflictError
from hub.ports.database.agreement_tables import Agreement, AgreementBill, AgreementItem
from hub.ports.database.billing_tables import Invoice, PaymentAttempt
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.ports.database.ownership_tables import Subscription
from hub.ports.database.product_tables import Product
from hub.services import (
    agreement_lines,
    agreements,
    billing_accounts,
    changes,
    invoice_book,
    invoices,
    letters,
    payments,
    refunds,
)
from hub.services.invoices import Line
from hub.services.tokens import Tokens

Charged = tuple[int, int, bool]
"""Amount in minor units, tax rate, and whether the amount contains the tax."""


def ask(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    lines: Iterable[Line],
    kind: str,
    asked_at: int,
    wanted: Mapping[str, Any],
    *,
    cause: str,
    at: int,
) -> AgreementBill | None:
    """Issue a bill and have it collected; what follows happens at once where nothing is to be paid.

    Args:
        session: a writing session.
        tokens: source of ids.
        agreement: which.
        lines: of the invoice; none: there is nothing to bill, and what is wanted just happens.
        kind: `first`, `period` or `change`.
        asked_at: the instant that it is about, ns.
        wanted: what follows, see `charged` and `changed`.
        cause: of the invoice.
        at: now, ns.

    Returns:
        The bill, `None` without lines.

    Raises:
        NoMethodError: something is to be paid at once, and there is no means of payment.
    """
    found = list(lines)
    if not found:
        _follow(session, tokens, agreement, kind, asked_at, wanted, asked_at, at)
        return None
    invoice = invoices.issue(session, tokens, agreement.owner_id, found, asked_at, cause=cause)
    bill = agreements.bill(session, agreement, invoice, kind, asked_at, dict(wanted))
    if invoice.state == "paid":
        settle(session, tokens, agreement, bill, asked_at, at)
    else:
        if kind != "period":  # without one, a period is past due until somebody adds one
            billing_accounts.with_method(session, agreement.owner_id, at)
        payments.charge(session, invoice, asked_at)
        agreement.next_at = agreement.next_at if kind == "change" else None
        session.flush()
    return bill


def settle(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    bill: AgreementBill,
    paid_at: int,
    at: int,
) -> None:
    """Do what follows from the payment of a bill; once.

    Args:
        session: a writing session.
        tokens: source of ids.
        agreement: of the bill, locked.
        bill: which; not settled.
        paid_at: when it counts as paid, ns.
        at: now, ns.
    """
    bill.settled_at = at
    session.flush()
    if agreement.closed_at is not None:
        invoice = session.get_one(Invoice, bill.invoice_id)
        lines = agreement_lines.reversing(agreement, invoice, invoice_book.lines(session, invoice))
        give_back(session, tokens, agreement, lines, at, cause=f"back:{invoice.id}")
        return
    _follow(session, tokens, agreement, bill.kind, bill.asked_at, bill.wanted or {}, paid_at, at)


def paid_as_of(session: Session, invoice: Invoice, at: int) -> int:
    """Return the instant (ns) as of which an invoice that is paid now counts as paid."""
    query = (
        select(PaymentAttempt)
        .where(PaymentAttempt.invoice_id == invoice.id, PaymentAttempt.outcome == "paid")
        .order_by(PaymentAttempt.answered_at.desc(), PaymentAttempt.due_at.desc())
    )
    attempt = session.scalars(query.limit(1)).first()
    if attempt is None or attempt.begun_at is None:
        return at
    return at - max(attempt.begun_at - attempt.due_at, 0)


def give_back(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    lines: Iterable[Line],
    at: int,
    *,
    cause: str,
) -> Invoice | None:
    """Give money back: to the means by which it was paid, else to the household's credit.

    Args:
        session: a writing session.
        tokens: source of ids.
        agreement: which.
        lines: with negative amounts; none: nothing is given back.
        at: now, ns.
        cause: of the invoice and the refund.
    """
    found = list(lines)
    if not found:
        return None
    invoice = invoices.issue(session, tokens, agreement.owner_id, found, at, cause=cause)
    agreements.bill(session, agreement, invoice, "back", at, settled_at=at)
    amount = Money(-invoice.gross, invoice.currency)
    if amount.minor > 0:
        try:
            with session.begin_nested():
                refunds.refund(session, agreement.owner_id, amount, at, cause=cause)
        except ConflictError:
            pass  # it was not paid from outside, so it stays to the household's credit
    return invoice


def period_wanted(period: Period, items: Iterable[tuple[str, Item]]) -> dict[str, Any]:
    """Return what follows from the payment of a period: it is covered, at these amounts."""
    return {"period": _numbers(period), "items": {id_: _charged(item) for id_, item in items}}


def change_wanted(
    period: Period | None, ended: Iterable[str], begun: Iterable[Item]
) -> dict[str, Any]:
    """Return what follows from a change: subscriptions that end, and what begins in their place.

    Args:
        period: in which the agreement then is; None: in none, as in a trial.
        ended: ids of the subscriptions that end.
        begun: what begins, that of the plan with `addon` false.
    """
    return {
        "period": None if period is None else _numbers(period),
        "ended": list(ended),
        "begun": [[item.version, item.quantity, *_charged(item)] for item in begun],
    }


def _follow(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    kind: str,
    asked_at: int,
    wanted: Mapping[str, Any],
    paid_at: int,
    at: int,
) -> None:
    if kind == "change":
        _changed(session, tokens, agreement, wanted, asked_at, at)
    else:
        _covered(session, agreement, wanted, asked_at, paid_at, at)


def _covered(
    session: Session,
    agreement: Agreement,
    wanted: Mapping[str, Any],
    asked_at: int,
    paid_at: int,
    at: int,
) -> None:
    """Cover the period that was billed."""
    base = agreements.base(session, agreement)
    fact = agreements.fact_of(session, base)
    period = Period(*wanted["period"])
    before = status(fact, paid_at)
    if before in {Status.LAPSED, Status.INCOMPLETE}:
        granted = grace_until(fact)
        since = asked_at if granted is None else max(granted, asked_at)
        period = period.moved(max(paid_at - since, 0))
    version = session.get_one(PlanVersion, base.plan_version_id)
    agreements.set_period(agreement, period)
    agreement.billed += 1
    for one in agreements.live(session, agreement):
        _set_charged(one.item, wanted["items"][one.row.id])
    agreements.set_dates(
        session,
        agreement,
        at,
        paid_until=period.end,
        retry_s=agreements.terms_of(version).retry_s,
        grace_s=version.grace_s,
    )
    if before is Status.LAPSED:
        product = session.get_one(Product, agreement.product_id)
        letters.write(
            session,
            agreement.owner_id,
            product,
            "subscription.reinstated",
            at,
            plan=session.get_one(Plan, version.plan_id).title,
            until_at=period.end,
        )


def _changed(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    wanted: Mapping[str, Any],
    asked_at: int,
    at: int,
) -> None:
    """Let subscriptions end and others begin in their place."""
    period = None if wanted["period"] is None else Period(*wanted["period"])
    base = agreements.base(session, agreement)
    ended = set(wanted["ended"])
    for one in agreements.live(session, agreement):
        if one.row.id in ended:
            agreements.end_subscription(session, one, asked_at, at)
    for version_id, quantity, amount, tax_ppm, inclusive in wanted["begun"]:
        version = session.get_one(PlanVersion, version_id)
        plan = session.get_one(Plan, version.plan_id)
        charged = Money(amount, agreement.currency)
        zero = Money.zero(agreement.currency)
        item = Item(plan.name, version_id, plan.addon, quantity, charged, zero, tax_ppm, inclusive)
        row = begun(session, tokens, agreement, base, version, item, asked_at, at)
        if not plan.addon:
            agreement.subscription_id, agreement.next_version_id = row.id, None
    if period is not None or base.trial_end is None or base.trial_end <= asked_at:
        agreements.set_period(agreement, period)
        agreement.billed = max(agreement.billed, 1)
        present = agreements.live(session, agreement)
        terms = present[0].version  # that of the plan comes first
        for one in present:
            one.row.paid_until = None if period is None else period.end
            one.row.retry_s = 0 if period is None else agreements.terms_of(terms).retry_s
            one.row.grace_s = terms.grace_s
    session.flush()
    changes.note(session, agreement.product_id)


def begun(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    base: Subscription,
    version: PlanVersion,
    item: Item,
    starts_at: int,
    at: int,
) -> Subscription:
    """Begin a subscription of an agreement, with the dates of that of its plan.

    Args:
        session: a writing session.
        tokens: source of the id.
        agreement: which.
        base: the present subscription of its plan.
        version: plan version that begins.
        item: what it costs.
        starts_at: first instant, ns.
        at: now, ns.
    """
    in_trial = base.trial_end is not None and base.trial_end > starts_at
    row = Subscription(
        id=tokens.new_id(),
        product_id=agreement.product_id,
        owner_id=agreement.owner_id,
        plan_version_id=version.id,
        starts_at=starts_at,
        trial_end=base.trial_end if in_trial else None,
        paid_until=base.paid_until,
        grace_s=base.grace_s,
        retry_s=base.retry_s,
        cancelled_at=base.cancelled_at,
        epoch=base.epoch,
        quantity=item.quantity,
        created_at=at,
    )
    return agreements.add_subscription(session, agreement, row, item)


def _numbers(period: Period) -> list[int]:
    return [period.start, period.end, period.anchor, period.months]


def _charged(item: Item) -> Charged:
    return item.amount.minor, item.tax_ppm, item.inclusive


def _set_charged(row: AgreementItem, charged: Charged) -> None:
    row.amount, row.tax_ppm, row.inclusive = charged
