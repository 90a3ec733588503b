"""What people see of an agreement, and what a change of it would mean before they make it.

1. A preview is the change itself, carried out and taken back: it cannot say anything else than what
   happens. What waits for a payment is shown as it is when that has come.
2. Reading is for whoever may know of bills; what they may do is said by the table of transitions.

What must never live here: rules; see `entitlements.transitions` and the services of each change.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from entitlements.status import Status, covered_until, grace_until, status
from entitlements.transitions import BY_TIME, Trigger, permits
from hub.errors import NotFoundError
from hub.ports.database.agreement_tables import Agreement, AgreementBill, Promotion
from hub.ports.database.billing_tables import Invoice
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.services import (
    agreements,
    billing_accounts,
    cancellations,
    invoice_book,
    invoices,
    renewals,
    settlements,
)
from hub.services.caller import Caller
from hub.services.relations import Act
from hub.services.tokens import Tokens

_BY_PEOPLE = [trigger for trigger in Trigger if trigger not in BY_TIME]


@dataclass(frozen=True, slots=True)
class AddonView:
    """An add-on that a product has."""

    plan: str
    title: str
    quantity: int


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A plan that is paid for here, as it stands at an instant; instants are ns.

    `may` are the triggers of `entitlements.transitions` that the state permits. `next_amount` is what
    is billed at `next_at` if nothing changes. `invoice_id` waits for its payment. `outage_s` of the time until
    `grace_until` are given for outages of the hub.
    """

    agreement_id: str
    subscription_id: str
    product_id: str
    plan: str
    title: str
    plan_version: int
    status: str
    currency: str
    interval_months: int
    starts_at: int
    trial_end: int | None
    covered_until: int | None
    grace_until: int | None
    outage_s: int
    period_start: int | None
    period_end: int | None
    paused_at: int | None
    resumes_at: int | None
    cancelled_at: int | None
    addons: tuple[AddonView, ...]
    change_to: str | None
    promotion: str | None
    promotion_left: int | None
    next_at: int | None
    next_amount: Money | None
    withdrawal_until: int | None
    invoice_id: str | None
    may: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line of a bill; `amount` with its tax."""

    kind: str
    code: str
    args: dict[str, object]
    quantity: str
    amount: Money
    starts_at: int | None
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class BillView:
    """What a change costs now: `due` is what is left of `total` after credit."""

    invoice_id: str | None
    total: Money
    tax: Money
    due: Money
    lines: tuple[BillLine, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a change, or would come of it (`preview`)."""

    preview: bool
    subscription: SubscriptionView
    bill: BillView | None


def shown(session: Session, caller: Caller, product_id: str, at: int) -> SubscriptionView:
    """Return the newest agreement about a product in its present ownership.

    Args:
        session: any session.
        caller: who may know of the household's bills, or staff.
        product_id: which product.
        at: now, ns.

    Raises:
        ConflictError: nobody owns it (to staff).
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product, or it has no plan that is paid for here.
    """
    product, owned = agreements.party(session, caller, product_id, Act.BILLS)
    found = _newest(session, product.id, owned.epoch)
    if found is None:
        raise NotFoundError(
            f"Product {product.serial} has no plan that is paid for here.", product=product_id
        )
    return _view(session, found, at)


def carried_out(
    session: Session,
    tokens: Tokens,
    do: Callable[[], Agreement],
    at: int,
    *,
    preview: bool = False,
) -> Outcome:
    """Carry out a change, or see what it would do.

    Args:
        session: a writing session.
        tokens: source of ids.
        do: makes the change in the session.
        at: now, ns.
        preview: take everything back; nothing is changed, told or collected.

    Raises:
        HubError: what the change raises.
    """
    if not preview:
        before = _newest_bill(session)
        agreement = do()
        return Outcome(False, _view(session, agreement, at), _bill(session, agreement, before))
    with tried(session, tokens, do, at) as outcome:
        return outcome


@contextmanager
def tried(
    session: Session, tokens: Tokens, do: Callable[[], Agreement], at: int
) -> Iterator[Outcome]:
    """Carry a change out, with its payment as if it had come, and take all of it back at the end of the block.

    Args:
        session: a writing session.
        tokens: source of ids.
        do: makes the change in the session.
        at: now, ns.

    Raises:
        HubError: what the change raises.
    """
    with taken_back(session):
        before = _newest_bill(session)
        agreement = do()
        bill = _bill(session, agreement, before)
        waiting = agreements.waiting_bill(session, agreement)
        if bill is not None and waiting is not None and waiting.invoice_id == bill.invoice_id:
            settlements.settle(session, tokens, agreement, waiting, at, at)
        yield Outcome(True, _view(session, agreement, at), bill)


