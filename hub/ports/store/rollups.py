"""Aggregates of samples by minute, hour and day, and the files that hold them.

1. An entry is of one (slot, metric, owner epoch, quarantine reason) and bucket, so who may see it is decided at
   the query as for rows. It says when its first and last rows were measured: an entry that lies partly outside of
   what somebody may see does not show to them.
2. Files hold partial aggregates: what arrives late makes another entry, and readers combine them. So each level equals
   the aggregates of the rows, whatever the order of arrival.
3. A file is sorted by (slot, metric, start, epoch, reason).
What must never live here: which files are live.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hub.ports.journal.durability import FILE_MODE, sync_file
from hub.ports.journal.telemetry import REASON_MASK, REASON_SHIFT, U16, U32
from hub.ports.store.buckets import Partial
from hub.ports.store.columns import Columns, Index, Mask
from hub.ports.store.levels import Level
from hub.ports.store.manifest import RollupFile
from hub.ports.store.parquet import ParquetSource
from hub.ports.store.port import Visibility
from hub.ports.store.sources import runs

ROW_GROUP: Final = 1 << 14
_KEYS: Final = ("slot", "metric", "epoch", "reason")
_PARTIAL: Final = tuple(field.name for field in fields(Partial))
_DTYPES: Final = {
    "slot": np.dtype("u4"),
    "metric": np.dtype("u2"),
    "epoch": np.dtype("u4"),
    "reason": np.dtype("u2"),
    **dict.fromkeys(_PARTIAL, np.dtype("f8")),
    **dict.fromkeys(("start", "count", "first_time", "time"), np.dtype("i8")),
    **dict.fromkeys(("first_seq", "first_stream", "seq", "stream"), np.dtype("u8")),
}
NAMES: Final = tuple(_DTYPES)
_SCHEMA: Final = pa.schema(
    [pa.field(name, pa.from_numpy_dtype(dtype), nullable=False) for name, dtype in _DTYPES.items()]
)
_MAX_FILES: Final = 48
"""Stretches of time that a run gives files of their own."""
_DELTAS: Final = ("start", "count", "first_time", "time", "first_seq", "seq")


@dataclass(frozen=True, slots=True)
class Rollup:
    """Aggregates, one entry each.

    Args:
        slot: u32[N], device slot.
        metric: u16[N], metric index.
        epoch: u32[N], owner epoch.
        reason: u16[N], quarantine reason, 0: accepted.
        partial: the aggregates, N of them.
    """

    slot: U32
    metric: U16
    epoch: U32
    reason: U16
    partial: Partial

    def __len__(self) -> int:
        return int(self.slot.size)

    @classmethod
    def of(cls, columns: Columns, width: int) -> Self:
        """Aggregate samples over buckets.

        Args:
            columns: in the order of a file.
            width: of a bucket, ns.
        """
        reason = ((columns.flags & np.uint32(REASON_MASK)) >> np.uint32(REASON_SHIFT)).astype("u2")
        single = Partial.single(columns.time, columns.seq, columns.stream, columns.value, width)
        whole = cls(columns.slot, columns.metric, columns.epoch, reason, single)
        return whole.reduced().combined()

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Put entries one after the other; there must be one piece at least."""
        keys = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _KEYS}
        return cls(partial=Partial.concatenated([part.partial for part in parts]), **keys)

    def combined(self) -> Self:
        """Sort into the order of a file and leave one entry per key and bucket."""
        keys = (self.reason, self.epoch, self.partial.start, self.metric, self.slot)
        return self.take(np.lexsort(keys)).reduced()

    def take(self, which: Index | Mask | slice) -> Self:
        """Select entries by position or mask."""
        keys = {name: getattr(self, name)[which] for name in _KEYS}
        return type(self)(partial=self.partial.take(which), **keys)

    def shown(self, visible: Visibility) -> Partial:
        """Return the entries all of whose rows a query may see."""
        owned = np.zeros(len(self), bool)
        first, last = self.partial.first_time, self.partial.time
        for window in visible.windows:
            inside = (self.epoch >= window.first_epoch) & (self.epoch <= window.last_epoch)
            if window.start is not None:
                inside &= first >= window.start
            if window.end is not None:
                inside &= last < window.end
            owned |= inside
        return self.partial.take(owned & np.isin(self.reason, [0, *visible.reasons]))

    def reduced(self) -> Self:
        """Make one entry of neighbours with the same key and bucket."""
        changes = np.ones(len(self), bool)
        changes[1:] = self.partial.start[1:] != self.partial.start[:-1]
        for name in _KEYS:
            key = getattr(self, name)
            changes[1:] |= key[1:] != key[:-1]
        edges = np.flatnonzero(changes)
        keys = {name: getattr(self, name)[edges] for name in _KEYS}
        return type(self)(partial=self.partial.reduced(edges), **keys)


