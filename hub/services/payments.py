"""Attempts to collect invoices and to pay money back: an outbox that the payment desk works off.

1. What is to be tried is a row, written in the transaction that decided it. The provider is called
   outside of any transaction with the row's id, so a crash in between collects once.
2. An answer is recorded once. That money came is final, whenever and however often it is said; a late
   success after a failure is money all the same. What nobody owes any more becomes credit.
3. What an answer means for subscriptions is the hooks' business, called in the same transaction.
What must never live here: network calls (`hub/ports/payment`) and retry schedules (they are who
calls `charge` with a later `due_at`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.errors import ConflictError
from hub.ports.database.billing_tables import BillingAccount, Invoice, PaymentAttempt, PaymentEvent
from hub.ports.payment.port import Answer, Charge, Outcome, Payer, Refund
from hub.services import audit, invoices, ledger, refunds, reversals
from hub.services.caller import HUB
from hub.services.ledger import Account, Side
from hub.services.outbox import add_attempt

_SECOND: Final = 1_000_000_000
_AGAIN_S: Final = 60
_AGAIN_MOST_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Hooks:
    """What follows from answers, in the transaction that records them.

    Args:
        on_paid: an invoice was paid in full: called with it and now (ns), once.
        on_failed: an attempt failed: called with the invoice, the attempt and now (ns).
    """

    on_paid: Callable[[Session, Invoice, int], None]
    on_failed: Callable[[Session, Invoice, PaymentAttempt, int], None]


NOTHING_FOLLOWS: Final = Hooks(lambda *_: None, lambda *_: None)
"""For those who only keep books."""


def charge(session: Session, invoice: Invoice, due_at: int) -> PaymentAttempt:
    """Have an invoice collected; while an attempt waits, that one is moved to the earlier time.

    An invoice of which nothing is open is told paid by the desk like any other, without the provider.

    Args:
        session: a writing session.
        invoice: which; open, given up, or paid.
        due_at: when, ns.

    Raises:
        ConflictError: it is void.
    """
    if invoice.state == "void":
        raise ConflictError(f"Invoice {invoice.number} is void.", invoice=invoice.id)
    waiting = session.scalar(
        select(PaymentAttempt).where(
            PaymentAttempt.invoice_id == invoice.id,
            PaymentAttempt.kind == "charge",
            PaymentAttempt.answered_at.is_(None),
        )
    )
    if waiting is not None:
        if waiting.begun_at is None and due_at < waiting.next_at:
            waiting.due_at = waiting.next_at = due_at
        return waiting
    count = select(func.count()).where(PaymentAttempt.invoice_id == invoice.id)
    return add_attempt(
        session,
        kind="charge",
        owner_id=invoice.owner_id,
        cause=f"charge:{invoice.id}:{session.scalar(count)}",
        amount=invoices.owed(session, invoice),
        due_at=due_at,
        invoice_id=invoice.id,
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What the desk asks the provider for next; `None`: nothing, the answer is known."""

    attempt_id: str
    ask: Charge | Refund | None


def due(session: Session, at: int) -> bool:
    """Say whether an attempt is due at an instant (ns)."""
    return session.scalar(_due(at).with_only_columns(PaymentAttempt.id).limit(1)) is not None


