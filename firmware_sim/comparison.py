"""Whether two heaps of rows hold the same rows the same number of times, whatever their order.

1. Memory grows with the days covered, not with the rows: a day is a count and a sum of hashes.
2. Only days that differ are looked at row by row, so the verdict names how many rows are missing
   or doubled.
3. Never here: files or hubs; rows come as iterators.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from firmware_sim.recording import Row

DAY_NS: Final = 86_400_000_000_000
MASK: Final = 2**64 - 1


class Tally:
    """Count and sum of hashes of rows, by day."""

    def __init__(self) -> None:
        self.days: dict[int, tuple[int, int]] = {}
        self.rows = 0

    def add(self, row: Row) -> None:
        """Count one row."""
        day = row.time_ns // DAY_NS
        count, total = self.days.get(day, (0, 0))
        self.days[day] = (count + 1, (total + _digest(row)) & MASK)
        self.rows += 1

    def differing(self, other: "Tally") -> list[int]:
        """Days (since 1970) on which the two do not hold the same rows, rising."""
        days = self.days.keys() | other.days.keys()
        return sorted(day for day in days if self.days.get(day) != other.days.get(day))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of the rows that were sent.

    Args:
        sent: rows that were sent.
        stored: rows that are there.
        missing: sent and not there (each copy counts).
        extra: there more often than sent: doubled, or never sent.
    """

    sent: int
    stored: int
    missing: int
    extra: int

    @property
    def exact(self) -> bool:
        """Every row is there exactly once for each time it was sent."""
        return not self.missing and not self.extra


def compare(
    sent: Callable[[], Iterable[Row]], stored: Callable[[int | None, int | None], Iterator[Row]]
) -> Comparison:
    """Compare what was sent with what is there.

    Args:
        sent: gives all rows that were sent; called again if something differs.
        stored: gives the rows stored in `[from, to)`, ns since 1970 UTC; None is no bound.

    Returns:
        The comparison.
    """
    ours, theirs = Tally(), Tally()
    for row in sent():
        ours.add(row)
    for row in stored(None, None):
        theirs.add(row)
    missing = extra = 0
    days = ours.differing(theirs)
    if days:
        wanted = set(days)
        expected: dict[int, Counter[Row]] = {day: Counter() for day in days}
        for row in sent():
            if row.time_ns // DAY_NS in wanted:
                expected[row.time_ns // DAY_NS][row] += 1
        for day in days:
            found = Counter(stored(day * DAY_NS, (day + 1) * DAY_NS))
            missing += (expected[day] - found).total()
            extra += (found - expected[day]).total()
    return Comparison(ours.rows, theirs.rows, missing, extra)


def _digest(row: Row) -> int:
    """Hash a row. Not `hash`: sums of Python's come out the same when two rows swap their values."""
    packed = struct.pack("<qd", row.time_ns, row.value + 0.0)  # -0.0 equals 0.0
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest())
