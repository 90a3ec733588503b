"""Numbers, units and times as a visitor reads them.

1. Times are shown in the visitor's zone; machines get them in UTC beside it.
2. A number has three significant digits, or more if it has them before the point: more is noise.
   What is billed is shown in full.
3. Units are UCUM codes inside and their usual symbols outside.
"""

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.numbers import format_currency, format_decimal

from entitlements.billing.money import DECIMALS, Money
from hub.services.quantities import decimals_of, symbol

NS: Final = 1_000_000_000
DASH: Final = "\N{EN DASH}"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Formats:
    """How one visitor reads numbers and times."""

    locale: Locale
    zone: ZoneInfo

    def number(self, value: float | None) -> str:
        """Return a number with three significant digits; what is before the point is in full."""
        if value is None or not math.isfinite(value):
            return DASH
        decimals = decimals_of(value)
        rounded = round(value, decimals) + 0.0  # -0.0 becomes 0.0
        pattern = "#,##0." + "#" * decimals if decimals else "#,##0"
        return str(format_decimal(rounded, format=pattern, locale=self.locale))

    def whole(self, value: int) -> str:
        """Return a count in full."""
        return str(format_decimal(value, format="#,##0", locale=self.locale))

    def quantity(self, value: float | None, unit: str) -> str:
        """Return a number with its unit."""
        return f"{self.number(value)}\u00a0{symbol(unit)}".rstrip("\u00a0")

    def exact(self, value: Decimal | int, unit: str = "") -> str:
        """Return what is billed: all of its decimals, with its unit."""
        shown = str(format_decimal(value, format="#,##0.#########", locale=self.locale))
        return f"{shown}\u00a0{symbol(unit)}".rstrip("\u00a0")

    def money(self, amount: Money) -> str:
        """Return an amount with its currency, in all of its decimals."""
        pattern = self.locale.currency_formats["standard"].pattern
        decimals = DECIMALS[amount.currency]
        exact = pattern.replace("0.00", "0." + "0" * decimals if decimals else "0")
        shown = format_currency(
            amount.decimal, amount.currency, exact, self.locale, currency_digits=False
        )
        return str(shown)

    def moment(self, at: int) -> str:
        """Return day and time."""
        return str(format_datetime(self._local(at), "medium", locale=self.locale)).replace(
            "\u202f", "\u00a0"
        )

    def minute(self, at: int) -> str:
        """Return day and time without seconds, and without the year where it is obvious."""
        local = self._local(at)
        date = format_date(local, "medium", locale=self.locale)
        time = format_time(local, "short", tzinfo=self.zone, locale=self.locale)
        return f"{date}, {time}".replace("\u202f", "\u00a0")

    def day(self, at: int) -> str:
        """Return the day."""
        return str(format_date(self._local(at), "medium", locale=self.locale))

    def date(self, day: dt.date) -> str:
        """Return a day of the calendar."""
        return str(format_date(day, format="medium", locale=self.locale))

    def clock(self, at: int) -> str:
        """Return the time of day."""
        local = self._local(at)
        return str(format_time(local, "short", tzinfo=self.zone, locale=self.locale)).replace(
            "\u202f", "\u00a0"
        )

    def ago(self, at: int, now: int) -> str:
        """Return how long ago something was, or how long until it is."""
        delta = dt.timedelta(seconds=(at - now) // NS)
        return str(format_timedelta(delta, add_direction=True, locale=self.locale))

    def length(self, ns: int) -> str:
        """Return a length of time."""
        return str(format_timedelta(dt.timedelta(seconds=ns // NS), locale=self.locale))

    def _local(self, at: int) -> dt.datetime:
        return _instant(at).astimezone(self.zone)


def machine(at: int) -> str:
    """Return an instant as RFC 3339 in UTC, for the attribute `datetime`."""
    return f"{_instant(at):%Y-%m-%dT%H:%M:%SZ}"


def setting(value: object) -> str:
    """Return the value of a setting or an argument as configurations spell it."""
    if value is None:
        return DASH
    return str(value).lower() if isinstance(value, bool) else str(value)


def _instant(at: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=at // 1_000)
