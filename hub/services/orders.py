"""Orders of top-ups: units of a meter that a household buys once, beside what its plan gives.

1. What is on offer say the plan versions that serve the product now; an order keeps what was agreed.
2. Credit is given when the invoice is paid, once: the order is the grant's cause. An order that cannot be
   collected is void and gives nothing; the household may order again.
3. Who does not have the product any more when the payment comes gets the money back.
4. Money is given back to a sum that staff name, never more than the price; what was given ends with the last of it.
   Each part is an invoice of its own, and its tax is rounded there.
5. What came of an order is told by its invoice and its grant.

What must never live here: how credit burns (`credit_grants`), or how invoices are collected (`payments`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from entitlements.billing.money import Money
from entitlements.billing.price import TopUp
from entitlements.ladder import entitled
from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.billing_tables import Invoice
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.ports.database.order_tables import TopUpOrder
from hub.ports.database.product_tables import Product
from hub.services import (
    agreements,
    audit,
    billing_accounts,
    credit_grants,
    invoice_book,
    invoice_closing,
    invoices,
    letters,
    payments,
    prices,
    products,
    refunds,
)
from hub.services.caller import HUB, Caller, Scope
from hub.services.catalogue_facts import load_catalogue
from hub.services.facts import load_one
from hub.services.invoices import Line
from hub.services.parties import open_ownership
from hub.services.relations import Act
from hub.services.tokens import Tokens
from hub.services.usage_meters import ModelMeter

_DAY: Final = 86_400 * 10**9


class State(StrEnum):
    """What came of an order."""

    WAITING = "waiting"
    GIVEN = "given"
    NOT_PAID = "not_paid"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be bought for a product now.

    Args:
        name: what it is ordered by.
        terms: as the plan version has them.
        price: in the currency of the household, with the tax if `inclusive`.
        inclusive: whether the price contains the tax.
        tax_class: of the plan version.
        meter: that it is used by.
        plan: title of the plan that offers it.
    """

    name: str
    terms: TopUp
    price: Money
    inclusive: bool
    tax_class: str
    meter: ModelMeter
    plan: str


@dataclass(frozen=True, slots=True)
class Shown:
    """An order as people read it."""

    row: TopUpOrder
    state: State
    invoice: Invoice
    unit: str
    given_back: Money

    @property
    def amount(self) -> Decimal:
        """Units that were ordered."""
        return Decimal(self.row.amount).scaleb(-self.row.decimals)


def offers(session: Session, caller: Caller, product_id: str, at: int) -> list[Offer]:
    """Return what can be bought for a product now, by name.

    Args:
        session: a writing session.
        caller: who may know of the household's bills, or staff.
        product_id: which product.
        at: now, ns.

    Raises:
        ConflictError: nobody owns the product.
        NotFoundError: no such product, or not one of the caller's.
    """
    product, owned = agreements.party(session, caller, product_id, Act.BILLS)
    return sorted(_offers(session, product, owned.owner_id, at), key=lambda one: one.name)


def place(
    session: Session, caller: Caller, product_id: str, name: str, at: int, tokens: Tokens
) -> TopUpOrder:
    """Order a top-up for a product and have it collected.

    Args:
        session: a writing session.
        caller: who may pay for the product, or staff.
        product_id: which product.
        name: of the offer.
        at: now, ns.
        tokens: source of ids.

    Raises:
        ConflictError: nobody owns the product, or there is no means of payment.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product, or nothing of that name is on offer.
    """
    product, owned = agreements.party(session, caller, product_id)
    owner_id = owned.owner_id
    found = [one for one in _offers(session, product, owner_id, at) if one.name == name]
    if not found:
        raise NotFoundError(
            f"No top-up {name} is on offer for product {product.serial}. Ask which ones its plan offers.",
            product=product_id,
        )
    offer = found[0]
    terms, decimals = offer.terms, offer.meter.meter.decimals
    order_id = tokens.new_id()
    line = Line(
        None,
        product.id,
        "topup",
        "order.top_up",
        {"title": terms.title, "amount": f"{terms.amount:f}", "unit": offer.meter.unit},
        offer.price,
        invoices.tax_ppm(session, owner_id, offer.tax_class, at),
        inclusive=offer.inclusive,
    )
    invoice = invoices.issue(session, tokens, owner_id, [line], at, cause=f"order:{order_id}")
    row = TopUpOrder(
        id=order_id,
        invoice_id=invoice.id,
        owner_id=owner_id,
        product_id=product.id,
        epoch=owned.epoch,
        name=name,
        title=terms.title,
        meter=terms.meter,
        amount=credit_grants.quantity(terms.amount, decimals, "amount"),
        decimals=decimals,
        days=terms.days,
        ordered_at=at,
        ordered_by=caller.actor,
    )
    session.add(row)
    session.flush()
    details = {"order": row.id, "name": name, "invoice": invoice.number}
    audit.record(session, at, caller.actor, "order.place", f"product:{product.id}", details)
    if invoice.state == "paid":
        _give(session, row, at, tokens)
    else:
        billing_accounts.with_method(session, owner_id, at)
        payments.charge(session, invoice, at)
    return row


