"""Instants as text or seconds, to nanoseconds since 1970 and back, without losing a digit.

1. Arithmetic is exact; what is finer than a nanosecond is rounded to the nearest.
2. Times outside int64 nanoseconds raise `WireError` with `BAD_TIME`.
"""

import re
from datetime import date
from decimal import Decimal

from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError

SECOND = 1_000_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def checked(ns: int) -> int:
    """Return `ns` if it fits int64, else raise `WireError`."""
    if not -(1 << 63) <= ns < 1 << 63:
        raise WireError("time does not fit 64 bits of nanoseconds", RejectCode.BAD_TIME)
    return ns


def from_seconds(seconds: int | Decimal) -> int:
    """Return nanoseconds for seconds since 1970, rounded to the nearest nanosecond."""
    if isinstance(seconds, int):
        return checked(seconds * SECOND)
    if not seconds.is_finite() or seconds.adjusted() > 12:
        raise WireError("time does not fit 64 bits of nanoseconds", RejectCode.BAD_TIME)
    if seconds.adjusted() < -12:
        return 0
    numerator, denominator = seconds.as_integer_ratio()
    return checked((2 * numerator * SECOND + denominator) // (2 * denominator))


def to_seconds(ns: int) -> str:
    """Return nanoseconds as decimal text in seconds, exact and without trailing zeros."""
    whole, fraction = divmod(abs(ns), SECOND)
    text = f"{'-' if ns < 0 else ''}{whole}.{fraction:09d}"
    return text.rstrip("0").rstrip(".")


def from_rfc3339(text: str) -> int:
    """Return nanoseconds for an RFC 3339 instant; a leap second counts as the second that follows.

    Raises:
        WireError: not an instant (`MALFORMED`), or outside int64 nanoseconds (`BAD_TIME`).
    """
    match = _RFC3339.fullmatch(text) if len(text) <= 64 else None
    if match is None:
        raise WireError("time is not an RFC 3339 instant")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise WireError("time is not a day of the calendar") from None
    shift = int(offset_hours or 0) * 60 + int(offset_minutes or 0)
    if hour > 23 or minute > 59 or second > 60 or shift >= 1440 or int(offset_minutes or 0) > 59:
        raise WireError("time is not a time of day")
    minutes = days * 1440 + hour * 60 + minute - (-shift if sign == "-" else shift)
    ns = int(((fraction or "") + "0" * 9)[:9])
    return checked((minutes * 60 + second) * SECOND + ns)
