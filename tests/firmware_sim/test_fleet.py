import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from device_sdk.wire.codes import ClockState
from device_sdk.wire.state import FeatureGrant
from firmware_sim import descriptors, scenario
from firmware_sim.descriptors import DescriptorLimitError
from firmware_sim.device_clock import DeviceClock
from firmware_sim.display import Display
from firmware_sim.fleet import Fleet, FleetError
from firmware_sim.fleet_plan import Member, Region
from firmware_sim.hub_time import HubTime
from firmware_sim.products.heat_pump import HeatPump
from firmware_sim.scenario_player import ScenarioPlayer
from firmware_sim.simulated import Home, SimulatedProduct

if TYPE_CHECKING:
    from device_sdk.client import Device

NOW = 1_768_000_000 * 10**9
DAY = 86_400 * 10**9
HP_1 = Member("HP-1", "heat-pump", "2.4.0", "A", Region("north", "nordic", "Europe/Oslo"))
Row = tuple[int, dict[str, float]]


class DeviceOnTheBench:
    """Stands for the SDK's device: keeps what it is given, and calls back when told to."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.historical: list[Row] = []
        self.commands: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        self.configure: Callable[[Mapping[str, Any]], Any] = lambda _settings: None
        self.network: list[bool] = []
        self.clock_states: list[ClockState] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.measured = threading.Event()
        self.closed = False
        self.grants: dict[str, FeatureGrant] = {}
        self.owner_epoch = 0
        self.heard: tuple[int, int | None] | None = None

    def on_configuration(self, handler: Callable[[Mapping[str, Any]], Any]) -> None:
        self.configure = handler

    def on_owner_change(self, handler: Callable[[int], Any]) -> None:
        self.change_owner = handler

    def entitlements(self) -> Mapping[str, FeatureGrant]:
        return self.grants

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

    def hub_time(self) -> tuple[int, int | None] | None:
        return self.heard

    def set_network(self, *, available: bool) -> None:
        self.network.append(available)

    def set_clock_state(self, state: ClockState) -> None:
        self.clock_states.append(state)

    def event(self, name: str, arguments: Mapping[str, Any]) -> None:
        self.events.append((name, dict(arguments)))

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


def test_a_product_catches_up_on_a_leap_of_time(bench: DeviceOnTheBench) -> None:
    product = product_on(bench)
    product.live(NOW)
    energy = bench.rows[0][1]["energy_kwh"]
    product.live(NOW + DAY)
    assert [at for at, _ in bench.rows] == [NOW, NOW + DAY]
    between = [at for at, _ in bench.historical]
    assert between == list(range(NOW + 600 * 10**9, NOW + DAY, 600 * 10**9))
    readings = [row["energy_kwh"] for _, row in bench.historical]
    assert energy < readings[0] < readings[-1] <= bench.rows[1][1]["energy_kwh"]


def test_a_fleet_follows_the_clock_of_its_hub() -> None:
    time = HubTime(lambda: NOW)
    for heard in (None, (NOW + DAY, None), (NOW + 59 * 10**9, 0), (NOW - DAY, 0)):
        time.hear(heard)  # nothing certain, or what a network explains
        assert time() == NOW
    time.hear((NOW + 40 * DAY, 5))
    time.hear((NOW + 3 * DAY, 5))
    assert time() == NOW + 40 * DAY


def test_products_tell_their_fleet_what_the_hub_says(bench: DeviceOnTheBench) -> None:
    time = HubTime(lambda: NOW)
    bench.heard = (NOW + 40 * DAY, 0)
    fleet = Fleet([product_on(bench)], time, time.hear)
    fleet.start(cadence_s=0.01)
    assert bench.measured.wait(120)
    fleet.stop()
    assert bench.rows[0][0] == NOW + 40 * DAY


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
    assert bench.measured.wait(120)
    fleet.stop()
    assert bench.closed
    assert fleet.failure is None


def test_a_failure_of_the_fleet_is_kept_for_who_watches(bench: DeviceOnTheBench) -> None:
    def broken() -> int:
        bench.measured.set()
        raise OSError("no clock")

    fleet = Fleet([product_on(bench)], broken)
    fleet.start(cadence_s=0.01)
    assert bench.measured.wait(120)
    fleet.stop()
    assert isinstance(fleet.failure, OSError)


REGION = Region("north", "nordic", "Europe/Oslo")
PARK = (
    Member("EV-1", "ev-charger", "2.4.1", "B", REGION),
    HP_1,
    Member("HP-2", "heat-pump", "2.4.1", "B", Region("south", "mediterranean", "Europe/Rome")),
    Member("RV-1", "robot-vacuum", "2.4.1", "A", REGION),
    Member("RV-2", "robot-vacuum", "2.4.0", "B", REGION),
)


class Park:
    """A small fleet on the bench, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.benches = {member.serial: DeviceOnTheBench() for member in PARK}
        self.clocks = {member.serial: DeviceClock(lambda: self.now) for member in PARK}
        products = [
            SimulatedProduct(
                member,
                member.product(),
                cast("Device", self.benches[member.serial]),
                clock=self.clocks[member.serial],
            )
            for member in reversed(PARK)
        ]
        self.fleet = Fleet(products, lambda: self.now)

    def apply(self, line: str) -> list[str]:
        event = scenario.parse(line).events[0]
        return [product.serial for product in self.fleet.apply(event, self.now)]

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 10**9
            for product in self.fleet.products:
                product.attend(self.now)
                product.live(self.now)

    def rows(self, serial: str, metric: str) -> list[float]:
        return [row[metric] for _, row in self.benches[serial].rows if metric in row]


