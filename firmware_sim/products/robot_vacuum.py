"""A robot vacuum cleaner with its dock: cleans by a timer, comes home, charges, rests.

1. Weekday, hour and area of a home make the duty cycle; a run that the battery cannot finish is
   broken off, and resumed when it is charged again.
2. Fan, filter, brush, wheels and electronics draw their power from one battery (`battery`).
3. Faults bend the physics (`airflow`, `battery`, or a sensor), never the readings after the fact.
4. Never here: the clock, the network, or a random source that is not seeded.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp, sqrt
from random import Random
from typing import Final

from firmware_sim.products.airflow import Airflow
from firmware_sim.products.battery import Battery
from firmware_sim.products.climate import CONTINENTAL, Climate, season
from firmware_sim.products.fault import Fault, FaultKind, Faults
from firmware_sim.products.local_time import LocalTime
from firmware_sim.products.module import Module
from firmware_sim.products.product import COMMANDS, Setting, obey
from firmware_sim.products.sensor import Sensor
from firmware_sim.products.settings import accept

SUBSTEP_S: Final = 60.0
M2_PER_S: Final = 0.016
HOME_AT: Final = 0.15  # state of charge at which it goes home
RESUME_AT: Final = 0.8
REST_W: Final = 2.2
DRIVE_W: Final = 9.0  # wheels, sensors, computer
BRUSH_RPM: Final = 1350.0
FLOOR_TAU_S: Final = 150.0  # seconds from hard floor to carpet and back
WASH_DAYS: Final = 21.0
RANGES: Final = {"suction": (0.5, 1.2), "start_hour": (6.0, 21.0)}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner or the manufacturer may set from afar.

    Args:
        suction: strength of the fan, 1 is normal.
        start_hour: local hour at which it begins on its days; 0 leaves it to the household.
    """

    suction: float = 1.0
    start_hour: float = 0.0


