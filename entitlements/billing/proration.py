"""What of a period's price falls on a part of the period, by seconds and exactly.

1. The price up to an instant is a running sum over the seconds of the period; a part is the
   difference of two of them. So what was charged for some parts and what is given back for the
   others is the price, to the minor unit, however often a plan changes within a period.
2. Periods are as long as the calendar made them: a day of February costs more than one of March.
What must never live here: floats, and what a change of plan means (`hub/services` decides that).
"""

from entitlements.billing.money import Money
from entitlements.dates import SECOND


def prorated(price: Money, start: int, end: int, period: tuple[int, int]) -> Money:
    """Return what of a price falls on `[start, end)`.

    Args:
        price: of the whole period.
        start: first instant, ns; what lies outside of the period costs nothing.
        end: end, ns.
        period: first instant and end of the period, ns.

    Raises:
        ValueError: the period is shorter than a second, or the part ends before it starts.
    """
    first, last = period
    if end < start:
        raise ValueError("the part ends before it starts")
    whole = (last - first) // SECOND
    if whole < 1:
        raise ValueError("a period that is paid for lasts a second at least")
    edges = [min(max(at - first, 0) // SECOND, whole) for at in (start, end)]
    return price.part(edges[0], edges[1], whole)


def unused(price: Money, at: int, period: tuple[int, int]) -> Money:
    """Return what of a price falls on the rest of the period, from an instant on (ns)."""
    return prorated(price, at, max(at, period[1]), period)
