"""What a fleet needs: by figures that a test can follow, by those that are shipped, and by those of the hub itself."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.app.capacity_desk import CapacityDesk
from hub.config import Settings
from hub.errors import InvalidInputError
from hub.metrics import Metrics, merged
from hub.ports.store.manifest import DataFile, Manifest, RollupFile
from hub.services.capacity import USE, compute
from hub.services.capacity_here import ENOUGH, calibrated
from hub.services.capacity_model import Figure, Fleet, Kept, Machine, Needs, parse_kept, shipped
from hub.services.capacity_sizes import journal_bytes, message_bytes, receipt_bytes

EVER = (Kept(1.0, (None, None, None, None)),)
GIVEN = {
    "worker_us_per_message": 2.0,
    "worker_us_per_sample": 0.5,
    "worker_us_per_turn": 100.0,
    "worker_turns_per_s": 200.0,
    "broker_us_per_message": 4.0,
    "compactor_us_per_sample": 0.25,
    "meter_us_per_row": 0.5,
    "bytes_per_series": 1_000.0,
    "worker_bytes_per_product": 5_000.0,
    "control_bytes_per_product": 100.0,
    "broker_bytes_per_connection": 50_000.0,
    "database_bytes_per_product": 2_000.0,
    "raw_bytes_per_sample": 7.0,
    "minute_bytes_per_aggregate": 20.0,
    "hour_bytes_per_aggregate": 30.0,
    "day_bytes_per_aggregate": 40.0,
    "base_bytes_ingest": 200e6,
    "base_bytes_broker": 30e6,
    "base_bytes_control": 300e6,
    "base_bytes_authd": 50e6,
}
FIGURES = {name: Figure(name, value, "given") for name, value in GIVEN.items()}
FLEET = Fleet(60_000, 1 / 60, 1, 5, EVER)  # a thousand messages a second


def values(found: Needs) -> dict[str, float]:
    return {need.code: need.value for need in found.needs}


def test_needs_are_what_their_formulas_say() -> None:
    found = values(compute(FLEET, FIGURES, Machine()))
    assert found["messages"] == pytest.approx(1_000)
    assert found["samples"] == pytest.approx(5_000)
    assert found["ingest_cores"] == pytest.approx((1_000 * 2 + 5_000 * 0.5 + 200 * 100) / 1e6)
    assert found["broker_cores"] == pytest.approx(0.004)
    assert found["compactor_cores"] == pytest.approx(0.00125)
    assert found["meter_cores"] == pytest.approx(0.0005)
    assert found["cores"] == pytest.approx(0.0245 + 0.004 + 0.00125 + 0.0005)
    assert (found["workers"], found["lanes"]) == (1, 1)
    assert found["ingest_memory"] == 200e6 + 60_000 * (5_000 + 5 * 1_000)
    assert found["broker_memory"] == 30e6 + 60_000 * 50_000
    assert found["memory"] == pytest.approx(200e6 + 6e8 + 30e6 + 3e9 + 300e6 + 6e6 + 50e6)
    assert found["raw_disk"] == pytest.approx(5_000 * 86_400 * 7)
    assert found["minute_disk"] == pytest.approx(300_000 * 1_440 * 20)
    assert found["hour_disk"] == pytest.approx(300_000 * 24 * 30)
    assert found["day_disk"] == pytest.approx(300_000 * 40)
    assert found["database_disk"] == 60_000 * 2_000


def test_a_level_has_no_more_aggregates_than_rows() -> None:
    hourly = replace(FLEET, rate=1 / 3_600)
    found = values(compute(hourly, FIGURES, Machine()))
    assert found["minute_disk"] == pytest.approx(300_000 * 24 * 20)
    assert found["hour_disk"] == pytest.approx(300_000 * 24 * 30)


def test_what_ends_fills_the_disk_and_what_does_not_grows() -> None:
    kept = parse_kept("0.75:30/365/1825/-, 0.25:7/-/-/-")
    found = compute(replace(FLEET, kept=kept), FIGURES, Machine(segment=1_000))
    per_day = [found.need(f"{level}_disk").value for level in ("raw", "minute", "hour", "day")]
    raw, minute, hour, day = per_day
    fixed = found.need("journal_disk").value + found.need("database_disk").value
    assert found.need("journal_disk").value == 2_000
    assert found.need("disk").value == pytest.approx(
        fixed + raw * (0.75 * 30 + 0.25 * 7) + 0.75 * (minute * 365 + hour * 1_825)
    )
    assert found.need("disk_growth").value == pytest.approx(0.25 * (minute + hour) + day)
    short = compute(replace(FLEET, kept=parse_kept("30/30/30/30")), FIGURES, Machine(segment=1_000))
    assert short.need("disk").value == pytest.approx(fixed + 30 * (raw + hour + day))


def test_the_fleet_is_bounded_by_what_is_used_up_first() -> None:
    machine = Machine(cores=4, memory=64e9, disk=1e15, connections=100_000, files=1_000_000)
    found = compute(FLEET, FIGURES, machine)
    assert found.bound is not None
    assert (found.bound.code, found.most) == ("connections", 100_000)
    found = compute(FLEET, FIGURES, replace(machine, memory=2.09e9))
    assert found.bound is not None
    assert found.bound.code == "memory"
    assert found.most == pytest.approx(60_000 * 2.09e9 / found.need("memory").value, rel=1e-4)
    assert found.need("cores").room == 4 * USE
    assert compute(FLEET, FIGURES, Machine()).bound is None


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 10**7), st.floats(1e-4, 100), st.integers(1, 500), st.integers(1, 50))
def test_more_of_anything_never_needs_less(
    products: int, rate: float, rows: int, metrics: int
) -> None:
    few = values(compute(Fleet(products, rate, rows, metrics, EVER), FIGURES, Machine()))
    many = values(compute(Fleet(2 * products, rate, rows, metrics, EVER), FIGURES, Machine()))
    assert all(many[code] >= value * (1 - 1e-9) for code, value in few.items())
    assert few["workers"] <= few["lanes"] < 2 * few["workers"]
    assert int(few["lanes"]).bit_count() == 1


@pytest.mark.parametrize(
    "text",
    ["", "30", "30/365/1825", "a/b/c/d", "0.5:1/2/3/4", "1.5:1/2/3/4", "-1/2/3/4", "0:1/2/3/4"],
)
def test_what_does_not_say_how_long_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Fleet(1, 1.0, 1, 1, parse_kept(text))


@pytest.mark.parametrize(
    "fleet",
    [(0, 1.0, 1, 1), (1, 0.0, 1, 1), (1, float("nan"), 1, 1), (1, 1.0, 0, 1), (1, 1.0, 1, 70_000)],
)
def test_a_fleet_that_cannot_be_is_refused(fleet: tuple[int, float, int, int]) -> None:
    with pytest.raises(InvalidInputError):
        Fleet(*fleet, EVER)


def test_sizes_are_those_of_what_is_encoded() -> None:
    row, sample = journal_bytes(5)
    assert (round(row), round(sample)) == (48, 10)
    assert message_bytes(1, 5) < message_bytes(50, 5) < 50 * message_bytes(1, 5)
    assert 60 < receipt_bytes() < 200


def test_shipped_figures_are_measured_and_whole() -> None:
    figures, made = shipped()
    assert figures.keys() >= GIVEN.keys() - {"base_bytes_authd"}
    assert all(one.value >= 0 and one.source and not one.here for one in figures.values())
    assert {"on", "cores", "memory_gb", "processor", "python"} <= made.keys()
    kept = json.loads((files("hub.services") / "capacity_figures.json").read_text())
    assert set(kept) == {"made", "figures"}
    found = values(compute(FLEET, figures, Machine()))
    assert 0 < found["cores"] < 100
    assert 1e8 < found["memory"] < 1e12


def test_a_hub_with_load_answers_by_what_it_counted(tmp_path: Path) -> None:
    worker, meter = Metrics("ingest-0"), Metrics("meter")
    worker.received_frames.inc(ENOUGH)
    worker.journalled_samples.inc(4 * ENOUGH)
    for _ in range(100):
        worker.batch_frames.observe(100)
    worker.stage_seconds.labels("decode").observe(0.02)
    worker.stage_seconds.labels("detect").observe(0.08)  # 10 us a message; 5 were expected
    meter.meter_rows.inc(ENOUGH)
    meter.meter_step_seconds.observe(0.03)
    worker.publish(tmp_path)
    meter.publish(tmp_path)
    manifest = Manifest(
        files=(DataFile("a", 2 * ENOUGH, ENOUGH, 1, 1, 0, 1, 6 * ENOUGH),),
        rollups=(RollupFile("b", "hour", ENOUGH, 1, 1, 0, 1, 9 * ENOUGH),),
    )
    found = calibrated(FIGURES, merged(Metrics("control"), tmp_path).collect(), manifest)
    changed = {name: one.value for name, one in found.items() if one.here}
    assert changed == {
        "worker_us_per_message": pytest.approx(4.0),
        "worker_us_per_sample": pytest.approx(1.0),
        "worker_us_per_turn": pytest.approx(200.0),
        "meter_us_per_row": pytest.approx(3.0),
        "raw_bytes_per_sample": pytest.approx(3.0),
        "hour_bytes_per_aggregate": pytest.approx(9.0),
    }
    assert "10 us a message" in found["worker_us_per_message"].source


def test_a_hub_that_has_had_no_load_answers_by_what_is_shipped(tmp_path: Path) -> None:
    desk = CapacityDesk(Settings(data_dir=tmp_path / "data"))
    found = desk.answer(replace(FLEET, kept=parse_kept(desk.kept)))
    assert not any(one.here for one in found.figures.values())
    assert found.bound is not None
    assert found.need("memory").room
    assert found.need("disk").room
