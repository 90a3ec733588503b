"""Invoices: read, printed, paid, taken back, given up.

1. Nobody issues one here: that follows from what was agreed.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse
from sqlalchemy.orm import Session

from hub.api.bodies import ID_PATTERN
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.money_bodies import Amount, Attempt, InvoiceBody, LineBody, WholeInvoice
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.billing_tables import Invoice
from hub.ports.database.engine import read_session, write_session
from hub.services import (
    invoice_book,
    invoice_closing,
    invoice_document,
    invoice_sentences,
    invoices,
    means,
)

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["money"])

InvoiceId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the invoice.")]
OfOwner = Annotated[
    str | None, Query(pattern=ID_PATTERN, description="Household; absent: the caller's own.")
]


@ROUTER.get("/invoices", operation_id="list_invoices", summary="Invoices of a household")
def list_invoices(
    hub: HubDep,
    caller: CallerDep,
    owner_id: OfOwner = None,
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[InvoiceBody]:
    """List the invoices of a household, the newest first."""
    listing = Listing("list_invoices", (int, str), owner_id=owner_id)
    key = listing.key(after)
    before = None if key is None else (int(key[0]), str(key[1]))
    with read_session(hub.engine) as session:
        rows = invoice_book.of_household(
            session, caller, owner_id, hub.clock(), before=before, limit=limit + 1
        )
    following = listing.following([(row.issued_at, row.number) for row in rows], limit)
    return Page(items=[InvoiceBody.of(row) for row in rows[:limit]], next=following)


@ROUTER.get("/invoices/{invoice_id}", operation_id="get_invoice", summary="An invoice")
def get_invoice(hub: HubDep, caller: CallerDep, invoice_id: InvoiceId) -> WholeInvoice:
    """Return an invoice with its lines, and what was done to collect it."""
    with read_session(hub.engine) as session:
        return _whole(session, invoice_book.shown(session, caller, invoice_id, hub.clock()))


@ROUTER.get(
    "/invoices/{invoice_id}/text",
    operation_id="get_invoice_text",
    summary="An invoice to print",
    response_class=PlainTextResponse,
)
def get_invoice_text(
    hub: HubDep,
    caller: CallerDep,
    invoice_id: InvoiceId,
    language: Annotated[Literal["en", "de"], Query()] = "en",
) -> PlainTextResponse:
    """Return an invoice as plain text, to print or to send."""
    with read_session(hub.engine) as session:
        row = invoice_book.shown(session, caller, invoice_id, hub.clock())
        lines = invoice_book.lines(session, row)
        owed = invoices.owed(session, row)
    return PlainTextResponse(invoice_document.text(row, lines, owed, language))


@ROUTER.post(
    "/invoices/{invoice_id}/payments",
    operation_id="pay_invoice",
    summary="Pay an invoice now",
    status_code=202,
)
def pay_invoice(hub: HubDep, caller: CallerDep, invoice_id: InvoiceId) -> Attempt:
    """Have an invoice collected now, by the household's means of payment."""
    with write_session(hub.engine) as session:
        return Attempt.of(means.pay(session, caller, invoice_id, hub.clock()))


@ROUTER.post(
    "/invoices/{invoice_id}/void", operation_id="void_invoice", summary="Take an invoice back"
)
def void_invoice(hub: HubDep, caller: CallerDep, invoice_id: InvoiceId) -> WholeInvoice:
    """Take an open invoice back: what was paid of it becomes credit. Again: no change."""
    with write_session(hub.engine) as session:
        return _whole(session, invoice_closing.void(session, caller, invoice_id, hub.clock()))


@ROUTER.post(
    "/invoices/{invoice_id}/write-off",
    operation_id="write_off_invoice",
    summary="Give an invoice up",
)
def write_off_invoice(hub: HubDep, caller: CallerDep, invoice_id: InvoiceId) -> WholeInvoice:
    """Give up what is open of an invoice; it can still be paid. Again: no change."""
    with write_session(hub.engine) as session:
        return _whole(session, invoice_closing.write_off(session, caller, invoice_id, hub.clock()))


def _whole(session: Session, row: Invoice) -> WholeInvoice:
    lines = [
        LineBody.of(line, row.currency, invoice_sentences.sentence("en", line.code, line.args))
        for line in invoice_book.lines(session, row)
    ]
    return WholeInvoice.of(
        row,
        owed=Amount.of(invoices.owed(session, row).minor, row.currency),
        paid_at=row.paid_at,
        lines=lines,
        payments=[Attempt.of(one) for one in invoice_book.attempts(session, row)],
    )
