"""Flat JSON: one row as one object, what a hand-made client can write.

1. Numbers by metric name, `t` for the time, `s` and `q` for stream and seq; nothing else.
2. JSON is read strictly: duplicate names, nesting, other types, NaN and infinity are malformed.
3. Numbers of `t` are exact to the nanosecond; they never pass through a float.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn, Self

from device_sdk.wire import instants
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.pack import is_metric_name

MAX_BYTES = 8_192
MAX_METRICS = 64
_STREAM = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class FlatRow:
    """One row of flat JSON.

    Attributes:
        values: finite numbers by metric name, 1 to 64 of them.
        time: ns since 1970; None: time of receipt.
        stream: 8 bytes, or None for an anonymous row.
        seq: there exactly if `stream` is.
    """

    values: Mapping[str, float]
    time: int | None = None
    stream: bytes | None = None
    seq: int | None = None

    def encode(self) -> bytes:
        """Return the bytes for channel `json`.

        Raises:
            WireError: the row breaks a rule of the page.
        """
        parts = [f'"{_name(name)}":{_number(value)!r}' for name, value in self.values.items()]
        if self.time is not None:
            parts.append(f'"t":{instants.to_seconds(instants.checked(self.time))}')
        if self.stream is not None:
            parts.append(f'"s":"{self.stream.hex()}"')
        if self.seq is not None:
            parts.append(f'"q":{self.seq}')
        data = ("{" + ",".join(parts) + "}").encode("ascii")
        self.decode(data)
        return data

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read one row.

        Raises:
            WireError: `TOO_LARGE`, `BAD_TIME`, `UNKNOWN_METRIC` (a name that no metric can have) or
                `MALFORMED`.
        """
        if len(data) > MAX_BYTES:
            raise WireError(f"row is longer than {MAX_BYTES} bytes", RejectCode.TOO_LARGE)
        fields = loads(data)
        if not isinstance(fields, dict):
            raise WireError("row is not a JSON object")
        time = _time(fields.pop("t")) if "t" in fields else None
        stream, seq = _identity(fields)
        if not fields:
            raise WireError("row has no metric")
        if len(fields) > MAX_METRICS:
            raise WireError(f"row has more than {MAX_METRICS} metrics", RejectCode.TOO_LARGE)
        values = {_name(name): _number(value) for name, value in fields.items()}
        return cls(values, time, stream, seq)


def loads(data: bytes) -> Any:
    """Parse JSON without duplicate names, NaN or infinity; fractions come as `Decimal`.

    Raises:
        WireError: not such JSON.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=Decimal,
        )
    except WireError:
        raise
    except (ValueError, ArithmeticError, RecursionError):
        raise WireError("message is not JSON") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise WireError("JSON object has the same name twice")
    return fields


def _no_constant(_: str) -> NoReturn:
    raise WireError("JSON has no NaN and no infinity")


def _name(name: str) -> str:
    if not is_metric_name(name):
        raise WireError("metric name is not [a-z][a-z0-9_]{1,47}", RejectCode.UNKNOWN_METRIC)
    return name


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise WireError("value of a metric is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise WireError("value of a metric is not finite")
    return number


def _time(value: Any) -> int:
    if isinstance(value, str):
        return instants.from_rfc3339(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise WireError("t is neither seconds since 1970 nor an RFC 3339 instant")
    return instants.from_seconds(value)


def _identity(fields: dict[str, Any]) -> tuple[bytes | None, int | None]:
    stream, seq = fields.pop("s", None), fields.pop("q", None)
    if stream is None and seq is None:
        return None, None
    if not isinstance(stream, str) or _STREAM.fullmatch(stream) is None:
        raise WireError("s is not 16 lower-case hex digits (s and q come together)")
    if type(seq) is not int or not 0 <= seq < 1 << 63:
        raise WireError("q is not a seq (s and q come together)")
    return bytes.fromhex(stream), seq
