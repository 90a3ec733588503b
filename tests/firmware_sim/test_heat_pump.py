import math
import struct
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from firmware_sim.products.climate import ALPINE, CONTINENTAL, GLACIER, Climate
from firmware_sim.products.fault import Fault, FaultKind
from firmware_sim.products.heat_pump import HeatPump
from firmware_sim.products.product import UnknownCommandError
from firmware_sim.products.refrigeration import Circuit

STEP_S = 300
DAY_NS = 86_400 * 10**9
Rows = list[dict[str, float]]


def instant(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 10**9


WINTER, SUMMER = instant(2026, 1, 10), instant(2026, 7, 10)


def live(pump: HeatPump, start_ns: int, days: float, step_s: int = STEP_S) -> Rows:
    return [
        pump.step(step_s, start_ns + number * step_s * 10**9)
        for number in range(1, int(days * 86_400 / step_s) + 1)
    ]


def mean(rows: Rows, metric: str, *, running: bool = False) -> float:
    values = [row[metric] for row in rows if not running or row["compressor_hz"] > 0]
    return sum(values) / len(values)


def consumption(start_ns: int, climate: Climate = CONTINENTAL) -> float:
    rows = live(HeatPump(7, climate=climate), start_ns, 5)
    return rows[-1]["energy_kwh"] - rows[0]["energy_kwh"]


def test_energy_counter_never_falls_and_matches_power() -> None:
    rows = live(HeatPump(3), WINTER, 3, step_s=30)
    counter = [row["energy_kwh"] for row in rows]
    assert counter == sorted(counter)
    from_power = sum(row["power_w"] for row in rows) * 30 / 3.6e6
    assert counter[-1] == pytest.approx(from_power, rel=0.02)


@pytest.mark.parametrize("start_ns", [WINTER, SUMMER])
@pytest.mark.parametrize("seed", range(4))
def test_a_house_stays_comfortable_and_readings_plausible(seed: int, start_ns: int) -> None:
    rows = live(HeatPump(seed), start_ns, 6)[288:]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert all(19.0 < row["indoor_temp_c"] < 31.0 for row in rows)
    assert all(15.0 < row["flow_temp_c"] < 65.0 for row in rows)
    assert all(0.0 <= row["power_w"] < 6_000.0 for row in rows)
    assert all(0.0 <= row["vibration_mm_s"] < 4.0 for row in rows)


def test_a_cold_house_needs_far_more_than_a_warm_one() -> None:
    winter, summer = consumption(WINTER), consumption(SUMMER)
    assert winter > 3 * summer
    assert 5 < winter / 5 < 80  # kWh a day
    assert consumption(WINTER, ALPINE) > winter


@pytest.mark.parametrize("outdoor_c", [-15.0, -7.0, 2.0, 7.0, 20.0])
@pytest.mark.parametrize("sink_c", [30.0, 45.0, 55.0])
def test_cop_is_that_of_real_machines(outdoor_c: float, sink_c: float) -> None:
    cop = Circuit().cop(sink_c, outdoor_c, 0.0)
    assert 1.5 < cop <= 7.0
    assert cop < Circuit().cop(sink_c - 5.0, outdoor_c, 0.0) or cop == 7.0
    assert cop > Circuit().cop(sink_c, outdoor_c - 5.0, 0.0) or cop == 7.0
    assert cop > Circuit().cop(sink_c, outdoor_c, 0.5) or cop == 7.0


def test_compressor_cycles_in_mild_weather_and_rests_between() -> None:
    rows = live(HeatPump(2), instant(2026, 4, 5), 4, step_s=60)
    on = [row["compressor_hz"] > 0 for row in rows]
    starts = sum(now and not before for before, now in pairwise(on))
    assert 0.1 < sum(on) / len(on) < 0.9
    assert 4 * 3 < starts < 4 * 60
    runs = "".join("1" if state else "0" for state in on).strip("0").split("1")
    assert min(len(pause) for pause in runs if pause) >= 4  # minutes


@pytest.mark.parametrize("month", [1, 4, 7, 10])
def test_on_the_glacier_the_compressor_always_runs(month: int) -> None:
    """The demo's fault shows only while it does."""
    pump = HeatPump("1/0", climate=GLACIER)
    rows = live(pump, instant(2026, month, 10), 3, step_s=60)[600:]
    assert sum(row["compressor_hz"] > 0 for row in rows) > 0.97 * len(rows)
    assert min(row["indoor_temp_c"] for row in rows) > 16.0


def test_frost_is_melted_in_humid_cold() -> None:
    rows = live(HeatPump(5), WINTER, 3, step_s=60)
    backwards = [row for row in rows if row["flow_temp_c"] - row["return_temp_c"] < -1.5]
    assert 3 < len(backwards) < 300
    assert all(row["power_w"] > 1_000 for row in backwards)


def packed(rows: Rows) -> bytes:
    return b"".join(struct.pack(f"<{len(row)}d", *row.values()) for row in rows)


def test_same_seed_same_bytes() -> None:
    first, again, other = (packed(live(HeatPump(seed), WINTER, 2)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_substeps_keep_long_steps_stable() -> None:
    rows = live(HeatPump(1), WINTER, 3, step_s=1800)
    assert all(18.0 < row["indoor_temp_c"] < 24.0 for row in rows)


def with_fault(
    kind: FaultKind, rate_per_h: float, *, seed: int = 4, days: float = 2
) -> tuple[Rows, Rows]:
    """Rows of the same house without and with the fault, which begins after a day."""
    sound, broken = HeatPump(seed), HeatPump(seed)
    broken.inject(Fault(kind, WINTER + DAY_NS, rate_per_h))
    return live(sound, WINTER, days), live(broken, WINTER, days)


@pytest.mark.parametrize("kind", sorted(HeatPump.faults))
def test_a_fault_does_nothing_before_its_onset(kind: FaultKind) -> None:
    sound, broken = with_fault(kind, 1.0)
    assert packed(sound[:288]) == packed(broken[:288])
    assert packed(sound[288:]) != packed(broken[288:])


def test_worn_bearing_shakes_and_draws_more() -> None:
    sound, broken = with_fault(FaultKind.BEARING_WEAR, 1.0)
    tail = slice(-200, None)
    assert mean(broken[tail], "vibration_mm_s", running=True) > 3 * mean(
        sound[tail], "vibration_mm_s", running=True
    )
    assert mean(broken[tail], "power_w", running=True) > 1.2 * mean(
        sound[tail], "power_w", running=True
    )
    assert mean(broken[tail], "temp_c") > mean(sound[tail], "temp_c") + 2.0
    assert mean(broken[tail], "indoor_temp_c") == pytest.approx(
        mean(sound[tail], "indoor_temp_c"), abs=0.3
    )


def test_wear_grows_with_time() -> None:
    _, broken = with_fault(FaultKind.BEARING_WEAR, 1 / 24, days=2.2)
    morning, evening = broken[300:360], broken[500:560]
    assert mean(evening, "vibration_mm_s", running=True) > 1.5 * mean(
        morning, "vibration_mm_s", running=True
    )


def test_stuck_sensor_freezes_flow_and_misleads_the_controller() -> None:
    sound, broken = with_fault(FaultKind.STUCK_SENSOR, math.inf)
    after = broken[290:]
    assert len({row["flow_temp_c"] for row in after}) == 1
    assert len({row["return_temp_c"] for row in after}) > 20
    assert mean(after, "return_temp_c") != pytest.approx(
        mean(sound[290:], "return_temp_c"), abs=0.2
    )


def test_leak_costs_capacity_and_efficiency() -> None:
    sound, broken = with_fault(FaultKind.LEAK, 0.5, days=3)
    tail = slice(-250, None)

    def spread_per_hz(rows: Rows) -> float:
        running = [row for row in rows[tail] if row["compressor_hz"] > 0]
        spread = sum(row["flow_temp_c"] - row["return_temp_c"] for row in running)
        return spread / sum(row["compressor_hz"] for row in running)

    assert spread_per_hz(broken) < 0.7 * spread_per_hz(sound)
    assert mean(broken[tail], "power_w") > 1.15 * mean(sound[tail], "power_w")
    assert mean(broken[tail], "compressor_hz") > mean(sound[tail], "compressor_hz")


def test_severity_rises_from_onset_at_its_rate() -> None:
    fault = Fault(FaultKind.BEARING_WEAR, WINTER, 0.5)
    hour = 3600 * 10**9
    assert [fault.severity(WINTER + n * hour) for n in (-1, 0, 1, 2, 9)] == [0, 0, 0.5, 1, 1]


def test_flow_offset_reaches_the_physics() -> None:
    plain, pushed = HeatPump(1), HeatPump(1)
    assert pushed.configure({"flow_offset_k": -4}) == {}
    assert mean(live(pushed, WINTER, 1), "return_temp_c") < mean(
        live(plain, WINTER, 1), "return_temp_c"
    )


def test_bad_settings_change_nothing_but_are_told() -> None:
    pump = HeatPump(1)
    pump.configure({"flow_offset_k": 2, "room_set_c": 20})
    errors = pump.configure({"flow_offset_k": 99, "colour": "red", "room_set_c": 19.5})
    assert set(errors) == {"flow_offset_k", "colour"}
    assert "-8 to 8" in errors["flow_offset_k"]
    assert pump.settings.flow_offset_k == 2
    assert pump.settings.room_set_c == 19.5
    assert set(pump.configure({"room_set_c": True})) == {"room_set_c"}
    assert pump.configure({}) == {}
    assert pump.settings.flow_offset_k == 0


def test_commands() -> None:
    pump = HeatPump(1)
    assert pump.perform("identify", {"seconds": 5}) == {"blinking_s": 5}
    assert pump.perform("restart", {}) == {"restarts": 1}
    with pytest.raises(UnknownCommandError, match="identify"):
        pump.perform("explode", {})
