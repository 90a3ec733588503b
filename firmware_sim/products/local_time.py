"""Local time of a place: what people's habits and timers follow.

1. An instant becomes a day number, a weekday and an hour, summer time included.
2. The offset from UTC is looked up once per UTC hour; zones change at whole hours of UTC but for a
   few of a half, which are then half an hour late twice a year.
3. Never here: the clock.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

NS_PER_HOUR: Final = 3_600_000_000_000
HOURS_PER_DAY: Final = 24.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LocalTime:
    """The clock on the wall of one place.

    Args:
        zone: IANA time zone.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: there is no such zone.

    After `at`, `day` is the number of the local day since 1 January 1970, `weekday` 0 (Monday) to 6
    and `hour` 0 to 24.
    """

    __slots__ = ("_looked_up", "_offset_h", "_zone", "day", "hour", "weekday")

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._looked_up: int | None = None
        self._offset_h = 0.0
        self.day, self.weekday, self.hour = 0, 3, 0.0

    def at(self, now_ns: int) -> None:
        """Move to an instant, ns since 1970 UTC."""
        utc_hour, rest = divmod(now_ns, NS_PER_HOUR)
        if utc_hour != self._looked_up:
            moment = (_EPOCH + timedelta(hours=utc_hour)).astimezone(self._zone)
            offset = moment.utcoffset()
            self._offset_h = offset.total_seconds() / 3600.0 if offset else 0.0
            self._looked_up = utc_hour
        hours = utc_hour + rest / NS_PER_HOUR + self._offset_h
        self.day = int(hours // HOURS_PER_DAY)
        self.weekday = (self.day + 3) % 7  # 1 January 1970 was a Thursday
        self.hour = hours - self.day * HOURS_PER_DAY
