"""A battery car and the household that drives it: when it comes and goes, and how empty it is.

1. Each day's departure, return and distance are drawn from the seed and the number of the day, so
   they do not depend on how time is stepped.
2. It is plugged in on most evenings, and always when it is less than half full.
3. Energy is conserved: the battery gains what it was charged, less the losses of the car's charger.
4. Never here: the charging station.
"""

from dataclasses import dataclass
from math import cos, pi
from random import Random
from typing import Final

from firmware_sim.products.local_time import LocalTime

EFFICIENCY: Final = 0.9  # of the charger inside the car
EMPTIEST: Final = 0.08  # before that, the household charges on the road
KNEE: Final = 0.92  # state of charge from which the current tapers
LEAST_SHARE: Final = 0.08  # of full power, at the very end
DAYS_PER_YEAR: Final = 365.2425
COLDEST_DAY: Final = 20.0
WEEKEND: Final = frozenset({5, 6})
VISITOR_SOC: Final = 0.25


@dataclass(frozen=True, slots=True)
class Trip:
    """One day of the car.

    Args:
        leaves_h: local hour at which it leaves.
        returns_h: local hour at which it is back, before midnight.
        driven_kwh: energy that the day takes out of the battery.
        plugged: whether it is plugged in on return, however full.
    """

    leaves_h: float
    returns_h: float
    driven_kwh: float
    plugged: bool


class Car:
    """One car of one household.

    Args:
        seed: makes car and household what they are.
    """

    __slots__ = (
        "_commute_kwh", "_day", "_leaves_h", "_left", "_returned", "_returns_h", "_seed", "_trip",
        "battery_kwh", "phases", "plugged", "power_w", "soc", "target",
    )  # fmt: skip

    def __init__(self, seed: str) -> None:
        random = Random(f"car/{seed}")
        self._seed = seed
        self.battery_kwh = random.choice((42.0, 58.0, 64.0, 77.0, 82.0))
        self.phases = random.choice((3, 3, 3, 1))
        self.power_w = 11_040.0 if self.phases == 3 else 7_360.0
        self.target = random.choice((1.0, 1.0, 0.8))  # some owners spare the battery
        self.soc = random.uniform(0.45, 0.8)
        self.plugged = True
        self._commute_kwh = random.uniform(6.0, 17.0)
        self._leaves_h = random.uniform(6.4, 8.6)
        self._returns_h = random.uniform(16.2, 18.8)
        self._day: int | None = None
        self._left = self._returned = False
        self._trip = Trip(0.0, 0.0, 0.0, plugged=True)

    def drive(self, local: LocalTime) -> None:
        """Come and go until an instant.

        Args:
            local: the local time of the instant.
        """
        if local.day != self._day:
            if self._left and not self._returned:
                self._come_home()
            self._trip = self._plan(local)
            if self._day is None:  # life begins in the middle of a day: as if after it, at home
                self._left = self._returned = local.hour >= self._trip.leaves_h
            else:
                self._left = self._returned = False
            self._day = local.day
        if not self._left and local.hour >= self._trip.leaves_h:
            self._left, self.plugged = True, False
        if self._left and not self._returned and local.hour >= self._trip.returns_h:
            self._come_home()

    def visit(self) -> None:
        """Come home now, rather empty, whatever was planned for today."""
        self._left = self._returned = True
        self.soc = min(self.soc, VISITOR_SOC)
        self.plugged = True

    def wanted_w(self) -> float:
        """Power that the car would draw now, watts; 0 when it is full enough or not there."""
        if not self.plugged or self.soc >= self.target:
            return 0.0
        if self.soc <= KNEE:
            return self.power_w
        rest = (1.0 - self.soc) / (1.0 - KNEE)
        return self.power_w * max(LEAST_SHARE, rest)

    def charge(self, dt_s: float, watts: float) -> None:
        """Take power for a step.

        Args:
            dt_s: seconds.
            watts: power at the plug.
        """
        self.soc = min(1.0, self.soc + EFFICIENCY * watts * dt_s / 3.6e6 / self.battery_kwh)

    def _come_home(self) -> None:
        self._returned = True
        self.soc = max(EMPTIEST, self.soc - self._trip.driven_kwh / self.battery_kwh)
        self.plugged = self._trip.plugged or self.soc < 0.5

    def _plan(self, local: LocalTime) -> Trip:
        random = Random(f"car/{self._seed}/{local.day}")
        season = cos(2.0 * pi * (local.day % DAYS_PER_YEAR - COLDEST_DAY) / DAYS_PER_YEAR)
        winter = 1.0 + 0.15 * (1.0 + season)  # cabin heating and cold tyres
        if local.weekday in WEEKEND:
            leaves = random.uniform(9.0, 12.0)
            returns = leaves + random.uniform(1.0, 8.0)
            driven = random.choice((0.3, 0.6, 1.0, 2.2)) * self._commute_kwh
        else:
            leaves = random.gauss(self._leaves_h, 0.2)
            returns = min(23.5, max(leaves + 1.0, random.gauss(self._returns_h, 0.5)))
            driven = random.gauss(1.0, 0.12) * self._commute_kwh
        return Trip(leaves, returns, max(0.5, driven) * winter, random.random() < 0.7)
