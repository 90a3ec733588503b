"""What is billed of an agreement: periods on the calendar, discounts, and changes within a period.

1. An item costs an amount for the whole of a period. Beginning or ending within it, it costs what falls
   on its part by seconds; the parts add up to the amount, to the minor unit (`proration`).
2. A discount is taken off the plan, never off add-ons, and never makes it cost less than nothing.
3. What was paid for and not granted, for a pause or after a lapse, moves the period: it stays as long.

What must never live here: who pays, and when an invoice is issued (`hub/services`).
"""

from dataclasses import dataclass
from typing import Final

from entitlements.billing.money import PPM, Money
from entitlements.billing.periods import renewal
from entitlements.billing.price import Price
from entitlements.billing.proration import prorated, unused

DAY: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch that is paid for at once, and where the next ones are counted from.

    Args:
        start: first instant, ns.
        end: end, ns.
        anchor: the instant from which months are counted.
        months: that `end` is after it; 0: it is `end` itself.
    """

    start: int
    end: int
    anchor: int
    months: int

    @property
    def span(self) -> tuple[int, int]:
        """First instant and end."""
        return self.start, self.end

    def following(self, zone: str, interval: int) -> "Period":
        """Return the period after this one.

        Args:
            zone: IANA name.
            interval: months that it lasts.
        """
        months = self.months + interval
        return Period(self.end, renewal(zone, self.anchor, months), self.anchor, months)

    def moved(self, by: int) -> "Period":
        """Return the period when what was paid for did not run on for so long (ns)."""
        if by == 0:
            return self
        return Period(self.start + by, self.end + by, self.end + by, 0)


def first_period(zone: str, at: int, interval: int) -> Period:
    """Return the period that begins at an instant.

    Args:
        zone: IANA name.
        at: ns.
        interval: months that it lasts.
    """
    return Period(at, renewal(zone, at, interval), at, interval)


@dataclass(frozen=True, slots=True)
class Discount:
    """What a promotion takes off a price: a share (parts per million) or an amount.

    Args:
        percent_ppm: the share; `None`: an amount.
        amount: the amount.
    """

    percent_ppm: int | None = None
    amount: Money | None = None

    def of(self, price: Money) -> Money:
        """Return what is taken off a price.

        Raises:
            CurrencyMismatchError: the amount is in another currency.
        """
        if self.percent_ppm is not None:
            return price.rate(min(self.percent_ppm, PPM))
        if self.amount is None:
            return Money.zero(price.currency)
        left = price - self.amount
        return self.amount if left.minor >= 0 else price


@dataclass(frozen=True, slots=True)
class Item:
    """Something of an agreement that is paid for.

    Args:
        plan: code of the plan.
        version: id of the plan version.
        addon: whether it is an add-on.
        quantity: how many.
        amount: what a whole period costs, the discount taken off.
        off: what was taken off.
        tax_ppm: tax rate.
        inclusive: whether the amount contains the tax.
    """

    plan: str
    version: int
    addon: bool
    quantity: int
    amount: Money
    off: Money
    tax_ppm: int
    inclusive: bool

    @classmethod
    def priced(
        cls,
        plan: str,
        version: int,
        price: Price,
        currency: str,
        tax_ppm: int,
        *,
        quantity: int = 1,
        addon: bool = False,
        discount: Discount | None = None,
    ) -> "Item":
        """Return an item at its price.

        Raises:
            CurrencyMismatchError: it is not sold in that currency.
        """
        whole = price.amount(currency) * quantity
        off = Money.zero(currency) if discount is None or addon else discount.of(whole)
        inclusive = price.inclusive
        return cls(plan, version, addon, quantity, whole - off, off, tax_ppm, inclusive)

    def rest(self, at: int, period: Period) -> Money:
        """Return what of it falls on the rest of a period, from an instant on (ns)."""
        return unused(self.amount, at, period.span)

    def part(self, start: int, end: int, period: Period) -> Money:
        """Return what of it falls on `[start, end)` of a period."""
        return prorated(self.amount, start, end, period.span)


def next_retry(begun: int, retry_days: tuple[int, ...], tried: int) -> int | None:
    """Return when a bill is tried again.

    Args:
        begun: when it was issued, ns; days are counted from then.
        retry_days: of the plan, rising.
        tried: when the attempt that failed was due, ns. So it does not matter how often or in which order
            failures are told.

    Returns:
        ns; `None`: not any more.
    """
    for days in retry_days:
        if begun + days * DAY > tried:
            return begun + days * DAY
    return None
