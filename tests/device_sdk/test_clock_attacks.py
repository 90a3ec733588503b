"""Attacks on the time of a product that decides offline, each test named after its attack."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sdk.clock import CORRECTION_NS, DRIFT_PPM, HubClock
from device_sdk.wire.codes import ClockState
from device_sdk.wire.messages import Command, Presence, Reply
from tests.device_sdk.device_bench import SECOND, START, Bench

DAY = 86_400
START_S = START // SECOND
YEARS = 10 * 365 * DAY * SECOND


class Product(Bench):
    """A device whose `boost` is paid for one more day, and which has just heard so."""

    def __init__(self, folder: Path, left: int = DAY) -> None:
        super().__init__(folder)
        self.connect()
        self.engine.on_message("state", self.state(1, until=START_S + left))
        self.disconnect()

    def run(self, seconds: float, step: float = 60.0) -> None:
        """Stay on, offline."""
        while seconds > 0:
            self.step(min(step, seconds))
            seconds -= step

    def power_cut(self, off: float = 10.0) -> None:
        """Lose power and come back; the disk keeps what was written."""
        self.engine.on_disconnected()
        self.engine.spool.close()
        self.time.now += off
        self.open()

    def allowed(self, feature: str = "boost") -> bool:
        now_ns = self.engine.clock.earliest_ns()
        assert now_ns is not None
        return self.engine.trust.decide(feature, now_ns // SECOND).allowed


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return Product(tmp_path)


def test_what_is_paid_for_ends_in_time_and_never_early(product: Product) -> None:
    product.run(DAY - 1)
    assert product.allowed()
    product.run(2 * DRIFT_PPM * 1e-6 * DAY + 2)
    assert not product.allowed()
    assert product.allowed("frost")


def test_clock_set_back(product: Product) -> None:
    product.time.shift = -YEARS
    product.run(1.01 * DAY)
    assert not product.allowed()


def test_clock_set_back_over_a_restart(product: Product) -> None:
    product.run(1.05 * DAY)  # the hour before a power cut may not count
    product.time.shift = -YEARS
    product.power_cut()
    assert not product.allowed()


def test_clock_set_forward_by_years(product: Product) -> None:
    product.time.shift = YEARS
    product.run(DAY / 2)
    assert product.allowed()
    product.power_cut()
    assert product.allowed()
    product.run(DAY)
    assert not product.allowed()


def test_no_clock_at_all(product: Product) -> None:
    product.time.shift = -START
    product.power_cut()
    product.engine.clock_state = ClockState.UNSET
    assert product.allowed()
    product.run(1.1 * DAY)
    assert not product.allowed()


@pytest.mark.parametrize(
    ("run", "left"), [(6.0, 120), (47.0, 600), (600.0, 7_200), (7_000.0, DAY), (50_000.0, DAY)]
)
def test_a_reboot_loop_at_most_doubles_what_is_left(tmp_path: Path, run: float, left: int) -> None:
    product, ran = Product(tmp_path, left), 0.0
    while product.allowed() and ran < 3 * left:
        product.run(run, step=5.0 if run < 600 else 60.0)
        ran += run
        product.power_cut(off=3600.0)
    assert left - 1 <= ran <= 2 * left + 2 * run


def test_an_orderly_restart_loses_no_running_time(product: Product) -> None:
    for _ in range(30):
        product.run(DAY / 24)
        product.engine.upkeep.keep_time()  # as `Device.close` does
        product.power_cut()
    assert not product.allowed()


def test_time_that_the_product_was_off_does_not_count(product: Product) -> None:
    product.power_cut(off=30 * DAY)
    assert product.allowed()
    product.connect()
    product.hub.time = START + 31 * DAY * SECOND
    product.deliver(product.hub.receipt())
    assert not product.allowed()


def test_a_replayed_state_of_the_same_version_does_not_set_time_back(product: Product) -> None:
    product.run(1.01 * DAY)
    product.engine.on_message("state", product.state(1, until=START_S + DAY))
    assert not product.allowed()


def test_an_old_receipt_does_not_set_time_back(product: Product) -> None:
    product.run(1.01 * DAY)
    product.connect()
    product.hub.time = START - DAY * SECOND
    product.deliver(product.hub.receipt())
    assert not product.allowed()


def test_a_hub_whose_clock_was_wrong_sets_it_right_with_a_newer_state(product: Product) -> None:
    product.connect()
    product.hub.time = START + YEARS
    product.deliver(product.hub.receipt())
    assert not product.allowed()
    product.hub.time = START
    product.deliver(product.hub.receipt())
    assert not product.allowed()
    product.engine.on_message("state", product.state(2, until=START_S + DAY, time=START))
    assert product.allowed()
    product.power_cut()
    assert product.allowed()


def test_a_product_without_a_clock_dates_what_it_measures_by_the_hubs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.time.shift = -START
    bench.engine.clock_state = ClockState.UNSET
    bench.measure(1.0)
    bench.connect()
    birth = Presence.decode(bench.hub.last("presence")).birth
    assert birth is not None
    assert birth.clock is ClockState.UNSET
    bench.measure(2.0)
    bench.settle()
    first, second = sorted(bench.hub.packs, key=lambda pack: pack.times[0])
    assert first.clock is ClockState.UNSET
    assert second.clock is ClockState.FREE_RUNNING
    assert abs(second.times[0] - START) < 10 * SECOND


def test_a_command_expires_by_the_hubs_time_whatever_the_clock_shows(product: Product) -> None:
    product.engine.control.commands["identify"] = lambda _: {}
    product.time.shift = YEARS
    product.connect()
    command = Command(b"c" * 16, "identify", {}, START + 60 * SECOND)
    product.engine.on_message("command", command.encode())
    assert Reply.decode(product.hub.last("reply")).status == 0
    product.time.shift = -YEARS
    product.run(61)
    product.connect()
    late = Command(b"d" * 16, "identify", {}, START + 60 * SECOND)
    product.engine.on_message("command", late.encode())
    assert Reply.decode(product.hub.last("reply")).message == "expired"


rates = st.floats(-DRIFT_PPM, DRIFT_PPM)


@given(
    rates,
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(0, 30), st.floats(0, 30), st.booleans()),
        min_size=1,
        max_size=8,
    ),
)
def test_the_hubs_time_is_always_within_the_stated_bound(
    ppm: float, messages: list[tuple[float, float, float, bool]]
) -> None:
    """However fast the oscillator is within its tolerance, and however late messages come."""
    true = 0.0  # seconds since START
    clock = HubClock(lambda: true * (1 + ppm * 1e-6))
    low = 0
    for wait, way, back, answers in messages:
        true += wait
        asked = true * (1 + ppm * 1e-6)
        true += way
        written = START + round(true * SECOND)
        true += back
        clock.hear(written, asked if answers else None)
        now = START + round(true * SECOND)
        earliest, error = clock.earliest_ns(), clock.error_ns()
        assert earliest is not None
        assert low <= earliest <= now + 1_000
        low = earliest
        if error is not None:
            assert now <= earliest + error + 1_000


def test_only_a_jump_that_a_delay_cannot_explain_is_a_correction() -> None:
    clock = HubClock(lambda: 0.0)
    clock.hear(START)
    clock.correct(START - CORRECTION_NS)
    assert clock.earliest_ns() == START
    clock.correct(START - CORRECTION_NS - 1)
    assert clock.earliest_ns() == START - CORRECTION_NS - 1