@pytest.mark.parametrize(
    ("who", "serials"),
    [
        ("everything is used", ["EV-1", "HP-1", "HP-2", "RV-1", "RV-2"]),
        ("firmware 2.4.1 of lot B is used", ["EV-1", "HP-2"]),
        ("vacuums in region north are used", ["RV-1", "RV-2"]),
        ("one heat pump is used", ["HP-1"]),
        ("one heat pump of firmware 2.4.1 is used", ["HP-2"]),
        ("RV-2 is used", ["RV-2"]),
        ("everything loses battery capacity", ["RV-1", "RV-2"]),  # only what has a battery
    ],
)
def test_an_event_happens_to_whom_it_means(who: str, serials: list[str]) -> None:
    assert Park().apply(f"at 0 s: {who}") == serials


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("HP-9 leaks", "means no product"),
        ("chargers in region south leak", "means no product"),
        ("HP-1 loses battery capacity", "a heat-pump such as HP-1 cannot have battery_fade"),
        ("RV-1 is cloned", "memory that cannot be reached"),
    ],
)
def test_what_fits_no_product_changes_nothing(line: str, said: str) -> None:
    park = Park()
    with pytest.raises(FleetError, match=said):
        park.apply(f"at 0 s: {line}")
    script = scenario.parse(f"at 0 s: everything loses Wi-Fi\nat 1 h: {line}")
    with pytest.raises(FleetError, match=said):
        ScenarioPlayer(script, park.fleet, NOW)
    assert not park.benches["HP-1"].network


def test_a_scenario_happens_in_order_and_once() -> None:
    park = Park()
    script = scenario.parse("at 20 s: HP-1 leaks\nat 5 s: HP-1 is used\nat 5 s: RV-1 is used")
    player = ScenarioPlayer(script, park.fleet, NOW)
    assert not player.advance(NOW + 4 * 10**9)
    happened = player.advance(NOW + 6 * 10**9)
    assert [str(event.target) for event, _ in happened] == ["HP-1", "RV-1"]
    assert len(player.advance(NOW + 60 * 10**9)) == 1
    assert player.done
    assert not player.advance(NOW + 90 * 10**9)


def test_lost_wifi_comes_back_by_itself_and_rows_are_measured_meanwhile() -> None:
    park = Park()
    park.live(2)
    assert park.apply("at 0 s: RV-1 loses Wi-Fi for 3 s") == ["RV-1"]
    park.live(2)
    assert park.benches["RV-1"].network == [False]
    park.live(3)
    assert park.benches["RV-1"].network == [False, True]
    assert len(park.benches["RV-1"].rows) == 7
    assert not park.benches["RV-2"].network


def test_a_reset_clock_counts_from_1970_until_it_is_set() -> None:
    park = Park()
    park.apply("at 0 s: EV-1 resets its clock for 3 s")
    park.live(5)
    bench = park.benches["EV-1"]
    assert bench.clock_states == [ClockState.UNSET, ClockState.SYNCED]
    assert [at for at, _ in bench.rows] == [
        10**9,
        2 * 10**9,
        *(NOW + second * 10**9 for second in (3, 4, 5)),
    ]
    assert park.benches["HP-1"].rows[0][0] == NOW + 10**9