def write_rollups(
    folder: Path, level: Level, generation: int, pieces: Iterator[Rollup]
) -> list[RollupFile]:
    """Write the files of a run: one for each stretch of time that has much, one for all others.

    Args:
        folder: of the store.
        level: of the entries.
        generation: of the manifest that will name the files.
        pieces: by rising slots; no device is in two.

    Raises:
        OSError: a file could not be written.
    """
    sinks: dict[int | None, _Sink] = {}
    try:
        for piece in pieces:
            period = piece.partial.start // level.period
            for number in np.unique(period).tolist():
                if number not in sinks and len(sinks) < _MAX_FILES:
                    name = f"{level.name}-{number}-{generation:010d}.parquet"
                    sinks[number] = _Sink(folder / name)
            others = ~np.isin(period, [number for number in sinks if number is not None])
            if others.any() and None not in sinks:
                name = f"{level.name}-sparse-{generation:010d}.parquet"
                sinks[None] = _Sink(folder / name)
            for own, sink in sinks.items():
                some = others if own is None else period == own
                if some.any():
                    sink.add(piece.take(some))
    finally:
        for sink in sinks.values():
            sink.close()
    return [sink.entry(level) for sink in sinks.values()]


class _Sink:
    """Writes one file from sorted pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        os.close(fd)  # made with its mode; Arrow opens it by name
        self._writer = pq.ParquetWriter(
            path,
            _SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=[*_KEYS, "first_stream", "stream", "rest"],
            column_encoding={
                **dict.fromkeys(("low", "high", "total", "first", "value"), "PLAIN"),
                **dict.fromkeys(_DELTAS, "DELTA_BINARY_PACKED"),
            },
            write_statistics=["slot", "metric", "start"],
        )
        self._entries = 0
        self._slots: list[int] = []
        self._times: list[int] = []
        self._waiting: list[Rollup] = []

    def add(self, piece: Rollup) -> None:
        """Append entries that come after all earlier ones in the order of a file."""
        self._entries += len(piece)
        self._slots += [int(piece.slot[0]), int(piece.slot[-1])]
        self._times += [int(piece.partial.start.min()), int(piece.partial.start.max())]
        self._waiting.append(piece)
        if sum(map(len, self._waiting)) >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """End the file and put it on the disk."""
        self._flush()
        self._writer.close()
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            sync_file(fd)
        finally:
            os.close(fd)

    def entry(self, level: Level) -> RollupFile:
        """Describe the finished file."""
        return RollupFile(
            name=self._path.name,
            level=level.name,
            entries=self._entries,
            min_slot=min(self._slots),
            max_slot=max(self._slots),
            min_time=min(self._times),
            max_time=max(self._times),
            size=self._path.stat().st_size,
        )

    def _flush(self) -> None:
        if not self._waiting:
            return
        whole = Rollup.concatenate(self._waiting)
        self._waiting = []
        arrays = [getattr(whole, name) for name in _KEYS]
        arrays += [getattr(whole.partial, name) for name in _PARTIAL]
        table = pa.table([pa.array(array) for array in arrays], schema=_SCHEMA)
        self._writer.write_table(table, row_group_size=ROW_GROUP)


def from_columns(data: dict[str, Any]) -> Rollup:
    """Make entries of the columns of a file."""
    keys = {name: data[name] for name in _KEYS}
    return Rollup(partial=Partial(**{name: data[name] for name in _PARTIAL}), **keys)


class RollupSource:
    """Entries of files that are to become fewer, or to lose some entries.

    Args:
        folder: of the store.
        files: one at least, all of one level.
    """

    def __init__(self, folder: Path, files: Sequence[RollupFile]) -> None:
        self._sources = [open_rollups(folder / file.name) for file in files]

    def chunks(self) -> Iterator[Rollup]:
        """Give all entries, combined, by rising slots; a device is never split over chunks."""
        weights = np.concatenate([source.slot_weights() for source in self._sources])
        weights = weights[np.argsort(weights[:, 0], kind="stable")]
        low = 0
        for _, last in runs(weights[:, 1]):
            high = int(weights[last - 1, 0])
            if high >= low:  # else the run ends with a slot that is done
                yield self._read(low, high)
                low = high + 1

    def _read(self, low: int, high: int) -> Rollup:
        parts = []
        for source in self._sources:
            for group in source.groups((low, high)):
                rollup = from_columns(source.read(group, NAMES))
                left, right = np.searchsorted(rollup.slot, [low, high + 1])
                parts.append(rollup.take(slice(left, right)))
        return Rollup.concatenate(parts).combined()


def open_rollups(path: Path) -> ParquetSource:
    """Open a file of aggregates for reading."""
    return ParquetSource(path, NAMES, "start")
