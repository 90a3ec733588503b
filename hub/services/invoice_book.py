"""Reading invoices: who may read which, and what is in them.

1. A household's invoices are for those whose relation to it permits `Act.BILLS`, and for staff.
2. That staff are shown some is noted, and the household reads it (`looks`).
"""

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from hub.errors import NotFoundError
from hub.ports.database.billing_tables import Invoice, InvoiceLine, LedgerEntry, PaymentAttempt
from hub.services import billing_accounts, looks
from hub.services.caller import Caller
from hub.services.ledger import Account
from hub.services.relations import Act


def shown(session: Session, caller: Caller, invoice_id: str, at: int) -> Invoice:
    """Return an invoice to somebody who reads it; errors as for `one`.

    Args:
        session: any session.
        caller: one of the household, or staff.
        invoice_id: which.
        at: now, ns.

    Raises:
        ReasonRequiredError: the caller is staff and did not say why.
    """
    invoice = one(session, caller, invoice_id)
    looks.look_at_money(session, caller, invoice.owner_id, at)
    return invoice


def one(session: Session, caller: Caller, invoice_id: str) -> Invoice:
    """Return an invoice to somebody who may read it and does something with it.

    Raises:
        ForbiddenError: the caller's role in its household does not permit that.
        NotFoundError: no such invoice, or not one of a household of the caller.
    """
    invoice = session.get(Invoice, invoice_id)
    known = invoice is not None and (
        caller.is_staff or any(tie.owner_id == invoice.owner_id for tie in caller.ties)
    )
    if invoice is None or not known:
        raise NotFoundError(f"There is no invoice {invoice_id}.", invoice=invoice_id)
    billing_accounts.household(session, caller, invoice.owner_id, Act.BILLS)
    return invoice


def lines(session: Session, invoice: Invoice) -> list[InvoiceLine]:
    """Return the lines of an invoice, in their order."""
    query = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id)
    return list(session.scalars(query.order_by(InvoiceLine.position)))


def attempts(session: Session, invoice: Invoice) -> list[PaymentAttempt]:
    """Return the tries to collect an invoice, the oldest first."""
    query = select(PaymentAttempt).where(PaymentAttempt.invoice_id == invoice.id)
    return list(session.scalars(query.order_by(PaymentAttempt.due_at, PaymentAttempt.cause)))


def of_household(
    session: Session,
    caller: Caller,
    owner_id: str | None,
    at: int,
    *,
    before: tuple[int, str] | None = None,
    limit: int = 100,
) -> list[Invoice]:
    """List the invoices of a household, the newest first.

    Args:
        session: any session.
        caller: one of the household, or staff.
        owner_id: the household; None: the caller's own.
        at: now, ns.
        before: only those older than this one: when it was issued, and its number.
        limit: at most so many.

    Raises:
        ForbiddenError: the caller's role in it does not permit that.
        InvalidInputError: staff named none.
        NotFoundError: it is not one of the caller's.
        ReasonRequiredError: the caller is staff and did not say why.
    """
    owner = billing_accounts.household(session, caller, owner_id, Act.BILLS)
    looks.look_at_money(session, caller, owner, at)
    query = (
        select(Invoice)
        .where(Invoice.owner_id == owner)
        .order_by(Invoice.issued_at.desc(), Invoice.number.desc())
        .limit(limit)
    )
    if before is not None:
        at, number = before
        query = query.where(
            (Invoice.issued_at < at) | ((Invoice.issued_at == at) & (Invoice.number < number))
        )
    return list(session.scalars(query))


def count(session: Session) -> int:
    """Return how many invoices there are."""
    return session.scalar(select(func.count()).select_from(Invoice)) or 0


def contradictions(session: Session) -> list[str]:
    """Say what of the invoices cannot be: gaps in their numbers, and states that differ from the ledger."""
    years = select(Invoice.year, func.count(), func.max(Invoice.sequence)).group_by(Invoice.year)
    wrong = [
        f"{newest - found} invoices of {year} are missing."
        for year, found, newest in session.execute(years.order_by(Invoice.year))
        if found != newest
    ]
    owed = (
        select(func.coalesce(func.sum(LedgerEntry.amount), 0))
        .where(LedgerEntry.invoice_id == Invoice.id, LedgerEntry.account == str(Account.RECEIVABLE))
        .correlate(Invoice)
        .scalar_subquery()
    )
    closed = or_(
        Invoice.paid_at.is_not(None),
        Invoice.voided_at.is_not(None),
        Invoice.written_off_at.is_not(None),
    )
    differing = select(Invoice.number).where(or_(and_(closed, owed != 0), and_(~closed, owed <= 0)))
    wrong += [
        f"Invoice {number} is not what the ledger says."
        for number in session.scalars(differing.order_by(Invoice.year, Invoice.sequence).limit(20))
    ]
    return wrong
