"""An invoice as plain text: what is printed, sent and kept, in English or German.

1. It says what an invoice must: both parties, number, date, what for, net, tax by rate, and total.
2. It is made from what was issued, so it is the same for ever but for what was paid since.
What must never live here: looking anything up; who asks hands in the rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from entitlements.billing.money import PPM, Money
from hub.ports.database.billing_tables import Invoice, InvoiceLine
from hub.services.invoice_sentences import sentence

_WIDTH: Final = 78
_AMOUNT: Final = 18
_SECOND: Final = 1_000_000_000
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "invoice": "Invoice",
        "credit_note": "Credit note",
        "date": "Date",
        "to": "To",
        "tax_id": "Tax id",
        "net": "Net",
        "tax": "Tax",
        "gross": "Total",
        "owed": "Still to pay",
        "reverse": "The customer owes the tax (reverse charge).",
        "open": "Not paid yet.",
        "paid": "Paid on {date}.",
        "void": "Void since {date}: nothing is owed.",
        "uncollectible": "Not paid.",
    },
    "de": {
        "invoice": "Rechnung",
        "credit_note": "Gutschrift",
        "date": "Datum",
        "to": "An",
        "tax_id": "Steuernummer",
        "net": "Netto",
        "tax": "Steuer",
        "gross": "Gesamt",
        "owed": "Noch zu zahlen",
        "reverse": "Der Kunde schuldet die Steuer (Reverse Charge).",
        "open": "Noch nicht bezahlt.",
        "paid": "Bezahlt am {date}.",
        "void": "Storniert am {date}: Es ist nichts zu zahlen.",
        "uncollectible": "Nicht bezahlt.",
    },
}


class _Form:
    """Words, amounts and dates in one language, for one invoice."""

    def __init__(self, language: str, invoice: Invoice) -> None:
        self.language = language if language in _WORDS else "en"
        self.locale = Locale.parse("de_DE" if self.language == "de" else "en_GB")
        self.words = _WORDS[self.language]
        self._zone = ZoneInfo(invoice.buyer.get("zone") or "UTC")
        self._currency = invoice.currency

    def amount(self, minor: int) -> str:
        value = Money(minor, self._currency).decimal
        return format_currency(value, self._currency, locale=self.locale)

    def date(self, at: int) -> str:
        local = datetime.fromtimestamp(at // _SECOND, UTC).astimezone(self._zone)
        return format_date(local.date(), "medium", locale=self.locale)


def text(invoice: Invoice, lines: Sequence[InvoiceLine], owed: Money, language: str) -> str:
    """Return an invoice as text.

    Args:
        invoice: as it was issued.
        lines: its lines, in their order.
        owed: what is still to be paid of it.
        language: `en` or `de`; another one is English.
    """
    form = _Form(language, invoice)
    return "\n".join(
        [*_head(form, invoice), *_body(form, lines), *_sums(form, invoice, lines, owed), ""]
    )


def _head(form: _Form, invoice: Invoice) -> Iterator[str]:
    word = form.words
    yield from _party(form, invoice.seller)
    yield ""
    kind = word["credit_note"] if invoice.gross < 0 else word["invoice"]
    yield f"{kind} {invoice.number}"
    yield f"{word['date']}: {form.date(invoice.issued_at)}"
    yield ""
    yield f"{word['to']}:"
    yield from _party(form, invoice.buyer)
    yield ""


def _party(form: _Form, party: Mapping[str, str]) -> Iterator[str]:
    yield from filter(None, (party.get("name", ""), *party.get("address", "").splitlines()))
    if party.get("tax_id"):
        yield f"{form.words['tax_id']}: {party['tax_id']}"


def _body(form: _Form, lines: Sequence[InvoiceLine]) -> Iterator[str]:
    yield "-" * _WIDTH
    for line in lines:
        said = sentence(form.language, line.code, line.args)
        if line.quantity != "1":
            said = f"{format_decimal(Decimal(line.quantity), locale=form.locale)} x {said}"
        yield _columns(said, form.amount(line.net))
        if line.starts_at is not None and line.ends_at is not None:
            # The end is the first instant that is not covered: the last day is the one before.
            last = max(line.ends_at - 1, line.starts_at)
            yield f"  {form.date(line.starts_at)} - {form.date(last)}"
    yield "-" * _WIDTH


def _sums(
    form: _Form, invoice: Invoice, lines: Sequence[InvoiceLine], owed: Money
) -> Iterator[str]:
    word = form.words
    yield _columns(word["net"], form.amount(invoice.net))
    rates: dict[int, int] = {}
    for line in lines:
        rates[line.tax_ppm] = rates.get(line.tax_ppm, 0) + line.tax
    for rate, tax in sorted(rates.items()):
        if rate:
            percent = format_percent(
                Decimal(rate) / PPM, locale=form.locale, decimal_quantization=False
            )
            yield _columns(f"{invoice.tax_title or word['tax']} {percent}", form.amount(tax))
    yield _columns(word["gross"], form.amount(invoice.gross))
    if owed and invoice.state == "open":
        yield _columns(word["owed"], form.amount(owed.minor))
    yield ""
    closed = invoice.voided_at or invoice.paid_at
    yield word[invoice.state].format(date="" if closed is None else form.date(closed))
    if invoice.buyer.get("reverse_charge"):
        yield word["reverse"]


def _columns(left: str, right: str) -> str:
    return f"{left[: _WIDTH - _AMOUNT - 1]:<{_WIDTH - _AMOUNT}}{right:>{_AMOUNT}}"
