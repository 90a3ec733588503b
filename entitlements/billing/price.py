"""What a plan costs: an amount in each currency it is sold in, and what usage beyond it costs.

1. Amounts are exact: decimal text or whole numbers of the currency's main unit, never a float.
2. A plan without amounts is free in every currency; one with some is sold in these only.
3. What usage costs is a running sum: the costs of the parts of a quantity add up to that of the whole.
What must never live here: who pays, and which tax rate holds where.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from entitlements.billing.money import DECIMALS, CurrencyMismatchError, Money

LARGEST: Final = 10**15
"""Minor units that one price may have: sums of millions of them still fit 64 bits."""


def amount(value: str | int, currency: str) -> Money:
    """Read an amount as it is written in a catalogue.

    Args:
        value: decimal text such as `9.99`, or a whole number, of the currency's main unit.
        currency: ISO 4217 code.

    Raises:
        ValueError: not a number, negative, too large, more decimals than the currency has, or no
            currency.
    """
    if currency not in DECIMALS:
        raise ValueError(f"{currency!r} is not a currency code of ISO 4217, such as EUR")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(  # noqa: TRY004  a mistake in a document, told as all others are
            f"the amount in {currency} must be a text such as '9.99', or a whole number: other"
            " numbers are not exact"
        )
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError(f"the amount {value!r} in {currency} is no number such as '9.99'")
    places = DECIMALS[currency]
    minor = number.scaleb(places)
    if not 0 <= minor <= LARGEST:
        raise ValueError(f"the amount {value} in {currency} is negative or too large")
    if minor != int(minor):
        raise ValueError(
            f"the amount {value} in {currency} has more than {places} decimals, which nobody can pay"
        )
    return Money(int(minor), currency)


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """What a number of units costs, such as 0.50 EUR per 1,000.

    Args:
        amount: for `per` units.
        per: how many units that is for; at least 1.
    """

    amount: Money
    per: int = 1

    def cost(self, start: int, end: int, decimals: int = 0) -> Money:
        """Return what the units from `start` to `end` of a period cost.

        Args:
            start: units before those that are meant, in the meter's quantities.
            end: units with them.
            decimals: quantities have so many: 125 with one decimal are 12.5 units.

        Returns:
            The difference of two running sums, each rounded half away from zero, so that the costs
            of all parts of a period add up to the cost of the whole.

        Raises:
            ValueError: not `0 <= start <= end`.
        """
        if not 0 <= start <= end:
            raise ValueError(f"{start} to {end} is no quantity")
        whole: int = self.per * 10**decimals
        # `part` rounds each running sum; the whole it is a part of is as large as need be.
        times = end // whole + 1
        return (self.amount * times).part(start, end, whole * times)


@dataclass(frozen=True, slots=True)
class TopUp:
    """Units of a meter that are bought at once, beside the quota.

    Args:
        title: as people read it.
        meter: name of the meter.
        amount: units of it.
        prices: what they cost, by currency.
        days: for which they can be used; `None`: without end.
    """

    title: str
    meter: str
    amount: Decimal
    prices: Mapping[str, Money]
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan version costs.

    Args:
        amounts: for one interval (of an add-on: for one unit), by currency; empty: nothing.
        interval_months: months that are paid for at once.
        tax_class: which of a region's tax rates applies; empty: none.
        inclusive: whether the amounts contain that tax, as consumer prices do.
        overage: what usage beyond the plan's quotas costs, by meter and currency.
        top_ups: what can be bought beside them, by name.
    """

    amounts: Mapping[str, Money] = field(default_factory=dict)
    interval_months: int = 1
    tax_class: str = ""
    inclusive: bool = True
    overage: Mapping[str, Mapping[str, UnitPrice]] = field(default_factory=dict)
    top_ups: Mapping[str, TopUp] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether it costs nothing, whatever is used."""
        return not any(self.amounts.values()) and not self.overage

    def amount(self, currency: str) -> Money:
        """Return what one interval costs in a currency.

        Raises:
            CurrencyMismatchError: it is not sold in that currency.
        """
        if not self.amounts:
            return Money.zero(currency)
        if currency not in self.amounts:
            raise CurrencyMismatchError(
                f"this plan is sold in {', '.join(self.amounts)}, not in {currency}"
            )
        return self.amounts[currency]

    def unit_price(self, meter: str, currency: str) -> UnitPrice | None:
        """Return what usage of a meter beyond the quota costs; `None`: it is not sold.

        Raises:
            CurrencyMismatchError: it is sold, but not in that currency.
        """
        prices = self.overage.get(meter)
        if prices is None:
            return None
        if currency not in prices:
            raise CurrencyMismatchError(
                f"usage of {meter} is sold in {', '.join(prices)}, not in {currency}"
            )
        return prices[currency]


FREE: Final = Price()
"""The price of what costs nothing."""