def on_paid(session: Session, invoice: Invoice, at: int, tokens: Tokens) -> None:
    """Give what was ordered by an invoice, if it is one of an order."""
    row = _of_invoice(session, invoice)
    if row is None or row.grant_id is not None or row.refunded_at is not None:
        return
    owned = open_ownership(session, row.product_id)
    if owned is not None and owned.epoch == row.epoch:
        _give(session, row, at, tokens)
    else:
        _give_money_back(session, row, invoice, Money(invoice.gross, invoice.currency), at, tokens)


def on_failed(session: Session, invoice: Invoice, at: int) -> None:
    """Take the invoice of an order back that cannot be collected, if it is one of an order."""
    row = _of_invoice(session, invoice)
    if row is None or invoice.state != "open":
        return
    try:
        invoice_closing.void(session, HUB, invoice.id, at)
    except ConflictError:  # another attempt is being made; what comes of that counts
        return
    product = session.get_one(Product, row.product_id)
    letters.write(session, row.owner_id, product, "order.not_paid", at, title=row.title)


def refund(
    session: Session,
    caller: Caller,
    order_id: str,
    reason: str,
    at: int,
    tokens: Tokens,
    *,
    total: int | None = None,
) -> TopUpOrder:
    """Give money for an order back; with the last of it what was given ends. Again: no change.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        order_id: which.
        reason: why, as support writes it down.
        at: now, ns.
        tokens: source of ids.
        total: what is to be given back in all, of this and earlier parts, minor units with the tax; None: all.

    Raises:
        ConflictError: it is not paid, or more was given back before.
        InvalidInputError: no reason, nothing, or more than the price.
        NotFoundError: no such order.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    row = session.get(TopUpOrder, order_id, with_for_update=True)
    if row is None:
        raise NotFoundError(f"There is no order {order_id}.", order=order_id)
    if not 1 <= len(reason.strip()) <= 200:
        raise InvalidInputError("Say why, in 1 to 200 characters.")
    invoice = session.get_one(Invoice, row.invoice_id)
    wanted = Money(invoice.gross if total is None else total, invoice.currency)
    if total is not None and not 0 < total <= invoice.gross:
        raise InvalidInputError(
            f"The order cost {Money(invoice.gross, invoice.currency)}; {wanted} cannot be given back of it."
        )
    before = _given_back(session, row, invoice)
    if wanted.minor < before.minor:
        raise ConflictError(f"{before} of it was given back before. Name more.", order=order_id)
    if row.refunded_at is not None or (total is not None and wanted == before):
        return row
    if row.grant_id is None:
        raise ConflictError(
            "The order is not paid, so there is nothing to give back. Void its invoice.",
            order=order_id,
        )
    if wanted.minor == invoice.gross:
        credit_grants.end(session, caller, row.grant_id, reason, at)
    _give_money_back(session, row, invoice, wanted, at, tokens)
    details = {"order": row.id, "reason": reason, "total": str(wanted)}
    audit.record(session, at, caller.actor, "order.refund", f"product:{row.product_id}", details)
    return row


def listed(session: Session, caller: Caller, product_id: str) -> list[Shown]:
    """Return the orders for a product, the latest first; owners and their people see their own.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    product = products.visible(session, caller, product_id, Act.BILLS)
    query = (
        select(TopUpOrder, Invoice)
        .join(Invoice, Invoice.id == TopUpOrder.invoice_id)
        .where(TopUpOrder.product_id == product.id)
        .order_by(TopUpOrder.ordered_at.desc(), TopUpOrder.id)
    )
    rows = [
        (row, invoice)
        for row, invoice in session.execute(query)
        if caller.is_staff or caller.may(Act.BILLS, row.owner_id)
    ]
    return _shown(session, product.model_number, rows)


