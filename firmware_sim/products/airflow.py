"""The air in a vacuum cleaner: fan, filter, dust, and the motor that feels them all.

1. The fan's pressure meets the resistance of filter and nozzle: their balance is the flow.
2. Dust loads the filter with every square metre; the owner washes it now and then.
3. A worn bearing brakes the motor, which draws more and turns hot; a leaking bin lets air past the filter.
4. Never here: when to clean.
"""

from dataclasses import dataclass
from math import exp, sqrt
from typing import Final

FAN_PA: Final = 2600.0  # at no flow
NOZZLE: Final = 3.6  # Pa per (l/s)^2
CLEAN_FILTER: Final = 24.0  # Pa per l/s
FULL_FILTER: Final = 60.0  # what a filter gains that is never washed
DUST_PER_M2: Final = 0.00011  # of a full filter
MOTOR_A: Final = 0.85  # friction and electronics at no flow
A_PER_FLOW: Final = 0.052  # per l/s: air that moves is work
MOTOR_TAU_S: Final = 420.0
MOTOR_K_PER_A: Final = 12.0


@dataclass(slots=True)
class Airflow:
    """State of the way that the air takes.

    Args:
        dust: how full the filter is, 0 to 1.
        motor_c: temperature of the suction motor.
    """

    dust: float = 0.1
    motor_c: float = 22.0
    flow_l_s: float = 0.0
    filter_pa: float = 0.0
    motor_a: float = 0.0

    def run(
        self, dt_s: float, room_c: float, boost: float, wear: float, fouled: float, leak: float
    ) -> None:
        """Let the fan run for a step.

        Args:
            dt_s: seconds.
            room_c: temperature of the room.
            boost: strength of the fan, 1 is normal; carpets get more.
            wear: severity of the bearing's wear, 0 to 1.
            fouled: severity of a filter clogged by something that dust alone does not explain.
            leak: severity of a leak at the dust bin, 0 to 1.

        After it `flow_l_s` (through the fan, litres a second), `filter_pa` (pressure across the
        filter), `motor_a` (amperes) and `motor_c` hold.
        """
        filter_ = CLEAN_FILTER + FULL_FILTER * (self.dust + 3.0 * fouled)
        # boost^2 FAN = a q + b q^2, solved for q; air that enters at the leak meets less.
        a, b = filter_ * (1.0 - 0.5 * leak), NOZZLE * (1.0 - 0.5 * leak)
        pressure = boost * boost * FAN_PA
        self.flow_l_s = (sqrt(a * a + 4.0 * b * pressure) - a) / (2.0 * b)
        self.filter_pa = filter_ * self.flow_l_s * (1.0 - 0.6 * leak)
        self.motor_a = boost * (MOTOR_A * (1.0 + 1.6 * wear) + A_PER_FLOW * self.flow_l_s)
        self._warm(dt_s, room_c + MOTOR_K_PER_A * self.motor_a * (1.0 + 0.5 * wear))

    def rest(self, dt_s: float, room_c: float) -> None:
        """Let it stand for a step; see `run`."""
        self.flow_l_s = self.filter_pa = self.motor_a = 0.0
        self._warm(dt_s, room_c)

    def collect(self, area_m2: float, dirt: float) -> None:
        """Take up the dust of some floor.

        Args:
            area_m2: square metres cleaned.
            dirt: how dirty the home is, 1 is usual.
        """
        self.dust = min(1.0, self.dust + DUST_PER_M2 * area_m2 * dirt)

    def wash(self) -> None:
        """The owner washes the filter; a little dust stays."""
        self.dust *= 0.15

    def _warm(self, dt_s: float, target_c: float) -> None:
        self.motor_c += (1.0 - exp(-dt_s / MOTOR_TAU_S)) * (target_c - self.motor_c)