@contextmanager
def taken_back(session: Session) -> Iterator[None]:
    """Take back what a block does in a writing session, and what it would tell."""
    told = {key: copy.copy(value) for key, value in session.info.items()}
    nested = session.begin_nested()
    try:
        yield
    finally:
        nested.rollback()
        session.info.clear()
        session.info.update(told)


def with_method(session: Session, owner_id: str, at: int) -> None:
    """Let a preview show what is to be paid to a household that has no means of payment yet.

    Args:
        session: a writing session that is taken back.
        owner_id: the household.
        at: now, ns.
    """
    account = billing_accounts.of_owner(session, owner_id, at)
    account.method = account.method or "preview"
    session.flush()


def _newest(session: Session, product_id: str, epoch: int) -> Agreement | None:
    query = (
        select(Agreement)
        .where(Agreement.product_id == product_id, Agreement.epoch == epoch)
        .order_by(Agreement.closed_at.is_not(None), Agreement.concluded_at.desc(), Agreement.id)
    )
    return session.scalars(query.limit(1)).first()


def _view(session: Session, agreement: Agreement, at: int) -> SubscriptionView:
    base = agreements.base(session, agreement)
    version = session.get_one(PlanVersion, base.plan_version_id)
    plan = session.get_one(Plan, version.plan_id)
    fact = agreements.fact_of(session, base)
    state = status(fact, at)
    live = agreements.live(session, agreement)
    is_open = agreement.closed_at is None and bool(live)
    waiting = agreements.waiting_bill(session, agreement)
    next_at = agreement.next_at if is_open and base.cancelled_at is None else None
    upcoming = (
        None
        if next_at is None or state in {Status.ENDED, Status.WITHDRAWN}
        else renewals.bill_of(session, agreement, next_at, at)
    )
    until = cancellations.withdrawal_until(session, agreement)
    may = [trigger for trigger in _BY_PEOPLE if is_open and permits(trigger, state)]
    if at >= until:
        may = [trigger for trigger in may if trigger is not Trigger.WITHDRAW]
    change_to = None
    if agreement.next_version_id is not None:
        following = session.get_one(PlanVersion, agreement.next_version_id)
        change_to = session.get_one(Plan, following.plan_id).name
    promotion = (
        None
        if agreement.promotion_id is None
        else session.get_one(Promotion, agreement.promotion_id).title
    )
    return SubscriptionView(
        agreement.id,
        base.id,
        agreement.product_id,
        plan.name,
        plan.title,
        version.version,
        str(state),
        agreement.currency,
        agreements.interval_of(session, version),
        agreement.concluded_at,
        base.trial_end,
        covered_until(fact),
        grace_until(fact),
        fact.outage_s,
        agreement.period_start,
        agreement.period_end,
        base.paused_at,
        base.resumes_at,
        base.cancelled_at,
        tuple(
            AddonView(one.plan.name, one.plan.title, one.row.quantity)
            for one in live
            if one.plan.addon
        ),
        change_to,
        promotion,
        agreement.promotion_left,
        next_at,
        None if upcoming is None else upcoming.amount,
        until if Trigger.WITHDRAW in may else None,
        None if waiting is None else waiting.invoice_id,
        tuple(str(trigger) for trigger in may),
    )


def _newest_bill(session: Session) -> tuple[int, int]:
    query = select(Invoice.year, Invoice.sequence)
    newest = session.execute(query.order_by(Invoice.year.desc(), Invoice.sequence.desc()).limit(1))
    return next(((row.year, row.sequence) for row in newest), (0, 0))


def _bill(session: Session, agreement: Agreement, before: tuple[int, int]) -> BillView | None:
    """Return the bill that a change made, if it made one: it is newer than the newest before."""
    query = (
        select(Invoice)
        .join(AgreementBill, AgreementBill.invoice_id == Invoice.id)
        .where(
            AgreementBill.agreement_id == agreement.id,
            tuple_(Invoice.year, Invoice.sequence) > before,
        )
        .order_by(Invoice.year.desc(), Invoice.sequence.desc())
    )
    invoice = session.scalars(query.limit(1)).first()
    return None if invoice is None else bill_of(session, invoice)


def bill_of(session: Session, invoice: Invoice) -> BillView:
    """Return an invoice as what a change costs."""
    currency = invoice.currency
    lines = [
        BillLine(
            row.kind,
            row.code,
            dict(row.args),
            row.quantity,
            Money(row.net + row.tax, currency),
            row.starts_at,
            row.ends_at,
        )
        for row in invoice_book.lines(session, invoice)
    ]
    return BillView(
        invoice.id,
        Money(invoice.gross, currency),
        Money(invoice.tax, currency),
        invoices.owed(session, invoice),
        tuple(lines),
    )
