"""Means of payment: what a household pays with, and paying what is open.

1. Customers give a means on the provider's own page; the provider's event says which. Support may
   name one.
2. A new means is tried at once on what is open: that is why people give one. The provider forgets the
   one before.
3. The provider's words come late and in any order: one about a means that was given or taken away again before
   the present state of things changes nothing, and the provider forgets that means.
4. Households name one themselves only where the provider says so: of rehearsals nothing is collected.
"""

from collections.abc import Sequence

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.billing_tables import BillingAccount, Invoice, PaymentAttempt
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import Payer, PaymentPort
from hub.services import (
    audit,
    billing_accounts,
    invoice_book,
    payment_removals,
    payments,
    renewals,
)
from hub.services.caller import Caller, Scope
from hub.services.relations import Act


def begun(
    engine: Engine, port: PaymentPort, caller: Caller, owner_id: str | None, back: str, at: int
) -> str:
    """Return the page of the provider on which a household gives a means of payment.

    Args:
        engine: the database; the provider is asked outside of a transaction.
        port: the provider.
        caller: who may pay for the household.
        owner_id: the household; None: the caller's own.
        back: address to which the provider leads back.
        at: now, ns.

    Raises:
        ConflictError: this provider has no such page.
        ForbiddenError: the caller's role in it does not permit that.
        NotFoundError: no such household, or none of the caller's.
        PaymentUnreachableError: the provider did not answer, or refused.
    """
    with read_session(engine) as session:
        owner = billing_accounts.household(session, caller, owner_id, Act.PAY)
        row = billing_accounts.shown(session, caller, owner, at)
        payer = Payer(owner, row.customer or "", row.method or "")
        name = row.name
    setup = port.setup(payer, name, back, at)
    with write_session(engine) as session:
        billing_accounts.of_owner(session, owner, at).customer = setup.customer
    return setup.url


def given(
    session: Session,
    owner_id: str,
    customer: str,
    method: str,
    at: int,
    actor: str,
    *,
    title: str = "",
    said_at: int | None = None,
) -> int:
    """Keep with what a household pays, and collect what is open.

    Args:
        session: a writing session.
        owner_id: the household.
        customer: the provider's reference of it.
        method: the provider's reference of the means of payment.
        at: now, ns.
        actor: who gave it, for the audit.
        title: what the customer knows it by; empty: nothing is known.
        said_at: when it was given, ns; `None`: now.

    Returns:
        How many open invoices are collected now.

    Raises:
        NotFoundError: no such household.
    """
    account = billing_accounts.of_owner(session, owner_id, at)
    since = at if said_at is None else said_at
    if account.method_at is not None and since < account.method_at:
        if account.method != method:
            payment_removals.order(session, "method", method, at)
        return 0
    account.method_at = since
    if account.method and account.method != method:
        payment_removals.order(session, "method", account.method, at)
    account.customer = customer or account.customer
    account.method, account.method_title = method, title or None
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


def chosen(
    session: Session,
    caller: Caller,
    owner_id: str | None,
    method: str,
    at: int,
    choices: Sequence[str],
) -> BillingAccount:
    """Let a household say how its payments turn out, on a hub that rehearses.

    Args:
        session: a writing session.
        caller: who may pay for the household.
        owner_id: the household; None: the caller's own.
        method: one of the choices.
        at: now, ns.
        choices: of the provider; none where money is collected.

    Raises:
        ForbiddenError: the caller's role in it does not permit that.
        InvalidInputError: no such means of payment.
        NotFoundError: no such household of the caller's.
    """
    owner = billing_accounts.household(session, caller, owner_id, Act.PAY)
    if method not in choices:
        raise InvalidInputError(
            f"{method!r} is none of what can be chosen here: {', '.join(choices) or 'nothing'}."
        )
    given(session, owner, "", method, at, caller.actor)
    return session.get_one(BillingAccount, owner)


def removed(session: Session, caller: Caller, owner_id: str | None, at: int) -> BillingAccount:
    """Take a household's means of payment away; the provider forgets it too. Without one: no change.

    What runs is collected no more and lapses unless another means is given.

    Args:
        session: a writing session.
        caller: who may pay for the household, or staff.
        owner_id: the household; None: the caller's own.
        at: now, ns.

    Raises:
        ForbiddenError: the caller's role in it does not permit that.
        NotFoundError: no such household, or none of the caller's.
    """
    owner = billing_accounts.household(session, caller, owner_id, Act.PAY)
    if caller.is_staff:
        caller.require(Scope.ENTITLEMENTS_WRITE)
    account = billing_accounts.of_owner(session, owner, at)
    if account.method:
        payment_removals.order(session, "method", account.method, at)
        account.method = account.method_title = None
        account.method_at = at
        session.flush()
        audit.record(session, at, caller.actor, "billing.method.remove", f"owner:{owner}", {})
    return account


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
