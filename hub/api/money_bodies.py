"""Bodies about money: amounts, invoices, attempts to collect them, billing accounts.

1. An amount is whole minor units with its currency, beside the same as decimal text for people.
"""

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Field

from entitlements.billing.money import Money
from hub.api.bodies import Answer, Email, Line, Request, examples
from hub.api.instants import Instant
from hub.ports.database.billing_tables import BillingAccount, Invoice, InvoiceLine, PaymentAttempt

_Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217 code.")]
_EUROS = {"minor": 999, "currency": "EUR", "text": "9.99"}
_NET = {"minor": 839, "currency": "EUR", "text": "8.39"}
_TAX = {"minor": 160, "currency": "EUR", "text": "1.60"}


class Amount(Answer):
    """An amount of money."""

    minor: int = Field(description="Minor units of the currency: cents, whole yen.")
    currency: str
    text: str = Field(description="The same in main units.")

    model_config = examples(_EUROS)

    @classmethod
    def of(cls, minor: int, currency: str) -> Self:
        """Return an amount of so many minor units."""
        return cls(minor=minor, currency=currency, text=f"{Money(minor, currency).decimal:f}")


class LineBody(Answer):
    """A line of an invoice."""

    kind: str
    code: str = Field(description="What it is for, as a code; `args` belong to it.")
    args: dict[str, Any]
    text: str = Field(description="The same in words, in English.")
    quantity: str
    subscription_id: str | None
    product_id: str | None
    starts_at: Instant | None = Field(description="First instant of the time that it is for.")
    ends_at: Instant | None
    net: Amount
    tax: Amount
    tax_percent: str

    model_config = examples(
        {
            "kind": "plan",
            "code": "plan.period",
            "args": {"plan": "comfort"},
            "text": "Plan comfort",
            "quantity": "1",
            "subscription_id": "s3f8k1m5p9v2x6z4",
            "product_id": "b7x2m9q4k1v8c3z6",
            "starts_at": "2026-01-31T08:00:00Z",
            "ends_at": "2026-02-28T08:00:00Z",
            "net": _NET,
            "tax": _TAX,
            "tax_percent": "19",
        }
    )

    @classmethod
    def of(cls, row: InvoiceLine, currency: str, text: str) -> Self:
        """Return a line with its sentence."""
        return cls(
            kind=row.kind,
            code=row.code,
            args=row.args,
            text=text,
            quantity=row.quantity,
            subscription_id=row.subscription_id,
            product_id=row.product_id,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            net=Amount.of(row.net, currency),
            tax=Amount.of(row.tax, currency),
            tax_percent=f"{(Decimal(row.tax_ppm) / 10_000).normalize():f}",
        )


class Attempt(Answer):
    """A try to collect an invoice."""

    id: str
    amount: Amount
    due_at: Instant
    answered_at: Instant | None
    outcome: str | None = Field(description="`paid`, `failed`, `cancelled`; null: it waits.")
    code: str | None = Field(description="Why it failed, in the provider's word.")

    model_config = examples(
        {
            "id": "9f0c1d2e3b4a5968",
            "amount": _EUROS,
            "due_at": "2026-01-31T08:00:00Z",
            "answered_at": "2026-01-31T08:00:02Z",
            "outcome": "failed",
            "code": "card_declined",
        }
    )

    @classmethod
    def of(cls, row: PaymentAttempt) -> Self:
        """Return an attempt."""
        return cls(
            id=row.id,
            amount=Amount.of(row.amount, row.currency),
            due_at=row.due_at,
            answered_at=row.answered_at,
            outcome=row.outcome,
            code=row.code,
        )


class Attempts(Answer):
    """Tries to pay something back."""

    payments: list[Attempt]


