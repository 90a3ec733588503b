"""Money: who pays how, invoices, attempts to collect them, and the ledger of it all.

1. Amounts are whole minor units of a currency (`entitlements.billing.money`); nothing is a float.
2. An invoice stands as it was issued; what happened to it later are instants. What is still to be
   paid of it, and what an account has to its credit, is not stored: the ledger says so.
3. Ledger entries are only ever appended. Those of one posting add up to zero; each carries the hash
   of the one before, and seals sign the newest hash.
4. What may happen only once has a unique cause.
"""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hub.ports.database.tables import (
    Base,
    Big,
    Digest,
    Document,
    Id,
    Instant,
    Name,
    big_number,
)

_WAITING_CHARGE = text("answered_at IS NULL AND kind = 'charge'")


class TaxRegion(Base):
    """How customers of a region are taxed: `rates` in percent (text) by tax class."""

    __tablename__ = "tax_region"

    region: Mapped[Name] = mapped_column(primary_key=True)
    title: Mapped[Name]
    rates: Mapped[Document]
    reverse_charge: Mapped[bool]


class BillingAccount(Base):
    """How a household pays: one currency, a tax region, and a reference to its means of payment.

    `customer` and `method` are the payment provider's references; no card or bank number is kept.
    `method_at` is when the means was given, or taken away.
    """

    __tablename__ = "billing_account"

    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), primary_key=True)
    currency: Mapped[Name]
    zone: Mapped[Name]
    region: Mapped[Name]
    tax_id: Mapped[Name]
    name: Mapped[Name]
    address: Mapped[str]
    email: Mapped[Name]
    customer: Mapped[Name | None]
    method: Mapped[Name | None]
    method_title: Mapped[Name | None]
    method_at: Mapped[Instant | None]
    created_at: Mapped[Instant]


