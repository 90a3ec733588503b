"""Telemetry block payload: a batch of rows as a struct of arrays.

1. The columns, their order and their types are those of docs/architecture.md; all little-endian.
2. `encode` copies nothing and `decode` copies nothing: columns are views on the block.
3. A row is one instant; its samples are the next `count[i]` entries of `metric` and `value`.
4. An erased row keeps its identity, so that it is not taken again, and has neither times nor samples. The room that
   these had stays as a filler of zeros: a block never changes its size.
What must never live here: meaning. Gate, clock and owner rules fill the columns elsewhere.
"""

import struct
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from hub.errors import StorageError
from hub.ports.journal.block import Buffer

U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

# Bits of `flags`
CLOCK_MASK: Final = 0b11
HISTORICAL: Final = 1 << 2
TIME_CORRECTED: Final = 1 << 3
ANONYMOUS: Final = 1 << 4
REASON_SHIFT: Final = 5
REASON_MASK: Final = 0b111 << REASON_SHIFT
SOURCE_SHIFT: Final = 8
SOURCE_MASK: Final = 0b11 << SOURCE_SHIFT

_COUNTS = struct.Struct("<IIII")  # rows, samples, bytes of filler behind the columns, reserved
_ROW_COLUMNS: Final = (
    ("slot", "<u4"),
    ("epoch", "<u4"),
    ("flags", "<u4"),
    ("count", "<u4"),
    ("stream", "<u8"),
    ("seq", "<u8"),
    ("raw_time", "<i8"),
    ("time", "<i8"),
)
_SAMPLE_COLUMNS: Final = (("metric", "<u2"), ("value", "<f8"))
_ROW_WIDTHS: Final = tuple(np.dtype(dtype).itemsize for _, dtype in _ROW_COLUMNS)
_SAMPLE_WIDTHS: Final = tuple(np.dtype(dtype).itemsize for _, dtype in _SAMPLE_COLUMNS)
_PADDING = tuple(bytes(n) for n in range(8))


@dataclass(frozen=True, slots=True)
class TelemetryBatch:
    """Rows of telemetry, column by column. R rows, S samples.

    Args:
        slot: u32[R], device slot.
        epoch: u32[R], owner epoch at measurement.
        flags: u32[R], bits as named above (`CLOCK_MASK`, `HISTORICAL`, ...).
        count: u32[R], samples of the row; they sum up to S.
        stream: u64[R], stream id (big-endian bytes as an integer); 0 for anonymous rows.
        seq: u64[R], sequence number within the stream.
        raw_time: i64[R], ns since 1970 UTC as the device said.
        time: i64[R], ns since 1970 UTC, corrected; what queries use.
        metric: u16[S], metric index.
        value: f64[S].
    """

    slot: U32
    epoch: U32
    flags: U32
    count: U32
    stream: U64
    seq: U64
    raw_time: I64
    time: I64
    metric: U16
    value: F64

    @property
    def rows(self) -> int:
        """Number of rows, R."""
        return int(self.slot.size)

    @property
    def samples(self) -> int:
        """Number of samples, S."""
        return int(self.value.size)


def _padded(size: int) -> int:
    return size + -size % 8


def payload_size(rows: int, samples: int) -> int:
    """Bytes of the payload of a batch with this many rows and samples."""
    size = _COUNTS.size
    size += sum([_padded(rows * width) for width in _ROW_WIDTHS])
    size += sum([_padded(samples * width) for width in _SAMPLE_WIDTHS])
    return size


def encode(batch: TelemetryBatch, *, filler: int = 0) -> list[Buffer]:
    """Lay a batch out as the parts of a block payload.

    Args:
        batch: columns of the right type and contiguous are used as they are; others are copied.
        filler: zeros to put behind the columns, in bytes.

    Returns:
        Buffers to hand to `JournalWriter.append`; they refer to the arrays of the batch.

    Raises:
        StorageError: the columns do not fit one another (lengths, or counts against samples).
    """
    rows, samples = batch.rows, batch.samples
    parts: list[Buffer] = [_COUNTS.pack(rows, samples, filler, 0)]
    for columns, length in ((_ROW_COLUMNS, rows), (_SAMPLE_COLUMNS, samples)):
        for name, dtype in columns:
            column = np.ascontiguousarray(getattr(batch, name), dtype=dtype)
            if column.shape != (length,):
                raise StorageError(
                    f"Column {name} of a telemetry batch has shape {column.shape}, expected "
                    f"({length},); the batch was not built by this hub's decoder.",
                    column=name,
                )
            parts.append(column.view(np.uint8).data if length else b"")
            padding = _PADDING[-column.nbytes % 8]
            if padding:
                parts.append(padding)
    _check_counts(batch.count, samples)
    return [*parts, bytes(filler)] if filler else parts


def decode(payload: Buffer) -> TelemetryBatch:
    """Read the payload of a telemetry block.

    Args:
        payload: as `encode` laid it out; the columns are views on it and keep it alive.

    Returns:
        The batch; its arrays are read-only if the payload is.

    Raises:
        StorageError: sizes or counts contradict one another.
    """
    view = memoryview(payload)
    if view.nbytes < _COUNTS.size:
        raise StorageError(f"A telemetry payload of {view.nbytes} bytes has no counts.")
    rows, samples, filler, _ = _COUNTS.unpack_from(view)
    if view.nbytes != payload_size(rows, samples) + filler:
        raise StorageError(
            f"A telemetry payload of {view.nbytes} bytes cannot hold {rows} rows "
            f"and {samples} samples; the block was written by another version or is damaged.",
            rows=rows,
            samples=samples,
        )
    columns: dict[str, npt.NDArray[np.generic]] = {}
    position = _COUNTS.size
    for names, length in ((_ROW_COLUMNS, rows), (_SAMPLE_COLUMNS, samples)):
        for name, dtype in names:
            column = np.frombuffer(view, dtype=dtype, count=length, offset=position)
            columns[name] = column
            position += _padded(column.nbytes)
    batch = TelemetryBatch(**columns)  # type: ignore[arg-type]
    _check_counts(batch.count, samples)
    return batch


def without_rows(batch: TelemetryBatch, gone: npt.NDArray[np.bool_]) -> TelemetryBatch:
    """Take times and samples from rows; the rows keep their identity.

    Args:
        batch: any.
        gone: bool[R], the rows.
    """
    stays = np.repeat(~gone, batch.count)
    zero = np.int64(0)
    return replace(
        batch,
        count=np.where(gone, np.uint32(0), batch.count),
        raw_time=np.where(gone, zero, batch.raw_time),
        time=np.where(gone, zero, batch.time),
        metric=batch.metric[stays],
        value=batch.value[stays],
    )


def _check_counts(count: U32, samples: int) -> None:
    total = int(count.sum(dtype=np.uint64))
    if total != samples:
        raise StorageError(
            f"The rows of a telemetry batch count {total} samples but it holds {samples}; "
            "the batch is inconsistent and was not used."
        )
