"""Agreements of households to pay regularly for products: what they hold, and the dates they stand for.

1. An agreement is open until it is cancelled and over, withdrawn from, or the product changes its owner.
   A product has one open agreement.
2. Its subscriptions live and end together: all dates are set on all of them at once, here. Terms that
   are replaced are kept.
3. One bill at a time waits for its payment; while it does, nothing else of the agreement changes.
4. What may happen in which state says `entitlements.transitions`.

What must never live here: what a change, a renewal or a cancellation does; see `plan_changes`,
`renewals` and `cancellations`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements import facts
from entitlements.billing.agreements import Discount, Item, Period
from entitlements.billing.money import CurrencyMismatchError, Money
from entitlements.billing.outages import with_outages
from entitlements.status import Status, covered_until, status
from entitlements.transitions import Trigger, permits
from hub.errors import ConflictError, NotFoundError
from hub.ports.database.agreement_tables import Agreement, AgreementBill, AgreementItem, Promotion
from hub.ports.database.billing_tables import Invoice
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.ports.database.ownership_tables import Ownership, Subscription
from hub.ports.database.product_tables import Product
from hub.services import changes, invoice_closing, invoices, outages, past, prices, products
from hub.services.caller import HUB, Caller, Scope
from hub.services.lifecycle_document import LifecycleTerms, lifecycle_of
from hub.services.parties import open_ownership, own_product
from hub.services.relations import Act

_WORDS = {
    Status.SCHEDULED: "has not begun yet",
    Status.INCOMPLETE: "waits for its first payment",
    Status.TRIAL: "is in its free trial",
    Status.ACTIVE: "is running",
    Status.PAST_DUE: "waits for a payment; pay first",
    Status.GRACE: "is not paid; pay first",
    Status.PAUSED: "is paused; resume it first",
    Status.CANCELLED: "is cancelled; undo that first",
    Status.LAPSED: "has lapsed; pay first",
    Status.WITHDRAWN: "was withdrawn from",
    Status.ENDED: "has ended",
}


@dataclass(frozen=True, slots=True)
class Live:
    """A subscription of an agreement that has not ended, with what it costs in the present period."""

    item: AgreementItem
    row: Subscription
    version: PlanVersion
    plan: Plan

    def priced(self, currency: str) -> Item:
        """Return the item as it was charged for the present period."""
        zero = Money.zero(currency)
        return Item(
            self.plan.name,
            self.version.id,
            self.plan.addon,
            self.row.quantity,
            Money(self.item.amount, currency),
            zero,
            self.item.tax_ppm,
            self.item.inclusive,
        )


def party(
    session: Session, caller: Caller, product_id: str, act: Act = Act.PAY
) -> tuple[Product, Ownership]:
    """Return a product about whose payment somebody decides, and its ownership.

    Args:
        session: any session.
        caller: of its household, with the right to pay for it; or staff with `entitlements:write`.
        product_id: which product.
        act: what its relation must permit; staff may read with `BILLS` alone.

    Raises:
        ConflictError: nobody owns it.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product, or not one of the caller's.
    """
    if not caller.is_staff:
        return own_product(session, caller, product_id, act)
    caller.require(Scope.ENTITLEMENTS_WRITE if act is Act.PAY else Scope.PRODUCTS_READ)
    product = products.visible(session, caller, product_id, act)
    present = open_ownership(session, product.id)
    if present is None:
        raise ConflictError(
            f"Nobody owns product {product.serial} yet, so nobody can pay for it. Have it claimed "
            "first.",
            product=product_id,
        )
    return product, present


def open_agreement(session: Session, product_id: str, *, lock: bool = False) -> Agreement | None:
    """Return the open agreement about a product, if there is one.

    Args:
        session: any session.
        product_id: which product.
        lock: nobody else changes it until the transaction ends.
    """
    query = select(Agreement).where(
        Agreement.product_id == product_id, Agreement.closed_at.is_(None)
    )
    return session.scalars(query.with_for_update() if lock else query).first()


def own_agreement(session: Session, caller: Caller, product_id: str) -> Agreement:
    """Return the open agreement about a product to somebody who may change it, locked.

    Raises:
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product, or no agreement about it that is open.
    """
    product, _ = party(session, caller, product_id)
    agreement = open_agreement(session, product.id, lock=True)
    if agreement is None:
        raise NotFoundError(
            f"Product {product.serial} has no plan that is paid for here. Subscribe it to one first.",
            product=product_id,
        )
    return agreement


def live(session: Session, agreement: Agreement) -> list[Live]:
    """Return the subscriptions of an agreement that have not ended, that of the plan first."""
    query = (
        select(AgreementItem, Subscription, PlanVersion, Plan)
        .join(Subscription, Subscription.id == AgreementItem.subscription_id)
        .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .join(Plan, Plan.id == PlanVersion.plan_id)
        .where(AgreementItem.agreement_id == agreement.id, AgreementItem.ended_at.is_(None))
        .order_by(Plan.addon, Plan.id)
    )
    return [Live(*row) for row in session.execute(query)]


def base(session: Session, agreement: Agreement) -> Subscription:
    """Return the present subscription of an agreement's plan."""
    return session.get_one(Subscription, agreement.subscription_id)