class Invoice(Base):
    """What is to be paid (or, with a negative total, was given back), as it was issued.

    `number` counts within `year` without gaps. `buyer` and `seller` are name, address and tax id as
    they were then; `tax_title` is what the tax is called in the buyer's region.
    """

    __tablename__ = "invoice"
    __table_args__ = (
        UniqueConstraint("year", "sequence"),
        Index(None, "owner_id", "issued_at"),
        CheckConstraint("gross = net + tax", name="total"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[Name] = mapped_column(unique=True)
    year: Mapped[int]
    sequence: Mapped[int]
    cause: Mapped[Name] = mapped_column(unique=True)
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"))
    currency: Mapped[Name]
    net: Mapped[Big]
    tax: Mapped[Big]
    gross: Mapped[Big]
    tax_title: Mapped[Name]
    buyer: Mapped[Document]
    seller: Mapped[Document]
    issued_at: Mapped[Instant]
    paid_at: Mapped[Instant | None]
    voided_at: Mapped[Instant | None]
    written_off_at: Mapped[Instant | None]

    @property
    def state(self) -> str:
        """What became of it: `void`, `paid`, `uncollectible` or `open`."""
        if self.voided_at is not None:
            return "void"
        if self.paid_at is not None:
            return "paid"
        return "open" if self.written_off_at is None else "uncollectible"


class InvoiceLine(Base):
    """One line; `code` and `args` are its sentence, `quantity` a decimal number as text.

    `starts_at` and `ends_at` are the time that it is for; null where it is for none.
    """

    __tablename__ = "invoice_line"

    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoice.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    subscription_id: Mapped[Id | None] = mapped_column(ForeignKey("subscription.id"), index=True)
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("product.id"))
    kind: Mapped[Name]
    code: Mapped[Name]
    args: Mapped[Document]
    quantity: Mapped[Name]
    net: Mapped[Big]
    tax: Mapped[Big]
    tax_ppm: Mapped[int]
    starts_at: Mapped[Instant | None]
    ends_at: Mapped[Instant | None]


class PaymentAttempt(Base):
    """One try to collect an invoice, or to pay money back; its id is the provider's idempotency key.

    `due_at` is when it was meant to be made, `next_at` when the provider is asked next, `begun_at` when it was
    first asked. `reference` is the provider's name for it, `code` why it failed. A refund (`charge_id`: of which
    payment) has no invoice. `amount`, `customer` and `method` are settled when it is first asked.
    """

    __tablename__ = "payment_attempt"
    __table_args__ = (
        CheckConstraint("kind IN ('charge', 'refund')", name="kind"),
        CheckConstraint("outcome IN ('paid', 'failed', 'cancelled')", name="outcome"),
        CheckConstraint("(answered_at IS NULL) = (outcome IS NULL)", name="answered"),
        CheckConstraint("(kind = 'charge') = (charge_id IS NULL)", name="charge"),
        Index(
            "uq_payment_attempt_waiting",
            "invoice_id",
            unique=True,
            sqlite_where=_WAITING_CHARGE,
            postgresql_where=_WAITING_CHARGE,
        ),
        Index("ix_payment_attempt_due", "answered_at", "next_at"),
        Index(None, "reference"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[Name]
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"), index=True)
    invoice_id: Mapped[Id | None] = mapped_column(ForeignKey("invoice.id"), index=True)
    charge_id: Mapped[Id | None] = mapped_column(ForeignKey("payment_attempt.id"), index=True)
    cause: Mapped[Name] = mapped_column(unique=True)
    currency: Mapped[Name]
    amount: Mapped[Big]
    customer: Mapped[Name | None]
    method: Mapped[Name | None]
    due_at: Mapped[Instant]
    next_at: Mapped[Instant]
    begun_at: Mapped[Instant | None]
    tries: Mapped[int]
    answered_at: Mapped[Instant | None]
    outcome: Mapped[Name | None]
    reference: Mapped[Name | None]
    code: Mapped[Name | None]


class PaymentEvent(Base):
    """An event of the payment provider that was taken; the same one again changes nothing."""

    __tablename__ = "payment_event"

    id: Mapped[Name] = mapped_column(primary_key=True)
    kind: Mapped[Name]
    received_at: Mapped[Instant] = mapped_column(index=True)


class PaymentReversal(Base):
    """What the provider did with a payment without being asked by the hub: a dispute, or a refund made at its side.

    `id` is the provider's name of it, `reference` that of the payment; `charge_id` is the payment once the hub
    knows it. `state` is what the provider said last (`stage` and `said_at`, Unix seconds, tell what is later),
    `booked` what the ledger says; `postings` counts how often that changed. `from_credit` of a refund is what
    was taken from the household's credit.
    """

    __tablename__ = "payment_reversal"
    __table_args__ = (CheckConstraint("kind IN ('dispute', 'refund')", name="kind"),)

    id: Mapped[Name] = mapped_column(primary_key=True)
    kind: Mapped[Name]
    reference: Mapped[Name] = mapped_column(index=True)
    charge_id: Mapped[Id | None] = mapped_column(ForeignKey("payment_attempt.id"), index=True)
    currency: Mapped[Name]
    amount: Mapped[Big]
    state: Mapped[Name]
    stage: Mapped[int]
    said_at: Mapped[Big]
    reason: Mapped[Name]
    answer_by: Mapped[Instant | None]
    booked: Mapped[Name]
    postings: Mapped[int]
    from_credit: Mapped[Big]
    heard_at: Mapped[Instant]


class PaymentRemoval(Base):
    """What the provider is still to forget: a customer or a means of payment, by its reference.

    `next_at` is when the provider is asked next, `tries` how often it was asked. Rows go when it is done.
    """

    __tablename__ = "payment_removal"
    __table_args__ = (CheckConstraint("kind IN ('customer', 'method')", name="kind"),)

    kind: Mapped[Name] = mapped_column(primary_key=True)
    reference: Mapped[Name] = mapped_column(primary_key=True)
    ordered_at: Mapped[Instant]
    next_at: Mapped[Instant] = mapped_column(index=True)
    tries: Mapped[int]


class LedgerEntry(Base):
    """One side of a posting: `amount` is a debit if positive, a credit if negative.

    `cause` says what was posted, once; `posting` is the id of its first entry. `account` is a word of
    `hub.services.ledger.Account`.
    """

    __tablename__ = "ledger_entry"
    __table_args__ = (
        UniqueConstraint("cause", "position"),
        CheckConstraint("amount <> 0", name="amount"),
        Index(None, "owner_id", "account", "currency"),
        Index(None, "invoice_id", "account"),
    )

    id: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=False)
    posting: Mapped[Big]
    position: Mapped[int]
    at: Mapped[Instant]
    cause: Mapped[Name]
    account: Mapped[Name]
    owner_id: Mapped[Id] = mapped_column(ForeignKey("owner.id"))
    invoice_id: Mapped[Id | None] = mapped_column(ForeignKey("invoice.id"))
    currency: Mapped[Name]
    amount: Mapped[Big]
    previous: Mapped[Digest]
    digest: Mapped[Digest]


class LedgerSeal(Base):
    """A signature (Ed25519) over the ledger as it stood with `entry_id` as its newest entry."""

    __tablename__ = "ledger_seal"

    entry_id: Mapped[int] = mapped_column(big_number, primary_key=True, autoincrement=False)
    digest: Mapped[Digest]
    at: Mapped[Instant]
    signature: Mapped[bytes]
