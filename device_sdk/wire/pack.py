"""Packs: runs of rows in columns, the form in which measurements travel.

1. A pack is immutable: the same rows give the same bytes, and `pack_hash` names them.
2. The encoder picks the smallest representation that is exact; it never rounds a time or a value.
3. `open_pack` checks every rule of docs/wire.md on the bytes and leaves the arrays as they are (for
   readers that work in columns); `decode_pack` is the same plus plain Python numbers.
4. Values that are NaN or infinite pass through: the reader rejects those rows by themselves.
"""

import hashlib
import math
import re
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from device_sdk.wire import cbor
from device_sdk.wire.codes import ClockState, RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.fields import Fields
from device_sdk.wire.messages import clock_state

MAX_BYTES = 262_144
MAX_ROWS = 8_192

INT16, INT32, INT64, FLOAT32, FLOAT64 = 77, 78, 79, 85, 86
"""RFC 8746 tags of little-endian typed arrays."""

_TYPECODE = {INT16: "h", INT32: "i", INT64: "q", FLOAT32: "f", FLOAT64: "d"}
_SIZE = {INT16: 2, INT32: 4, INT64: 8, FLOAT32: 4, FLOAT64: 8}
_METRIC = re.compile(r"[a-z][a-z0-9_]{1,47}", re.ASCII)
_SEQ_LIMIT = 1 << 63
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Pack:
    """A run of rows of one stream.

    Attributes:
        stream: 8 bytes.
        first_seq: seq of the first row.
        owner_epoch: ownership in force at measurement; 0: nobody yet.
        boot: 8 bytes, the boot in which it was measured.
        clock: state of the device's clock.
        historical: recorded earlier and sent in bulk; its times are never corrected.
        times: ns since 1970 of each row.
        metrics: for each metric one value a row; None where the row lacks it.
        lost: `(start, end)` of rows before this pack that will never come, end exclusive.
    """

    stream: bytes
    first_seq: int
    owner_epoch: int
    boot: bytes
    clock: ClockState
    historical: bool
    times: Sequence[int]
    metrics: Mapping[str, Sequence[float | None]]
    lost: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TypedArray:
    """An RFC 8746 typed array: its tag, and its elements as little-endian bytes."""

    tag: int
    data: bytes

    def __len__(self) -> int:
        return len(self.data) // _SIZE[self.tag]

    def numbers(self) -> "array[Any]":
        """Return the elements as an `array.array` in the machine's byte order."""
        elements = array(_TYPECODE[self.tag], self.data)
        if sys.byteorder == "big":
            elements.byteswap()
        return elements


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of a pack.

    Attributes:
        name: metric name.
        values: one element for each row that has the metric.
        presence: None when every row has it; else bit `i & 7` of byte `i >> 3` is set where row `i`
            has it.
    """

    name: str
    values: TypedArray
    presence: bytes | None


@dataclass(frozen=True, slots=True)
class OpenPack:
    """A pack that has been checked but whose columns are still bytes.

    The time of row `i` is `base + unit * offsets[i]`, known to fit int64.
    """

    stream: bytes
    first_seq: int
    owner_epoch: int
    boot: bytes
    clock: ClockState
    historical: bool
    base: int
    unit: int
    offsets: TypedArray
    columns: tuple[Column, ...]
    lost: tuple[tuple[int, int], ...] = ()

    @property
    def rows(self) -> int:
        """Count of rows."""
        return len(self.offsets)


def is_metric_name(name: str) -> bool:
    """Tell whether `name` may name a metric: `[a-z][a-z0-9_]{1,47}`."""
    return _METRIC.fullmatch(name) is not None


def pack_hash(data: bytes) -> bytes:
    """Return the hash that names a pack: the first 16 bytes of SHA-256 over its bytes."""
    return hashlib.sha256(data).digest()[:16]


def encode_pack(pack: Pack) -> bytes:
    """Write a pack.

    Raises:
        WireError: the rows break a rule of the page; `TOO_LARGE` when there are too many rows or
            bytes.
    """
    rows = len(pack.times)
    _check_rows(pack.first_seq, rows)
    base, unit, offsets = _encode_times(pack.times)
    covered = 0
    metrics = []
    for name, values in pack.metrics.items():
        if len(values) != rows:
            raise WireError(f"pack: metric {name} has {len(values)} values for {rows} rows")
        bits = _presence_bits(values)
        covered |= bits
        presence = None if bits == (1 << rows) - 1 else bits.to_bytes((rows + 7) // 8, "little")
        present = [value for value in values if value is not None]
        metrics.append([_metric_name(name), _tagged(_encode_values(present)), presence])
    _check_cover(covered, rows, len(metrics))
    fields: dict[int, Any] = {
        0: cbor.VERSION,
        1: pack.stream,
        2: pack.first_seq,
        3: pack.owner_epoch,
        4: pack.boot,
        5: int(pack.clock),
        6: pack.historical,
        7: base,
        8: _tagged(offsets),
    }
    if unit != 1:
        fields[9] = unit
    fields[10] = metrics
    if pack.lost:
        fields[11] = [seq for bounds in pack.lost for seq in bounds]
        _lost(fields[11], pack.first_seq)
    _check_identity(Fields("pack", fields))
    data = cbor.encode(fields)
    if len(data) > MAX_BYTES:
        raise WireError(f"pack is longer than {MAX_BYTES} bytes", RejectCode.TOO_LARGE)
    return data


def open_pack(data: bytes) -> OpenPack:
    """Check a pack by every rule of the page and return it with its columns as bytes.

    Raises:
        WireError: with code `TOO_LARGE`, `BAD_TIME` or `MALFORMED`.
    """
    fields = Fields("pack", cbor.decode_map(data, max_bytes=MAX_BYTES))
    _check_identity(fields)
    offsets = _typed_array(fields.values.get(8), (INT32, INT64), "time offsets")
    rows = len(offsets)
    first_seq = fields.uint(2)
    _check_rows(first_seq, rows)
    unit = fields.uint(9) if fields.has(9) else 1
    if unit == 0:
        raise fields.wrong(9, "at least 1")
    base = fields.values.get(7)
    if type(base) is not int:
        raise fields.wrong(7, "an integer")
    steps = offsets.numbers()
    if base + unit * min(steps) < _INT64_MIN or base + unit * max(steps) > _INT64_MAX:
        raise WireError("pack: a time does not fit 64 bits of nanoseconds", RejectCode.BAD_TIME)
    columns = tuple(_column(item, rows) for item in fields.rows(10, 3))
    if len({column.name for column in columns}) != len(columns):
        raise WireError("pack: a metric occurs twice")
    everything = (1 << rows) - 1
    covered = 0
    for column in columns:
        bits = everything
        if column.presence is not None:
            bits = int.from_bytes(column.presence, "little")
        covered |= bits
    _check_cover(covered, rows, len(columns))
    return OpenPack(
        stream=fields.octets(1, 8),
        first_seq=first_seq,
        owner_epoch=fields.uint(3, 32),
        boot=fields.octets(4, 8),
        clock=clock_state(fields, 5),
        historical=fields.flag(6),
        base=base,
        unit=unit,
        offsets=offsets,
        columns=columns,
        lost=_lost(fields.values.get(11, []), first_seq),
    )


def decode_pack(data: bytes) -> Pack:
    """Read a pack into plain Python numbers.

    Raises:
        WireError: as `open_pack`.
    """
    opened = open_pack(data)
    rows = opened.rows
    metrics: dict[str, Sequence[float | None]] = {}
    for column in opened.columns:
        values = [float(value) for value in column.values.numbers()]
        if column.presence is None:
            metrics[column.name] = values
        else:
            bits = int.from_bytes(column.presence, "little")
            present = iter(values)
            metrics[column.name] = [next(present) if bits >> i & 1 else None for i in range(rows)]
    return Pack(
        stream=opened.stream,
        first_seq=opened.first_seq,
        owner_epoch=opened.owner_epoch,
        boot=opened.boot,
        clock=opened.clock,
        historical=opened.historical,
        times=[opened.base + opened.unit * step for step in opened.offsets.numbers()],
        metrics=metrics,
        lost=opened.lost,
    )


def _check_identity(fields: Fields) -> None:
    fields.octets(1, 8)
    fields.uint(2)
    fields.uint(3, 32)
    fields.octets(4, 8)
    clock_state(fields, 5)
    fields.flag(6)


def _check_rows(first_seq: int, rows: int) -> None:
    if rows == 0:
        raise WireError("pack has no rows")
    if rows > MAX_ROWS:
        raise WireError(f"pack has more than {MAX_ROWS} rows", RejectCode.TOO_LARGE)
    if first_seq + rows > _SEQ_LIMIT:
        raise WireError("pack: a seq does not fit 63 bits")


def _check_cover(covered: int, rows: int, metrics: int) -> None:
    if metrics == 0:
        raise WireError("pack has no metrics")
    if covered != (1 << rows) - 1:
        raise WireError("pack has a row without a metric")


def _lost(bounds: Any, first_seq: int) -> tuple[tuple[int, int], ...]:
    if (
        not isinstance(bounds, list)
        or any(type(seq) is not int for seq in bounds)
        or len(bounds) % 2
    ):
        raise WireError("pack: lost ranges are not an array of start and end")
    ranges = tuple(zip(bounds[::2], bounds[1::2], strict=True))
    previous = 0
    for start, end in ranges:
        if not previous <= start < end <= first_seq:
            raise WireError("pack: lost ranges do not rise, or do not lie before the first seq")
        previous = end
    return ranges


def _metric_name(name: str) -> str:
    if not is_metric_name(name):
        raise WireError("pack: a metric name is not [a-z][a-z0-9_]{1,47}")
    return name


def _column(item: Fields, rows: int) -> Column:
    values = _typed_array(item.values[1], tuple(_TYPECODE), "values")
    presence = item.values[2]
    count = rows
    if presence is not None:
        presence = item.octets(2, (rows + 7) // 8)
        bits = int.from_bytes(presence, "little")
        if bits >> rows:
            raise WireError("pack: padding bits of a presence map are set")
        count = bits.bit_count()
    if len(values) != count:
        raise WireError(f"pack: a metric has {len(values)} values for {count} rows that have it")
    return Column(_metric_name(item.text(0, 48)), values, presence)


def _typed_array(value: Any, tags: tuple[int, ...], what: str) -> TypedArray:
    if not isinstance(value, cbor2.CBORTag) or value.tag not in tags:
        raise WireError(f"pack: {what} are not a typed array of a kind that the wire has")
    if not isinstance(value.value, bytes) or len(value.value) % _SIZE[value.tag]:
        raise WireError(f"pack: {what} are not whole elements")
    return TypedArray(value.tag, value.value)


def _presence_bits(values: Sequence[float | None]) -> int:
    if None not in values:
        return (1 << len(values)) - 1
    digits = "".join("0" if value is None else "1" for value in reversed(values))
    return int(digits, 2)


def _tagged(numbers: TypedArray) -> cbor2.CBORTag:
    return cbor2.CBORTag(numbers.tag, numbers.data)


def _little(tag: int, elements: "array[Any]") -> TypedArray:
    if sys.byteorder == "big":
        elements = elements[:]
        elements.byteswap()
    return TypedArray(tag, elements.tobytes())


def _encode_times(times: Sequence[int]) -> tuple[int, int, TypedArray]:
    """Return base, unit and offsets: 32 bits where exact, preferably in ns."""
    low, high = min(times), max(times)
    if low < _INT64_MIN or high > _INT64_MAX:
        raise WireError("pack: a time does not fit 64 bits of nanoseconds", RejectCode.BAD_TIME)
    base = times[0]
    steps = [time - base for time in times]
    unit = math.gcd(*steps) or 1
    for candidate in (1, unit):
        if candidate < 1 << 63 and max(high - base, base - low) // candidate < 1 << 31:
            small = steps if candidate == 1 else [step // candidate for step in steps]
            return base, candidate, _little(INT32, array("i", small))
    if max(high - base, base - low) >= 1 << 63:
        return 0, 1, _little(INT64, array("q", times))
    return base, 1, _little(INT64, array("q", steps))


def _encode_values(values: Iterable[float]) -> TypedArray:
    """Return the smallest typed array that gives back exactly these float64 values."""
    exact = array("d", values)
    wanted = exact.tobytes()
    for tag, typecode in ((INT16, "h"), (FLOAT32, "f"), (INT32, "i")):
        try:
            smaller: array[Any] = array(typecode, exact if tag == FLOAT32 else map(_whole, exact))
        except (ValueError, OverflowError):
            continue
        if array("d", smaller).tobytes() == wanted:
            return _little(tag, smaller)
    return _little(FLOAT64, exact)


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError
    return int(value)
