"""Stage 4, decode: payloads to rows in columns.

1. Kernels decode what is plainly right; everything else goes, in its place in the order, to the reference decoders of
   `device_sdk.wire`, which alone decide what is an error and with which code.
2. A message of the wrong form, with a metric its model does not have, or in a wrong unit becomes a `Rejection`;
   a row that is not finite is rejected by itself. What is rejected leaves no row behind.
3. Times are corrected here, once, so that the journal holds what was decided.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_sdk.wire import cbor
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.flat import FlatRow
from device_sdk.wire.pack import OpenPack, open_pack
from device_sdk.wire.senml import decode_senml
from device_sdk.wire.units import unit_matches
from hub.pipeline.decode_kernels import DONE, GROW, correct_times, decode_frames
from hub.pipeline.frames import (
    CHANNEL_JSON,
    CHANNEL_PACK,
    QUARANTINE,
    REFUSE,
    SOURCE_JSON,
    SOURCE_PACK,
    SOURCE_SENML,
    Frames,
    Rows,
)
from hub.pipeline.metric_table import MetricTable
from hub.pipeline.outcome import Lost, Rejection
from hub.ports.journal.telemetry import ANONYMOUS, HISTORICAL, REASON_SHIFT, SOURCE_SHIFT

EARLIEST_PLAUSIBLE = 1_577_836_800_000_000_000  # 2020-01-01, docs/wire.md "Time"
_CLOCK_SYNCED = 2
_MISSING = -1
_SALVAGE_LIMIT = 1 << 20
_MAX_BAD_RUNS = 8


class Decoder:
    """Decodes micro-batches for the devices and the catalogue of one gate snapshot.

    Args:
        model: u16[N], model number by slot.
        metrics: the catalogue.
    """

    def __init__(self, model: NDArray[np.uint16], metrics: MetricTable) -> None:
        self._model = np.ascontiguousarray(model, np.uint16)
        self._metrics = metrics
        # Which catalogue row stood at a position of the last message: devices repeat themselves.
        self._guess = np.full(64, -1, np.int64)

    def decode(
        self, frames: Frames, rows: Rows, received: int
    ) -> tuple[list[Rejection], list[Lost]]:
        """Fill `rows` from the frames that the gate let through.

        Args:
            frames: authenticated and gated.
            rows: cleared and filled; grown where needed.
            received: time of receipt, ns; given to rows that carry no time.

        Returns:
            What was rejected, refused frames included, and what devices reported lost.
        """
        rows.clear()
        rejections = self._refused(frames)
        lost: list[Lost] = []
        at = 0
        while at < frames.count:
            status, at = self._run_kernel(frames, rows, received, at)
            if status == DONE:
                break
            if status == GROW:
                rows.grow(2 * rows.row_capacity, 2 * rows.sample_capacity)
                continue
            self._decode_by_reference(frames, at, rows, received, rejections, lost)
            at += 1
        correct_times(
            rows.rows,
            received,
            EARLIEST_PLAUSIBLE,
            rows.frame,
            rows.flags,
            rows.raw_time,
            rows.time,
        )
        return rejections, lost

    @staticmethod
    def set_aside(frames: Frames, i: int, detail: str, *, salvage: bool) -> Rejection:
        """A rejection of message `i` without decoding it.

        Args:
            frames: authenticated.
            i: which message.
            detail: why.
            salvage: look for the identity of its rows, so that its device can be told.
        """
        data = frames.payload_bytes(i)
        salvage = salvage and frames.slot[i] != 0 and frames.channel[i] == CHANNEL_PACK
        stream, start, end = _salvaged_identity(data) if salvage else (None, 0, 0)
        topic, slot = frames.topic_text(i), int(frames.slot[i])
        return Rejection(slot, topic, RejectCode.MALFORMED, detail, data, stream, start, end)

    def _run_kernel(self, frames: Frames, rows: Rows, received: int, at: int) -> tuple[int, int]:
        f, r, m = frames, rows, self._metrics
        status, stopped, r.rows, r.samples = decode_frames(
            f.buffer,
            at,
            f.count,
            received,
            f.payload,
            f.payload_size,
            f.slot,
            f.channel,
            f.verdict,
            f.reason,
            f.epoch,
            self._model,
            m.names,
            m.sizes,
            m.models,
            m.index,
            m.table,
            self._guess,
            r.rows,
            r.samples,
            r.slot,
            r.epoch,
            r.flags,
            r.width,
            r.frame,
            r.stream,
            r.seq,
            r.raw_time,
            r.metric,
            r.value,
            r.value.view(np.uint64),
        )
        return int(status), int(stopped)

    def _refused(self, frames: Frames) -> list[Rejection]:
        """What the gate refused: forged topics and devices that may not send (throttled ones keep their data)."""
        refused = np.flatnonzero(frames.verdict[: frames.count] == REFUSE)
        return [
            Rejection(
                slot=int(frames.slot[i]),
                topic=frames.topic_text(i),
                code=RejectCode.REFUSED,
                detail=_WHY_REFUSED[int(frames.auth[i])],
                payload=frames.payload_bytes(i),
            )
            for i in refused.tolist()
        ]

    def _decode_by_reference(
        self,
        frames: Frames,
        i: int,
        rows: Rows,
        received: int,
        rejections: list[Rejection],
        lost: list[Lost],
    ) -> None:
        data = frames.payload_bytes(i)
        slot = int(frames.slot[i])
        try:
            if frames.channel[i] == CHANNEL_PACK:
                self._pack(frames, i, data, open_pack(data), rows, rejections, lost)
            elif frames.channel[i] == CHANNEL_JSON:
                self._flat(frames, i, FlatRow.decode(data), rows, received)
            else:
                self._senml(frames, i, data, rows, received)
        except WireError as error:
            stream, start, end = (
                _salvaged_identity(data) if frames.channel[i] == CHANNEL_PACK else (None, 0, 0)
            )
            rejections.append(
                Rejection(
                    slot, frames.topic_text(i), error.code, str(error), data, stream, start, end
                )
            )
        except _UnknownMetricError as error:
            rejections.append(
                Rejection(
                    slot,
                    frames.topic_text(i),
                    error.code,
                    str(error),
                    data,
                    error.stream,
                    error.start,
                    error.end,
                )
            )

    def _pack(
        self,
        frames: Frames,
        i: int,
        data: bytes,
        pack: OpenPack,
        rows: Rows,
        rejections: list[Rejection],
        lost: list[Lost],
    ) -> None:
        slot = int(frames.slot[i])
        stream, first, count = int.from_bytes(pack.stream, "big"), pack.first_seq, pack.rows
        index = [
            self._index(slot, column.name, None, stream, first, first + count)
            for column in pack.columns
        ]
        present = np.ones((count, len(index)), np.bool_)
        values = np.zeros((count, len(index)))
        for m, column in enumerate(pack.columns):
            if column.presence is not None:
                bits = np.frombuffer(column.presence, np.uint8)
                present[:, m] = np.unpackbits(bits, count=count, bitorder="little").astype(np.bool_)
            values[present[:, m], m] = _quiet(np.asarray(column.values.numbers()))
        finite = np.asarray((np.isfinite(values) | ~present).all(axis=1), np.bool_)
        if len(_runs(~finite)) > _MAX_BAD_RUNS:
            finite[:] = (
                False  # so many gaps cannot be told apart in a receipt: the pack goes as a whole
            )
        for start, end in _runs(~finite):
            rejections.append(
                Rejection(
                    slot=slot,
                    topic=frames.topic_text(i),
                    code=RejectCode.NOT_FINITE,
                    detail="a value is NaN or infinite",
                    payload=data,
                    stream=stream,
                    start=first + start,
                    end=first + end,
                )
            )
        steps = np.asarray(pack.offsets.numbers(), np.int64)
        times = (np.array(steps, dtype=object) * pack.unit + pack.base).astype(np.int64)
        flags = (
            int(pack.clock) | (HISTORICAL if pack.historical else 0) | (SOURCE_PACK << SOURCE_SHIFT)
        )
        _append(
            rows,
            frames,
            i,
            flags,
            pack.owner_epoch,
            stream,
            np.arange(first, first + count, dtype=np.uint64)[finite],
            times[finite],
            np.asarray(index, np.uint16),
            present[finite],
            values[finite],
        )
        lost.extend(Lost(slot, stream, start, end) for start, end in pack.lost)

    def _flat(self, frames: Frames, i: int, row: FlatRow, rows: Rows, received: int) -> None:
        slot = int(frames.slot[i])
        stream = None if row.stream is None else int.from_bytes(row.stream, "big")
        seq = row.seq or 0
        index = [self._index(slot, name, None, stream, seq, seq + 1) for name in row.values]
        flags = _CLOCK_SYNCED | (SOURCE_JSON << SOURCE_SHIFT) | (ANONYMOUS if stream is None else 0)
        _append(
            rows,
            frames,
            i,
            flags,
            int(frames.epoch[i]),
            stream or 0,
            np.array([seq], np.uint64),
            np.array([received if row.time is None else row.time], np.int64),
            np.asarray(index, np.uint16),
            np.ones((1, len(index)), np.bool_),
            np.array([list(row.values.values())], np.float64),
        )

    def _senml(self, frames: Frames, i: int, data: bytes, rows: Rows, received: int) -> None:
        slot = int(frames.slot[i])
        flags = _CLOCK_SYNCED | (SOURCE_SENML << SOURCE_SHIFT) | ANONYMOUS
        decoded = decode_senml(data, received)
        indexed = [
            [self._index(slot, name, unit, None, 0, 0) for name, (_, unit) in row.values.items()]
            for row in decoded
        ]
        for row, index in zip(decoded, indexed, strict=True):
            _append(
                rows,
                frames,
                i,
                flags,
                int(frames.epoch[i]),
                0,
                np.zeros(1, np.uint64),
                np.array([row.time], np.int64),
                np.asarray(index, np.uint16),
                np.ones((1, len(index)), np.bool_),
                np.array([[value for value, _ in row.values.values()]], np.float64),
            )

    def _index(
        self, slot: int, name: str, unit: str | None, stream: int | None, start: int, end: int
    ) -> int:
        model = int(self._model[slot])
        row = self._metrics.by_name.get((model, name), _MISSING)
        if row == _MISSING:
            raise _UnknownMetricError(
                RejectCode.UNKNOWN_METRIC,
                f"the product model has no metric {name!r}",
                stream,
                start,
                end,
            )
        expected = self._metrics.units[row]
        if unit is not None and not unit_matches(unit, expected):
            raise _UnknownMetricError(
                RejectCode.WRONG_UNIT,
                f"metric {name} is in {expected}, not in {unit!r}",
                stream,
                start,
                end,
            )
        return int(self._metrics.index[row])


class _UnknownMetricError(Exception):
    """A metric or unit that the product model does not have; carries the identity it concerns."""

    def __init__(
        self, code: RejectCode, message: str, stream: int | None, start: int, end: int
    ) -> None:
        super().__init__(message)
        self.code, self.stream, self.start, self.end = code, stream, start, end


_WHY_REFUSED = {
    0: "the device may not send data (revoked, or not known to the gate)",
    1: "the topic is not of the form root/shard/device/up/channel with a telemetry channel",
    2: "no device has this id",
    3: "the shard in the topic is not the device's",
}


def _append(
    rows: Rows,
    frames: Frames,
    i: int,
    flags: int,
    epoch: int,
    stream: int,
    seq: NDArray[np.uint64],
    times: NDArray[np.int64],
    index: NDArray[np.uint16],
    present: NDArray[np.bool_],
    values: NDArray[np.float64],
) -> None:
    """Append R rows of one message; `present` and `values` are [R, M], `index` [M]."""
    n, samples = times.size, int(present.sum())
    rows.grow(rows.rows + n, rows.samples + samples)
    if frames.verdict[i] == QUARANTINE:
        flags |= int(frames.reason[i]) << REASON_SHIFT
    new = slice(rows.rows, rows.rows + n)
    rows.slot[new] = frames.slot[i]
    rows.epoch[new] = epoch
    rows.flags[new] = flags
    rows.width[new] = present.sum(axis=1)
    rows.frame[new] = i
    rows.stream[new] = stream
    rows.seq[new] = seq
    rows.raw_time[new] = times
    cells = slice(rows.samples, rows.samples + samples)
    rows.metric[cells] = np.broadcast_to(index, present.shape)[present]
    rows.value[cells] = values[present]
    rows.rows += n
    rows.samples += samples


def _quiet(numbers: NDArray[Any]) -> NDArray[Any]:
    """The elements of a column with each that is not finite as a quiet NaN; they are rejected whatever their bits say.

    A signalling NaN (IEEE 754, 6.2) is an invalid operand even of a conversion to float64, of which numpy warns.
    """
    if numbers.dtype.kind != "f":
        return numbers
    return np.where(np.isfinite(numbers), numbers, numbers.dtype.type(np.nan))


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of True as (start, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _salvaged_identity(data: bytes) -> tuple[int | None, int, int]:
    """Stream and seqs of a pack that broke some rule, if they can still be read: then its rejection is receipted."""
    try:
        fields: Any = cbor.decode(data, max_bytes=_SALVAGE_LIMIT)
        stream, first, offsets = fields[1], fields[2], fields[8]
        size = {78: 4, 79: 8}[offsets.tag]
        count = len(offsets.value) // size
    except (WireError, LookupError, TypeError, AttributeError):
        return None, 0, 0
    if (
        type(stream) is not bytes
        or len(stream) != 8
        or type(first) is not int
        or not 0 <= first < 1 << 62
    ):
        return None, 0, 0
    return int.from_bytes(stream, "big"), first, first + count
