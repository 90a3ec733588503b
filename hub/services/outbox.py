"""The outbox of attempts to collect money and to pay it back.

1. An attempt's id follows from its cause, so the provider is asked for the same thing with the same key
   even by a hub that was restored from a backup.
"""

import hashlib

from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.ports.database.billing_tables import PaymentAttempt


def add_attempt(
    session: Session,
    *,
    kind: str,
    owner_id: str,
    cause: str,
    amount: Money,
    due_at: int,
    invoice_id: str | None = None,
    charge_id: str | None = None,
) -> PaymentAttempt:
    """Put an attempt into the outbox; `payments.charge` and `refunds.refund` do."""
    row = PaymentAttempt(
        # Of its cause: a hub that was restored asks the provider with the same key as before.
        id=hashlib.sha256(cause.encode()).hexdigest()[:16],
        kind=kind,
        owner_id=owner_id,
        invoice_id=invoice_id,
        charge_id=charge_id,
        cause=cause,
        currency=amount.currency,
        amount=amount.minor,
        due_at=due_at,
        next_at=due_at,
        tries=0,
    )
    session.add(row)
    session.flush()
    return row