class RobotVacuum:
    """One robot vacuum in one home.

    Args:
        seed: makes robot, home and people what they are.
        climate: where the home stands; rooms are a little warmer in summer.
        zone: IANA time zone, for its timer.
        area_m2: reading of the area counter at the start.
    """

    model = "robot-vacuum"
    commands = (*COMMANDS, "clean", "dock")
    faults = frozenset(
        {
            FaultKind.BEARING_WEAR,
            FaultKind.STUCK_SENSOR,
            FaultKind.LEAK,
            FaultKind.FOULED_FILTER,
            FaultKind.MEMORY_LEAK,
            FaultKind.BATTERY_FADE,
        }
    )

    def __init__(
        self,
        seed: int | str,
        *,
        climate: Climate = CONTINENTAL,
        zone: str = "UTC",
        area_m2: float = 0.0,
    ) -> None:
        random = self._random = Random(f"robot-vacuum/{seed}")
        self.module = Module(f"robot-vacuum/{seed}")
        self.battery = Battery(random.uniform(0.7, 1.0), random.uniform(5.0, 180.0))
        self.air = Airflow(dust=random.uniform(0.02, 0.4))
        self.settings = Settings()
        self.area_m2 = area_m2
        self._climate = climate
        self._seed = seed
        self._local = LocalTime(zone)
        self._faults = Faults(self.model, self.faults)
        self._home_m2 = random.uniform(35.0, 85.0)
        self._days = frozenset(random.choice(((0, 1, 2, 3, 4, 5, 6), (0, 2, 4), (0, 1, 2, 3, 4))))
        self._hour = random.uniform(8.5, 15.0)
        self._dirt = random.uniform(0.7, 1.4)
        self._left_m2 = 0.0
        self._cleaning = False
        self._started_on: int | None = None
        self._floor = random.gauss(0.0, 1.0)
        self._amperes = 0.0
        self._brush_rpm = 0.0
        self._room_c = 21.5
        self._sensors = {
            "battery_v": Sensor(random, 0.008, 3),
            "suction_current_a": Sensor(random, 0.012, 3),
            "motor_temp_c": Sensor(random, 0.1, 1),
            "filter_pressure_pa": Sensor(random, 6.0, 0),
            "brush_rpm": Sensor(random, 8.0, 0),
        }

    @property
    def docked(self) -> bool:
        """Whether it stands in its dock."""
        return not self._cleaning

    @property
    def meter(self) -> float:
        """Reading of its counter, square metres; see `Product.meter`."""
        return self.area_m2

    @meter.setter
    def meter(self, reading: float) -> None:
        self.area_m2 = reading

    def inject(self, fault: Fault) -> None:
        """Let something go wrong; see `Product.inject`."""
        self._faults.inject(fault)

    def repair(self) -> None:
        """Mend everything; see `Product.repair`."""
        self._faults.clear()

    def use(self, now_ns: int) -> None:  # noqa: ARG002  the protocol's; a run begins at any time
        """Somebody presses the button: it cleans the whole home."""
        self.battery.soc = max(self.battery.soc, RESUME_AT)
        self._left_m2 = self._home_m2
        self._cleaning = True

    def configure(self, settings: Mapping[str, Setting]) -> dict[str, str]:
        """Apply a pushed configuration; see `Product.configure`."""
        accepted, errors = accept(settings, RANGES, asdict(self.settings))
        self.settings = Settings(**accepted)
        return errors

    def perform(self, command: str, arguments: Mapping[str, Setting]) -> dict[str, Setting]:
        """Obey `clean`, `dock` or a command of every product; see `product.obey`."""
        if command == "clean":
            self._left_m2 = self._home_m2
            self._cleaning = self.battery.soc > HOME_AT
            return {"area_m2": round(self._left_m2, 1), "cleaning": self._cleaning}
        if command == "dock":
            self._left_m2, self._cleaning = 0.0, False
            return {"docked": True}
        return obey(self, command, arguments)

    def step(self, dt_s: float, now_ns: int) -> dict[str, float]:
        """Live until an instant and read every sensor there; see `Product.step`."""
        # At rest everything is exact in one step; only what works needs short ones.
        count = max(1, -int(-dt_s // SUBSTEP_S)) if self._works() else 1
        part_s = dt_s / count
        self.battery.fade(self._faults.severity(FaultKind.BATTERY_FADE, now_ns))
        for left in range(count - 1, -1, -1):
            self._live(part_s, now_ns - int(left * part_s * 1e9))
        self.module.live(dt_s, self._faults.rate_per_h(FaultKind.MEMORY_LEAK, now_ns))
        return self._read(now_ns) | self.module.read()

    def _works(self) -> bool:
        return self._cleaning or self._left_m2 > 0.0 or self.battery.soc < 1.0

    def _live(self, dt_s: float, now_ns: int) -> None:
        local = self._local
        local.at(now_ns)
        self._room_c = 21.5 + 0.25 * self._climate.season_k * season(now_ns, self._climate)
        if local.day != self._started_on and local.hour >= self._start_hour():
            self._begin_day(local)
        if not self._cleaning and self._left_m2 > 0.0 and self.battery.soc >= RESUME_AT:
            self._cleaning = True
        if self._cleaning:
            self._clean(dt_s, now_ns)
        else:
            self._rest(dt_s)

    def _start_hour(self) -> float:
        return self.settings.start_hour or self._hour

    def _begin_day(self, local: LocalTime) -> None:
        """The timer rings, on its days; now and then the owner washes the filter before."""
        late = self._started_on is not None and local.hour < self._start_hour() + 1.0
        self._started_on = local.day
        random = Random(f"robot-vacuum/{self._seed}/{local.day}")
        if random.random() < 1.0 / WASH_DAYS:
            self.air.wash()
        if late and local.weekday in self._days:
            self._left_m2 = self._home_m2 * random.uniform(0.85, 1.05)  # a door may be shut
            self._cleaning = self.battery.soc > 0.5

    def _clean(self, dt_s: float, now_ns: int) -> None:
        severity = self._faults.severity
        keep = exp(-dt_s / FLOOR_TAU_S)
        self._floor = keep * self._floor + sqrt(1.0 - keep * keep) * self._random.gauss(0.0, 1.0)
        carpet = min(1.0, max(0.0, 0.5 + 0.9 * self._floor))
        self.air.run(
            dt_s,
            self._room_c,
            self.settings.suction * (1.0 + 0.06 * carpet),
            severity(FaultKind.BEARING_WEAR, now_ns),
            severity(FaultKind.FOULED_FILTER, now_ns),
            severity(FaultKind.LEAK, now_ns),
        )
        volts = self.battery.voltage(2.0)
        self._brush_rpm = BRUSH_RPM * (volts / 14.8) ** 0.3 * (1.0 - 0.08 * carpet)
        watts = self.air.motor_a * 14.4 + DRIVE_W + 5.0 + 3.0 * carpet
        self._amperes = self.battery.draw(dt_s, watts)
        area = min(self._left_m2, M2_PER_S * dt_s)
        self.area_m2 += area
        self._left_m2 -= area
        self.air.collect(area, self._dirt)
        if self._left_m2 <= 0.0 or self.battery.soc < HOME_AT:
            self._cleaning = False

    def _rest(self, dt_s: float) -> None:
        self.air.rest(dt_s, self._room_c)
        self._brush_rpm = 0.0
        self._amperes = self.battery.charge(dt_s)

    def _read(self, now_ns: int) -> dict[str, float]:
        sensors, air, battery = self._sensors, self.air, self.battery
        stuck = self._faults.severity(FaultKind.STUCK_SENSOR, now_ns)
        readings = {
            "docked": 1.0 if self.docked else 0.0,
            "battery_pct": round(100.0 * battery.soc, 1),
            "battery_v": sensors["battery_v"].read(battery.voltage(self._amperes)),
            "motor_temp_c": sensors["motor_temp_c"].read(air.motor_c),
            "area_m2": round(self.area_m2, 2),
        }
        if self._cleaning:  # what stands is not measured, and the gauge learns under load only
            readings |= {
                "battery_health_pct": round(100.0 * battery.gauge, 1),
                "suction_current_a": sensors["suction_current_a"].read(air.motor_a),
                "filter_pressure_pa": max(
                    0.0, sensors["filter_pressure_pa"].read(air.filter_pa, stuck)
                ),
                "brush_rpm": max(0.0, sensors["brush_rpm"].read(self._brush_rpm)),
            }
        return readings
