"""What is counted of a product's telemetry, and the plain definition of every count.

1. Quantities are whole numbers of `10**-decimals` of the metric's unit. A value is rounded once, to
   the nearest (ties to even); sums and differences of what came of it are exact.
2. A tally depends on the rows with times in its period and, for the increase of a counter, on the
   newest row before it; never on the order in which they arrived.
3. A counter that falls began again at zero: the whole new reading is increase.

`tally` says what a meter means. Whatever counts faster must equal it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

LARGEST: Final = 1 << 53
"""Greatest quantity of one row that counts, in either direction: beyond it doubles skip integers."""

MOST: Final = 1 << 62
"""Greatest total, in either direction; more is absurd and stays at it."""


class Aggregation(IntEnum):
    """How the rows of a period become one quantity. The numbers stand in snapshots."""

    COUNT = 1
    SUM = 2
    MAX = 3
    LAST = 4
    INCREASE = 5
    UNIQUE = 6


NO_METRIC: Final = 65_535
"""Index of a metric that no model has: nothing of telemetry counts, only what programs tell."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Something that is counted.

    Args:
        code: name, unique in its model.
        metric: index of the metric that is read, `NO_METRIC` for none.
        aggregation: how.
        decimals: quantities are in `10**-decimals` of the metric's unit, 0 to 9.

    Raises:
        ValueError: the decimals are out of range.
    """

    code: str
    metric: int
    aggregation: Aggregation
    decimals: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= 9:
            raise ValueError(f"{self.decimals} decimals of meter {self.code} are not within 0 to 9")

    @property
    def scale(self) -> float:
        """Quantities per unit of the metric; exact in a double."""
        return float(10**self.decimals)


@dataclass(frozen=True, slots=True)
class Reading:
    """One stored row of a metric.

    Args:
        time: ns UTC.
        stream: with `seq`, which row it is; decides between rows of one time.
        seq: see `stream`.
        value: what was measured.
    """

    time: int
    stream: int
    seq: int
    value: float


def quantity(meter: Meter, value: float) -> int | None:
    """Return a value as a whole number of the meter's smallest quantity; `None`: too large to count."""
    scaled = value * meter.scale
    return round(scaled) if math.isfinite(scaled) and abs(scaled) <= LARGEST else None


def tally(meter: Meter, readings: Iterable[Reading], start: int, end: int) -> int:
    """Return what a meter counts in `[start, end)`.

    Args:
        meter: what is counted.
        readings: rows of its metric in any order, each once; at least those within the period and
            the newest before it.
        start: first instant of the period, ns UTC.
        end: end of it.

    Returns:
        The quantity. 0 where there is nothing to count; the greatest may be negative.
    """
    counted: list[int] = []
    before: int | None = None
    for reading in sorted(readings, key=lambda row: (row.time, row.stream, row.seq)):
        found = quantity(meter, reading.value)
        if found is None or reading.time >= end:
            continue
        if reading.time < start:
            before = found
        else:
            counted.append(found)
    return max(-MOST, min(MOST, _combined(meter.aggregation, counted, before)))


def _combined(aggregation: Aggregation, counted: list[int], before: int | None) -> int:
    match aggregation:
        case Aggregation.COUNT:
            return len(counted)
        case Aggregation.SUM:
            return sum(counted)
        case Aggregation.MAX:
            return max(counted, default=0)
        case Aggregation.LAST:
            return counted[-1] if counted else 0
        case Aggregation.UNIQUE:
            return len(set(counted))
        case Aggregation.INCREASE:
            total = 0
            for now in counted:
                if before is not None:
                    total += now - before if now >= before else now
                before = now
            return total
