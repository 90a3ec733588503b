"""Samples in long form, as Parquet files hold them, and the orders they are put in.

1. One entry per sample: the row's columns are repeated for each of its samples.
2. The order of a file is (slot, metric, time, stream, seq); ties beyond that are by value, so
   that every phase of compaction gives the same order.
3. Bit `FIRST_OF_ROW` of `flags` marks one sample of each row; counting rows is counting it.
What must never live here: files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from hub.ports.journal.telemetry import (
    F64,
    I64,
    REASON_MASK,
    REASON_SHIFT,
    U16,
    U32,
    U64,
    TelemetryBatch,
)
from hub.ports.store.port import Visibility, Window

FIRST_OF_ROW: Final = 1 << 31
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Columns:
    """N samples, column by column; names and types are those of the Parquet files.

    Args:
        slot: u32[N], device slot.
        metric: u16[N], metric index.
        time: i64[N], ns since 1970 UTC, corrected.
        raw_time: i64[N], ns since 1970 UTC as the device said.
        value: f64[N].
        seq: u64[N].
        stream: u64[N].
        epoch: u32[N], owner epoch.
        flags: u32[N], as in the journal, and `FIRST_OF_ROW`.
    """

    slot: U32
    metric: U16
    time: I64
    raw_time: I64
    value: F64
    seq: U64
    stream: U64
    epoch: U32
    flags: U32

    def __len__(self) -> int:
        return int(self.slot.size)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Put columns one after the other; none give empty columns."""
        if len(parts) == 1:
            return parts[0]
        arrays = {
            name: np.concatenate([np.empty(0, dtype), *(getattr(part, name) for part in parts)])
            for name, dtype in DTYPES.items()
        }
        return cls(**arrays)

    def take(self, which: Index | Mask | slice) -> Self:
        """Select entries by position, mask or slice."""
        return type(self)(**{name: getattr(self, name)[which] for name in DTYPES})


DTYPES: Final[dict[str, np.dtype[Any]]] = dict(
    zip(
        (field.name for field in fields(Columns)),
        map(np.dtype, ("u4", "u2", "i8", "i8", "f8", "u8", "u8", "u4", "u4")),
        strict=True,
    )
)


def expand(batch: TelemetryBatch, rows: Index) -> Columns:
    """Turn rows of a batch into long form.

    Args:
        batch: where the rows are.
        rows: positions of the rows wanted, in the order wanted.
    """
    row, rank, sample = _positions(batch, rows)
    flags = batch.flags[row]
    flags[rank == 0] |= np.uint32(FIRST_OF_ROW)
    return Columns(
        slot=batch.slot[row],
        metric=batch.metric[sample],
        time=batch.time[row],
        raw_time=batch.raw_time[row],
        value=batch.value[sample],
        seq=batch.seq[row],
        stream=batch.stream[row],
        epoch=batch.epoch[row],
        flags=flags,
    )


def _positions(batch: TelemetryBatch, rows: Index) -> tuple[Index, Index, Index]:
    """Find for each sample of some rows its row, its rank in the row, and its place in the batch."""
    count = batch.count[rows].astype(np.intp)
    stop = np.cumsum(batch.count, dtype=np.intp)[rows]
    ends = np.cumsum(count)
    total = int(ends[-1]) if ends.size else 0
    rank = np.arange(total) - np.repeat(ends - count, count)
    return np.repeat(rows, count), rank, np.repeat(stop - count, count) + rank


def concatenate_batches(batches: Sequence[TelemetryBatch]) -> TelemetryBatch:
    """Put batches one after the other into one."""
    names = [field.name for field in fields(TelemetryBatch)]
    return TelemetryBatch(
        **{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}
    )


def file_order(columns: Columns, *, timely: bool = False) -> Columns:
    """Sort samples into the order of a file.

    Stable passes from the least to the most important key: numpy sorts 16-bit keys in linear
    time, and times that are nearly in order cost little. Full ties are rare and mended after.

    Args:
        columns: in any order.
        timely: the times of each series are in order already.
    """
    order = np.arange(len(columns)) if timely else np.argsort(columns.time, kind="stable")
    order = order[np.argsort(columns.metric[order], kind="stable")]
    ordered = columns.take(slot_order(columns.slot, order))
    tied = (
        (ordered.time[1:] == ordered.time[:-1])
        & (ordered.metric[1:] == ordered.metric[:-1])
        & (ordered.slot[1:] == ordered.slot[:-1])
    )
    if not tied.any():
        return ordered
    member = np.zeros(len(ordered), bool)
    member[1:] |= tied
    member[:-1] |= tied
    places = np.flatnonzero(member)
    few = ordered.take(places)
    keys = (few.value, few.seq, few.stream, few.time, few.metric, few.slot)
    order = np.arange(len(ordered))
    order[places] = places[np.lexsort(keys)]
    return ordered.take(order)


