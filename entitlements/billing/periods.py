"""Billing periods: months that are counted from an anchor, on the calendar of a time zone.

1. The k-th period begins k months after the anchor, counted from the anchor itself: a subscription of
   31 January renews on 28 February and on 31 March.
2. It begins at the anchor's local time of day. A time that does not exist that day is the first instant
   after the gap; one that exists twice is the first of them.
3. Neighbouring periods touch: the end of one is the beginning of the next, exactly.
"""

import datetime as dt
from collections.abc import Iterator
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from entitlements.dates import DAY_S, SECOND, add_months, stretches

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LOCAL_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001  local time, whose zone is apart


@lru_cache(
    maxsize=1 << 14
)  # asked for again by each meter of a product, and by products that share an anchor
def renewal(zone: str, anchor: int, months: int) -> int:
    """Return when a period begins that is some months after an anchor.

    Args:
        zone: IANA name.
        anchor: first instant of the first period, ns UTC.
        months: at least 0.

    Returns:
        ns UTC; the anchor itself for 0.
    """
    if months == 0:
        return anchor
    second, rest = divmod(anchor, SECOND)
    local = (_EPOCH + dt.timedelta(seconds=second)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    then = dt.datetime.combine(add_months(local.date(), months), local.time())
    begin = _instant(zone, round((then - _LOCAL_EPOCH).total_seconds()))
    return begin * SECOND + rest


def renewals(zone: str, anchor: int, start: int) -> Iterator[int]:
    """Yield when periods begin, from the one that holds `start` on (from the first if that is later)."""
    months = max((start - anchor) // (32 * DAY_S * SECOND), 0)
    begin, following = renewal(zone, anchor, months), renewal(zone, anchor, months + 1)
    while True:
        if following > start:
            yield begin
        months += 1
        begin, following = following, renewal(zone, anchor, months + 1)


def month_begin(zone: str, at: int) -> int:
    """Return the first instant of the calendar month that holds an instant, in a zone."""
    local = (_EPOCH + dt.timedelta(seconds=at // SECOND)).astimezone(ZoneInfo(zone))
    first = dt.datetime(local.year, local.month, 1)  # noqa: DTZ001  see `_LOCAL_EPOCH`
    return _instant(zone, round((first - _LOCAL_EPOCH).total_seconds())) * SECOND


def _instant(zone: str, wall: int) -> int:
    """Return the second since 1970 UTC at which local clocks first show `wall` or, in a gap, more."""
    for stretch in stretches(zone, wall - 2 * DAY_S, wall + 2 * DAY_S):
        if wall < stretch.end + stretch.offset:
            return max(wall - stretch.offset, stretch.start)
    raise AssertionError("local time passes every value within two days")