def fact_of(session: Session, row: Subscription) -> facts.Subscription:
    """Return the dates of a subscription; its plan is left out, as no state depends on it."""
    fact = facts.Subscription(
        row.id,
        "",
        0,
        row.starts_at,
        row.trial_end,
        row.paid_until,
        row.grace_s,
        row.cancelled_at,
        row.ends_at,
        row.epoch,
        row.retry_s,
        row.paused_at,
        row.resumes_at,
        row.withdrawn_at,
        row.quantity,
    )
    covered = covered_until(fact)
    return fact if covered is None else with_outages(fact, outages.all_of(session, since=covered))


def state(session: Session, agreement: Agreement, at: int) -> Status:
    """Return the state of an agreement's plan at an instant (ns)."""
    return status(fact_of(session, base(session, agreement)), at)


def require(session: Session, agreement: Agreement, trigger: Trigger, at: int) -> Status:
    """Return the state of an agreement's plan; raise if something may not happen in it.

    Raises:
        ConflictError: it may not.
    """
    present = state(session, agreement, at)
    if not permits(trigger, present):
        raise ConflictError(
            f"The plan {_WORDS[present]}, so this cannot be done.",
            status=str(present),
            agreement=agreement.id,
        )
    return present


def require_settled(session: Session, agreement: Agreement) -> None:
    """Raise if a bill of an agreement waits for its payment.

    Raises:
        ConflictError: one does.
    """
    if waiting_bill(session, agreement) is not None:
        raise ConflictError(
            "A payment for this plan is being collected. Try again when it has come, or pay first.",
            agreement=agreement.id,
        )


def waiting_bill(session: Session, agreement: Agreement) -> AgreementBill | None:
    """Return the bill of an agreement that waits for its payment, if there is one."""
    query = select(AgreementBill).where(
        AgreementBill.agreement_id == agreement.id, AgreementBill.settled_at.is_(None)
    )
    return session.scalars(query).first()


def drop_bill(session: Session, agreement: Agreement, at: int) -> None:
    """Take back the bill that waits, unless the payment provider is being asked at this moment.

    Then it waits on; what comes of it is seen to by `renewals`.
    """
    bill = waiting_bill(session, agreement)
    if bill is None:
        return
    try:
        invoice_closing.void(session, HUB, bill.invoice_id, at)
    except ConflictError:
        return
    bill.settled_at = at
    session.flush()


def set_dates(session: Session, agreement: Agreement, at: int, **dates: int | None) -> None:
    """Set dates on all subscriptions of an agreement that have not ended.

    Args:
        session: a writing session.
        agreement: which.
        at: now, ns: from when on this is known.
        dates: columns of `Subscription` with their new values.
    """
    for one in live(session, agreement):
        past.keep_terms(session, one.row, at)
        for name, value in dates.items():
            setattr(one.row, name, value)
    session.flush()
    changes.note(session, agreement.product_id)


def add_subscription(
    session: Session, agreement: Agreement, row: Subscription, item: Item
) -> Subscription:
    """Add a subscription to an agreement, at what a whole period of it costs."""
    session.add(row)
    session.flush()
    session.add(
        AgreementItem(
            subscription_id=row.id,
            agreement_id=agreement.id,
            amount=item.amount.minor,
            tax_ppm=item.tax_ppm,
            inclusive=item.inclusive,
        )
    )
    session.flush()
    changes.note(session, agreement.product_id)
    return row


