"""Means of payment: what a household pays with, and paying what is open.

1. Customers give a means on the provider's own page; the provider's event says which. Support may
   name one.
2. A new means is tried at once on what is open: that is why people give one.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.errors import ConflictError
from hub.ports.database.billing_tables import BillingAccount, Invoice, PaymentAttempt
from hub.services import audit, billing_accounts, invoice_book, payments, renewals
from hub.services.caller import Caller, Scope
from hub.services.relations import Act


def given(session: Session, owner_id: str, customer: str, method: str, at: int, actor: str) -> int:
    """Keep with what a household pays, and collect what is open.

    Args:
        session: a writing session.
        owner_id: the household.
        customer: the provider's reference of it.
        method: the provider's reference of the means of payment.
        at: now, ns.
        actor: who gave it, for the audit.

    Returns:
        How many open invoices are collected now.

    Raises:
        NotFoundError: no such household.
    """
    account = billing_accounts.of_owner(session, owner_id, at)
    account.customer = customer or account.customer
    account.method = method
    session.flush()
    audit.record(session, at, actor, "billing.method", f"owner:{owner_id}", {})
    renewals.method_added(session, owner_id, at)
    found = select(Invoice).where(
        Invoice.owner_id == owner_id,
        Invoice.paid_at.is_(None),
        Invoice.voided_at.is_(None),
        Invoice.written_off_at.is_(None),
    )
    open_ones = session.scalars(found.order_by(Invoice.issued_at, Invoice.number)).all()
    for invoice in open_ones:
        payments.charge(session, invoice, at)
    return len(open_ones)


def named(session: Session, caller: Caller, owner_id: str, method: str, at: int) -> BillingAccount:
    """Set the means of payment of a household by its reference, as support.

    Raises:
        ForbiddenError: the caller is not staff.
        NotFoundError: no such household.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    given(session, owner_id, "", method, at, caller.actor)
    return session.get_one(BillingAccount, owner_id)


def pay(session: Session, caller: Caller, invoice_id: str, at: int) -> PaymentAttempt:
    """Have an invoice collected now.

    Raises:
        ConflictError: nothing of it is open.
        NoMethodError: nothing is known with which to pay.
        ForbiddenError: the caller's role in its household does not permit that.
        NotFoundError: no such invoice, or not one of a household of the caller.
    """
    invoice = invoice_book.one(session, caller, invoice_id)
    billing_accounts.household(session, caller, invoice.owner_id, Act.PAY)
    if invoice.state not in {"open", "uncollectible"}:
        raise ConflictError(f"Invoice {invoice.number} is {invoice.state}.", invoice=invoice.id)
    billing_accounts.with_method(session, invoice.owner_id, at)
    details = {"number": invoice.number}
    audit.record(session, at, caller.actor, "invoice.pay", f"invoice:{invoice.id}", details)
    return payments.charge(session, invoice, at)
