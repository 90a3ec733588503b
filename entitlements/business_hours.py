"""Business hours: how much of a time counts, and when a target falls due.

1. A minute counts if the local clock of the calendar's zone shows a time within its hours on a day
   that is no holiday. So an hour that clocks skip counts nothing, and one that they repeat counts
   twice.
2. What is not open never passes: a deadline lies inside business hours or at their very end.
3. A calendar that opens too seldom for a target is refused with `NeverOpenError`, not waited for.

No clock here: instants (ns since 1970 UTC) are arguments.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

from entitlements.dates import DAY_S, SECOND, stretches

HORIZON_S = 3 * 366 * DAY_S
"""How far ahead a deadline is looked for."""

_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()

Hours = tuple[tuple[int, int], ...]
"""Opening hours of a day: minutes `[from, until)` since midnight, rising, at most 1,440."""


class NeverOpenError(ValueError):
    """The calendar does not open long enough within the horizon."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """When somebody works.

    Args:
        zone: IANA name of the time zone.
        week: opening hours from Monday to Sunday, seven of them.
        holidays: single dates on which nobody works.
        yearly: `(month, day)` on which nobody works in any year.
    """

    zone: str
    week: tuple[Hours, ...]
    holidays: frozenset[dt.date] = field(default_factory=frozenset)
    yearly: frozenset[tuple[int, int]] = field(default_factory=frozenset)

    def hours_of(self, date: dt.date) -> Hours:
        """Return the opening hours of a date, none for a holiday."""
        if date in self.holidays or (date.month, date.day) in self.yearly:
            return ()
        return self.week[date.weekday()]


def open_times(calendar: Calendar, start: int, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the times `[from, until)` in which the calendar is open, in order.

    Args:
        calendar: the calendar.
        start: seconds since 1970 UTC; only what lies behind it.
        end: only what lies before it; `None`: for ever.

    Yields:
        Pairs of seconds since 1970 UTC.
    """
    for stretch in stretches(calendar.zone, start, end):
        # Local time runs straight here: count seconds of it since 1970.
        local, last = stretch.start + stretch.offset, stretch.end + stretch.offset
        for day in range(local // DAY_S, (last - 1) // DAY_S + 1):
            for opens, closes in calendar.hours_of(dt.date.fromordinal(_EPOCH_DAY + day)):
                low = max(day * DAY_S + opens * 60, local)
                high = min(day * DAY_S + closes * 60, last)
                if low < high:
                    yield low - stretch.offset, high - stretch.offset


def between(calendar: Calendar, start: int, end: int) -> int:
    """Return how much of `[start, end)` (ns) is open, in ns."""
    if end <= start:
        return 0
    times = open_times(calendar, start // SECOND, -(-end // SECOND))
    return sum(
        max(0, min(until * SECOND, end) - max(since * SECOND, start)) for since, until in times
    )


def due(calendar: Calendar, start: int, target_s: int) -> int:
    """Return the instant (ns) at which so much open time has passed since `start`.

    Args:
        calendar: the calendar.
        start: ns since 1970 UTC.
        target_s: open seconds, at least 1.

    Raises:
        NeverOpenError: it does not open that long within three years.
        ValueError: the target is not positive.
    """
    if target_s < 1:
        raise ValueError(f"a target of {target_s} s is none; it must be at least 1 s")
    return _due(calendar, start, target_s * SECOND)


def due_with_pauses(
    calendar: Calendar, start: int, target_s: int, pauses: tuple[tuple[int, int | None], ...]
) -> int | None:
    """Return when a target falls due if the time within pauses does not count.

    Args:
        calendar: the calendar.
        start: ns since 1970 UTC.
        target_s: open seconds, at least 1.
        pauses: `(from, until)` in ns, in order and apart; `None`: it lasts.

    Returns:
        The instant; `None` while a pause lasts before which it was not due: it may come any time.

    Raises:
        NeverOpenError: it does not open that long within three years.
    """
    if target_s < 1:
        raise ValueError(f"a target of {target_s} s is none; it must be at least 1 s")
    left, since = target_s * SECOND, start
    for stop, goes_on in pauses:
        passed = between(calendar, since, stop)
        if passed >= left:
            break
        if goes_on is None:
            return None
        left -= passed
        since = max(since, goes_on)
    return _due(calendar, since, left)


def _due(calendar: Calendar, start: int, left: int) -> int:
    first = start // SECOND
    for since, until in open_times(calendar, first, first + HORIZON_S):
        low = max(since * SECOND, start)
        room = until * SECOND - low
        if room >= left:
            return low + left
        left -= max(0, room)
    raise NeverOpenError(
        f"the calendar in {calendar.zone} does not open for long enough within three years"
    )
