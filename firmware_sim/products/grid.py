"""The three-phase mains at a house: voltages that sag in the evening and rise with the sun.

1. What the street draws is a daily rhythm and a seeded wander; what the house draws adds to it.
2. Never here: meters, or noise of meters.
"""

from math import exp, pi, sin, sqrt
from random import Random
from typing import Final

NOMINAL_V: Final = 230.0
OHM: Final = 0.16  # of the street's cable, per phase
WANDER_TAU_S: Final = 900.0


class Grid:
    """Three phases.

    Args:
        random: seeded source of the street's wander.
    """

    __slots__ = ("_random", "_street", "_wander")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._street = [random.uniform(-1.5, 3.0) for _ in range(3)]
        self._wander = [random.gauss(0.0, 1.0) for _ in range(3)]

    def advance(self, dt_s: float) -> None:
        """Let the street live for a step, seconds."""
        keep = exp(-dt_s / WANDER_TAU_S)
        spread = sqrt(1.0 - keep * keep)
        self._wander = [
            keep * wander + spread * self._random.gauss(0.0, 1.0) for wander in self._wander
        ]

    def voltage(self, phase: int, hour: float, amperes: float) -> float:
        """Voltage between a phase and neutral.

        Args:
            phase: 0 to 2.
            hour: local hour of the day.
            amperes: what the house draws from it.
        """
        rhythm = -2.2 * sin(2.0 * pi * (hour - 13.0) / 24.0)  # lowest at seven in the evening
        return NOMINAL_V + self._street[phase] + rhythm + 0.9 * self._wander[phase] - OHM * amperes
