"""Invoices: what is to be paid, issued exactly once for its cause and numbered without gaps.

1. An invoice and its lines stand as issued. Whatever changes afterwards is another posting: credit
   that pays for it, a payment, or that it was voided or given up.
2. All lines are in the account's currency. Tax is rounded once for each rate (`billing.totals`).
3. What is to somebody's credit pays first. A negative total becomes credit.
4. The same cause again returns the invoice that is there, whatever the lines are.
What must never live here: calls to the payment provider (`payments`), and what a plan costs (`prices`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.billing.money import CurrencyMismatchError, Money, Taxed
from entitlements.billing.totals import taxed_lines
from hub.errors import InvalidInputError
from hub.ports.database.billing_tables import BillingAccount, Invoice, InvoiceLine, LedgerEntry
from hub.services import audit, billing_accounts, ledger
from hub.services.caller import HUB, Caller, Scope
from hub.services.ledger import Account, Side
from hub.services.tokens import Tokens

_SECOND: Final = 1_000_000_000
MOST: Final = 10**15
"""Minor units that an invoice may be of."""
MOST_LINES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice.

    Args:
        subscription_id: of which subscription; None: of none.
        product_id: of which product; None: of none.
        kind: `plan`, `addon`, `overage`, `proration`, `discount`, `credit` or another short word.
        code: of its sentence, see `hub/services/invoice_sentences.py`.
        args: of its sentence, JSON values.
        amount: of the whole line (not of one of `quantity`), with the tax if `inclusive`; negative: given back.
        tax_ppm: the rate, see `tax_ppm`.
        quantity: how many, for people to read.
        start: first instant of the time that it is for, ns; None: it is for none.
        end: end of that time, ns.
        inclusive: whether `amount` contains the tax.
    """

    subscription_id: str | None
    product_id: str | None
    kind: str
    code: str
    args: Mapping[str, Any]
    amount: Money
    tax_ppm: int
    quantity: int | Decimal = 1
    start: int | None = None
    end: int | None = None
    inclusive: bool = field(default=True, kw_only=True)


def tax_ppm(session: Session, owner_id: str, tax_class: str, at: int) -> int:
    """Return the rate (parts per million) at which a household's lines of a tax class are taxed now.

    Args:
        session: a writing session.
        owner_id: the household.
        tax_class: of the plan's price.
        at: now, ns.
    """
    account = billing_accounts.of_owner(session, owner_id, at)
    return billing_accounts.tax(session, account, tax_class)[0]


