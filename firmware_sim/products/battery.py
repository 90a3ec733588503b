"""A lithium-ion battery pack of four cells: charge, voltage, fade, and the gauge that watches it.

1. Charge is conserved: the state of charge moves by current over what the pack can hold.
2. Capacity fades with every cycle and resistance grows with it; a bad batch fades faster.
3. The gauge tracks the pack's health from resistance under load, so it knows only after use.
4. Never here: what draws the current.
"""

from math import exp
from typing import Final

NOMINAL_AH: Final = 5.2
CELLS: Final = 4
OHM: Final = 0.11
# Voltage of a resting cell at 0, 10, ... 100 % charge (NMC, 25 degrees Celsius).
REST_V: Final = (3.0, 3.42, 3.53, 3.60, 3.64, 3.69, 3.76, 3.85, 3.94, 4.05, 4.18)
FADE_PER_CYCLE: Final = 0.0004  # a fifth of the capacity in five hundred cycles
CHARGE_A: Final = 1.6
KNEE: Final = 0.85  # from here the charger holds the voltage and the current tapers
LEAST_A: Final = 0.08
GAUGE_TAU_S: Final = 240.0  # of use


class Battery:
    """One battery pack.

    Args:
        soc: state of charge, 0 to 1.
        cycles: full cycles that it has behind it.
    """

    __slots__ = ("_faded", "cycles", "gauge", "soc")

    def __init__(self, soc: float, cycles: float) -> None:
        self.soc = soc
        self.cycles = cycles
        self._faded = 0.0
        self.gauge = self.health

    @property
    def health(self) -> float:
        """Share of the first capacity that is left, 0 to 1."""
        return max(0.2, 1.0 - FADE_PER_CYCLE * self.cycles) * (1.0 - 0.6 * self._faded)

    @property
    def capacity_ah(self) -> float:
        """What it can hold, ampere hours."""
        return NOMINAL_AH * self.health

    @property
    def ohm(self) -> float:
        """Resistance inside."""
        return OHM * (1.0 + 2.5 * (1.0 - self.health))

    def fade(self, severity: float) -> None:
        """Say how far the cells of a bad batch are gone, 0 to 1."""
        self._faded = severity

    def voltage(self, amperes: float) -> float:
        """Voltage at its terminals.

        Args:
            amperes: current drawn; negative charges.
        """
        place = min(9.999, max(0.0, self.soc * 10.0))
        index = int(place)
        rest = REST_V[index] + (place - index) * (REST_V[index + 1] - REST_V[index])
        return CELLS * rest - amperes * self.ohm

    def draw(self, dt_s: float, watts: float) -> float:
        """Give power for a step.

        Args:
            dt_s: seconds.
            watts: power at the terminals.

        Returns:
            The current, amperes.
        """
        rest_v = self.voltage(0.0)
        amperes = watts / rest_v
        amperes = watts / max(8.0, rest_v - amperes * self.ohm)  # it sags, so it gives more
        self._pass(dt_s, amperes)
        self.gauge += (1.0 - exp(-dt_s / GAUGE_TAU_S)) * (self.health - self.gauge)
        return amperes

    def charge(self, dt_s: float) -> float:
        """Charge for a step, at constant current and then constant voltage.

        Args:
            dt_s: seconds.

        Returns:
            The current, amperes; negative.
        """
        if self.soc >= 1.0:
            return 0.0
        share = 1.0 if self.soc <= KNEE else (1.0 - self.soc) / (1.0 - KNEE)
        amperes = -max(LEAST_A, CHARGE_A * share)
        self._pass(dt_s, amperes)
        return amperes

    def _pass(self, dt_s: float, amperes: float) -> None:
        moved = amperes * dt_s / 3600.0 / self.capacity_ah
        self.soc = min(1.0, max(0.0, self.soc - moved))
        self.cycles += 0.5 * abs(moved)
