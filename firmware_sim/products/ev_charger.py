"""A charging station for one car: up to 11 kW on three phases, in front of a house.

1. The car decides what it draws, within what the station offers; losses warm connector and cabinet.
2. The station protects itself: it offers less when it is hot and opens when current leaks to earth.
3. Faults bend the physics (or a sensor), never the readings after the fact.
4. Never here: the clock, the network, or a random source that is not seeded.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp
from random import Random
from typing import Final

from firmware_sim.products.car import Car
from firmware_sim.products.climate import CONTINENTAL, Climate, Weather
from firmware_sim.products.fault import Fault, FaultKind, Faults
from firmware_sim.products.grid import NOMINAL_V, Grid
from firmware_sim.products.local_time import LocalTime
from firmware_sim.products.module import Module
from firmware_sim.products.product import COMMANDS, Setting, obey
from firmware_sim.products.sensor import Sensor
from firmware_sim.products.settings import accept

SUBSTEP_S: Final = 60.0
SETTLING_S: Final = 12.0  # the pilot signal ramps: no car jumps to its full current
STANDBY_W: Final = 6.5
CABINET_LOSS: Final = 0.006  # of the power passed on
CABINET_TAU_S: Final = 2400.0
CABINET_K_PER_W: Final = 0.22
SUN_K: Final = 9.0  # what full sun adds to the cabinet
CONNECTOR_TAU_S: Final = 900.0
CONNECTOR_K_PER_A2: Final = 0.021  # contact resistance of a good plug times its thermal resistance
DERATE_C: Final = 68.0  # the cabinet offers half the current from here
RESIDUAL_TRIP_MA: Final = 20.0
RETRY_S: Final = 900.0
RANGES: Final = {"limit_a": (6.0, 16.0)}
LEAST_A: Final = 6.0  # IEC 61851-1: below it a car must not charge


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner or the manufacturer may set from afar.

    Args:
        limit_a: greatest current of a phase, amperes.
    """

    limit_a: float = 16.0