def next_due(session: Session, after: int) -> int | None:
    """Return the first instant after another (ns) at which an attempt is due; None: there is none."""
    query = select(func.min(PaymentAttempt.next_at)).where(
        PaymentAttempt.answered_at.is_(None), PaymentAttempt.next_at > after
    )
    return session.scalar(query)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is not answered yet; instants in ns, None: there is nothing of the kind.

    Args:
        asked: attempts that the provider was asked for.
        planned: attempts that are still to be made.
        asked_since: when the oldest of the asked ones was first asked for.
        due_since: the earliest instant at which one is or was due next.
    """

    asked: int
    planned: int
    asked_since: int | None
    due_since: int | None


def waiting(session: Session) -> Waiting:
    """Return what is not answered yet."""
    query = select(
        func.count(PaymentAttempt.begun_at),
        func.count(),
        func.min(PaymentAttempt.begun_at),
        func.min(PaymentAttempt.next_at),
    ).where(PaymentAttempt.answered_at.is_(None))
    asked, all_, asked_since, due_since = session.execute(query).one()
    return Waiting(asked, all_ - asked, asked_since, due_since)


def begin(session: Session, at: int, limit: int = 20) -> list[Request]:
    """Take the attempts that are due; without an answer they are due again later and later.

    Args:
        session: a writing session.
        at: now, ns.
        limit: at most so many.
    """
    query = _due(at).order_by(PaymentAttempt.next_at, PaymentAttempt.id).limit(limit)
    return [_begun(session, row, at) for row in session.scalars(query).all()]


def _due(at: int) -> Select[PaymentAttempt]:
    return select(PaymentAttempt).where(
        PaymentAttempt.answered_at.is_(None), PaymentAttempt.next_at <= at
    )


def _begun(session: Session, row: PaymentAttempt, at: int) -> Request:
    invoice = None if row.invoice_id is None else session.get_one(Invoice, row.invoice_id)
    if row.begun_at is None:
        row.begun_at = at
        if invoice is not None:
            _settle_terms(session, row, invoice, at)
    row.tries += 1
    row.next_at = at + min(_AGAIN_S * 2 ** min(row.tries, 10), _AGAIN_MOST_S) * _SECOND
    session.flush()
    amount = Money(row.amount, row.currency)
    if not amount:
        return Request(row.id, None)
    if row.charge_id is not None:
        paid = session.get_one(PaymentAttempt, row.charge_id)
        reference = row.reference or ""
        return Request(
            row.id,
            Refund(row.id, paid.reference or "", amount, reference, row.begun_at, at),
        )
    payer = Payer(row.owner_id, row.customer or "", row.method or "")
    text = "" if invoice is None else invoice.number
    return Request(
        row.id, Charge(row.id, payer, amount, text, row.reference or "", row.begun_at, at)
    )


def _settle_terms(session: Session, row: PaymentAttempt, invoice: Invoice, at: int) -> None:
    """Settle how much an attempt collects and by which means: both belong to its id from here on."""
    account = session.get_one(BillingAccount, row.owner_id)
    row.customer, row.method = account.customer, account.method
    if invoice.state == "open":
        invoices.pay_from_credit(session, invoice, at)
        row.amount = invoices.owed(session, invoice).minor
    else:
        row.amount = _lost(session, invoice).minor


def _lost(session: Session, invoice: Invoice) -> Money:
    """Return what was given up of an invoice; it can still be paid."""
    return ledger.of_invoice(session, invoice.id, Account.LOSS, invoice.currency)


def record(session: Session, attempt_id: str, answer: Answer, at: int, hooks: Hooks) -> bool:
    """Record what the provider answered.

    Args:
        session: a writing session.
        attempt_id: of the attempt.
        answer: what it said.
        at: now, ns.
        hooks: what follows.

    Returns:
        Whether that was news: not if there is no such attempt or its answer is known.
    """
    row = session.get(PaymentAttempt, attempt_id)
    if row is None or not _news(row, answer.outcome):
        return False
    row.reference = answer.reference or row.reference
    if answer.outcome is Outcome.PENDING:
        session.flush()
        return False
    before = row.outcome
    row.answered_at, row.outcome, row.code = at, str(answer.outcome), answer.code or None
    session.flush()
    details = {"outcome": row.outcome, "amount": str(Money(row.amount, row.currency))}
    if row.code:
        details["code"] = row.code
    audit.record(session, at, HUB.actor, f"payment.{row.kind}", f"payment:{row.id}", details)
    if row.kind == "refund":
        refunds.answered(session, row, at, before)
        return True
    invoice = session.get_one(Invoice, row.invoice_id)
    if answer.outcome is Outcome.FAILED:
        hooks.on_failed(session, invoice, row, at)
        return True
    if _collected(session, invoice, row, at):
        hooks.on_paid(session, invoice, at)
    reversals.follow(session, row, at)
    return True


def _news(row: PaymentAttempt, outcome: Outcome) -> bool:
    """Say whether an answer can be one after what is known of an attempt."""
    if row.outcome is None:
        return True
    # Money that came, came; a refund that the bank sent back, it sent back: events may be late.
    if row.kind == "refund":
        return row.outcome == "paid" and outcome is Outcome.FAILED
    return row.outcome != "paid" and outcome is Outcome.PAID


def _collected(session: Session, invoice: Invoice, row: PaymentAttempt, at: int) -> bool:
    """Post what came in; returns whether the invoice is paid by it, or was when there was nothing to pay."""
    amount = Money(row.amount, row.currency)
    zero = Money.zero(row.currency)
    due, lost = invoices.owed(session, invoice), _lost(session, invoice)
    paid, found = (Money(min(amount.minor, one.minor), row.currency) for one in (due, lost))
    sides = [
        Side(Account.CASH, amount, invoice.id),
        Side(Account.RECEIVABLE, -paid, invoice.id),
        Side(Account.LOSS, -found, invoice.id),
        Side(Account.CREDIT, paid + found - amount, invoice.id),
    ]
    ledger.post(session, at, f"payment:{row.id}:paid", row.owner_id, sides)
    if not amount:
        return invoices.settle(session, invoice, at) and not _told(session, row)
    if invoice.state == "uncollectible" and lost and found == lost:
        invoice.paid_at = at
        session.flush()
        return True
    return due != zero and invoices.settle(session, invoice, at)


def _told(session: Session, row: PaymentAttempt) -> bool:
    """Say whether another attempt at the same invoice has said already that it is paid."""
    query = select(func.count()).where(
        PaymentAttempt.invoice_id == row.invoice_id,
        PaymentAttempt.outcome == "paid",
        PaymentAttempt.id != row.id,
    )
    return bool(session.scalar(query))


def knows_event(session: Session, event_id: str) -> bool:
    """Say whether an event of the provider was taken."""
    return session.get(PaymentEvent, event_id) is not None


def take_event(session: Session, event_id: str, kind: str, at: int) -> bool:
    """Note an event of the provider; returns whether it is the first time.

    Args:
        session: a writing session.
        event_id: the provider's.
        kind: its name of the kind.
        at: now, ns.
    """
    if knows_event(session, event_id):
        return False
    session.add(PaymentEvent(id=event_id, kind=kind[:200], received_at=at))
    session.flush()
    return True