def test_leaking_memory_restarts_the_firmware_and_says_so() -> None:
    park = Park()
    park.apply("at 0 s: HP-1 starts leaking memory within 40 s")
    park.live(50)
    assert park.benches["HP-1"].events == [("restarted", {"count": 1})]
    free = park.rows("HP-1", "free_memory_kb")
    assert min(free) < 40
    assert free[-1] > 100
    assert min(park.rows("HP-2", "free_memory_kb")) > 100


def test_recovery_mends_physics_network_and_clock() -> None:
    park = Park()
    park.apply("at 0 s: HP-1 starts leaking memory within 100 s")
    park.apply("at 0 s: HP-1 loses Wi-Fi for 1 h")
    park.apply("at 0 s: HP-1 resets its clock for 1 h")
    park.live(30)
    park.apply("at 0 s: HP-1 recovers")
    park.live(30)
    assert park.benches["HP-1"].network == [False, True]
    assert park.benches["HP-1"].clock_states[-1] is ClockState.SYNCED
    assert (
        abs(park.rows("HP-1", "free_memory_kb")[-1] - park.rows("HP-1", "free_memory_kb")[30]) < 10
    )


def test_recent_history_is_lived_at_the_pace_of_the_present(bench: DeviceOnTheBench) -> None:
    fleet = Fleet([product_on(bench)], lambda: NOW)
    assert fleet.seed_history(2, 300, recent_s=60, recent_step_s=1) == 23 + 60
    gaps = {b[0] - a[0] for a, b in pairwise(bench.historical)}
    assert gaps >= {300 * 10**9, 10**9}
    assert bench.historical[-1][0] == NOW


def test_the_meter_goes_on_where_it_stopped(tmp_path: Path) -> None:
    home = Home(tmp_path, "https://127.0.0.1:1", tmp_path / "ca.pem")
    first = SimulatedProduct(HP_1, HeatPump(1), cast("Device", DeviceOnTheBench()), home=home)
    first.history(NOW, NOW + 86_400 * 10**9, 300)
    first.close()
    again = SimulatedProduct(HP_1, HeatPump(1), cast("Device", DeviceOnTheBench()), home=home)
    assert again.product.meter == first.product.meter > 0


def test_descriptors_are_raised_or_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"soft": 1024, "hard": 4096}
    monkeypatch.setattr("resource.getrlimit", lambda _: (limits["soft"], limits["hard"]))
    monkeypatch.setattr("resource.setrlimit", lambda _, both: limits.update(soft=both[0]))
    descriptors.allow_devices(10)
    assert limits["soft"] == 1024
    descriptors.allow_devices(300)
    assert limits["soft"] == 256 + 8 * 300
    with pytest.raises(DescriptorLimitError, match="enough for 480 devices"):
        descriptors.allow_devices(1000)
    assert limits["soft"] == 256 + 8 * 300


def test_the_display_says_who_owns_a_product_and_what_it_may_do(bench: DeviceOnTheBench) -> None:
    product = SimulatedProduct(HP_1, HeatPump(1), cast("Device", bench))
    bench.grants = {
        "boost_hours": FeatureGrant(True, "plan", arguments={"plan": "comfort"}),
        "frost_protection": FeatureGrant(True, "safe_function", safe=True),
    }
    for second in range(3):
        product.live(NOW + second * 10**9)
    product.notices.append(cast("Any", "for the former owner"))
    bench.change_owner(2)
    bench.grants["boost_hours"] = FeatureGrant(False, "expired_offline")
    product.live(NOW + 3 * 10**9)
    bench.change_owner(0)
    assert list(product.display.lines) == [
        "Boost hours: available. Part of your plan comfort.",
        "Frost protection: available. It always is.",
        "This product has a new owner.",
        "Boost hours: not available. Connect this product to renew it.",
        "This product belongs to nobody now.",
    ]
    assert product.notices == []


def test_a_display_speaks_german_and_shows_codes_that_it_does_not_know() -> None:
    display = Display("de")
    display.entitlements({"boost": FeatureGrant(False, "lapsed", arguments={"plan": "comfort"})})
    display.entitlements({"boost": FeatureGrant(False, "lunar_eclipse")})
    display.entitlements({"boost": FeatureGrant(True, "grace")})
    assert list(display.lines) == [
        "Boost: nicht verfügbar. Ihr Tarif comfort wurde nicht verlängert.",
        "Boost: nicht verfügbar. lunar_eclipse",
        "Boost: verfügbar. Bitte verlängern Sie Ihren Tarif .",
    ]
