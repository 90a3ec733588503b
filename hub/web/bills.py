"""What a household pays: its invoices, one of them to print, and how it is billed.

1. Amounts are as the invoice was issued; what is still open is what the ledger says.
2. Whoever may read bills reads them; who may pay changes how the household pays.
3. No number of a card or an account passes through here: only what the payment provider calls it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from entitlements.billing.money import DECIMALS, Money
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.billing_tables import Invoice, InvoiceLine
from hub.ports.database.catalogue_tables import Plan
from hub.ports.database.engine import read_session, write_session
from hub.services import billing_accounts, households, invoice_book, invoices, ledger, means
from hub.services.billing_accounts import NoMethodError
from hub.services.relations import Act
from hub.web import bill_sentences
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_, Language
from hub.web.pages import pages_of

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_INVOICES: Final = 60
FIELDS: Final = ("name", "address", "email", "tax_id", "zone", "currency")
"""What a household may say of itself; the tax region is support's to change."""
STATES: Mapping[str, str] = {
    "open": N_("to be paid"),
    "paid": N_("paid"),
    "void": N_("cancelled"),
    "uncollectible": N_("given up"),
}
_WRONG = N_("Check what you entered: a currency such as EUR and a time zone such as Europe/Berlin.")
_NO_MEANS = N_("There is no means of payment yet. Add one first.")
_NOT_OPEN = N_("Nothing of this invoice is open any more.")
_MOVED = N_("The currency stays as it is while there are open invoices or credit.")

InvoiceId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice as its reader sees it.

    Args:
        row: as issued.
        gross: its total.
        owed: what is still to be paid.
    """

    row: Invoice
    gross: Money
    owed: Money


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line with its amounts, and what it is for in words."""

    row: InvoiceLine
    text: str
    quantity: Decimal
    net: Money
    gross: Money


@dataclass(frozen=True, slots=True)
class TaxSum:
    """What is taxed at one rate; `percent` of 19.0 is 19 %."""

    percent: float
    net: Money
    tax: Money


@ROUTER.get("/bills", operation_id="page_bills")
def page_bills(request: Request, of: str = "", saved: str = "") -> Response:
    """Show the invoices of a household and how it is billed."""
    return _bills(request, of, saved=bool(saved))


@ROUTER.get("/bills/{invoice_id}", operation_id="page_bill")
def page_bill(request: Request, invoice_id: InvoiceId) -> Response:
    """Show one invoice, fit to be printed."""
    return _bill_page(request, invoice_id)


@ROUTER.post("/bills/{invoice_id}/pay", operation_id="do_pay")
def do_pay(request: Request, invoice_id: InvoiceId) -> Response:
    """Have an invoice collected now."""
    hub, visitor = hub_of(request), visitor_of(request)
    try:
        with write_session(hub.engine) as session:
            means.pay(session, visitor.known, invoice_id, hub.clock())
    except NoMethodError:
        return _bill_page(request, invoice_id, error=visitor.language.text(_NO_MEANS), status=409)
    except ConflictError:
        return _bill_page(request, invoice_id, error=visitor.language.text(_NOT_OPEN), status=409)
    return RedirectResponse(f"/bills/{invoice_id}", 303)


@ROUTER.post("/bills/account/{owner_id}", operation_id="do_account")
def do_account(request: Request, owner_id: InvoiceId) -> Response:
    """Change how a household is billed."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    wanted: dict[str, Any] = {name: form[name].strip() for name in FIELDS if name in form}
    if "currency" in wanted:
        wanted["currency"] = wanted["currency"].upper()
    text = visitor.language.text
    try:
        with write_session(hub.engine) as session:
            billing_accounts.change(session, visitor.known, owner_id, hub.clock(), wanted)
    except InvalidInputError:
        return _bills(request, owner_id, error=text(_WRONG), status=422)
    except ConflictError:
        return _bills(request, owner_id, error=text(_MOVED), status=409)
    return RedirectResponse(f"/bills?of={owner_id}&saved=1", 303)


def _bill_page(
    request: Request, invoice_id: str, *, error: str = "", status: int = 200
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    caller = visitor.known
    with read_session(hub.engine) as session:
        row = invoice_book.shown(session, caller, invoice_id, hub.clock())
        bill = _bill(session, row)
        plans = {row.name: row.title for row in session.execute(select(Plan.name, Plan.title))}
        lines = [
            _line(row, one, visitor.language, plans) for one in invoice_book.lines(session, row)
        ]
        attempts = invoice_book.attempts(session, row)
        has_method = bool(billing_accounts.shown(session, caller, row.owner_id, hub.clock()).method)
    return pages_of(request).page(
        request,
        "bill.html",
        status=status,
        error=error,
        bill=bill,
        lines=lines,
        taxes=_taxes(lines),
        attempts=[one for one in attempts if one.answered_at is not None],
        due=next((one for one in attempts if one.answered_at is None), None),
        pays=caller.may(Act.PAY, row.owner_id),
        has_method=has_method,
        states=STATES,
        net=Money(row.net, row.currency),
        tax=Money(row.tax, row.currency),
    )


def _bills(
    request: Request, of: str, *, error: str = "", saved: bool = False, status: int = 200
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        mine = [
            one for one in households.mine(session, caller, at) if caller.may(Act.BILLS, one.id)
        ]
        owner_id = of or (mine[0].id if mine else None)
        account = billing_accounts.shown(session, caller, owner_id, at)
        rows = invoice_book.of_household(session, caller, owner_id, at, limit=MAX_INVOICES)
        bills = [_bill(session, row) for row in rows]
        credit = ledger.credit(session, account.owner_id, account.currency)
    return pages_of(request).page(
        request,
        "bills.html",
        status=status,
        mine=mine,
        account=account,
        bills=bills,
        open=[one for one in bills if one.row.state == "open" and one.owed],
        credit=credit,
        pays=caller.may(Act.PAY, account.owner_id),
        currencies=sorted(DECIMALS),
        states=STATES,
        error=error,
        saved=saved,
    )


def _bill(session: Session, row: Invoice) -> Bill:
    return Bill(row, Money(row.gross, row.currency), invoices.owed(session, row))


def _line(
    row: Invoice, line: InvoiceLine, language: Language, plans: Mapping[str, str]
) -> BillLine:
    net = Money(line.net, row.currency)
    text = bill_sentences.line(language, line.code, line.args, plans)
    gross = net + Money(line.tax, row.currency)
    return BillLine(line, text, Decimal(line.quantity), net, gross)


def _taxes(lines: Sequence[BillLine]) -> list[TaxSum]:
    """Return what is taxed at each rate, the highest first."""
    sums: dict[int, tuple[Money, Money]] = {}
    for line in lines:
        zero = Money.zero(line.net.currency)
        net, tax = sums.get(line.row.tax_ppm, (zero, zero))
        sums[line.row.tax_ppm] = net + line.net, tax + line.gross - line.net
    return [TaxSum(rate / 10_000, *sums[rate]) for rate in sorted(sums, reverse=True)]
