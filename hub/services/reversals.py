"""Disputes, and refunds that somebody made at the payment provider: what it does with payments unasked, booked.

1. What is kept of each is what says most of it: how far it has come, then when that was said. So events may come
   twice, late and in any order.
2. The ledger follows: a posting moves the money from where it was booked to where it is. Of a payment that the hub
   has not heard of yet, that waits until it has.
3. What a dispute takes is held, and a loss once it is lost. What was refunded comes out of the household's credit as
   far as that goes; the rest was given without an invoice.

What must never live here: what follows for plans. People decide that; a hold is theirs to place.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.ports.database.billing_tables import Invoice, PaymentAttempt, PaymentReversal
from hub.ports.payment.port import Place, Reversal
from hub.services import audit, ledger, webhook_events
from hub.services.caller import HUB
from hub.services.ledger import Account, Side
from hub.services.webhook_events import EventType

_SECOND: Final = 1_000_000_000
_HOLDS: Final[Mapping[Place, Account]] = {
    Place.KEPT: Account.CASH,
    Place.HELD: Account.DISPUTED,
    Place.GONE: Account.LOSS,
}
"""Where the ledger has the money of a dispute."""
_TOLD: Final[Mapping[Place, EventType]] = {
    Place.KEPT: EventType.PAYMENT_KEPT,
    Place.HELD: EventType.PAYMENT_DISPUTED,
    Place.GONE: EventType.PAYMENT_REVERSED,
}


def heard(session: Session, said: Reversal, at: int) -> bool:
    """Take what the provider says of a dispute or a refund of its own.

    Args:
        session: a writing session.
        said: what.
        at: now, ns.

    Returns:
        Whether the books changed by it.
    """
    row = session.get(PaymentReversal, said.id)
    if row is None:
        row = PaymentReversal(
            id=said.id,
            kind=said.kind,
            reference=said.reference,
            currency=said.amount.currency,
            amount=said.amount.minor,
            booked=str(Place.KEPT),
            postings=0,
            from_credit=0,
            heard_at=at,
        )
        session.add(row)
    elif (said.stage, said.said_at, str(said.place)) <= (row.stage, row.said_at, row.state):
        return False
    row.state, row.stage, row.said_at = str(said.place), said.stage, said.said_at
    row.reason, row.answer_by = said.reason, said.answer_by
    session.flush()
    query = select(PaymentAttempt).where(
        PaymentAttempt.reference == said.reference, PaymentAttempt.kind == "charge"
    )
    charge = session.scalars(query.order_by(PaymentAttempt.id).limit(1)).first()
    return charge is not None and _book(session, row, charge, at)


def follow(session: Session, charge: PaymentAttempt, at: int) -> None:
    """Book what was heard of a payment before the hub knew that it was paid.

    Args:
        session: a writing session.
        charge: the payment, with its outcome.
        at: now, ns.
    """
    if not charge.reference:
        return
    waiting = select(PaymentReversal).where(
        PaymentReversal.reference == charge.reference,
        PaymentReversal.state != PaymentReversal.booked,
    )
    for row in session.scalars(waiting.order_by(PaymentReversal.id)):
        _book(session, row, charge, at)


def gone(session: Session, charge_id: str) -> int:
    """Return how much of a payment, in minor units, is not there to be refunded any more."""
    query = select(func.coalesce(func.sum(PaymentReversal.amount), 0)).where(
        PaymentReversal.charge_id == charge_id, PaymentReversal.booked != str(Place.KEPT)
    )
    return int(session.scalars(query).one())


def of_owner(session: Session, owner_id: str) -> list[tuple[PaymentReversal, Invoice]]:
    """Return disputes and foreign refunds of a household's payments with the invoices, the newest first."""
    query = (
        select(PaymentReversal, Invoice)
        .join(PaymentAttempt, PaymentAttempt.id == PaymentReversal.charge_id)
        .join(Invoice, Invoice.id == PaymentAttempt.invoice_id)
        .where(PaymentAttempt.owner_id == owner_id, PaymentReversal.postings > 0)
        .order_by(PaymentReversal.heard_at.desc(), PaymentReversal.id)
    )
    return [(row, invoice) for row, invoice in session.execute(query)]


def open_disputes(session: Session) -> int:
    """Count the disputes that are not decided."""
    query = select(func.count()).where(PaymentReversal.booked == str(Place.HELD))
    return session.scalar(query) or 0


def problems(session: Session, at: int) -> list[str]:
    """Say which disputes can still be answered, one sentence each; no amounts, as anybody may read them."""

    def said() -> Iterator[str]:
        query = select(PaymentReversal).where(
            PaymentReversal.booked == str(Place.HELD), PaymentReversal.answer_by > at
        )
        for row in session.scalars(query.order_by(PaymentReversal.answer_by, PaymentReversal.id)):
            day = datetime.fromtimestamp((row.answer_by or 0) // _SECOND, UTC)
            yield (
                f"A bank took back payment {row.charge_id}. Answer the dispute at the payment provider "
                f"until {day:%Y-%m-%d}."
            )

    return list(said())


def _book(session: Session, row: PaymentReversal, charge: PaymentAttempt, at: int) -> bool:
    """Let the ledger say where the money of a payment is."""
    row.charge_id = charge.id
    if charge.outcome != "paid" or row.state == row.booked:
        session.flush()
        return False
    if row.currency != charge.currency:  # nothing is converted: the whole payment is meant
        row.currency, row.amount = charge.currency, charge.amount
    before, now = Place(row.booked), Place(row.state)
    sides = _sides(row, before)
    if row.kind == "refund" and now is Place.GONE:
        credit = ledger.credit(session, charge.owner_id, row.currency)
        row.from_credit = max(0, min(credit.minor, row.amount))
    sides = [*(Side(one.account, -one.amount) for one in sides), *_sides(row, now)]
    row.booked, row.postings = str(now), row.postings + 1
    session.flush()
    ledger.post(session, at, f"reversal:{row.id}:{row.postings}", charge.owner_id, sides)
    details = {
        "kind": row.kind,
        "place": row.booked,
        "amount": str(Money(row.amount, row.currency)),
    }
    if row.reason:
        details["reason"] = row.reason
    audit.record(session, at, HUB.actor, "payment.reversal", f"payment:{charge.id}", details)
    webhook_events.note(
        session,
        _TOLD[now],
        f"owner:{charge.owner_id}",
        payment_id=charge.id,
        invoice_id=charge.invoice_id,
        what=row.kind,
    )
    return True


def _sides(row: PaymentReversal, place: Place) -> list[Side]:
    """Return the debits of a reversal's amount in a place."""
    amount = Money(row.amount, row.currency)
    if row.kind == "dispute" or place is Place.KEPT:
        return [Side(_HOLDS[place], amount)]
    credit = Money(row.from_credit, row.currency)
    return [Side(Account.CREDIT, credit), Side(Account.GOODWILL, amount - credit)]
