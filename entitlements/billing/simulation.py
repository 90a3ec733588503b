"""What a plan would have cost: a price and quotas laid over months of stored usage.

1. Amounts come from the functions that bills come from: `prorated` for the price of a month, the
   running sum of `UnitPrice` for usage beyond the quota, `taxed_lines` for the tax of each month.
2. Quotas are folded as they are in life: what is carried on from month to month is.
3. A hard limit would have closed the feature: what was used beyond it costs nothing and is told.
4. A month of which nothing is stored costs its price and no usage, and is told.

What must never live here: which plans there are, add-ons and promotions (a plan is taken by itself).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from entitlements.billing.allowance import Period, stand
from entitlements.billing.money import Money, Taxed
from entitlements.billing.price import Price
from entitlements.billing.proration import prorated
from entitlements.billing.totals import taxed_lines
from entitlements.quotas import PLAIN, QuotaTerms


class Month(NamedTuple):
    """A month of usage.

    Args:
        start: first instant, ns UTC.
        end: end of it.
        used: quantities by meter; `None`: nothing of the month is stored.
    """

    start: int
    end: int
    used: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class MeterTerms:
    """What a plan says of a meter.

    Args:
        included: whether the plan includes the feature that the meter counts for.
        quota: quantities in a month; `None`: without limit.
        terms: what else is agreed of the quota.
        decimals: decimals of quantities.
    """

    included: bool
    quota: int | None = None
    terms: QuotaTerms = PLAIN
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class MeterMonth:
    """What a meter would have meant in a month; quantities.

    Args:
        used: what was used; `None`: nothing is stored.
        over: what of it was beyond the quota, and allowed.
        closed: what of it the plan would not have allowed.
        cost: of `over`, as the price says it.
    """

    used: int | None
    over: int
    closed: int
    cost: Money


@dataclass(frozen=True, slots=True)
class MonthCost:
    """What a month would have cost.

    Args:
        start: first instant, ns.
        end: end of it.
        price: the plan's own price for the month, with or without tax as the catalogue says it.
        meters: what was used, by meter.
        taxed: all of it with its tax.
    """

    start: int
    end: int
    price: Money
    meters: Mapping[str, MeterMonth]
    taxed: Taxed


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a plan would have cost.

    Args:
        months: the earliest first.
        total: of all months.
        closed: what the plan would not have allowed, by meter; quantities above zero only.
    """

    months: tuple[MonthCost, ...]
    total: Taxed
    closed: Mapping[str, int] = field(default_factory=dict)


def simulate(
    price: Price,
    meters: Mapping[str, MeterTerms],
    months: Sequence[Month],
    edges: Sequence[int],
    currency: str,
    tax_ppm: int,
) -> Simulation:
    """Lay a plan over months of usage.

    Args:
        price: of the plan.
        meters: what the plan says of each meter that the months tell of.
        months: neighbouring ones, the earliest first.
        edges: beginnings of the months, and of so many after them that the last interval of the
            price ends with one; the first is that of the first month.
        currency: what is paid in.
        tax_ppm: tax rate, parts per million.

    Raises:
        CurrencyMismatchError: the plan, or its overage, is not sold in that currency.
        ValueError: a month is shorter than a second.
    """
    counted = {
        name: _metered(name, terms, price, months, currency) for name, terms in meters.items()
    }
    costs = []
    for place, month in enumerate(months):
        first = place // price.interval_months * price.interval_months
        interval = (edges[first], edges[first + price.interval_months])
        base = prorated(price.amount(currency), month.start, month.end, interval)
        here = {name: found[place] for name, found in counted.items()}
        lines = [base, *(one.cost for one in here.values())]
        split = taxed_lines((line, tax_ppm, price.inclusive) for line in lines)
        costs.append(MonthCost(month.start, month.end, base, here, _sum(split, currency)))
    closed = {name: sum(one.closed for one in found) for name, found in counted.items()}
    return Simulation(
        tuple(costs),
        _sum([one.taxed for one in costs], currency),
        {name: units for name, units in closed.items() if units},
    )


def _metered(
    name: str, terms: MeterTerms, price: Price, months: Sequence[Month], currency: str
) -> list[MeterMonth]:
    """Return what a meter means in each month."""
    scale = 10**terms.decimals
    used = [month.used[name] for month in months]
    zero = Money.zero(currency)
    if not terms.included:
        return [MeterMonth(units, 0, max(units or 0, 0), zero) for units in used]
    quotas = [Period(month.start, month.end, terms.quota, terms.terms, scale) for month in months]
    by_start = {month.start: max(units or 0, 0) for month, units in zip(months, used, strict=True)}

    def usage(start: int, _end: int) -> int:
        # Within a month usage counts at its beginning: a month is never cut here.
        return by_start.get(start, 0)

    sold = price.unit_price(name, currency)
    found = []
    for place, units in enumerate(used):
        standing = stand(quotas[: place + 1], (), usage, quotas[place].end - 1)
        paid = sum(one.units for stretch in standing.stretches for one in stretch.paid)
        beyond = 0 if terms.quota is None else max(units or 0, 0) - paid
        if terms.terms.hard:
            found.append(MeterMonth(units, 0, beyond, zero))
        else:
            taken = terms.terms.keep_overage  # from the next month, so not paid for as well
            cost = zero if sold is None or taken else sold.cost(0, beyond, terms.decimals)
            found.append(MeterMonth(units, beyond, 0, cost))
    return found


def _sum(parts: Sequence[Taxed], currency: str) -> Taxed:
    zero = Money.zero(currency)
    return Taxed(sum((one.net for one in parts), zero), sum((one.tax for one in parts), zero))
