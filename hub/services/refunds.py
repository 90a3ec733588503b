"""Paying back what households have to their credit.

1. From when a refund is decided the amount is no credit any more; if it cannot be paid back, it is again.
2. Money goes back by the means by which it came, never more than came by each.
What must never live here: why something is given back; an invoice with a negative total says that.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.billing_tables import PaymentAttempt
from hub.services import audit, billing_accounts, ledger, reversals
from hub.services.caller import HUB, Caller, Scope
from hub.services.ledger import Account, Side
from hub.services.outbox import add_attempt


def refund(
    session: Session, owner_id: str, amount: Money, at: int, *, cause: str
) -> list[PaymentAttempt]:
    """Pay back what a household has to its credit, to the means by which it paid, the newest first.

    Args:
        session: a writing session.
        owner_id: the household.
        amount: how much; more than nothing.
        at: now, ns.
        cause: what for, such as `withdrawal:SUBSCRIPTION`; once for each.

    Returns:
        The attempts; those that are there if there are some for the cause.

    Raises:
        ConflictError: it has not that much to its credit, or did not pay that much.
        InvalidInputError: nothing, or less.
    """
    present = select(PaymentAttempt).where(
        PaymentAttempt.cause.startswith(f"refund:{cause}:", autoescape=True)
    )
    rows = session.scalars(present.order_by(PaymentAttempt.cause))
    # A cause that only begins alike has more than a position behind it.
    if found := [row for row in rows if row.cause.rpartition(":")[0] == f"refund:{cause}"]:
        return found
    if amount.minor <= 0:
        raise InvalidInputError(f"{amount} cannot be paid back.")
    credit = ledger.credit(session, owner_id, amount.currency)
    if credit.minor < amount.minor:
        raise ConflictError(
            f"This household has {credit} to its credit, not {amount}. Issue an invoice that gives "
            "back what is not owed first.",
            credit=str(credit),
        )
    parts = _refundable(session, owner_id, amount)
    made = []
    for position, (paid, part) in enumerate(parts):
        attempt = add_attempt(
            session,
            kind="refund",
            owner_id=owner_id,
            cause=f"refund:{cause}:{position:03d}",
            amount=part,
            due_at=at,
            charge_id=paid.id,
        )
        sides = [Side(Account.CREDIT, part), Side(Account.PAYOUT, -part)]
        ledger.post(session, at, f"payment:{attempt.id}:begun", owner_id, sides)
        made.append(attempt)
    details = {"amount": str(amount), "cause": cause}
    audit.record(session, at, HUB.actor, "payment.refund", f"owner:{owner_id}", details)
    return made


def order(
    session: Session, caller: Caller, owner_id: str, amount: Money, at: int, *, cause: str
) -> list[PaymentAttempt]:
    """Pay credit back because somebody of the staff says so; as `refund`.

    Raises:
        ForbiddenError: the caller may not.
        NotFoundError: no such household.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    billing_accounts.of_owner(session, owner_id, at)
    made = refund(session, owner_id, amount, at, cause=f"{owner_id}:{cause}")
    details = {"amount": str(amount), "cause": cause}
    audit.record(session, at, caller.actor, "billing.refund", f"owner:{owner_id}", details)
    return made


def _refundable(
    session: Session, owner_id: str, amount: Money
) -> list[tuple[PaymentAttempt, Money]]:
    """Choose the payments that are paid back, and how much of each."""
    left = amount.minor
    chosen: list[tuple[PaymentAttempt, Money]] = []
    query = (
        select(PaymentAttempt)
        .where(
            PaymentAttempt.owner_id == owner_id,
            PaymentAttempt.kind == "charge",
            PaymentAttempt.outcome == "paid",
            PaymentAttempt.currency == amount.currency,
        )
        .order_by(PaymentAttempt.answered_at.desc(), PaymentAttempt.id)
    )
    for paid in session.scalars(query):
        if not paid.reference:  # from credit, or from hand to hand
            continue
        back = select(func.coalesce(func.sum(PaymentAttempt.amount), 0)).where(
            PaymentAttempt.charge_id == paid.id, PaymentAttempt.outcome.is_distinct_from("failed")
        )
        gone = reversals.gone(session, paid.id)
        part = min(left, paid.amount - int(session.scalars(back).one()) - gone)
        if part > 0:
            chosen.append((paid, Money(part, amount.currency)))
            left -= part
        if not left:
            return chosen
    raise ConflictError(
        f"This household did not pay {amount} by means to which it could be paid back. It stays to "
        "its credit."
    )


def answered(session: Session, row: PaymentAttempt, at: int, before: str | None) -> None:
    """Post what came of a refund; what could not be paid back is credit again.

    Args:
        session: a writing session.
        row: the attempt, with its outcome.
        at: now, ns.
        before: the outcome that it had.
    """
    amount = Money(row.amount, row.currency)
    to = Account.CREDIT if row.outcome == "failed" else Account.CASH
    place = Account.PAYOUT if before is None else Account.CASH  # it came back
    sides = [Side(place, amount), Side(to, -amount)]
    ledger.post(session, at, f"payment:{row.id}:{row.outcome}", row.owner_id, sides)