class InvoiceBody(Answer):
    """An invoice; with a negative total it gave credit."""

    id: str
    number: str
    owner_id: str
    state: str = Field(description="`open`, `paid`, `void` or `uncollectible`.")
    issued_at: Instant
    net: Amount
    tax: Amount
    gross: Amount

    model_config = examples(
        {
            "id": "k2j8d4m6q9x1c3v5",
            "number": "2026-000042",
            "owner_id": "h7d2n4v9s0b6j1t5",
            "state": "open",
            "issued_at": "2026-01-31T08:00:00Z",
            "net": _NET,
            "tax": _TAX,
            "gross": _EUROS,
        }
    )

    @classmethod
    def of(cls, row: Invoice, **more: Any) -> Self:
        """Return an invoice."""
        amounts = {
            name: Amount.of(getattr(row, name), row.currency) for name in ("net", "tax", "gross")
        }
        plain = {name: getattr(row, name) for name in ("id", "number", "owner_id", "state")}
        return cls(**plain, issued_at=row.issued_at, **amounts, **more)


class WholeInvoice(InvoiceBody):
    """An invoice with its lines, and what was done to collect it."""

    owed: Amount = Field(description="What is still to be paid.")
    paid_at: Instant | None
    lines: list[LineBody]
    payments: list[Attempt]

    model_config = examples()  # it is made of what has some


class Account(Answer):
    """How a household pays."""

    owner_id: str
    currency: str
    zone: str
    region: str = Field(description="Tax region, such as DE.")
    tax_id: str
    name: str
    address: str
    email: str
    has_method: bool = Field(description="Whether there is something with which it pays.")
    method_title: str = Field(
        description="What that is called, such as `Visa •••• 4242`; may be empty."
    )
    credit: Amount = Field(description="What it has to its credit; pays the next invoice first.")

    model_config = examples(
        {
            "owner_id": "h7d2n4v9s0b6j1t5",
            "currency": "EUR",
            "zone": "Europe/Berlin",
            "region": "DE",
            "tax_id": "",
            "name": "Ada Lovelace",
            "address": "Hauptstr. 1\n10115 Berlin",
            "email": "ada@example.org",
            "has_method": True,
            "method_title": "Visa •••• 4242 (12/2030)",
            "credit": {"minor": 0, "currency": "EUR", "text": "0.00"},
        }
    )

    @classmethod
    def of(cls, row: BillingAccount, credit: Money) -> Self:
        """Return an account."""
        names = ("owner_id", "currency", "zone", "region", "tax_id", "name", "address", "email")
        return cls(
            **{name: getattr(row, name) for name in names},
            has_method=bool(row.method),
            method_title=row.method_title or "",
            credit=Amount.of(credit.minor, credit.currency),
        )


class ChangeAccount(Request):
    """What changes of how a household pays; what is left out stays."""

    currency: _Currency | None = None
    zone: Annotated[str, Field(max_length=64)] | None = None
    region: Annotated[str, Field(pattern="^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] | None = None
    tax_id: Annotated[str, Field(max_length=32, pattern="^[A-Za-z0-9 ./-]*$")] | None = None
    name: Line | None = None
    address: (
        Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$")] | None
    ) = None
    email: Email | None = None

    model_config = examples(
        {"region": "CH", "name": "Ada Lovelace", "address": "Hauptstr. 1\nBern"}
    )


class GiveMethod(Request):
    """Where the customer comes back to."""

    return_url: Annotated[str, Field(max_length=500, pattern=r"^https://[!-~]+$")]

    model_config = examples({"return_url": "https://hub.example.org/usage"})


class MethodPage(Answer):
    """Page of the payment provider to send the customer to."""

    url: str

    model_config = examples({"url": "https://checkout.example.org/c/pay/cs_1"})


class NameMethod(Request):
    """The provider's reference of a means of payment."""

    method: Annotated[str, Field(min_length=1, max_length=200, pattern="^[A-Za-z0-9_:.-]+$")]

    model_config = examples({"method": "local:ok"})


class MoveCredit(Request):
    """How much, and what for."""

    minor: Annotated[int, Field(ge=1, le=10**15)] = Field(
        description="Minor units of the currency: cents, whole yen."
    )
    currency: _Currency
    cause: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9:_-]{0,99}$")] = Field(
        description="What for; the same cause again changes nothing."
    )

    model_config = examples({"minor": 500, "currency": "EUR", "cause": "case:k2j8d4m6q9x1c3v5"})