def slot_order(slot: U32, order: Index) -> Index:
    """Sort positions by slot, keeping their order within a slot.

    Args:
        slot: u32[N], slots of all entries.
        order: positions so far.
    """
    if not order.size:
        return order
    low = int(slot.min())
    spread = slot[order] - np.uint32(low)
    half = np.argsort(spread.astype(np.uint16), kind="stable")
    order = order[half]
    if int(slot.max()) - low > 0xFFFF:
        high = (spread[half] >> np.uint32(16)).astype(np.uint16)
        order = order[np.argsort(high, kind="stable")]
    return order


def visible_mask(epoch: U32, flags: U32, time: I64, visible: Visibility) -> Mask:
    """Tell which samples a query may see.

    Args:
        epoch: u32[N].
        flags: u32[N].
        time: i64[N], ns since 1970 UTC.
        visible: the rule.
    """
    reason = (flags & np.uint32(REASON_MASK)) >> np.uint32(REASON_SHIFT)
    shown = np.zeros((REASON_MASK >> REASON_SHIFT) + 1, bool)
    shown[[0, *visible.reasons]] = True
    owned = np.zeros(epoch.shape, bool)
    for window in visible.windows:
        owned |= _within(epoch, time, window)
    mask: Mask = shown[reason] & owned
    return mask


def _within(epoch: U32, time: I64, window: Window) -> Mask:
    mask: Mask = (epoch >= window.first_epoch) & (epoch <= window.last_epoch)
    if window.start is not None:
        mask &= time >= window.start
    if window.end is not None:
        mask &= time < window.end
    return mask


@dataclass(frozen=True, slots=True)
class Samples:
    """What a query needs of N samples, once slot and metric are settled.

    Args:
        time: i64[N], ns since 1970 UTC.
        value: f64[N].
        seq: u64[N].
        stream: u64[N].
        epoch: u32[N].
        flags: u32[N].
    """

    time: I64
    value: F64
    seq: U64
    stream: U64
    epoch: U32
    flags: U32

    def __len__(self) -> int:
        return int(self.time.size)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Put samples one after the other; none give empty ones."""
        if len(parts) == 1:
            return parts[0]
        arrays = {
            name: np.concatenate([np.empty(0, DTYPES[name]), *(getattr(p, name) for p in parts)])
            for name in SAMPLE_NAMES
        }
        return cls(**arrays)

    def take(self, which: Index | Mask | slice) -> Self:
        """Select entries by position, mask or slice."""
        return type(self)(**{name: getattr(self, name)[which] for name in SAMPLE_NAMES})

    def shown(self, visible: Visibility) -> Self:
        """Select the entries that a query may see."""
        mask = visible_mask(self.epoch, self.flags, self.time, visible)
        return self if mask.all() else self.take(mask)


def samples_of(batch: TelemetryBatch, rows: Index, metric: int) -> Samples:
    """Cut the samples of one metric out of some rows of a batch.

    Args:
        batch: where the rows are.
        rows: positions of the rows wanted, in the order wanted.
        metric: index of the metric.
    """
    row, rank, sample = _positions(batch, rows)
    wanted = np.flatnonzero(batch.metric[sample] == metric)
    row = row[wanted]
    flags = batch.flags[row]
    flags[rank[wanted] == 0] |= np.uint32(FIRST_OF_ROW)
    return Samples(
        time=batch.time[row],
        value=batch.value[sample[wanted]],
        seq=batch.seq[row],
        stream=batch.stream[row],
        epoch=batch.epoch[row],
        flags=flags,
    )


SAMPLE_NAMES: Final = tuple(field.name for field in fields(Samples))
NO_SAMPLES: Final = Samples(**{name: np.empty(0, DTYPES[name]) for name in SAMPLE_NAMES})
