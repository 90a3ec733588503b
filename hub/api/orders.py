"""Top-ups: units of a meter that are bought once for a product, beside what its plan gives.

1. Whoever may pay for a household's product may order; staff may for others, with an audit.
2. Ordering costs money, so it needs an `Idempotency-Key`: the same key is one order.
"""

from typing import Annotated, Self

from fastapi import APIRouter, Path
from pydantic import Field

from hub.api.bodies import ID_PATTERN, Answer, DeviceId, Line, Request, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.api.money_bodies import Amount
from hub.api.usage import Quantity
from hub.ports.database.engine import read_session, write_session
from hub.services import invoices, orders

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["usage"])

OrderId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the order.")]
OfferName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
_EUROS = {"minor": 490, "currency": "EUR", "text": "4.90"}


class Offer(Answer):
    """Something that can be bought for a product now."""

    name: str = Field(description="What it is ordered by.")
    title: str
    meter: str
    amount: Quantity
    unit: str
    price: Amount
    tax_included: bool
    days: int | None = Field(description="For how long it can be used; null: without end.")
    plan: str = Field(description="Title of the plan that offers it.")

    model_config = examples(
        {
            "name": "pages_500",
            "title": "500 pages",
            "meter": "printed_pages",
            "amount": "500",
            "unit": "1",
            "price": _EUROS,
            "tax_included": True,
            "days": 365,
            "plan": "Comfort",
        }
    )

    @classmethod
    def of(cls, offer: orders.Offer) -> Self:
        """Return an offer as the API shows it."""
        return cls(
            name=offer.name,
            title=offer.terms.title,
            meter=offer.terms.meter,
            amount=offer.terms.amount,
            unit=offer.meter.unit,
            price=Amount.of(offer.price.minor, offer.price.currency),
            tax_included=offer.inclusive,
            days=offer.terms.days,
            plan=offer.plan,
        )


class Offers(Answer):
    """What can be bought for a product now, by name."""

    offers: list[Offer]


class PlaceOrder(Request):
    """What is ordered."""

    name: OfferName = Field(description="Of the offer.")

    model_config = examples({"name": "pages_500"})


class RefundOrder(Request):
    """Why an order is given back, and how much of its price."""

    reason: Line
    total_minor: int | None = Field(
        default=None,
        ge=1,
        le=invoices.MOST,
        description="What is to be given back in all, of this and earlier parts, in minor units with tax; "
        "absent: everything. The same total again changes nothing.",
    )

    model_config = examples({"reason": "delivered late", "total_minor": 200})


class Order(Answer):
    """An order, as it stands."""

    id: str
    product_id: str
    name: str
    title: str
    meter: str
    amount: Quantity
    unit: str
    state: orders.State = Field(
        description="`waiting` for its payment, `given`, `not_paid` (nothing was given) or `refunded`."
    )
    total: Amount = Field(description="With tax.")
    given_back: Amount = Field(description="Of the total.")
    invoice_id: str
    ordered_at: Instant
    grant_id: str | None = Field(description="Credit grant that was given for it.")

    model_config = examples(
        {
            "id": "o4m1x8q4k7w2d9f3",
            "product_id": "kx3q8m0d5c7r2v1z",
            "name": "pages_500",
            "title": "500 pages",
            "meter": "printed_pages",
            "amount": "500",
            "unit": "1",
            "state": "waiting",
            "total": _EUROS,
            "given_back": {"minor": 0, "currency": "EUR", "text": "0.00"},
            "invoice_id": "n8r2v6y0b4h8k1p5",
            "ordered_at": "2026-02-11T09:30:00Z",
            "grant_id": None,
        }
    )

    @classmethod
    def of(cls, shown: orders.Shown) -> Self:
        """Return an order as the API shows it."""
        row, invoice = shown.row, shown.invoice
        return cls(
            id=row.id,
            product_id=row.product_id,
            name=row.name,
            title=row.title,
            meter=row.meter,
            amount=shown.amount,
            unit=shown.unit,
            state=shown.state,
            total=Amount.of(invoice.gross, invoice.currency),
            given_back=Amount.of(shown.given_back.minor, invoice.currency),
            invoice_id=invoice.id,
            ordered_at=row.ordered_at,
            grant_id=row.grant_id,
        )


class Orders(Answer):
    """All orders for a product, the latest first."""

    orders: list[Order]


@ROUTER.get(
    "/products/{device_id}/top-ups",
    operation_id="list_top_ups",
    summary="What can be bought beside a product's plan",
)
def list_top_ups(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Offers:
    """Return the top-ups that the plans of the product offer in the household's currency."""
    with write_session(hub.engine) as session:  # a household's first look makes its account
        product_id = product_id_of(session, device_id)
        found = orders.offers(session, caller, product_id, hub.clock())
        return Offers(offers=[Offer.of(one) for one in found])


@ROUTER.get(
    "/products/{device_id}/orders", operation_id="list_orders", summary="Orders for a product"
)
def list_orders(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> Orders:
    """Return the orders of top-ups for a product; customers get their own."""
    with read_session(hub.engine) as session:
        found = orders.listed(session, caller, product_id_of(session, device_id))
        return Orders(orders=[Order.of(one) for one in found])


@ROUTER.post(
    "/products/{device_id}/orders",
    operation_id="place_order",
    summary="Buy a top-up for a product",
    status_code=201,
)
def place_order(hub: HubDep, caller: CallerDep, device_id: DeviceId, body: PlaceOrder) -> Order:
    """Issue its invoice and have it collected; the units can be used once it is paid."""
    with write_session(hub.engine) as session:
        product_id = product_id_of(session, device_id)
        row = orders.place(session, caller, product_id, body.name, hub.clock(), hub.tokens)
        return Order.of(orders.shown(session, row))


@ROUTER.post("/orders/{order_id}/refund", operation_id="refund_order", summary="Give an order back")
def refund_order(hub: HubDep, caller: CallerDep, order_id: OrderId, body: RefundOrder) -> Order:
    """Pay money back; with the last of it what was given ends, and what was used of it stays used."""
    with write_session(hub.engine) as session:
        row = orders.refund(
            session,
            caller,
            order_id,
            body.reason,
            hub.clock(),
            hub.tokens,
            total=body.total_minor,
        )
        return Order.of(orders.shown(session, row))
