"""The lines that agreements put on invoices.

1. What a period costs is one line for each subscription, and one for what a promotion takes off.
2. A change within a period is a credit for the unused rest of what ends and a charge for the rest of
   what begins; both by seconds, so that they add up to what was charged.
3. Codes: `plan.period`, `addon.period`, `plan.discount`, `plan.unused`, `plan.rest`, `plan.given_back`.

What must never live here: when an invoice is issued.
"""

from collections.abc import Iterable, Iterator

from entitlements.billing.agreements import Item, Period
from entitlements.billing.money import Money
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.billing_tables import Invoice, InvoiceLine
from hub.services.invoices import Line


def of_period(
    agreement: Agreement,
    items: Iterable[tuple[str | None, Item]],
    period: Period,
    promotion: str = "",
) -> Iterator[Line]:
    """Yield the lines of a whole period.

    Args:
        agreement: which.
        items: what is paid for, with the ids of its subscriptions.
        period: that is paid for.
        promotion: title of the promotion, if one takes something off.
    """
    for subscription_id, item in items:
        kind = "addon" if item.addon else "plan"
        whole = item.amount + item.off
        if whole:
            yield _line(
                agreement, subscription_id, item, kind, f"{kind}.period", whole, period.span
            )
        if item.off:
            yield Line(
                subscription_id,
                agreement.product_id,
                "discount",
                "plan.discount",
                {"plan": item.plan, "promotion": promotion},
                -item.off,
                item.tax_ppm,
                1,
                *period.span,
                inclusive=item.inclusive,
            )


def of_rest(
    agreement: Agreement, items: Iterable[tuple[str | None, Item]], at: int, period: Period
) -> Iterator[Line]:
    """Yield the lines that give back what falls on the rest of a period, from an instant on (ns)."""
    for subscription_id, item in items:
        if rest := item.rest(at, period):
            span = (at, max(at, period.end))
            yield _line(agreement, subscription_id, item, "proration", "plan.unused", -rest, span)


def of_begun(
    agreement: Agreement, items: Iterable[Item], at: int, period: Period
) -> Iterator[Line]:
    """Yield the lines of what begins within a period, at an instant (ns)."""
    for item in items:
        if at <= period.start:
            yield from of_period(agreement, [(None, item)], period)
        elif part := item.part(at, period.end, period):
            yield _line(agreement, None, item, "proration", "plan.rest", part, (at, period.end))


def reversing(
    agreement: Agreement, invoice: Invoice, lines: Iterable[InvoiceLine]
) -> Iterator[Line]:
    """Yield lines that give back all that an invoice asked for."""
    for line in lines:
        if line.net + line.tax:
            yield Line(
                line.subscription_id,
                agreement.product_id,
                "credit",
                "plan.given_back",
                {"plan": str(line.args.get("plan", "")), "invoice": invoice.number},
                Money(-(line.net + line.tax), invoice.currency),
                line.tax_ppm,
                1,
                line.starts_at,
                line.ends_at,
            )


def _line(
    agreement: Agreement,
    subscription_id: str | None,
    item: Item,
    kind: str,
    code: str,
    amount: Money,
    span: tuple[int, int],
) -> Line:
    return Line(
        subscription_id,
        agreement.product_id,
        kind,
        code,
        {"plan": item.plan},
        amount,
        item.tax_ppm,
        item.quantity,
        *span,
        inclusive=item.inclusive,
    )