def issue(
    session: Session, tokens: Tokens, owner_id: str, lines: Sequence[Line], at: int, *, cause: str
) -> Invoice:
    """Issue an invoice; one with a negative total gives credit.

    Args:
        session: a writing session.
        tokens: source of the id.
        owner_id: who owes it.
        lines: what for; at least one.
        at: now, ns.
        cause: what it is issued for, such as `renewal:SUBSCRIPTION:PERIOD`; once for each.

    Returns:
        The invoice; the one that is there if there is one for the cause. It is `paid` at once if credit covers
        it or nothing is to be paid. `payments.charge` collects what is open.

    Raises:
        InvalidInputError: no lines, too many, another currency than the account's, or amounts out of range.
        NotFoundError: no such household.
    """
    present = session.scalar(select(Invoice).where(Invoice.cause == cause))
    if present is not None:
        return present
    account = billing_accounts.of_owner(session, owner_id, at)
    split = _split(account, lines)
    zero = Money.zero(account.currency)
    net = sum((one.net for one in split), zero)
    tax = sum((one.tax for one in split), zero)
    if abs((net + tax).minor) > MOST:
        raise InvalidInputError(f"An invoice over {net + tax} is out of range.")
    seller = billing_accounts.vendor(session)
    year = datetime.fromtimestamp(at // _SECOND, UTC).astimezone(ZoneInfo(seller.zone)).year
    newest = select(func.max(Invoice.sequence)).where(Invoice.year == year)
    sequence = (session.scalar(newest) or 0) + 1
    invoice = Invoice(
        id=tokens.new_id(),
        number=f"{year}-{sequence:06d}",
        year=year,
        sequence=sequence,
        cause=cause,
        owner_id=owner_id,
        currency=account.currency,
        net=net.minor,
        tax=tax.minor,
        gross=(net + tax).minor,
        tax_title=billing_accounts.tax(session, account, "")[1],
        buyer={
            "name": account.name,
            "address": account.address,
            "tax_id": account.tax_id,
            "region": account.region,
            "zone": account.zone,
            "reverse_charge": billing_accounts.owes_tax_itself(session, account),
        },
        seller={"name": seller.name, "address": seller.address, "tax_id": seller.tax_id},
        issued_at=at,
    )
    session.add(invoice)
    session.flush()
    session.add_all(
        _line(invoice, position, line, taxed)
        for position, (line, taxed) in enumerate(zip(lines, split, strict=True))
    )
    _post(session, invoice, at)
    details = {"number": invoice.number, "cause": cause, "gross": str(net + tax)}
    audit.record(session, at, HUB.actor, "invoice.issue", f"invoice:{invoice.id}", details)
    return invoice


def _split(account: BillingAccount, lines: Sequence[Line]) -> list[Taxed]:
    if not 1 <= len(lines) <= MOST_LINES:
        raise InvalidInputError(f"An invoice has 1 to {MOST_LINES} lines, not {len(lines)}.")
    for line in lines:
        if line.amount.currency != account.currency:
            raise InvalidInputError(
                f"The household pays in {account.currency}, and the line {line.code} is in "
                f"{line.amount.currency}. Sell it in {account.currency}, or change the account.",
                currency=account.currency,
            )
        if abs(line.amount.minor) > MOST:
            raise InvalidInputError(f"A line over {line.amount} is out of range.")
    try:
        return taxed_lines((line.amount, line.tax_ppm, line.inclusive) for line in lines)
    except (CurrencyMismatchError, ValueError) as error:
        raise InvalidInputError(f"The lines cannot be taxed: {error}.") from error


def _line(invoice: Invoice, position: int, line: Line, taxed: Taxed) -> InvoiceLine:
    return InvoiceLine(
        invoice_id=invoice.id,
        position=position,
        subscription_id=line.subscription_id,
        product_id=line.product_id,
        kind=line.kind,
        code=line.code,
        args=dict(line.args),
        quantity=f"{Decimal(line.quantity):f}",
        net=taxed.net.minor,
        tax=taxed.tax.minor,
        tax_ppm=line.tax_ppm,
        starts_at=line.start,
        ends_at=line.end,
    )


def _post(session: Session, invoice: Invoice, at: int) -> None:
    """Post what an invoice says; credit pays first."""
    gross = Money(invoice.gross, invoice.currency)
    zero = Money.zero(invoice.currency)
    owes, given = (gross, zero) if gross.minor >= 0 else (zero, gross)
    ledger.post(
        session,
        at,
        f"invoice:{invoice.id}:issued",
        invoice.owner_id,
        [
            Side(Account.RECEIVABLE, owes, invoice.id),
            Side(Account.CREDIT, given, invoice.id),
            Side(Account.REVENUE, -Money(invoice.net, invoice.currency), invoice.id),
            Side(Account.TAX, -Money(invoice.tax, invoice.currency), invoice.id),
        ],
    )
    pay_from_credit(session, invoice, at)
    settle(session, invoice, at)


def pay_from_credit(session: Session, invoice: Invoice, at: int) -> Money:
    """Pay what is open of an invoice from the household's credit; returns how much that was.

    Args:
        session: a writing session.
        invoice: which.
        at: now, ns.
    """
    due = owed(session, invoice)
    credit = ledger.credit(session, invoice.owner_id, invoice.currency)
    paid = Money(max(min(due.minor, credit.minor), 0), invoice.currency)
    if paid:
        times = select(func.count()).where(
            LedgerEntry.invoice_id == invoice.id,
            LedgerEntry.account == Account.CREDIT,
        )
        ledger.post(
            session,
            at,
            f"invoice:{invoice.id}:credit:{session.scalar(times)}",
            invoice.owner_id,
            [Side(Account.CREDIT, paid, invoice.id), Side(Account.RECEIVABLE, -paid, invoice.id)],
        )
    return paid


def settle(session: Session, invoice: Invoice, at: int) -> bool:
    """Note that an invoice is paid if nothing of it is open; returns whether it is."""
    if invoice.state == "open" and not owed(session, invoice):
        invoice.paid_at = at
        session.flush()
    return invoice.state == "paid"


def owed(session: Session, invoice: Invoice) -> Money:
    """Return what is still to be paid of an invoice."""
    return ledger.owed(session, invoice.id, invoice.currency)


def give_credit(
    session: Session, caller: Caller, owner_id: str, amount: Money, at: int, *, cause: str
) -> bool:
    """Give a household credit without an invoice; the same cause again changes nothing.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        owner_id: the household.
        amount: how much, more than nothing.
        at: now, ns.
        cause: what for, such as `case:ID`.

    Returns:
        Whether that was news.

    Raises:
        InvalidInputError: nothing, less, or another currency than the account's.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    account = billing_accounts.of_owner(session, owner_id, at)
    if not 0 < amount.minor <= MOST or amount.currency != account.currency:
        raise InvalidInputError(
            f"Credit must be more than nothing and in {account.currency}, in which the household pays."
        )
    if ledger.posted(session, f"credit:{owner_id}:{cause}"):
        return False
    sides = [Side(Account.GOODWILL, amount), Side(Account.CREDIT, -amount)]
    ledger.post(session, at, f"credit:{owner_id}:{cause}", owner_id, sides)
    details = {"amount": str(amount), "cause": cause}
    audit.record(session, at, caller.actor, "billing.credit", f"owner:{owner_id}", details)
    return True
