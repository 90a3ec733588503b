"""Dividing samples over files by UTC day, so that a query over some days opens few files.

1. A day with many samples gets a file of its own; all sparse days of one run share a file. So a
   device that brings a year of history, or nonsense times, makes one file and not hundreds.
2. Chunks come in file order by rising slots and are streamed through; memory stays bounded.
What must never live here: the manifest, or where samples come from.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from hub.ports.journal.telemetry import I64
from hub.ports.store.columns import Columns
from hub.ports.store.manifest import DataFile
from hub.ports.store.parquet import ParquetSink

DAY_NS: Final = 86_400 * 1_000_000_000
OWN_DAY: Final = 1 << 16  # samples that earn a day a file of its own
_MAX_OWN_DAYS: Final = 32  # files open at once while writing


def days_of(times: I64) -> I64:
    """Number of the UTC day of each time, days since 1970."""
    days: I64 = times // DAY_NS
    return days


def own_days(days: I64, samples: I64) -> I64:
    """Choose the days that get a file of their own.

    Args:
        days: i64[N], day numbers, repeated at will.
        samples: i64[N], how many samples each entry stands for.

    Returns:
        Sorted day numbers.
    """
    if not days.size:
        return np.empty(0, np.int64)
    distinct, place = np.unique(days, return_inverse=True)
    total = np.bincount(place, weights=samples)
    enough = max(OWN_DAY, float(total.sum()) / _MAX_OWN_DAYS)
    return distinct[total >= enough]


class PartitionedSink:
    """Writes the files of one run; use it as a context, then `entries` describes them.

    Args:
        folder: of the store.
        generation: of the manifest that will name the files; makes names unique.
        days: as `own_days` chose them.
    """

    def __init__(self, folder: Path, generation: int, days: I64) -> None:
        self._folder = folder
        self._generation = generation
        self._days = days
        self._sinks: dict[int, ParquetSink] = {}
        self._stack = ExitStack()

    def add(self, chunk: Columns) -> None:
        """Append samples in file order, of greater slots than all before."""
        day = days_of(chunk.time)
        place = np.searchsorted(self._days, day)
        own = np.zeros(len(chunk), bool)
        inside = place < self._days.size
        own[inside] = self._days[place[inside]] == day[inside]
        partition = np.where(own, place, -1)
        for number in np.unique(partition):
            mask = partition == number
            self._sink(int(number)).add(chunk if mask.all() else chunk.take(mask))

    def entries(self) -> Sequence[DataFile]:
        """Describe the finished files."""
        return [self._sinks[number].entry() for number in sorted(self._sinks)]

    def _sink(self, number: int) -> ParquetSink:
        if number not in self._sinks:
            label = "sparse"
            if number >= 0:
                label = str(np.datetime64(int(self._days[number]), "D"))
            path = self._folder / f"{label}-{self._generation:010d}.parquet"
            self._sinks[number] = self._stack.enter_context(ParquetSink(path))
        return self._sinks[number]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
