"""Closing invoices that will not be paid: taken back, or given up.

1. Only what is open is closed so; what is paid is given back by an invoice with a negative total.
2. Nothing is closed while the payment provider is asked to collect it.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.errors import ConflictError
from hub.ports.database.billing_tables import Invoice, PaymentAttempt
from hub.services import audit, ledger
from hub.services.caller import Caller, Scope
from hub.services.invoice_book import one
from hub.services.invoices import owed
from hub.services.ledger import Account, Side


def void(session: Session, caller: Caller, invoice_id: str, at: int) -> Invoice:
    """Take an invoice back: nothing of it is owed, and what was paid becomes credit. Again: no change.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        invoice_id: which.
        at: now, ns.

    Raises:
        ConflictError: it is paid in full, was given up, or is being collected at this moment.
        NotFoundError: no such invoice.
    """
    invoice = _closed(session, caller, invoice_id, "void", at)
    if invoice.state == "void":
        return invoice
    due = owed(session, invoice)
    gross = Money(invoice.gross, invoice.currency)
    ledger.post(
        session,
        at,
        f"invoice:{invoice.id}:voided",
        invoice.owner_id,
        [
            Side(Account.REVENUE, Money(invoice.net, invoice.currency), invoice.id),
            Side(Account.TAX, Money(invoice.tax, invoice.currency), invoice.id),
            Side(Account.RECEIVABLE, -due, invoice.id),
            Side(Account.CREDIT, due - gross, invoice.id),
        ],
    )
    invoice.voided_at = at
    session.flush()
    return invoice


def write_off(session: Session, caller: Caller, invoice_id: str, at: int) -> Invoice:
    """Give up what is open of an invoice. Again: no change.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        invoice_id: which.
        at: now, ns.

    Raises:
        ConflictError: it is paid or void, or is being collected at this moment.
        NotFoundError: no such invoice.
    """
    invoice = _closed(session, caller, invoice_id, "write_off", at)
    if invoice.state == "uncollectible":
        return invoice
    due = owed(session, invoice)
    sides = [Side(Account.LOSS, due, invoice.id), Side(Account.RECEIVABLE, -due, invoice.id)]
    ledger.post(session, at, f"invoice:{invoice.id}:written_off", invoice.owner_id, sides)
    invoice.written_off_at = at
    session.flush()
    return invoice


def _closed(session: Session, caller: Caller, invoice_id: str, what: str, at: int) -> Invoice:
    """Return an invoice that somebody closes, its attempts that wait cancelled, and tell the audit."""
    caller.require(Scope.ENTITLEMENTS_WRITE)
    invoice = one(session, caller, invoice_id)
    done = {"void": "void", "write_off": "uncollectible"}[what]
    if invoice.state == done:
        return invoice
    if invoice.state != "open":
        raise ConflictError(
            f"Invoice {invoice.number} is {invoice.state}, not open. Issue another one that gives "
            "back what is not owed.",
            invoice=invoice.id,
        )
    query = select(PaymentAttempt).where(
        PaymentAttempt.invoice_id == invoice.id, PaymentAttempt.answered_at.is_(None)
    )
    for attempt in session.scalars(query):
        if attempt.begun_at is not None:
            raise ConflictError(
                f"Invoice {invoice.number} is being collected at this moment. Wait for the answer of "
                "the payment provider.",
                invoice=invoice.id,
            )
        attempt.answered_at, attempt.outcome = at, "cancelled"
    details = {"number": invoice.number}
    audit.record(session, at, caller.actor, f"invoice.{what}", f"invoice:{invoice.id}", details)
    return invoice
