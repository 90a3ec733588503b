"""Calendar days and months in a time zone, as contracts mean them.

1. Instants are ns since 1970 UTC; a zone is an IANA name. A local day has 23, 24 or 25 hours, or,
   where a zone jumped over the date line, none.
2. A period of months that an event begins ends with the local day of the event's number, one that
   begins with a day ends with the day before that number; where a month has no such day, both end
   with its last one (30 January and a month: 28 February). So civil codes count.
3. All rests on `stretches`: times between which the zone keeps one offset, where local time runs
   straight.

No clock here. Offsets are those of the zone database, to the second.
"""

import datetime as dt
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECOND = 1_000_000_000
DAY_S = 86_400
LAST_DAY = dt.date(2200, 1, 1)
"""No date of a contract lies behind it: instants are 64 bits of nanoseconds."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EPOCH_DAY = _EPOCH.date().toordinal()


class Stretch(NamedTuple):
    """Seconds `[start, end)` since 1970 UTC in which local time is `offset` seconds ahead."""

    start: int
    end: int
    offset: int


def known_zone(name: str) -> bool:
    """Say whether there is an IANA time zone of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # what a path or a folder gives
        return False
    return True


def add_months(date: dt.date, months: int) -> dt.date:
    """Return the same day some months later, or the last of the month that has no such day.

    Args:
        date: where to begin.
        months: at least 0; the result is at most `LAST_DAY`.
    """
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    if year >= LAST_DAY.year:
        return LAST_DAY
    following = dt.date(year + (month == 11), (month + 1) % 12 + 1, 1)
    last = (following - dt.timedelta(days=1)).day
    return dt.date(year, month + 1, min(date.day, last))


def last_of_period(first: dt.date, months: int) -> dt.date:
    """Return the last day of a period of months whose first day is `first`."""
    following = add_months(first, months)
    return following if following.day < first.day else following - dt.timedelta(days=1)


def local_date(zone: str, at: int) -> dt.date:
    """Return the date of an instant (ns) on the calendar of a zone."""
    second = at // SECOND
    return dt.date.fromordinal(_EPOCH_DAY + (second + _offset(zone, second)) // DAY_S)


@lru_cache(maxsize=65_536)
def end_of_day(zone: str, date: dt.date) -> int:
    """Return the first instant (ns) from which on a local day is over for good.

    Clocks put back over midnight bring a piece of the day again; it counts.
    """
    midnight = (date.toordinal() + 1 - _EPOCH_DAY) * DAY_S
    end = midnight - 2 * DAY_S
    for stretch in stretches(zone, midnight - 2 * DAY_S, midnight + 2 * DAY_S):
        if stretch.start + stretch.offset < midnight:
            end = min(stretch.end, midnight - stretch.offset)
    return end * SECOND


def stretches(zone: str, start: int, end: int | None = None) -> Iterator[Stretch]:
    """Yield the stretches of one offset that cover `[start, end)`, in order.

    Args:
        zone: IANA name.
        start: seconds since 1970 UTC.
        end: seconds since 1970 UTC; `None`: for ever.
    """
    day = start // DAY_S
    while end is None or day * DAY_S < end:
        for piece in _of_day(zone, day):
            low = max(piece.start, start)
            high = piece.end if end is None else min(piece.end, end)
            if low < high:
                yield Stretch(low, high, piece.offset)
        day += 1


@lru_cache(maxsize=4_096)
def _of_day(zone: str, day: int) -> tuple[Stretch, ...]:
    """Return the stretches of one UTC day; a zone changes its offset at most once an hour."""
    begin, end = day * DAY_S, (day + 1) * DAY_S
    edges = [begin]
    for hour in range(begin, end, 3_600):
        low, high = hour, hour + 3_600
        offset = _offset(zone, low)
        if _offset(zone, high) == offset:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
        edges.append(high)
    edges.append(end)
    return tuple(Stretch(a, b, _offset(zone, a)) for a, b in pairwise(edges) if a < b)


def _offset(zone: str, second: int) -> int:
    """Return how many seconds local time is ahead of UTC."""
    moment = (_EPOCH + dt.timedelta(seconds=second)).astimezone(ZoneInfo(zone))
    ahead = moment.utcoffset() or dt.timedelta()
    return ahead.days * DAY_S + ahead.seconds
