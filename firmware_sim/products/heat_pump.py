"""An air-to-water heat pump with floor heating and a hot-water tank.

1. Weather-compensated flow set point, hysteresis, modulation and minimum times make the duty
   cycle; nothing is drawn by hand.
2. Sensors are noisy and rounded, and the controller sees only sensors: one that sticks misleads it.
3. Faults bend the physics (`refrigeration`, or the sensor), never the readings after the fact.
4. Never here: the clock, the network, or a random source that is not seeded.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp
from random import Random
from typing import Final

from firmware_sim.products.climate import CONTINENTAL, Climate, Weather
from firmware_sim.products.fault import Fault, FaultKind, Faults
from firmware_sim.products.house import EMITTER_W_PER_K, House
from firmware_sim.products.local_time import LocalTime
from firmware_sim.products.module import Module
from firmware_sim.products.product import COMMANDS, Setting, obey
from firmware_sim.products.refrigeration import HZ_MAX, HZ_MIN, Circuit, vibration
from firmware_sim.products.sensor import Sensor
from firmware_sim.products.settings import accept

SUBSTEP_S: Final = 60.0
WEATHER_S: Final = 300.0
WATER_W_PER_K: Final = 1300.0  # heat capacity flow of the circulating water
W_PER_K_PER_L_MIN: Final = 69.8  # water, at one litre a minute
BATH_K: Final = 8.0  # enough to start the compressor, nothing out of the ordinary
MIN_ON_S: Final = 420.0
MIN_OFF_S: Final = 300.0
HYSTERESIS_K: Final = 2.5
TANK_HYSTERESIS_K: Final = 6.0
TRIP_C: Final = 63.0  # the high-pressure switch feels the real water, not the sensor
TRIP_S: Final = 900.0
KP_HZ_PER_K: Final = 11.0
KI_HZ_PER_KS: Final = KP_HZ_PER_K / 2400.0
SEASON_TAU_S: Final = 24 * 3600.0
HEATING_LIMIT_C: Final = 16.0
STANDBY_W: Final = 8.0
CIRCULATION_W: Final = 42.0
BACKUP_W: Final = 2000.0
RANGES: Final = {
    "flow_offset_k": (-8.0, 8.0),
    "room_set_c": (12.0, 26.0),
    "hot_water_set_c": (40.0, 58.0),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner or the manufacturer may set from afar.

    Args:
        flow_offset_k: shifts the heating curve, kelvin.
        room_set_c: wanted room temperature, degrees Celsius.
        hot_water_set_c: wanted hot-water temperature, degrees Celsius.
    """

    flow_offset_k: float = 0.0
    room_set_c: float = 21.0
    hot_water_set_c: float = 50.0


