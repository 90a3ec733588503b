"""SenML (RFC 8428) in JSON or CBOR to rows: base fields resolved, relative times made absolute.

1. The metric is the last `/`- or `:`-separated part of the resolved name.
2. Records with the same resolved time form a row; a second value of one metric at one time starts
   another row.
3. Metrics are numbers: `v`, or `vb` as 0 and 1. Text and data values, and records with only a sum,
   are malformed.
4. A field whose label ends in `_` must be understood (RFC 8428, 4.4); none is, so it is refused.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import cbor2

from device_sdk.wire import cbor, instants
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.flat import loads
from device_sdk.wire.pack import is_metric_name

MAX_BYTES = 65_536
MAX_RECORDS = 1_024
_VERSION = 10
_RELATIVE = 1 << 28
"""Resolved times below this many seconds are relative to the time of receipt."""

_LABELS = {
    -1: "bver",
    -2: "bn",
    -3: "bt",
    -4: "bu",
    -5: "bv",
    -6: "bs",
    0: "n",
    1: "u",
    2: "v",
    3: "vs",
    4: "vb",
    5: "s",
    6: "t",
    7: "ut",
    8: "vd",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*", re.ASCII)

Number = int | Decimal
_Default = TypeVar("_Default")


@dataclass(frozen=True, slots=True)
class SenmlRow:
    """One instant: `time` in ns since 1970, and for each metric its value and unit (or None)."""

    time: int
    values: dict[str, tuple[float, str | None]]


@dataclass(slots=True)
class _Base:
    """Base fields in force; they last until a later record replaces them."""

    name: str = ""
    time: Number = 0
    unit: str | None = None
    value: Number = 0


def decode_senml(data: bytes, received_ns: int) -> list[SenmlRow]:
    """Read a SenML pack.

    Args:
        data: JSON if the first byte is `[`, else CBOR.
        received_ns: time of receipt, ns since 1970, which relative times count from.

    Returns:
        Rows in order of first appearance.

    Raises:
        WireError: the message breaks RFC 8428 or a rule of docs/wire.md.
    """
    if len(data) > MAX_BYTES:
        raise WireError(f"SenML is longer than {MAX_BYTES} bytes", RejectCode.TOO_LARGE)
    records = loads(data) if data[:1] == b"[" else _from_cbor(data)
    if not isinstance(records, list) or not records:
        raise WireError("SenML is not an array of records")
    if len(records) > MAX_RECORDS:
        raise WireError(f"SenML has more than {MAX_RECORDS} records", RejectCode.TOO_LARGE)
    rows: list[SenmlRow] = []
    newest: dict[int, SenmlRow] = {}
    for time, metric, value, unit in _resolve(records, received_ns):
        row = newest.get(time)
        if row is None or metric in row.values:
            row = newest[time] = SenmlRow(time, {})
            rows.append(row)
        row.values[metric] = (value, unit)
    if not rows:
        raise WireError("SenML has no value")
    return rows


def _resolve(records: list[Any], received_ns: int) -> Iterable[tuple[int, str, float, str | None]]:
    base = _Base()
    for record in records:
        if not isinstance(record, dict):
            raise WireError("SenML record is not a map")
        _check_labels(record)
        _update_base(base, record)
        if record.keys() <= {"bver", "bn", "bt", "bu", "bv", "bs"} and "bv" not in record:
            continue
        metric = _metric(base.name + _text(record, "n", ""))
        value = _value(base, record)
        time = _time(_add(base.time, _number(record, "t")), received_ns)
        unit = _text(record, "u", base.unit)
        yield time, metric, value, unit


def _check_labels(record: dict[str, Any]) -> None:
    if any(label.endswith("_") for label in record):
        raise WireError("SenML record has a field that must be understood and is not")
    version = record.get("bver", _VERSION)
    if type(version) is not int or version < 1:
        raise WireError("SenML version is not a positive integer")
    if version > _VERSION:
        raise WireError(f"SenML version {version} is newer than {_VERSION}")


def _update_base(base: _Base, record: dict[str, Any]) -> None:
    base.name = _text(record, "bn", base.name)
    base.unit = _text(record, "bu", base.unit)
    if "bt" in record:
        base.time = _number(record, "bt")
    if "bv" in record:
        base.value = _number(record, "bv")


def _value(base: _Base, record: dict[str, Any]) -> float:
    kinds = record.keys() & {"v", "vb", "vs", "vd"}
    if len(kinds) > 1:
        raise WireError("SenML record has more than one value")
    if "vb" in kinds:
        if not isinstance(record["vb"], bool):
            raise WireError("SenML vb is not a boolean")
        return float(record["vb"])
    if "v" not in kinds and ("bv" not in record or kinds):
        raise WireError("SenML record has no number as its value")
    try:
        value = float(_add(base.value, _number(record, "v")))
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise WireError("SenML value is not finite", RejectCode.NOT_FINITE)
    return value


def _metric(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise WireError("SenML name is empty or has characters that RFC 8428 forbids")
    metric = re.split(r"[/:]", name)[-1]
    if not is_metric_name(metric):
        raise WireError(
            "SenML name does not end in a metric name [a-z][a-z0-9_]{1,47}",
            RejectCode.UNKNOWN_METRIC,
        )
    return metric


def _time(seconds: Number, received_ns: int) -> int:
    ns = instants.from_seconds(seconds)
    return instants.checked(received_ns + ns) if seconds < _RELATIVE else ns


def _text(record: dict[str, Any], label: str, default: _Default) -> str | _Default:
    value = record.get(label)
    if label not in record:
        return default
    if not isinstance(value, str):
        raise WireError(f"SenML {label} is not text")
    return value


def _number(record: dict[str, Any], label: str) -> Number:
    value = record.get(label, 0)
    if isinstance(value, float):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise WireError(f"SenML {label} is not a number")
    if isinstance(value, Decimal) and not value.is_finite():
        raise WireError(f"SenML {label} is not finite", RejectCode.NOT_FINITE)
    return value


def _add(left: Number, right: Number) -> Number:
    try:
        return left + right
    except ArithmeticError:
        raise WireError("SenML number is out of range", RejectCode.NOT_FINITE) from None


def _from_cbor(data: bytes) -> Any:
    records = cbor.decode(data, max_bytes=MAX_BYTES, indefinite=True)
    if not isinstance(records, list):
        return records
    return [_named(record) if isinstance(record, dict) else record for record in records]


def _named(record: dict[Any, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, value in record.items():
        label = key if isinstance(key, str) else _LABELS.get(key)
        if label is None:
            continue
        if label in named:
            raise WireError("SenML record has the same label twice")
        named[label] = _decimal_fraction(value) if isinstance(value, cbor2.CBORTag) else value
    return named


def _decimal_fraction(tag: cbor2.CBORTag) -> Decimal:
    """Read tag 4, which RFC 8428 allows for numbers."""
    match tag.value:
        case [int(exponent), int(mantissa)] if tag.tag == 4 and abs(exponent) <= 400:
            return Decimal((int(mantissa < 0), tuple(map(int, str(abs(mantissa)))), exponent))
        case _:
            raise WireError("SenML number has a tag that is not a decimal fraction")
