"""Rows on their way into packs: validated, buffered in memory, turned into columns.

1. A name or value that the wire cannot carry is refused at `check`, where the caller can still see
   it.
2. Runs share one owner epoch, clock state and historical flag; a change of any starts a new run.
3. Nothing here touches a disk or a clock.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from device_sdk.wire.codes import ClockState
from device_sdk.wire.pack import is_metric_name

Row = tuple[int, Mapping[str, float]]
"""Time in ns since 1970, and numbers by metric name."""

MAX_METRICS = 1_024
"""Metrics that one row may have."""

_known_names: set[str] = set()


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all rows of a pack share."""

    owner_epoch: int
    clock: ClockState
    historical: bool


@dataclass(slots=True)
class Run:
    """Rows that share a stamp."""

    stamp: Stamp
    rows: list[Row] = field(default_factory=list)


class RowBuffer:
    """Rows measured but not yet in the spool. Not thread-safe; its owner locks."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self.count = 0

    def add(self, stamp: Stamp, row: Row) -> None:
        """Append a row that has been checked."""
        if not self._runs or self._runs[-1].stamp != stamp:
            self._runs.append(Run(stamp))
        self._runs[-1].rows.append(row)
        self.count += 1

    def take(self) -> list[Run]:
        """Return all runs and start afresh."""
        runs, self._runs, self.count = self._runs, [], 0
        return runs


def check(time: int, values: Mapping[str, float]) -> Row:
    """Return the row if the wire can carry it.

    Raises:
        ValueError: it has no metric, a bad name, a value that is no finite number, or a time
            outside int64 ns.
    """
    if not values:
        raise ValueError("A row needs at least one metric.")
    if len(values) > MAX_METRICS:
        raise ValueError(f"A row has at most {MAX_METRICS} metrics.")
    for name, value in values.items():
        if name not in _known_names:
            _check_name(name)
        try:
            finite = math.isfinite(value)
        except (TypeError, OverflowError):
            finite = False
        if not finite:
            raise ValueError(f"The value of {name} must be a finite number.")
    if not -(1 << 63) <= time < 1 << 63:
        raise ValueError("A time must fit 64 bits of nanoseconds since 1970 (years 1678 to 2262).")
    return time, dict(values)


def columns(rows: Sequence[Row]) -> dict[str, list[float | None]]:
    """Turn rows into one list a metric, None where a row lacks it."""
    first = rows[0][1].keys()
    if all(values.keys() == first for _, values in rows):
        return {name: [float(values[name]) for _, values in rows] for name in first}
    names: dict[str, None] = {}
    for _, values in rows:
        names.update(dict.fromkeys(values))
    table: dict[str, list[float | None]] = {}
    for name in names:
        found = (values.get(name) for _, values in rows)
        table[name] = [None if value is None else float(value) for value in found]
    return table


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not is_metric_name(name):
        raise ValueError(
            f"{name!r} is not a metric name: a lower-case letter, then 1 to 47 of a-z, 0-9 and _."
        )
    if len(_known_names) < 4096:
        _known_names.add(name)
