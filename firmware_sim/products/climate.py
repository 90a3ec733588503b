"""The weather outside a house: season, time of day, and fronts that pass.

1. Season and hour are computed from the instant; fronts and haze are seeded random walks that
   return to their mean.
2. Steps of any length are exact (Ornstein-Uhlenbeck), so history at minutes and live data at
   seconds look alike.
3. Never here: the clock, or anything of the product.
"""

from dataclasses import dataclass
from math import cos, exp, pi, sqrt
from random import Random
from typing import Final

NS_PER_DAY: Final = 86_400_000_000_000
DAYS_PER_YEAR: Final = 365.2425
# 1970 began on a first of January: days since then modulo the year are the day of the year.
WARMEST_DAY: Final = 201.0  # 20 July
WARMEST_HOUR: Final = 15.0
FRONT_TAU_S: Final = 30 * 3600.0  # how long a front lasts
HAZE_TAU_S: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Climate:
    """A place, as far as a heating system feels it.

    Args:
        name: region as shown to people.
        mean_c: mean outdoor temperature of the year, degrees Celsius.
        season_k: half the distance between the warmest and the coldest day's mean.
        day_k: half the distance between afternoon and early morning.
        front_k: standard deviation of what passing fronts add.
        humidity: mean relative humidity, 0 to 1.
        south: seasons of the southern hemisphere.
        solar_offset_h: hours by which the sun is ahead of UTC.
    """

    name: str
    mean_c: float
    season_k: float = 9.0
    day_k: float = 3.5
    front_k: float = 3.0
    humidity: float = 0.78
    south: bool = False
    solar_offset_h: float = 0.7


MARITIME: Final = Climate(
    "maritime", 10.5, season_k=7.0, day_k=3.0, humidity=0.83, solar_offset_h=0.0
)
CONTINENTAL: Final = Climate("continental", 9.5, season_k=10.5, day_k=4.0, humidity=0.75)
ALPINE: Final = Climate("alpine", 2.0, season_k=7.5, day_k=4.0, humidity=0.78)
GLACIER: Final = Climate("glacier", -7.0, season_k=5.0, day_k=2.5, front_k=2.0, humidity=0.7)
MEDITERRANEAN: Final = Climate(
    "mediterranean", 16.5, season_k=8.0, day_k=4.0, humidity=0.68, solar_offset_h=0.9
)
NORDIC: Final = Climate("nordic", 4.0, season_k=11.0, day_k=3.0, humidity=0.82, solar_offset_h=1.2)

CLIMATES: Final = {
    climate.name: climate
    for climate in (MARITIME, CONTINENTAL, MEDITERRANEAN, ALPINE, GLACIER, NORDIC)
}


def season(now_ns: int, climate: Climate) -> float:
    """How far the year has gone towards its warmest day at an instant: 1 there, -1 half a year on.

    Args:
        now_ns: ns since 1970 UTC.
        climate: the place.
    """
    days = now_ns / NS_PER_DAY % DAYS_PER_YEAR
    warmth = cos(2.0 * pi * (days - WARMEST_DAY) / DAYS_PER_YEAR)
    return -warmth if climate.south else warmth


class Weather:
    """Weather at one place, moving forward in steps.

    Args:
        climate: the place.
        random: seeded source of fronts and haze.
    """

    def __init__(self, climate: Climate, random: Random) -> None:
        self.climate = climate
        self.outdoor_c = climate.mean_c
        self.humidity = climate.humidity
        self.sun = 0.0
        self._random = random
        self._front = random.gauss(0.0, 1.0)
        self._haze = random.gauss(0.0, 1.0)

    def advance(self, dt_s: float, now_ns: int) -> None:
        """Move to an instant.

        Args:
            dt_s: seconds since the instant before.
            now_ns: the instant, ns since 1970 UTC.

        After it `outdoor_c` (degrees Celsius), `humidity` (0 to 1) and `sun` (0 to 1, strength of
        the sun on the windows) hold for that instant.
        """
        climate, gauss = self.climate, self._random.gauss
        keep = exp(-dt_s / FRONT_TAU_S)
        self._front = keep * self._front + sqrt(1.0 - keep * keep) * gauss(0.0, 1.0)
        keep = exp(-dt_s / HAZE_TAU_S)
        self._haze = keep * self._haze + sqrt(1.0 - keep * keep) * gauss(0.0, 1.0)

        days = now_ns / NS_PER_DAY
        warmth = season(now_ns, climate)
        hour = (days % 1.0) * 24.0 + climate.solar_offset_h
        day = cos(2.0 * pi * (hour - WARMEST_HOUR) / 24.0)
        self.outdoor_c = (
            climate.mean_c
            + climate.season_k * warmth
            + climate.day_k * (1.0 + 0.3 * warmth) * day
            + climate.front_k * self._front
        )
        self.humidity = min(1.0, max(0.2, climate.humidity - 0.1 * day + 0.08 * self._haze))
        noon = cos(2.0 * pi * (hour - 12.0) / 24.0)
        clear = min(1.0, max(0.1, 0.55 - 0.25 * self._haze))
        self.sun = max(0.0, noon + 0.25 * warmth) / 1.25 * clear