class HeatPump:
    """One heat pump in one house.

    Args:
        seed: makes this house, its weather and its people what they are.
        climate: where the house stands.
        loss_w_per_k: heat that the house loses; drawn from the seed if not given.
        energy_kwh: reading of the energy counter at the start.
        zone: IANA time zone, for the habits of the people.
    """

    model = "heat-pump"
    commands = COMMANDS
    faults = frozenset(
        {
            FaultKind.BEARING_WEAR,
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
        loss_w_per_k: float | None = None,
        energy_kwh: float = 0.0,
        zone: str = "UTC",
    ) -> None:
        random = self._random = Random(f"heat-pump/{seed}")
        self.weather = Weather(climate, random)
        self.house = House(loss_w_per_k=loss_w_per_k or random.uniform(110.0, 190.0))
        self.circuit = Circuit(nominal_w=random.uniform(8000.0, 9500.0), housing_c=climate.mean_c)
        self.settings = Settings()
        # The installer sets the heating curve for the house.
        self._slope = self.house.loss_w_per_k / EMITTER_W_PER_K * random.uniform(0.98, 1.12)
        self.energy_kwh = energy_kwh
        self.tripped = 0
        self.module = Module(f"heat-pump/{seed}")
        self._local = LocalTime(zone)
        self._faults = Faults(self.model, self.faults)
        self._hz = 0.0
        self._integral_hz = 0.0
        self._since_switch_s = MIN_OFF_S
        self._locked_s = 0.0
        self._starved_s = 0.0
        self._hot_water = False
        self._circulating = False
        self._day_mean_c: float | None = None
        self._power_w = STANDBY_W
        self._flow_c = self._return_c = self.house.floor_c
        self._water_w_per_k = 0.0
        self._sensors = {
            "flow_temp_c": Sensor(random, 0.06, 1),
            "return_temp_c": Sensor(random, 0.06, 1),
            "outdoor_temp_c": Sensor(random, 0.08, 1),
            "indoor_temp_c": Sensor(random, 0.03, 2),
            "hot_water_temp_c": Sensor(random, 0.05, 1),
            "temp_c": Sensor(random, 0.1, 1),
            "vibration_mm_s": Sensor(random, 0.02, 3),
            "compressor_hz": Sensor(random, 0.0, 1),
            "water_flow_l_min": Sensor(random, 0.12, 2),
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

    def use(self, now_ns: int) -> None:  # noqa: ARG002  the protocol's; a bath needs no time
        """Somebody takes a long bath: the tank is cool and the compressor has work to do."""
        self.house.tank_c = min(self.house.tank_c, self.settings.hot_water_set_c - BATH_K)
        self._since_switch_s = max(self._since_switch_s, MIN_OFF_S)

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
        count = max(1, -int(-dt_s // SUBSTEP_S))
        part_s = dt_s / count
        if dt_s <= WEATHER_S:
            self._feel(dt_s, now_ns)
        for left in range(count - 1, -1, -1):
            at_ns = now_ns - int(left * part_s * 1e9)
            if dt_s > WEATHER_S:
                self._feel(part_s, at_ns)
            self._live(part_s, at_ns)
        self.module.live(dt_s, self._faults.rate_per_h(FaultKind.MEMORY_LEAK, now_ns))
        return self._read(now_ns) | self.module.read()

    def _feel(self, dt_s: float, now_ns: int) -> None:
        """Let the weather move on; its steps are exact at any length, so they may be longer."""
        self._local.at(now_ns)
        weather = self.weather
        weather.advance(dt_s, now_ns)
        if self._day_mean_c is None:
            self._day_mean_c = weather.outdoor_c
        self._day_mean_c += (1.0 - exp(-dt_s / SEASON_TAU_S)) * (
            weather.outdoor_c - self._day_mean_c
        )

    def _live(self, dt_s: float, now_ns: int) -> None:
        weather, house, circuit = self.weather, self.house, self.circuit
        self._control(dt_s)
        wear = self._faults.severity(FaultKind.BEARING_WEAR, now_ns)
        leak = self._faults.severity(FaultKind.LEAK, now_ns)
        sink_c = house.tank_c + 2.0 if self._hot_water else house.floor_c
        heat, power = circuit.run(
            dt_s, self._hz, self._flow_c, weather.outdoor_c, weather.humidity, wear, leak
        )
        backup = self._backup(dt_s)
        heat_all = heat + backup
        self._return_c = sink_c
        # The strainer chokes the water: the same heat then needs a greater spread.
        fouled = self._faults.severity(FaultKind.FOULED_FILTER, now_ns)
        water = WATER_W_PER_K * (1.0 - 0.7 * fouled)
        self._flow_c = sink_c + heat_all / water
        house.heat(
            dt_s,
            0.0 if self._hot_water else heat_all,
            weather.outdoor_c,
            weather.sun,
            circulating=self._circulating and not self._hot_water,
        )
        house.bathe(dt_s, heat_all if self._hot_water else 0.0, self._local.hour, self._random)
        if self._flow_c > TRIP_C and self._hz > 0.0:
            self._stop()
            self.tripped += 1
            self._locked_s = TRIP_S
        fan = 20.0 + 0.7 * self._hz if self._hz else 0.0
        pumping = self._circulating or self._hz > 0.0
        self._water_w_per_k = water if pumping else 0.0
        pump = CIRCULATION_W if pumping else 0.0
        self._power_w = STANDBY_W + power + backup + fan + pump
        self.energy_kwh += self._power_w * dt_s / 3.6e6

    def _control(self, dt_s: float) -> None:
        """Decide frequency and valve from what the sensors last said."""
        self._since_switch_s += dt_s
        self._locked_s = max(0.0, self._locked_s - dt_s)
        settings = self.settings
        tank = self._seen("hot_water_temp_c", self.house.tank_c)
        if self._hot_water:
            self._hot_water = tank < settings.hot_water_set_c
            if not self._hot_water:
                # The valve turns: the sensor needs a moment to see the floor's water again.
                self._since_switch_s = 0.0
        elif tank < settings.hot_water_set_c - TANK_HYSTERESIS_K:
            self._hot_water = True

        indoor = self._seen("indoor_temp_c", self.house.indoor_c)
        assert self._day_mean_c is not None  # noqa: S101  `_feel` sets it first
        season = self._day_mean_c < HEATING_LIMIT_C - (0.5 if self._circulating else 1.5)
        self._circulating = season and indoor < settings.room_set_c + (
            1.2 if self._circulating else 0.5
        )
        if self._locked_s > 0.0 or not (self._hot_water or self._circulating):
            self._stop()
            return
        if self._hot_water:
            self._hz = 70.0 if self._may_run() else self._hz
            return
        flow = self._seen("flow_temp_c", self._flow_c)
        error = self._set_point(indoor) - flow
        if self._hz <= 0.0:
            if error > HYSTERESIS_K and self._may_run():
                self._hz = 35.0
                self._integral_hz = 35.0
                self._since_switch_s = 0.0
            return
        self._integral_hz = min(
            HZ_MAX, max(HZ_MIN, self._integral_hz + KI_HZ_PER_KS * error * dt_s)
        )
        wanted = min(HZ_MAX, max(HZ_MIN, self._integral_hz + KP_HZ_PER_K * error))
        self._hz += max(-dt_s, min(dt_s, wanted - self._hz))  # at most 1 Hz a second
        if error < -HYSTERESIS_K and self._hz <= HZ_MIN + 1.0 and self._since_switch_s > MIN_ON_S:
            self._stop()

    def _set_point(self, indoor: float) -> float:
        """The heating curve: warmer water for colder air, trimmed by the room."""
        settings = self.settings
        outdoor = self._seen("outdoor_temp_c", self.weather.outdoor_c)
        trim = max(-3.0, min(3.0, 2.0 * (settings.room_set_c - indoor)))
        curve = settings.room_set_c + 0.5 + self._slope * (settings.room_set_c - outdoor)
        return max(22.0, min(52.0, curve + trim + settings.flow_offset_k))

    def _seen(self, sensor: str, first: float) -> float:
        reading = self._sensors[sensor].reading
        return first if reading is None else reading

    def _may_run(self) -> bool:
        return self._hz > 0.0 or self._since_switch_s >= MIN_OFF_S

    def _stop(self) -> None:
        if self._hz > 0.0:
            self._since_switch_s = 0.0
        self._hz = 0.0
        self._integral_hz = 0.0

    def _backup(self, dt_s: float) -> float:
        """Electric rod: helps when full speed has not been enough for an hour."""
        indoor = self._seen("indoor_temp_c", self.house.indoor_c)
        starved = self._hz > HZ_MAX - 2.0 and indoor < self.settings.room_set_c - 1.0
        self._starved_s = self._starved_s + dt_s if starved else 0.0
        return BACKUP_W if self._starved_s > 3600.0 else 0.0

    def _read(self, now_ns: int) -> dict[str, float]:
        sensors = self._sensors
        stuck = self._faults.severity(FaultKind.STUCK_SENSOR, now_ns)
        wear = self._faults.severity(FaultKind.BEARING_WEAR, now_ns)
        shaking = vibration(self._hz, wear)
        return {
            "flow_temp_c": sensors["flow_temp_c"].read(self._flow_c, stuck),
            "return_temp_c": sensors["return_temp_c"].read(self._return_c),
            "outdoor_temp_c": sensors["outdoor_temp_c"].read(self.weather.outdoor_c),
            "indoor_temp_c": sensors["indoor_temp_c"].read(self.house.indoor_c),
            "hot_water_temp_c": sensors["hot_water_temp_c"].read(self.house.tank_c),
            "temp_c": sensors["temp_c"].read(self.circuit.housing_c),
            "vibration_mm_s": max(
                0.0, sensors["vibration_mm_s"].read(shaking * (1.0 + self._random.gauss(0.0, 0.03)))
            ),
            "compressor_hz": sensors["compressor_hz"].read(self._hz),
            "power_w": round(max(0.0, self._power_w * (1.0 + self._random.gauss(0.0, 0.004))), 1),
            "energy_kwh": round(self.energy_kwh, 4),
            "water_flow_l_min": max(
                0.0, sensors["water_flow_l_min"].read(self._water_w_per_k / W_PER_K_PER_L_MIN)
            ),
        }
