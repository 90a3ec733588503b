"""What holds for every product, and what each fault touches."""

import math
import struct
from datetime import UTC, datetime

import numpy as np
import pytest

from firmware_sim import catalogue
from firmware_sim.products.battery import Battery
from firmware_sim.products.car import EFFICIENCY, Car
from firmware_sim.products.climate import CLIMATES
from firmware_sim.products.ev_charger import EvCharger
from firmware_sim.products.fault import Fault, FaultKind, UnknownFaultError
from firmware_sim.products.history import Columns, live_through
from firmware_sim.products.local_time import LocalTime
from firmware_sim.products.models import MODELS
from firmware_sim.products.module import Module
from firmware_sim.products.product import Product, UnknownCommandError
from firmware_sim.products.robot_vacuum import RobotVacuum

NS = 10**9
DAY = 86_400 * NS


def instant(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * NS  # type: ignore[misc, arg-type]


WINTER, SUMMER = instant(2026, 1, 10), instant(2026, 7, 10)


def make(model: str, seed: int = 1, climate: str = "continental") -> Product:
    return MODELS[model].make(seed, climate=CLIMATES[climate], zone="Europe/Berlin")


def month(
    product: Product, start_ns: int = WINTER, days: float = 10, step_s: float = 300
) -> Columns:
    return live_through(product, start_ns, start_ns + int(days * DAY), step_s)


def packed(lived: Columns) -> bytes:
    return b"".join(
        struct.pack("<q", at) + struct.pack(f"<{len(row)}d", *row.values())
        for at, row in lived.rows()
    )


@pytest.mark.parametrize("model", MODELS)
def test_same_seed_same_bytes(model: str) -> None:
    first, again, other = (packed(month(make(model, seed), days=3)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("start_ns", [WINTER, SUMMER])
@pytest.mark.parametrize("model", MODELS)
def test_healthy_readings_are_those_of_the_catalogue_and_within_its_limits(
    model: str, start_ns: int
) -> None:
    metrics = {entry["name"]: entry for entry in catalogue.document()["models"][model]["metrics"]}
    for seed in range(3):
        lived = month(make(model, seed), start_ns)
        assert set(lived.values) <= set(metrics)
        for name, values in lived.values.items():
            read = values[np.isfinite(values)]
            low, high = metrics[name].get("low", -math.inf), metrics[name].get("high", math.inf)
            assert low <= read.min(), (seed, name, read.min())
            assert read.max() <= high, (seed, name, read.max())
            if metrics[name].get("kind") == "counter":
                assert (np.diff(read) >= 0).all(), (seed, name)
    assert set(lived.values) == set(metrics) or model == "ev-charger"  # some cars use one phase


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_columns_in_another_shape(model: str) -> None:
    lived = month(make(model), days=0.5)
    rows = list(lived.rows())
    assert [at for at, _ in rows] == lived.time.tolist()
    assert len(lived) == 144
    for name, values in lived.values.items():
        assert [row.get(name) for _, row in rows] == [
            None if math.isnan(value) else value for value in values.tolist()
        ]


@pytest.mark.parametrize("model", MODELS)
def test_use_makes_a_product_work_at_any_hour(model: str) -> None:
    signal = {"heat-pump": "compressor_hz", "ev-charger": "power_w", "robot-vacuum": "brush_rpm"}
    idle = {"heat-pump": 0.0, "ev-charger": 100.0, "robot-vacuum": 0.0}
    for hour in (3, 12, 22):
        product = make(model)
        start = SUMMER + hour * 3600 * NS
        month(product, start - DAY, 1)
        product.use(start)
        lived = month(product, start, 300 / 86_400, 1)
        assert lived.values[signal[model]][-1] > idle[model]


@pytest.mark.parametrize("model", MODELS)
def test_impossible_faults_and_unknown_commands_are_refused(model: str) -> None:
    product = make(model)
    with pytest.raises(UnknownFaultError, match=f"A {model} cannot have clone"):
        product.inject(Fault(FaultKind.CLONE, 0, 1.0))
    with pytest.raises(UnknownCommandError, match="identify"):
        product.perform("explode", {})
    assert product.perform("restart", {}) == {"restarts": 1}


# Which signals a fault bends, and what stays as it was in the same life without it. The times are those
# of a product that was put to use.
TOUCHED = {
    ("heat-pump", FaultKind.BEARING_WEAR): ({"vibration_mm_s"}, {"wifi_rssi_db", "outdoor_temp_c"}),
    ("heat-pump", FaultKind.LEAK): ({"flow_temp_c"}, {"free_memory_kb", "outdoor_temp_c"}),
    ("heat-pump", FaultKind.FOULED_FILTER): ({"water_flow_l_min"}, {"outdoor_temp_c"}),
    ("heat-pump", FaultKind.MEMORY_LEAK): ({"free_memory_kb"}, {"flow_temp_c", "power_w"}),
    ("ev-charger", FaultKind.LEAK): ({"residual_ma"}, {"voltage_l2_v", "free_memory_kb"}),
    ("ev-charger", FaultKind.FOULED_FILTER): ({"cabinet_temp_c"}, {"connector_temp_c", "power_w"}),
    ("ev-charger", FaultKind.STUCK_SENSOR): ({"connector_temp_c"}, {"power_w", "cabinet_temp_c"}),
    ("ev-charger", FaultKind.MEMORY_LEAK): ({"free_memory_kb"}, {"power_w", "residual_ma"}),
    ("robot-vacuum", FaultKind.BEARING_WEAR): (
        {"suction_current_a", "motor_temp_c"},
        {"filter_pressure_pa", "wifi_rssi_db"},
    ),
    ("robot-vacuum", FaultKind.FOULED_FILTER): ({"filter_pressure_pa"}, {"free_memory_kb"}),
    ("robot-vacuum", FaultKind.LEAK): ({"filter_pressure_pa"}, {"free_memory_kb"}),
    ("robot-vacuum", FaultKind.BATTERY_FADE): (
        {"battery_health_pct", "battery_v"},
        {"filter_pressure_pa", "suction_current_a"},
    ),
    ("robot-vacuum", FaultKind.STUCK_SENSOR): ({"filter_pressure_pa"}, {"suction_current_a"}),
    ("robot-vacuum", FaultKind.MEMORY_LEAK): ({"free_memory_kb"}, {"suction_current_a"}),
}


def lives(model: str, kind: FaultKind | None, seed: int) -> Columns:
    product = make(model, seed)
    month(product, WINTER, 0.5)
    begin = WINTER + DAY // 2
    product.use(begin)
    if kind is not None:
        rate = math.inf if kind is FaultKind.STUCK_SENSOR else 6.0
        product.inject(Fault(kind, begin + 300 * NS, rate))
    return month(product, begin, 1200 / 86_400, 1)


@pytest.mark.parametrize(("model", "kind"), TOUCHED)
def test_a_fault_shows_where_it_should_and_only_there(model: str, kind: FaultKind) -> None:
    """The deviation from the healthy twin, in units of the healthy signal's noise from second to second."""
    touched, untouched = TOUCHED[model, kind]
    for seed in (1, 2):
        sound, broken = lives(model, None, seed), lives(model, kind, seed)
        for name in touched | untouched:
            healthy, ill = sound.values[name], broken.values[name]
            before = slice(0, 300)
            assert np.array_equal(healthy[before], ill[before], equal_nan=True), (seed, name)
            noise = np.nanstd(np.diff(healthy)) / math.sqrt(2) + 1e-6
            apart = np.nanmean(np.abs(ill[600:700] - healthy[600:700])) / noise
            if name in touched and kind is FaultKind.STUCK_SENSOR:
                assert np.ptp(ill[600:700]) == 0.0 < np.ptp(healthy[600:700]), (seed, name)
            elif name in touched:
                assert apart > 2.5, (seed, name, apart)
            else:
                assert apart < 2.0, (seed, name, apart)


@pytest.mark.parametrize("model", MODELS)
def test_a_fault_that_ends_or_is_repaired_has_no_more_effect(model: str) -> None:
    sound, ended, repaired = make(model), make(model), make(model)
    fault = Fault(FaultKind.STUCK_SENSOR, WINTER + DAY, math.inf, WINTER + 2 * DAY)
    ended.inject(fault)
    repaired.inject(fault)
    repaired.repair()
    assert packed(month(sound, days=3)) == packed(month(repaired, days=3))
    assert packed(month(ended, days=0.9)) == packed(month(make(model), days=0.9))


def test_the_charge_of_the_car_is_what_was_delivered() -> None:
    charger = EvCharger(4, zone="Europe/Berlin")
    charger.car.visit()
    for number in range(1, 60):
        before, delivered = charger.car.soc, charger.delivered_kwh
        charger.step(60, WINTER + number * 60 * NS)
        gained = (charger.car.soc - before) * charger.car.battery_kwh
        assert gained == pytest.approx((charger.delivered_kwh - delivered) * EFFICIENCY, abs=1e-9)
    assert charger.energy_kwh > charger.delivered_kwh > 2.0


def test_cars_leave_and_return_by_the_weekday() -> None:
    local, car = LocalTime("Europe/Berlin"), Car("7")
    away: dict[int, list[bool]] = {}
    for quarter in range(4 * 24 * 28):
        local.at(WINTER + quarter * 900 * NS)
        car.drive(local)
        if 10 <= local.hour < 15:
            away.setdefault(local.weekday, []).append(not car.plugged)
    assert all(all(away[day]) for day in range(5))
    assert not all(away[5] + away[6])


def test_a_winter_of_driving_takes_more_than_a_summer() -> None:
    used = [
        sum(
            month(make("ev-charger", seed), start, 28, 900).values["energy_kwh"][-1]
            for seed in range(4)
        )
        for start in (WINTER, SUMMER)
    ]
    assert used[0] > 1.1 * used[1]


def test_a_leaking_charger_opens_and_tries_again() -> None:
    charger = EvCharger(2)
    charger.use(WINTER)
    charger.inject(Fault(FaultKind.LEAK, WINTER, math.inf))
    lived = month(charger, WINTER, 0.05, 60)
    assert charger.tripped >= 2
    assert 20 < np.nanmax(lived.values["residual_ma"]) < 40
    assert 1.0 in lived.values["connector_state"]


def test_a_battery_conserves_its_charge_and_fades() -> None:
    battery = Battery(0.9, 100.0)
    before = battery.soc * battery.capacity_ah
    drawn = sum(battery.draw(10, 40.0) for _ in range(100)) * 10 / 3600
    assert before - battery.soc * battery.capacity_ah == pytest.approx(drawn, rel=1e-3)
    healthy, weak = Battery(0.5, 10.0), Battery(0.5, 10.0)
    weak.fade(1.0)
    assert weak.voltage(3.0) < healthy.voltage(3.0) - 0.1
    assert weak.capacity_ah < 0.5 * healthy.capacity_ah
    while healthy.soc < 1.0:
        assert healthy.charge(60) < 0
    assert healthy.charge(60) == 0.0


def test_a_vacuum_cleans_its_home_on_its_days_and_comes_back() -> None:
    vacuum = RobotVacuum(3, zone="Europe/Berlin")
    lived = month(vacuum, WINTER, 14, 60)
    docked = lived.values["docked"]
    runs = int((np.diff(docked) < 0).sum())
    assert 5 <= runs <= 20
    assert 20 * runs < lived.values["area_m2"][-1] < 100 * runs
    assert np.isnan(lived.values["brush_rpm"][docked == 1.0]).all()
    assert lived.values["battery_pct"].min() > 10


def test_leaking_memory_ends_in_a_restart_and_leaks_again() -> None:
    module = Module("1")
    free = []
    for _ in range(400):
        module.live(60.0, 1.0)
        free.append(module.read()["free_memory_kb"])
    assert 5 <= module.restarts <= 8
    assert min(free) >= 5
    assert max(free[100:]) > 140


def test_local_time_knows_summer_time_and_weekdays() -> None:
    local = LocalTime("Europe/Berlin")
    local.at(instant(2026, 7, 6, 22, 30))
    assert (local.weekday, local.hour) == (1, 0.5)  # Tuesday, half past midnight
    local.at(instant(2026, 1, 5, 22, 30))
    assert (local.weekday, local.hour) == (0, 23.5)
