"""What warranties read from the telemetry: first use, hours and cycles."""

import pytest

from entitlements.coverage import covers_at
from entitlements.coverage_facts import CoverageFacts
from entitlements.covers import CoverCode
from entitlements.gate import Quarantine
from hub.app.lifetime_clock import ROUND_NS, LifetimeClock
from hub.ports.database.engine import read_session, write_session
from hub.services import coverage_facts, lifetimes
from hub.services.products import Manufactured
from tests.hub.api.memory_store import MemoryStore, Row
from tests.hub.services.coverage_world import COVERAGE, MINUTES, STARTS, promise
from tests.hub.services.service_world import DAY, T0, World

NOW = T0 + 400 * DAY


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def measured(
    world: World,
    store: MemoryStore,
    slot: int,
    metric: int,
    *values: tuple[int, float],
    reason: int = 0,
) -> None:
    """Store samples, and look at all products after each of them."""
    for time, value in values:
        seq = len(store.rows)
        store.rows.append(Row(slot, metric, time, value, seq, reason=reason))
        look(world, store)


def look(world: World, store: MemoryStore, at: int = NOW) -> int:
    with write_session(world.engine) as session:
        found, following = lifetimes.read(session, store, 0, 100)
        assert following is None
        return lifetimes.keep(session, found, at)


def facts(world: World, made: Manufactured) -> CoverageFacts:
    with read_session(world.engine) as session:
        return coverage_facts.load_one(session, made.product_id)


def test_the_first_contact_or_the_first_sample(world: World, store: MemoryStore) -> None:
    promise(world)
    made = world.product()
    assert facts(world, made).first_use_at is None
    world.enrol(made, T0 + 5 * DAY)
    assert facts(world, made).first_use_at == T0 + 5 * DAY
    measured(world, store, 1, 0, (T0 + 7 * DAY, 20.0))
    assert facts(world, made).first_use_at == T0 + 5 * DAY
    other = world.product()
    world.enrol(other, T0 + 9 * DAY)
    # It kept what it measured before it was first connected.
    store.rows.append(Row(2, 0, T0 + 3 * DAY, 20.0, 50, reason=Quarantine.UNCLAIMED))
    measured(world, store, 2, 0, (T0 + 9 * DAY, 20.0))
    assert facts(world, other).first_use_at == T0 + 3 * DAY


def test_a_test_run_is_no_use(world: World, store: MemoryStore) -> None:
    promise(
        world,
        COVERAGE.replace(
            "latest_start_months = 6",
            'latest_start_months = 6\nfirst_use = { metric = "operating_min", above = 30 }',
        ),
    )
    made = world.product()
    world.enrol(made)
    measured(world, store, 1, MINUTES, (T0 + DAY, 0.0), (T0 + 2 * DAY, 30.0))
    assert facts(world, made).first_use_at is None
    for day, value in ((30, 31.0), (31, 95.0)):
        store.rows.append(Row(1, MINUTES, T0 + day * DAY, value, 10 + day))
    look(world, store)
    assert facts(world, made).first_use_at == T0 + 30 * DAY


def test_minutes_become_hours_and_resets_do_not_help(world: World, store: MemoryStore) -> None:
    promise(world)
    made = world.product()
    world.enrol(made)
    samples = [(T0 + day * DAY, day * 600.0) for day in range(1, 91)]  # ten hours a day
    samples += [(T0 + (90 + day) * DAY, day * 600.0) for day in range(1, 21)]  # a new board
    measured(world, store, 1, MINUTES, *samples)
    found = facts(world, made)
    assert max(one.total for one in found.hours) == pytest.approx(1_100.0)
    assert len(found.hours) <= lifetimes.PARTS + 20
    warranty = covers_at(found, T0 + 111 * DAY)[0]
    assert warranty.code is CoverCode.WARRANTY_ENDED_HOURS
    assert warranty.args == {"since_at": T0 + 100 * DAY}
    before = covers_at(found, T0 + 100 * DAY - 1)[0]
    assert before.args["hours_left"] == 10
    assert before.args["cycles_left"] == 500


def test_what_is_read_again_or_out_of_order_changes_nothing(
    world: World, store: MemoryStore
) -> None:
    promise(world)
    made = world.product()
    world.enrol(made)
    measured(world, store, 1, STARTS, (T0 + DAY, 100.0))
    before = facts(world, made)
    assert look(world, store) == 0
    measured(world, store, 1, STARTS, (T0, 3.0))
    # A clone's rows, and a clock that is far ahead.
    measured(world, store, 1, STARTS, (T0 + 2 * DAY, 499.0), reason=Quarantine.CLONE)
    assert facts(world, made) == before
    measured(world, store, 1, STARTS, (NOW + DAY, 499.0))
    assert facts(world, made) == before


def test_a_round_in_parts(world: World, store: MemoryStore) -> None:
    promise(world)
    for number in range(5):
        world.enrol(world.product())
        store.rows.append(Row(number + 1, STARTS, T0, 7.0, number))
    seen, after = [], 0
    with read_session(world.engine) as session:
        while True:
            found, following = lifetimes.read(session, store, after, 2)
            seen += [one.product_id for one in found]
            if following is None:
                break
            after = following
        assert len(set(seen)) == 5
        assert lifetimes.read_one(session, store, "nobody") is None
        one = lifetimes.read_one(session, store, seen[3])
    assert one is not None
    assert one.product_id == seen[3]
    assert one.latest == {STARTS: (T0, 7.0)}


def test_the_clock_goes_round(world: World, store: MemoryStore) -> None:
    promise(world)
    for number in range(3):
        world.enrol(world.product())
        store.rows.append(Row(number + 1, STARTS, T0, 7.0, number))
    now = [T0 + DAY]
    clock = LifetimeClock(world.engine, store, lambda: now[0])
    assert [clock.step(), clock.step()] == [3, 0]
    store.rows.append(Row(2, STARTS, T0 + DAY, 9.0, 10))
    assert clock.step() == 0, "this round is over"
    now[0] += ROUND_NS
    assert [clock.step(), clock.step()] == [1, 0]