def end_subscription(session: Session, one: Live, ends_at: int, at: int) -> None:
    """End a subscription of an agreement that goes on.

    Args:
        session: a writing session.
        one: which.
        ends_at: when, ns.
        at: now, ns.
    """
    past.keep_terms(session, one.row, at)
    one.row.ends_at = one.item.ended_at = ends_at
    session.flush()


def close(session: Session, agreement: Agreement, at: int) -> None:
    """Close an agreement: nothing of it is billed any more."""
    agreement.closed_at, agreement.next_at = at, None
    for one in live(session, agreement):
        one.item.ended_at = at
    session.flush()


def period_of(agreement: Agreement) -> Period | None:
    """Return the period that is paid for, or waits to be; `None`: none was billed."""
    if agreement.period_start is None or agreement.period_end is None:
        return None
    return Period(
        agreement.period_start, agreement.period_end, agreement.anchor_at, agreement.anchor_months
    )


def set_period(agreement: Agreement, period: Period | None) -> None:
    """Set the period of an agreement and when the next is billed."""
    if period is None:
        agreement.period_start = agreement.period_end = agreement.next_at = None
        return
    agreement.period_start, agreement.period_end = period.span
    agreement.anchor_at, agreement.anchor_months = period.anchor, period.months
    agreement.next_at = period.end


def terms_of(version: PlanVersion) -> LifecycleTerms:
    """Return how a plan version is tried, collected and left."""
    return lifecycle_of(version.lifecycle)


def interval_of(session: Session, version: PlanVersion) -> int:
    """Return for how many months a plan version is paid at once."""
    return prices.of_version(session, version.id).interval_months


def priced(
    session: Session,
    owner_id: str,
    currency: str,
    version: PlanVersion,
    plan: Plan,
    at: int,
    *,
    quantity: int = 1,
    discount: Discount | None = None,
) -> Item:
    """Return what a plan version costs a household from now on.

    Raises:
        ConflictError: it is not sold in the household's currency.
    """
    price = prices.of_version(session, version.id)
    rate = invoices.tax_ppm(session, owner_id, price.tax_class, at)
    try:
        return Item.priced(
            plan.name,
            version.id,
            price,
            currency,
            rate,
            quantity=quantity,
            addon=plan.addon,
            discount=discount,
        )
    except CurrencyMismatchError as error:
        raise ConflictError(
            f"Plan {plan.name} cannot be sold in {currency}: {error}. Choose another plan or currency.",
            plan=plan.name,
            currency=currency,
        ) from error


def discount_of(session: Session, agreement: Agreement, plan: str) -> Discount | None:
    """Return what an agreement's promotion takes off a plan in the present period; `None`: it is for others."""
    if agreement.promotion_id is None:
        return None
    promotion = session.get_one(Promotion, agreement.promotion_id)
    if promotion.plans is not None and plan not in promotion.plans:
        return None
    if promotion.percent_ppm is not None:
        return Discount(promotion.percent_ppm)
    amounts: dict[str, Any] = promotion.amounts or {}
    return Discount(amount=Money(amounts.get(agreement.currency, 0), agreement.currency))


def bill(
    session: Session,
    agreement: Agreement,
    invoice: Invoice,
    kind: str,
    asked_at: int,
    wanted: dict[str, Any] | None = None,
    *,
    settled_at: int | None = None,
) -> AgreementBill:
    """Note an invoice of an agreement; it waits for its payment unless it is settled."""
    row = AgreementBill(
        invoice_id=invoice.id,
        agreement_id=agreement.id,
        kind=kind,
        asked_at=asked_at,
        wanted=wanted,
        settled_at=settled_at,
    )
    session.add(row)
    session.flush()
    return row


def bills(session: Session, agreement: Agreement) -> Sequence[tuple[AgreementBill, Invoice]]:
    """Return all bills of an agreement with their invoices, the oldest first."""
    query = (
        select(AgreementBill, Invoice)
        .join(Invoice, Invoice.id == AgreementBill.invoice_id)
        .where(AgreementBill.agreement_id == agreement.id)
        .order_by(AgreementBill.asked_at, Invoice.number)
    )
    return [(row, invoice) for row, invoice in session.execute(query)]


def next_cause(session: Session, agreement: Agreement) -> str:
    """Return the cause of an agreement's next invoice that is not for a period."""
    return f"agreement:{agreement.id}:{len(bills(session, agreement))}"
