"""What support sees of a product's plan, bills and usage, and what it may do about them.

1. Every look is noted, and its household reads it; staff say why, as for the product itself.
2. What is agreed and billed shows without consent, as staff answer for it. What was used is what the product told
   of its use: that needs consent (`consent`).
3. What support does is audited, and the household is written to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.billing_tables import BillingAccount, Invoice, PaymentReversal
from hub.ports.store.port import TelemetryStore
from hub.services import (
    agreement_view,
    audit,
    billing_accounts,
    consent,
    invoice_book,
    invoices,
    ledger,
    letters,
    looks,
    products,
    reversals,
    usage,
    webhook_events,
)
from hub.services.agreement_view import SubscriptionView
from hub.services.caller import Caller, Scope
from hub.services.looks import Part
from hub.services.usage import Usage
from hub.services.usage_accounts import Accounts
from hub.services.webhook_events import EventType

MOST: Final = 6
MOST_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Billed:
    """An invoice, and what is still to be paid of it."""

    row: Invoice
    gross: Money
    owed: Money


@dataclass(frozen=True, slots=True)
class Summary:
    """What support sees.

    Args:
        account: how the household pays.
        credit: what it has to its credit.
        owed: what is open of all its invoices.
        plan: the newest plan that is paid for here; None without one.
        bills: its newest invoices, at most `MOST`.
        reversals: disputes, and refunds that were made at the provider, each with its invoice.
        usage: of the present periods; None: hidden, as there is no consent.
    """

    account: BillingAccount
    credit: Money
    owed: Money
    plan: SubscriptionView | None
    bills: Sequence[Billed]
    reversals: Sequence[tuple[PaymentReversal, Invoice]]
    usage: Sequence[Usage] | None


def of_product(
    session: Session,
    store: TelemetryStore,
    accounts: Accounts,
    caller: Caller,
    product_id: str,
    at: int,
) -> Summary | None:
    """Return what support sees of the money of a product and its household; None: nobody owns it.

    Args:
        session: any session.
        store: the archive.
        accounts: as the meter published them.
        caller: of the staff.
        product_id: of the product.
        at: now, ns.

    Raises:
        ForbiddenError: the caller is nobody of the staff.
        NotFoundError: no such product.
        ReasonRequiredError: the caller did not say why.
    """
    caller.require(Scope.RECORDS_READ)
    product = products.visible(session, caller, product_id)
    owner_id = looks.owner_of(session, product_id)
    if owner_id is None:
        return None
    looks.look(session, caller, product_id, Part.MONEY, at)
    account = billing_accounts.shown(session, caller, owner_id, at)
    open_ones = select(Invoice).where(
        Invoice.owner_id == owner_id, Invoice.paid_at.is_(None), Invoice.voided_at.is_(None)
    )
    owed = Money.zero(account.currency)
    for row in session.scalars(open_ones):
        if row.currency == account.currency:
            owed += invoices.owed(session, row)
    try:
        plan = agreement_view.shown(session, caller, product_id, at)
    except NotFoundError:
        plan = None
    open_to = consent.history_open(session, caller, product_id, at)
    return Summary(
        account=account,
        credit=ledger.credit(session, owner_id, account.currency),
        owed=owed,
        plan=plan,
        bills=[
            Billed(row, Money(row.gross, row.currency), invoices.owed(session, row))
            for row in invoice_book.of_household(session, caller, owner_id, at, limit=MOST)
        ],
        reversals=reversals.of_owner(session, owner_id),
        usage=usage.present(session, store, accounts(), product, at) if open_to else None,
    )


def give_credit(
    session: Session,
    caller: Caller,
    product_id: str,
    amount: Money,
    reason: str,
    at: int,
    *,
    once: str,
) -> None:
    """Give the household of a product credit, with a reason that it reads.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: of the product that it is about.
        amount: how much, more than nothing.
        reason: for the household.
        at: now, ns.
        once: names this gift; the same again changes nothing.

    Raises:
        InvalidInputError: no reason, or no amount that the household can be given.
        NotFoundError: no such product, or nobody owns it.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    product = products.visible(session, caller, product_id)
    owner_id = _owner(session, product_id)
    said = reason.strip()
    if not 3 <= len(said) <= MOST_REASON or not said.isprintable():
        raise InvalidInputError(f"Say why in 3 to {MOST_REASON} characters.")
    if not 8 <= len(once) <= 64 or not once.isalnum():
        raise InvalidInputError("Name this gift by 8 to 64 letters and digits, so that it is once.")
    cause = f"support:{once}"
    if not invoices.give_credit(session, caller, owner_id, amount, at, cause=cause):
        return
    details = {"amount": str(amount), "reason": said, "product": product_id}
    audit.record(session, at, caller.actor, "support.credit", f"owner:{owner_id}", details)
    letters.write(session, owner_id, product, "support.credit", at, amount=str(amount), reason=said)


def send_again(
    session: Session, caller: Caller, product_id: str, invoice_id: str, at: int
) -> Invoice:
    """Send an invoice once more: whoever is told of invoices is told of this one, and the household is written to.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: a product of its household, that support looks at.
        invoice_id: which.
        at: now, ns.

    Raises:
        NotFoundError: no such product, or no such invoice of its household.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    product = products.visible(session, caller, product_id)
    invoice = invoice_book.one(session, caller, invoice_id)
    if invoice.owner_id != _owner(session, product_id):
        raise NotFoundError(
            f"There is no invoice {invoice_id} of the household of this product.",
            invoice=invoice_id,
        )
    owner = f"owner:{invoice.owner_id}"
    webhook_events.note(session, EventType.INVOICE_ISSUED, owner, invoice_id=invoice.id)
    letters.write(session, invoice.owner_id, product, "support.invoice", at, number=invoice.number)
    details = {"number": invoice.number}
    audit.record(session, at, caller.actor, "invoice.send", f"invoice:{invoice.id}", details)
    return invoice


def _owner(session: Session, product_id: str) -> str:
    owner_id = looks.owner_of(session, product_id)
    if owner_id is None:
        raise NotFoundError(
            f"Nobody owns product {product_id}, so it has no bills.", product=product_id
        )
    return owner_id