def shown(session: Session, row: TopUpOrder) -> Shown:
    """Return an order as people read it."""
    model = session.get_one(Product, row.product_id).model_number
    return _shown(session, model, [(row, session.get_one(Invoice, row.invoice_id))])[0]


def _shown(session: Session, model: int, rows: Sequence[tuple[TopUpOrder, Invoice]]) -> list[Shown]:
    units = {one.meter.code: one.unit for one in load_catalogue(session).meters.get(model, ())}
    return [
        Shown(
            row,
            _state(row, invoice),
            invoice,
            units.get(row.meter, ""),
            _given_back(session, row, invoice),
        )
        for row, invoice in rows
    ]


def _state(row: TopUpOrder, invoice: Invoice) -> State:
    if row.refunded_at is not None:
        return State.REFUNDED
    if row.grant_id is not None:
        return State.GIVEN
    return State.WAITING if invoice.state == "open" else State.NOT_PAID


def _offers(session: Session, product: Product, owner_id: str, at: int) -> Iterator[Offer]:
    facts = load_one(session, product.id)
    meters = {
        one.meter.code: one for one in load_catalogue(session).meters.get(product.model_number, ())
    }
    currency = billing_accounts.of_owner(session, owner_id, at).currency
    offered: set[str] = set()
    for subscription in reversed(entitled(facts, at)):  # the one that decides first
        version, plan = _version(session, subscription.plan, subscription.plan_version)
        price = prices.of_version(session, version)
        for name, terms in price.top_ups.items():
            meter, cost = meters.get(terms.meter), terms.prices.get(currency)
            if meter is None or cost is None or name in offered:
                continue
            offered.add(name)
            yield Offer(name, terms, cost, price.inclusive, price.tax_class, meter, plan)


def _version(session: Session, plan: str, version: int) -> tuple[int, str]:
    query = (
        select(PlanVersion.id, Plan.title)
        .join(Plan, Plan.id == PlanVersion.plan_id)
        .where(Plan.name == plan, PlanVersion.version == version)
    )
    id_, title = session.execute(query).one()
    return id_, title or plan


def _of_invoice(session: Session, invoice: Invoice) -> TopUpOrder | None:
    query = select(TopUpOrder).where(TopUpOrder.invoice_id == invoice.id).with_for_update()
    return session.scalars(query).one_or_none()


def _give(session: Session, row: TopUpOrder, at: int, tokens: Tokens) -> None:
    offer = credit_grants.Offer(
        row.meter,
        "topup",
        Decimal(row.amount).scaleb(-row.decimals),
        ends_at=None if row.days is None else at + row.days * _DAY,
    )
    grant = credit_grants.give(
        session,
        HUB,
        offer,
        f"ordered: {row.title}"[:200],
        at,
        tokens,
        product_id=row.product_id,
        cause=f"order:{row.id}",
    )
    row.grant_id = grant.id
    session.flush()


def _given_back(session: Session, row: TopUpOrder, invoice: Invoice) -> Money:
    parts = select(func.coalesce(func.sum(-Invoice.gross), 0)).where(
        Invoice.owner_id == row.owner_id,
        Invoice.cause.startswith(_back(row), autoescape=True),
    )
    return Money(int(session.scalars(parts).one()), invoice.currency)


def _back(row: TopUpOrder) -> str:
    return f"order:{row.id}:back"


def _give_money_back(
    session: Session, row: TopUpOrder, invoice: Invoice, total: Money, at: int, tokens: Tokens
) -> None:
    """Reverse what of the invoice is not reversed; the money goes back to where it came from, else it is credit.

    Args:
        session: a writing session.
        row: the order.
        invoice: of it, with one line.
        total: what is given back then.
        at: now, ns.
        tokens: source of ids.
    """
    part = total - _given_back(session, row, invoice)
    (billed,) = invoice_book.lines(session, invoice)
    line = Line(
        None,
        row.product_id,
        "credit",
        "order.given_back",
        {"title": row.title, "invoice": invoice.number},
        -part,
        billed.tax_ppm,
    )
    whole = total.minor == invoice.gross
    cause = _back(row) if part.minor == invoice.gross else f"{_back(row)}:{total.minor}"
    invoices.issue(session, tokens, row.owner_id, [line], at, cause=cause)
    row.refunded_at = at if whole else None
    session.flush()
    if part.minor > 0:
        try:
            with session.begin_nested():
                refunds.refund(session, row.owner_id, part, at, cause=cause)
        except ConflictError:
            pass  # it was not paid from outside, so it stays to the household's credit
