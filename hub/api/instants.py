"""Instants in JSON: RFC 3339 in UTC outside, int64 nanoseconds inside.

1. What goes out ends in `Z` and has 0, 3, 6 or 9 digits of fraction, so no nanosecond is lost.
2. What comes in must say its offset: a time without one is refused, never guessed.
3. Only instants that fit int64 nanoseconds (years 1677 to 2262) exist.
"""

import datetime as dt
import re
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_PATTERN = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = 1_000_000_000
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def text_of(instant: int) -> str:
    """Return an instant (ns since 1970 UTC) as RFC 3339 in UTC."""
    seconds, fraction = divmod(instant, _SECOND)
    whole = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if not fraction:
        return f"{whole}Z"
    digits = f"{fraction:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{whole}.{digits}Z"


def texts_of(instants: npt.NDArray[np.int64]) -> list[str]:
    """Return many instants as RFC 3339 in UTC, all with the digits that the finest one needs."""
    unit, step = "ns", 1
    for coarser, width in (("us", 1_000), ("ms", 1_000_000), ("s", _SECOND)):
        if (instants % width).any():
            break
        unit, step = coarser, width
    moments = (instants // step).view(f"datetime64[{unit}]")
    texts: list[str] = np.strings.add(np.datetime_as_string(moments), "Z").tolist()
    return texts


def instant_of(text: str) -> int:
    """Return the ns since 1970 UTC of an RFC 3339 time.

    Raises:
        ValueError: not RFC 3339, without an offset, or beyond int64 nanoseconds.
    """
    # A form-decoded query turns the + of an offset into a blank; only that can be meant here.
    match = _PATTERN.fullmatch(text) or _PATTERN.fullmatch(re.sub(r" (\d\d:\d\d)$", r"+\1", text))
    if match is None:
        raise ValueError("must be an RFC 3339 time with its offset, such as 2026-01-31T08:00:00Z")
    date, time, fraction, offset = match.groups()
    try:
        moment = dt.datetime.fromisoformat(f"{date}T{time}{offset.upper()}")
        seconds = round((moment - _EPOCH).total_seconds())
    except (ValueError, OverflowError) as error:
        raise ValueError("is not a date and time that exists") from error
    instant = seconds * _SECOND + int((fraction or "").ljust(9, "0"))
    if not _LOWEST <= instant <= _HIGHEST:
        raise ValueError("must be between the years 1677 and 2262")
    return instant


def _parsed(value: Any) -> Any:
    return instant_of(value) if isinstance(value, str) else value


Instant = Annotated[
    int,
    BeforeValidator(_parsed),
    PlainSerializer(text_of, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-01-31T08:00:00.250Z"]}
    ),
]
"""An instant of a response or of a request's body or query."""
