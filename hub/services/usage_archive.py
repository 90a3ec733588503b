"""Counts usage from what is stored: the answer that bills stand on, for any period at any time.

1. Each stored row shows exactly once, so whatever arrived late, again or out of order is counted once.
2. The count equals `entitlements.billing.meters.tally` over the accepted rows.

What must never live here: which meter a product has, or what a count costs.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from entitlements.billing.meters import LARGEST, MOST, Aggregation, Meter
from hub.ports.store.port import ACCEPTED, Rows
from hub.services.usage_accounts import NEVER

_PAGE: Final = 200_000
_S: Final = 1_000_000_000
_NONE: Final = np.empty(0, np.int64)
_BACK: Final = tuple(days * 86_400 * _S for days in (0.05, 10, 20_000))
"""How far back the newest row before a period is looked for, in ever longer steps: few, as each asks the store."""


class Counted(NamedTuple):
    """What the archive says of a period.

    Args:
        total: the quantity.
        rows: rows of the period that counted.
        last_time: time of the newest row before the end of the period, `NEVER` without one.
        last: its quantity, 0 without one.
    """

    total: int
    rows: int
    last_time: int
    last: int


def count(store: Rows, slot: int, meter: Meter, start: int, end: int) -> Counted:
    """Count a period of one product.

    Args:
        store: the archive; it must keep every row and its identity (`Fidelity`).
        slot: device slot.
        meter: what is counted.
        start: first instant, ns UTC.
        end: end of it.

    Raises:
        StorageError: the archive cannot be read.
    """
    increases = meter.aggregation is Aggregation.INCREASE
    newest = _newest_before(store, slot, meter, start) if increases else None
    total, rows = 0, 0
    distinct: set[int] = set()
    for time, quantity in _pages(store, slot, meter, start, end):
        match meter.aggregation:
            case Aggregation.COUNT:
                total += quantity.size
            case Aggregation.SUM:
                total += sum(quantity.tolist())
            case Aggregation.MAX:
                total = max(int(quantity.max()), total) if rows else int(quantity.max())
            case Aggregation.LAST:
                total = int(quantity[-1])
            case Aggregation.UNIQUE:
                distinct.update(quantity.tolist())
                total = len(distinct)
            case Aggregation.INCREASE:
                total += _increase(quantity, newest)
        rows += quantity.size
        newest = int(time[-1]), int(quantity[-1])
    if not rows and not increases:
        newest = _newest_before(store, slot, meter, start)
    last_time, last = newest or (NEVER, 0)
    return Counted(max(-MOST, min(MOST, total)), rows, last_time, last)


class _Read(NamedTuple):
    """The rows of a period that count, until an instant, and the newest one before it."""

    until: int
    time: NDArray[np.int64]
    quantity: NDArray[np.int64]
    newest: tuple[int, int] | None


class Totals:
    """Counts periods up to several instants; what was read for one answer is not read for another.

    So what was read before a lock was taken is not read under it. Keep it for one moment only.

    Args:
        store: the archive.
    """

    def __init__(self, store: Rows) -> None:
        self._store = store
        self._known: dict[tuple[int, Meter, int], _Read] = {}

    def __call__(self, slot: int, meter: Meter, start: int, ends: Sequence[int]) -> list[int]:
        """Count; each total is as `count` gives it.

        Args:
            slot: device slot.
            meter: what is counted.
            start: first instant of the period, ns UTC.
            ends: instants, rising, none before `start`.

        Raises:
            StorageError: the archive cannot be read.
        """
        if not ends:
            return []
        known = self._known.get((slot, meter, start))
        if known is None or known.until < ends[-1]:
            known = self._known[slot, meter, start] = self._read(slot, meter, start, ends[-1])
        return _summed(known, meter, ends)

    def _read(self, slot: int, meter: Meter, start: int, until: int) -> _Read:
        pages = list(_pages(self._store, slot, meter, start, until))
        if not pages:
            return _Read(until, _NONE, _NONE, None)
        increases = meter.aggregation is Aggregation.INCREASE
        newest = _newest_before(self._store, slot, meter, start) if increases else None
        time, quantity = (np.concatenate(column) for column in zip(*pages, strict=True))
        return _Read(until, time, quantity, newest)


def _summed(read: _Read, meter: Meter, ends: Sequence[int]) -> list[int]:
    time, quantity, newest = read.time, read.quantity, read.newest
    made, total, first = [], 0, 0
    distinct: set[int] = set()
    for last in np.searchsorted(time, ends).tolist():
        part, first = quantity[first:last], last
        if part.size:
            match meter.aggregation:
                case Aggregation.COUNT:
                    total += part.size
                case Aggregation.SUM:
                    total += sum(part.tolist())
                case Aggregation.MAX:
                    total = int(quantity[:last].max())
                case Aggregation.LAST:
                    total = int(part[-1])
                case Aggregation.UNIQUE:
                    distinct.update(part.tolist())
                    total = len(distinct)
                case Aggregation.INCREASE:
                    total += _increase(part, newest)
            newest = int(time[last - 1]), int(part[-1])
        made.append(max(-MOST, min(MOST, total)))
    return made


def _increase(quantity: NDArray[np.int64], before: tuple[int, int] | None) -> int:
    readings = quantity if before is None else np.concatenate([[before[1]], quantity])
    steps = np.diff(readings)
    return sum(np.where(steps >= 0, steps, readings[1:]).tolist())


def _newest_before(store: Rows, slot: int, meter: Meter, start: int) -> tuple[int, int] | None:
    """Return time and quantity of the newest row before an instant that counts."""
    until = start
    for back in _BACK:
        since = max(start - int(back), NEVER)
        newest = None
        for time, quantity in _pages(store, slot, meter, since, until):
            newest = int(time[-1]), int(quantity[-1])
        if newest is not None:
            return newest
        until = since
    return None


def _pages(
    store: Rows, slot: int, meter: Meter, start: int, end: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield times and quantities of the rows that count, at least one each time."""
    after = None
    while start < end:
        page = store.range(
            slot, meter.metric, start, end, visible=ACCEPTED, limit=_PAGE, after=after
        )
        scaled = page.value * meter.scale
        kept = np.abs(scaled) <= LARGEST  # not NaN either
        if kept.any():
            yield page.time[kept], np.rint(scaled[kept]).astype(np.int64)
        after = page.following
        if after is None:
            return
