"""A house as a heating system meets it: rooms, floor heating, and a tank of hot water.

1. One heat capacity each for rooms, heating water with its floor, and tank; energy is conserved
   between them.
2. Hot water is drawn at seeded moments, mostly in the morning and the evening.
3. Never here: control, sensors or noise of sensors.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

ROOM_J_PER_K: Final = 45e6
FLOOR_J_PER_K: Final = 1.0e6
TANK_J_PER_K: Final = 0.84e6  # 200 litres
EMITTER_W_PER_K: Final = 260.0
TANK_LOSS_W_PER_K: Final = 1.6
INTERNAL_W: Final = 350.0  # people and appliances
WINDOWS_W: Final = 1600.0  # sun at its best
DRAW_K: Final = 4.5  # what a shower takes out of the tank
# Showers a hour, by the hour of the day: six to seven a day in all.
DRAWS_PER_HOUR: Final = (
    *(0.02,) * 6, 0.7, 1.1, 0.6, 0.2, 0.1, 0.15, 0.25, 0.15, 0.1, 0.1, 0.15,
    0.3, 0.5, 0.6, 0.6, 0.5, 0.2, 0.05,
)  # fmt: skip


@dataclass(slots=True)
class House:
    """The heat in a house.

    Args:
        loss_w_per_k: heat lost per degree between inside and outside.
        indoor_c: temperature of the rooms.
        floor_c: temperature of the heating water and its floor.
        tank_c: temperature of the hot water.
    """

    loss_w_per_k: float = 150.0
    indoor_c: float = 20.5
    floor_c: float = 29.0
    tank_c: float = 48.0

    def heat(
        self, dt_s: float, watts: float, outdoor_c: float, sun: float, *, circulating: bool
    ) -> None:
        """Let the rooms live for a step.

        Args:
            dt_s: seconds, well below the 40 minutes of the floor.
            watts: heat given to the heating water; negative takes it out.
            outdoor_c: temperature outside.
            sun: 0 to 1.
            circulating: whether the water moves through the floor.
        """
        emitted = EMITTER_W_PER_K * (self.floor_c - self.indoor_c) * (1.0 if circulating else 0.35)
        self.floor_c += dt_s * (watts - emitted) / FLOOR_J_PER_K
        gained = emitted + INTERNAL_W + WINDOWS_W * sun
        self.indoor_c += (
            dt_s * (gained - self.loss_w_per_k * (self.indoor_c - outdoor_c)) / ROOM_J_PER_K
        )

    def bathe(self, dt_s: float, watts: float, hour: float, random: Random) -> None:
        """Let the tank live for a step.

        Args:
            dt_s: seconds.
            watts: heat given to the tank.
            hour: local hour of the day, 0 to 24, for the habits of the people.
            random: decides when somebody showers.
        """
        lost = TANK_LOSS_W_PER_K * (self.tank_c - self.indoor_c)
        self.tank_c += dt_s * (watts - lost) / TANK_J_PER_K
        rate = DRAWS_PER_HOUR[int(hour) % 24]
        if random.random() < rate * dt_s / 3600.0:
            self.tank_c = max(12.0, self.tank_c - DRAW_K * random.uniform(0.4, 1.6))
