"""What the payment provider is to forget: customers of households that ended, means of payment that were replaced.

1. An order is a row, written in the transaction that decided it; the payment desk asks the provider outside of
   any. It asks again until that is done, and then the row goes.
What must never live here: network calls (`hub/ports/payment`).
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hub.ports.database.billing_tables import BillingAccount, PaymentAttempt, PaymentRemoval
from hub.ports.payment.port import Removal

_SECOND: Final = 1_000_000_000
_AGAIN_S: Final = 60
_AGAIN_MOST_S: Final = 3_600


def order(session: Session, kind: str, reference: str, at: int) -> None:
    """Have a customer or a means of payment forgotten; once for each.

    Args:
        session: a writing session.
        kind: `customer` or `method`.
        reference: the provider's name of it.
        at: now, ns.
    """
    if session.get(PaymentRemoval, (kind, reference)) is None:
        session.add(
            PaymentRemoval(kind=kind, reference=reference, ordered_at=at, next_at=at, tries=0)
        )
        session.flush()


def customers(session: Session, owners: Sequence[str]) -> list[str]:
    """Return the names by which the provider knows some households."""
    found = {
        name
        for column, owner in (
            (BillingAccount.customer, BillingAccount.owner_id),
            (PaymentAttempt.customer, PaymentAttempt.owner_id),
        )
        for name in session.scalars(select(column).where(owner.in_(owners)).distinct())
        if name
    }
    return sorted(found)


def due(session: Session, at: int) -> bool:
    """Say whether the provider is to be asked at an instant (ns)."""
    query = select(PaymentRemoval.kind).where(PaymentRemoval.next_at <= at)
    return session.scalar(query.limit(1)) is not None


def begin(session: Session, at: int, limit: int = 20) -> list[Removal]:
    """Take what is due; unless it is done, it is due again later and later.

    Args:
        session: a writing session.
        at: now, ns.
        limit: at most so many.
    """
    query = select(PaymentRemoval).where(PaymentRemoval.next_at <= at)
    rows = session.scalars(
        query.order_by(PaymentRemoval.next_at, PaymentRemoval.reference).limit(limit)
    ).all()
    for row in rows:
        row.tries += 1
        row.next_at = at + min(_AGAIN_S * 2 ** min(row.tries, 10), _AGAIN_MOST_S) * _SECOND
    session.flush()
    return [Removal(row.kind, row.reference) for row in rows]


def done(session: Session, removal: Removal) -> None:
    """Note that the provider has forgotten something."""
    row = session.get(PaymentRemoval, (removal.kind, removal.reference))
    if row is not None:
        session.delete(row)
        session.flush()


def waiting(session: Session, until: int) -> bool:
    """Say whether a customer that was ordered to be forgotten up to an instant (ns) is still known."""
    query = select(func.count()).where(
        PaymentRemoval.kind == "customer", PaymentRemoval.ordered_at <= until
    )
    return bool(session.scalar(query))


def oldest(session: Session) -> int | None:
    """Return when the oldest order was given that is not done, ns; None: nothing waits."""
    return session.scalar(select(func.min(PaymentRemoval.ordered_at)))
