"""Sensors: noise, rounding and, if it must be, a reading that sticks.

1. A reading is what is really there, plus noise, rounded to what the sensor resolves.
2. Never here: what is really there.
"""

from random import Random


class Sensor:
    """A sensor with noise, rounding and, if it must be, a reading that sticks.

    Args:
        random: source of noise.
        sigma: standard deviation of the noise; 0 is a number that the firmware knows exactly.
        digits: decimals that the sensor resolves.
    """

    __slots__ = ("_digits", "_random", "_sigma", "reading")

    def __init__(self, random: Random, sigma: float, digits: int) -> None:
        self._random, self._sigma, self._digits = random, sigma, digits
        self.reading: float | None = None

    def read(self, true: float, stuck: float = 0.0) -> float:
        """Read once.

        Args:
            true: what is really there.
            stuck: 0 follows, 1 stays at the reading before.

        Returns:
            The reading.
        """
        fresh = true + self._random.gauss(0.0, self._sigma)
        if stuck and self.reading is not None:
            fresh = self.reading + (1.0 - stuck) * (fresh - self.reading)
        self.reading = round(fresh, self._digits)
        return self.reading