class EvCharger:
    """One charging station and the car that comes to it.

    Args:
        seed: makes station, weather, household and car what they are.
        climate: where it stands.
        zone: IANA time zone, for the habits of the household.
        energy_kwh: reading of the energy counter at the start.
    """

    model = "ev-charger"
    commands = COMMANDS
    faults = frozenset(
        {
            FaultKind.STUCK_SENSOR,
            FaultKind.LEAK,
            FaultKind.FOULED_FILTER,
            FaultKind.MEMORY_LEAK,
        }
    )

    def __init__(
        self,
        seed: int | str,
        *,
        climate: Climate = CONTINENTAL,
        zone: str = "UTC",
        energy_kwh: float = 0.0,
    ) -> None:
        random = self._random = Random(f"ev-charger/{seed}")
        self.module = Module(f"ev-charger/{seed}")
        self.weather = Weather(climate, random)
        self.grid = Grid(random)
        self.car = Car(str(seed))
        self.settings = Settings()
        self.energy_kwh = energy_kwh
        self.delivered_kwh = 0.0
        self.tripped = 0
        self._local = LocalTime(zone)
        self._faults = Faults(self.model, self.faults)
        self._contact = random.uniform(0.85, 1.15)  # plugs differ
        self._residual_ma = 0.0
        self._leakage_ma = random.uniform(0.5, 1.3)  # the car's filter capacitors
        self._locked_s = 0.0
        self._amperes = [0.0, 0.0, 0.0]
        self._power_w = STANDBY_W
        self._cabinet_c = self._connector_c = climate.mean_c
        self._sensors = {
            "connector_temp_c": Sensor(random, 0.12, 1),
            "cabinet_temp_c": Sensor(random, 0.1, 1),
            "residual_ma": Sensor(random, 0.04, 2),
            "current": Sensor(random, 0.03, 2),
            "voltage": Sensor(random, 0.25, 1),
        }

    @property
    def meter(self) -> float:
        """Reading of its counter, kWh; see `Product.meter`."""
        return self.energy_kwh

    @meter.setter
    def meter(self, reading: float) -> None:
        self.energy_kwh = reading

    def inject(self, fault: Fault) -> None:
        """Let something go wrong; see `Product.inject`."""
        self._faults.inject(fault)

    def repair(self) -> None:
        """Mend everything; see `Product.repair`."""
        self._faults.clear()

    def use(self, now_ns: int) -> None:
        """A car comes home rather empty and is plugged in."""
        self._local.at(now_ns)
        self.car.drive(self._local)
        self.car.visit()

    def configure(self, settings: Mapping[str, Setting]) -> dict[str, str]:
        """Apply a pushed configuration; see `Product.configure`."""
        accepted, errors = accept(settings, RANGES, asdict(self.settings))
        self.settings = Settings(**accepted)
        return errors

    def perform(self, command: str, arguments: Mapping[str, Setting]) -> dict[str, Setting]:
        """Obey a command of every product; see `product.obey`."""
        return obey(self, command, arguments)

    def step(self, dt_s: float, now_ns: int) -> dict[str, float]:
        """Live until an instant and read every sensor there; see `Product.step`."""
        self.weather.advance(dt_s, now_ns)
        self.grid.advance(dt_s)
        # At rest everything is exact in one step; only what works needs short ones.
        count = max(1, -int(-dt_s // SUBSTEP_S)) if self._works() else 1
        part_s = dt_s / count
        for left in range(count - 1, -1, -1):
            self._live(part_s, now_ns - int(left * part_s * 1e9))
        self.module.live(dt_s, self._faults.rate_per_h(FaultKind.MEMORY_LEAK, now_ns))
        return self._read(now_ns) | self.module.read()

    def _works(self) -> bool:
        return self.car.plugged and self.car.soc < self.car.target

    def _live(self, dt_s: float, now_ns: int) -> None:
        self._local.at(now_ns)
        self.car.drive(self._local)
        self._locked_s = max(0.0, self._locked_s - dt_s)
        amperes = self._offer(dt_s)
        phases = self.car.phases
        self._amperes = [amperes, *([amperes] * 2 if phases == 3 else [0.0, 0.0])]
        watts = amperes * NOMINAL_V * phases
        self.car.charge(dt_s, watts)
        self.delivered_kwh += watts * dt_s / 3.6e6
        self._power_w = STANDBY_W + watts * (1.0 + CABINET_LOSS)
        self.energy_kwh += self._power_w * dt_s / 3.6e6
        self._warm(dt_s, now_ns, amperes, watts)
        self._leak(now_ns, amperes)

    def _offer(self, dt_s: float) -> float:
        """Current of each phase in use: what the car wants, within what is offered."""
        phases = self.car.phases
        limit = self.settings.limit_a * (2.0 if phases == 1 else 1.0)
        if self._seen("cabinet_temp_c", self._cabinet_c) > DERATE_C:
            limit = max(LEAST_A, 0.5 * limit)
        wanted = self.car.wanted_w() / NOMINAL_V / phases
        target = 0.0 if self._locked_s > 0.0 else min(wanted, limit)
        if target <= 0.0:
            return 0.0  # the contactor opens at once
        present = self._amperes[0]
        return present + (1.0 - exp(-dt_s / SETTLING_S)) * (target - present)

    def _warm(self, dt_s: float, now_ns: int, amperes: float, watts: float) -> None:
        weather = self.weather
        fouled = self._faults.severity(FaultKind.FOULED_FILTER, now_ns)
        shed = CABINET_K_PER_W * (1.0 + 2.5 * fouled)  # the fan draws air through a dirty mat
        target = weather.outdoor_c + SUN_K * weather.sun + shed * (STANDBY_W + CABINET_LOSS * watts)
        self._cabinet_c += (1.0 - exp(-dt_s / CABINET_TAU_S)) * (target - self._cabinet_c)
        heating = CONNECTOR_K_PER_A2 * self._contact * amperes * amperes
        target = (
            weather.outdoor_c + 3.0 * weather.sun + heating * (3 if self.car.phases == 3 else 1)
        )
        self._connector_c += (1.0 - exp(-dt_s / CONNECTOR_TAU_S)) * (target - self._connector_c)

    def _leak(self, now_ns: int, amperes: float) -> None:
        """Current to earth: filter capacitors, moisture, and an insulation that gives way."""
        if amperes <= 0.0:
            self._residual_ma = 0.0
            return
        moisture = 1.0 + 0.4 * max(0.0, self.weather.humidity - 0.7)
        broken = 28.0 * self._faults.severity(FaultKind.LEAK, now_ns)
        self._residual_ma = self._leakage_ma * moisture + broken
        if self._residual_ma > RESIDUAL_TRIP_MA:
            self.tripped += 1
            self._locked_s = RETRY_S
            self._amperes = [0.0, 0.0, 0.0]

    def _seen(self, sensor: str, first: float) -> float:
        reading = self._sensors[sensor].reading
        return first if reading is None else reading

    def _read(self, now_ns: int) -> dict[str, float]:
        sensors, amperes, car = self._sensors, self._amperes, self.car
        stuck = self._faults.severity(FaultKind.STUCK_SENSOR, now_ns)
        charging = amperes[0] > 0.0
        readings = {
            "connector_state": 2.0 if charging else 1.0 if car.plugged else 0.0,
            "power_w": round(max(0.0, self._power_w * self._random.gauss(1.0, 0.003)), 1),
            "energy_kwh": round(self.energy_kwh, 4),
            "connector_temp_c": sensors["connector_temp_c"].read(self._connector_c, stuck),
            "cabinet_temp_c": sensors["cabinet_temp_c"].read(self._cabinet_c),
        }
        for phase in range(3):
            volt = self.grid.voltage(phase, self._local.hour, amperes[phase])
            readings[f"voltage_l{phase + 1}_v"] = sensors["voltage"].read(volt)
        if self._residual_ma:  # an open contactor passes nothing to measure; what opened it is told
            readings["residual_ma"] = max(0.0, sensors["residual_ma"].read(self._residual_ma))
        if charging:
            for phase in range(car.phases):
                ampere = sensors["current"].read(amperes[phase])
                readings[f"current_l{phase + 1}_a"] = max(0.0, ampere)
        if car.plugged:  # the car tells it over the plug (ISO 15118)
            readings["car_soc_pct"] = round(100.0 * car.soc, 1)
        return readings
