import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest

from firmware_sim.fleet import Fleet
from firmware_sim.fleet_plan import Member, Region
from firmware_sim.products.heat_pump import HeatPump
from firmware_sim.simulated import SimulatedProduct

if TYPE_CHECKING:
    from device_sdk.client import Device

NOW = 1_768_000_000 * 10**9
HP_1 = Member("HP-1", "heat-pump", "2.4.0", "A", Region("north", "nordic", "Europe/Oslo"))
Row = tuple[int, dict[str, float]]


class DeviceOnTheBench:
    """Stands for the SDK's device: keeps what it is given, and calls back when told to."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.historical: list[Row] = []
        self.commands: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        self.configure: Callable[[Mapping[str, Any]], Any] = lambda _settings: None
        self.measured = threading.Event()
        self.closed = False

    def on_configuration(self, handler: Callable[[Mapping[str, Any]], Any]) -> None:
        self.configure = handler

    def on_command(self, name: str, handler: Callable[[Mapping[str, Any]], Any]) -> None:
        self.commands[name] = handler

    def on_notice(self, handler: Callable[[Any], None]) -> None:
        self.notify = handler

    def measure_many(self, values: Mapping[str, float], at_ns: int) -> None:
        self.rows.append((at_ns, dict(values)))
        self.measured.set()

    def record(self, rows: Iterable[Row], *, historical: bool) -> None:
        assert historical
        self.historical.extend(rows)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bench() -> DeviceOnTheBench:
    return DeviceOnTheBench()


def product_on(bench: DeviceOnTheBench) -> SimulatedProduct:
    return SimulatedProduct(HP_1, HeatPump(1), cast("Device", bench))


def test_history_ends_now_and_the_present_goes_on_from_it(bench: DeviceOnTheBench) -> None:
    product = product_on(bench)
    told: list[int] = []
    rows = Fleet([product], lambda: NOW).seed_history(24, 60.0, told.append)
    assert rows == len(bench.historical) == sum(told) == 1440
    instants = [at for at, _ in bench.historical]
    assert instants == sorted(set(instants))
    assert instants[-1] == NOW
    energy = bench.historical[-1][1]["energy_kwh"]
    product.live(NOW + 10**9)
    assert [at for at, _ in bench.rows] == [NOW + 10**9]
    assert bench.rows[0][1]["energy_kwh"] >= energy


def test_a_clock_that_steps_back_makes_no_row(bench: DeviceOnTheBench) -> None:
    product = product_on(bench)
    product.live(NOW)
    product.live(NOW - 10**9)
    assert len(bench.rows) == 1


def test_a_push_changes_the_physics_and_tells_what_is_wrong(bench: DeviceOnTheBench) -> None:
    product = product_on(bench)
    assert not product.informed.is_set()
    assert set(bench.configure({"flow_offset_k": -3, "colour": "red"})) == {"colour"}
    assert product.configuration == {"flow_offset_k": -3}
    assert product.informed.is_set()
    assert cast("HeatPump", product.product).settings.flow_offset_k == -3


def test_identify_and_notices(bench: DeviceOnTheBench) -> None:
    product = product_on(bench)
    assert bench.commands["identify"]({}) == {"blinking_s": 30}
    bench.notify("filter")
    assert product.notices == list[Any](["filter"])


def test_the_fleet_lives_until_it_is_stopped(bench: DeviceOnTheBench) -> None:
    instants = iter(range(NOW, NOW + 10**15, 10**9))
    fleet = Fleet([product_on(bench)], lambda: next(instants))
    fleet.start(cadence_s=0.01)
    assert bench.measured.wait(10)
    fleet.stop()
    assert bench.closed
    assert fleet.failure is None


def test_a_failure_of_the_fleet_is_kept_for_who_watches(bench: DeviceOnTheBench) -> None:
    def broken() -> int:
        bench.measured.set()
        raise OSError("no clock")

    fleet = Fleet([product_on(bench)], broken)
    fleet.start(cadence_s=0.01)
    assert bench.measured.wait(10)
    fleet.stop()
    assert isinstance(fleet.failure, OSError)
