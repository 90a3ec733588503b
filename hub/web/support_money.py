"""What support does about a household's money from the one screen: a credit with a reason, an invoice once more.

1. A form carries a name of its own, so that pressing twice gives once.
"""

from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from entitlements.billing.money import DECIMALS, Money
from hub.errors import InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.services import billing_accounts, looks, support_money
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.series import ID

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

InvoiceId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]


@ROUTER.post("/support/products/{product_id}/credit", operation_id="do_give_credit")
def do_give_credit(request: Request, product_id: ID) -> Response:
    """Give the household of a product credit."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    page, at, caller = f"/support/products/{product_id}", hub.clock(), visitor.known
    try:
        with read_session(hub.engine) as session:
            owner_id = looks.owner_of(session, product_id)
            if owner_id is None:
                raise NotFoundError(f"Nobody owns product {product_id}.")
            currency = billing_accounts.shown(session, caller, owner_id, at).currency
        amount = _amount(form.get("amount", ""), currency)
        with write_session(hub.engine) as session:
            reason, once = form.get("reason", ""), form.get("once", "")
            support_money.give_credit(session, caller, product_id, amount, reason, at, once=once)
    except InvalidInputError:  # of a form whose limits the browser did not keep
        return RedirectResponse(f"{page}?money_failed=1#money", 303)
    return RedirectResponse(f"{page}#money", 303)


@ROUTER.post("/support/invoices/{invoice_id}/send", operation_id="do_send_again")
def do_send_again(request: Request, invoice_id: InvoiceId) -> Response:
    """Send an invoice once more."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    product_id = form.get("product", "")
    with write_session(hub.engine) as session:
        support_money.send_again(session, visitor.known, product_id, invoice_id, hub.clock())
    return RedirectResponse(f"/support/products/{product_id}?sent=1#money", 303)


def _amount(text: str, currency: str) -> Money:
    """Read an amount such as `5`, `5.50` or `5,50`."""
    try:
        minor = Decimal(text.strip().replace(",", ".")).scaleb(DECIMALS[currency])
        whole = int(minor)
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidInputError(f"{text[:40]!r} is no amount.") from None
    if minor != whole:
        raise InvalidInputError(f"{text[:40]!r} is no amount in {currency}.")
    return Money(whole, currency)
