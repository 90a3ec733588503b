"""Where a compaction run takes its samples from: journal blocks, or files to be merged.

1. A source gives chunks in file order, by rising slots; a device is never split over chunks.
2. A source knows beforehand how its samples spread over days.
What must never live here: writing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from hub.ports.journal.telemetry import I64, TelemetryBatch
from hub.ports.store.columns import (
    DTYPES,
    Columns,
    Index,
    concatenate_batches,
    expand,
    file_order,
    slot_order,
)
from hub.ports.store.manifest import DataFile
from hub.ports.store.parquet import ParquetSource
from hub.ports.store.partitions import days_of, own_days

CHUNK: Final = 1 << 19  # samples sorted at once


class Source(Protocol):
    """Samples to be written to new files."""

    def own_days(self) -> I64:
        """Choose the days that get a file of their own; see `partitions.own_days`."""

    def chunks(self) -> Iterator[Columns]:
        """Give all samples."""


class BatchSource:
    """Rows of the journal.

    Args:
        batches: one at least; copied together.
    """

    def __init__(self, batches: Sequence[TelemetryBatch]) -> None:
        self._batch = concatenate_batches(batches)

    def own_days(self) -> I64:
        """See `Source`."""
        return own_days(days_of(self._batch.time), self._batch.count.astype(np.int64))

    def chunks(self) -> Iterator[Columns]:
        """See `Source`."""
        batch = self._batch
        rows: Index = np.argsort(batch.time, kind="stable")
        rows = slot_order(batch.slot, rows)
        slot = batch.slot[rows]
        begins = np.flatnonzero(np.append(True, slot[1:] != slot[:-1]))
        samples = np.add.reduceat(batch.count[rows], begins, dtype=np.int64)
        edges = np.append(begins, rows.size)
        for first, last in runs(samples):
            yield file_order(expand(batch, rows[edges[first] : edges[last]]), timely=True)


class FileSource:
    """Samples of files that are to become fewer and larger.

    Args:
        folder: of the store.
        files: one at least.
    """

    def __init__(self, folder: Path, files: Sequence[DataFile]) -> None:
        self._files = files
        self._sources = [ParquetSource(folder / file.name) for file in files]

    def own_days(self) -> I64:
        """See `Source`."""
        days, counts = [], []
        for file, source in zip(self._files, self._sources, strict=True):
            first, last = (int(d) for d in days_of(np.array([file.min_time, file.max_time])))
            if first == last:
                days.append(np.array([first]))
                counts.append(np.array([file.samples]))
                continue
            for group in source.groups((file.min_slot, file.max_slot)):
                distinct, count = np.unique(
                    days_of(source.read(group, ("time",))["time"]), return_counts=True
                )
                days.append(distinct)
                counts.append(count)
        return own_days(np.concatenate(days), np.concatenate(counts))

    def chunks(self) -> Iterator[Columns]:
        """See `Source`."""
        weights = np.concatenate([source.slot_weights() for source in self._sources])
        weights = weights[np.argsort(weights[:, 0], kind="stable")]
        low = 0
        for _, last in runs(weights[:, 1]):
            high = int(weights[last - 1, 0])
            if high >= low:  # else the run ends with a slot that is done
                yield self._read(low, high)
                low = high + 1

    def _read(self, low: int, high: int) -> Columns:
        """Read the samples of devices `low` to `high` inclusive."""
        parts = []
        for source in self._sources:
            for group in source.groups((low, high)):
                columns = Columns(**source.read(group, tuple(DTYPES)))
                left, right = np.searchsorted(columns.slot, [low, high + 1])
                parts.append(columns.take(slice(left, right)))
        return file_order(Columns.concatenate(parts))


def runs(weights: I64) -> Iterator[tuple[int, int]]:
    """Group consecutive entries so that each group weighs about `CHUNK`.

    Args:
        weights: i64[N].

    Yields:
        First and last (exclusive) position of each group.
    """
    group = (np.cumsum(weights) - weights) // CHUNK
    edges = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    yield from zip(edges.tolist(), [*edges[1:].tolist(), weights.size], strict=True)
