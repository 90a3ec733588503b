"""The ledger: every amount that moved, in double entry and in a chain of hashes.

1. A posting has two sides or more that add up to zero in one currency; it is made once for its cause,
   in the transaction of what it tells of. No entry is ever changed or removed.
2. Each digest covers the entry and the digest before; `ledger_seals` signs the newest.
3. What is owed, what is to somebody's credit and what was collected are sums over entries, nothing else.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.ports.database.billing_tables import LedgerEntry

GENESIS = "0" * 64


class Account(StrEnum):
    """Accounts of the ledger; the words of `ledger_entry.account`. Debits are positive."""

    RECEIVABLE = "receivable"
    """What customers owe, by invoice."""
    CASH = "cash"
    """What the payment provider collected, less what it paid back."""
    CREDIT = "credit"
    """What customers have to their credit; negative, as the vendor owes it."""
    PAYOUT = "payout"
    """Credit that is being paid back; negative until the provider has done it."""
    REVENUE = "revenue"
    """What was earned, without tax; negative."""
    TAX = "tax"
    """Tax that the vendor owes; negative."""
    GOODWILL = "goodwill"
    """Credit that was given without an invoice, and money that was paid back without one."""
    LOSS = "loss"
    """What was given up as uncollectible, or lost in a dispute."""
    DISPUTED = "disputed"
    """What banks took back until disputes are decided."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a posting.

    Args:
        account: which.
        amount: a debit if positive, a credit if negative; nothing is left out.
        invoice_id: the invoice that it concerns.
    """

    account: Account
    amount: Money
    invoice_id: str | None = None


class UnbalancedError(ValueError):
    """The sides of a posting do not add up to zero: a mistake in the program."""


def post(session: Session, at: int, cause: str, owner_id: str, sides: Sequence[Side]) -> None:
    """Append a posting.

    Args:
        session: a writing session.
        at: when, ns.
        cause: what is posted, such as `invoice:ID:issued`; unique.
        owner_id: the household.
        sides: of one currency; those of nothing are left out.

    Raises:
        CurrencyMismatchError: they are of several currencies.
        UnbalancedError: they do not add up to zero.
    """
    if not sides:
        return
    if sum((side.amount for side in sides), Money.zero(sides[0].amount.currency)):
        raise UnbalancedError(f"the sides of {cause} do not add up to zero")
    id_, digest = head(session)
    first = id_ + 1
    for position, side in enumerate(side for side in sides if side.amount):
        id_ += 1
        row = LedgerEntry(
            id=id_,
            posting=first,
            position=position,
            at=at,
            cause=cause,
            account=str(side.account),
            owner_id=owner_id,
            invoice_id=side.invoice_id,
            currency=side.amount.currency,
            amount=side.amount.minor,
            previous=digest,
        )
        row.digest = digest = digest_of(row)
        session.add(row)
    session.flush()


def posted(session: Session, cause: str) -> bool:
    """Say whether something was posted for a cause."""
    query = select(LedgerEntry.id).where(LedgerEntry.cause == cause).limit(1)
    return session.scalar(query) is not None


def owed(session: Session, invoice_id: str, currency: str) -> Money:
    """Return what is still to be paid of an invoice."""
    return of_invoice(session, invoice_id, Account.RECEIVABLE, currency)


def of_invoice(session: Session, invoice_id: str, account: Account, currency: str) -> Money:
    """Return the sum of the entries of an invoice in an account."""
    query = select(func.coalesce(func.sum(LedgerEntry.amount), 0)).where(
        LedgerEntry.invoice_id == invoice_id, LedgerEntry.account == account
    )
    return Money(int(session.scalars(query).one()), currency)


def credit(session: Session, owner_id: str, currency: str) -> Money:
    """Return what a household has to its credit in a currency."""
    return -balance(session, owner_id, Account.CREDIT, currency)


def balance(session: Session, owner_id: str, account: Account, currency: str) -> Money:
    """Return the sum of a household's entries of an account in a currency."""
    query = select(func.coalesce(func.sum(LedgerEntry.amount), 0)).where(
        LedgerEntry.owner_id == owner_id,
        LedgerEntry.account == account,
        LedgerEntry.currency == currency,
    )
    return Money(int(session.scalars(query).one()), currency)


def balances(session: Session) -> Mapping[tuple[str, str], int]:
    """Return the sums of all accounts, in minor units, by (account, currency)."""
    query = select(
        LedgerEntry.account, LedgerEntry.currency, func.sum(LedgerEntry.amount)
    ).group_by(LedgerEntry.account, LedgerEntry.currency)
    return {(account, currency): int(sum_) for account, currency, sum_ in session.execute(query)}


def head(session: Session) -> tuple[int, str]:
    """Return id and digest of the newest entry; (0, `GENESIS`) before the first."""
    query = select(LedgerEntry.id, LedgerEntry.digest).order_by(LedgerEntry.id.desc()).limit(1)
    newest = session.execute(query).first()
    return (0, GENESIS) if newest is None else (newest.id, newest.digest)


def newest_at(session: Session) -> int:
    """Return when the newest entry was posted, ns; 0 before the first."""
    return session.scalar(select(func.max(LedgerEntry.at))) or 0


def digest_of(row: LedgerEntry) -> str:
    """Return the hash over an entry and the one before."""
    content = [
        row.id,
        row.posting,
        row.position,
        row.at,
        row.cause,
        row.account,
        row.owner_id,
        row.invoice_id,
        row.currency,
        row.amount,
        row.previous,
    ]
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
