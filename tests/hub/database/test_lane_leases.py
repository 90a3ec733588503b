"""Leases on lanes: of two who see the same one gets it, tokens only rise, and no clock is compared."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from hub.app.lane_hold import TRUST, Hold, LostLeaseError
from hub.app.lane_watch import LaneWatch
from hub.ports.database.engine import migrate, open_engine, write_session
from hub.services.lane_leases import NOBODY, LaneLeases, Lease, deal

TERM_S = 4.0


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "postgresql":
        made = open_engine(str(request.getfixturevalue("postgresql").migrated()))
    else:
        made = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
        migrate(made)
    with write_session(made) as session:
        deal(session, 2)
    yield made
    made.dispose()


def test_of_many_who_see_the_same_lease_one_takes_it(engine: Engine) -> None:
    leases = LaneLeases(engine)
    seen = leases.look()[0]
    tokens: list[int | None] = []
    barrier = threading.Barrier(6)

    def take(name: str) -> None:
        barrier.wait()
        tokens.append(leases.take(seen, name))

    threads = [threading.Thread(target=take, args=(f"worker-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tokens, key=lambda token: token or 0) == [None] * 5 + [1]


def test_a_beat_that_comes_too_late_is_no_beat(engine: Engine) -> None:
    leases = LaneLeases(engine)
    first = leases.take(leases.look()[0], "worker-0")
    assert first == 1
    stale = leases.look()[0]
    assert leases.beat({0: first}) == {0}
    assert leases.take(stale, "worker-1") is None  # it lives after all
    second = leases.take(leases.look()[0], "worker-1")
    assert second == 2
    assert leases.beat({0: first}) == frozenset()
    leases.release({0: first})
    assert leases.look()[0].holder == "worker-1"
    leases.release({0: second})
    assert leases.beat({0: second}) == frozenset()  # what was let go of is not taken back by a beat
    assert leases.look()[0] == Lease(0, NOBODY, 2, 1)


def test_a_token_is_above_what_the_journal_has_seen(engine: Engine) -> None:
    leases = LaneLeases(engine)
    assert leases.take(leases.look()[1], "worker-1", above=41) == 42


def test_lanes_that_are_dealt_again_stay_as_they_are(engine: Engine) -> None:
    leases = LaneLeases(engine)
    leases.take(leases.look()[0], "worker-0")
    with write_session(engine) as session:
        deal(session, 4)
    assert [lease.lane for lease in leases.look()] == [0, 1, 2, 3]
    assert leases.look()[0].holder == "worker-0"


def test_who_was_asked_gives_back_and_home_takes_at_once(engine: Engine) -> None:
    leases = LaneLeases(engine)
    guest, home = LaneWatch("worker-1", {1}, TERM_S), LaneWatch("worker-0", {0}, TERM_S)
    token = leases.take(leases.look()[0], "worker-1")
    assert token is not None
    plan = home.plan(leases.look(), (), 0.0)
    assert plan.ask == [0]
    leases.ask(plan.ask, "worker-0")
    assert home.plan(leases.look(), (), 0.1).ask == []
    assert guest.plan(leases.look(), {0}, 0.0).give == [0]
    leases.release({0: token})
    (seen,) = [lease for lease in home.plan(leases.look(), (), 0.2).take if lease.lane == 0]
    assert leases.take(seen, "worker-0") == 2
    assert leases.look()[0].wanted_by == NOBODY


def test_a_hold_is_given_up_before_anybody_may_take_the_lane(engine: Engine) -> None:
    leases, now = LaneLeases(engine), [0.0]
    seen = leases.look()[0]
    token = leases.take(seen, "worker-0")
    assert token is not None
    hold = Hold(0, token, lambda h: 0 in leases.beat({0: h.token}), TERM_S, 0.0, lambda: now[0])
    other = LaneWatch("worker-1", (), TERM_S)
    assert other.plan(leases.look()[:1], (), 100.0).take == []
    now[0] = TRUST * TERM_S - 0.1
    assert hold.good()
    assert other.plan(leases.look()[:1], (), 100.0 + now[0]).take == []
    now[0] = TRUST * TERM_S
    assert not hold.good()
    now[0] = TERM_S + 50
    taken = other.plan(leases.look()[:1], (), 100.0 + TERM_S).take
    assert [lease.lane for lease in taken] == [0]
    assert leases.take(taken[0], "worker-1") == 2
    with pytest.raises(LostLeaseError, match="token 1"):
        hold.confirm()
    now[0] = 0.0  # whatever its clock says then
    assert not hold.good()


@given(
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=40),
    st.floats(-1e9, 1e9),
    st.floats(-1e9, 1e9),
)
@settings(deadline=None)
def test_no_two_trust_a_lane_however_their_clocks_are_set(
    steps: list[tuple[float, bool]], one_clock: float, other_clock: float
) -> None:
    """A holder that beats when it can; another one that looks at each step. Their clocks are years apart."""
    lease = Lease(0, "worker-0", 1, 0)
    hold = Hold(0, 1, lambda _: True, TERM_S, one_clock, lambda: one_clock + now)
    watch = LaneWatch("worker-1", {1}, TERM_S)
    now = 0.0
    watch.plan([lease], (), other_clock)
    for pause, beats in steps:
        now += pause
        if watch.plan([lease], (), other_clock + now).take:
            assert not hold.good()
            return
        if beats:
            lease = Lease(0, "worker-0", 1, lease.beat + 1)
            hold.beaten(one_clock + now, kept=True)
            assert hold.good()


def test_a_worker_takes_back_at_once_what_its_predecessor_had() -> None:
    watch = LaneWatch("worker-0", {0}, TERM_S)
    mine, theirs = Lease(0, "worker-0", 7, 9), Lease(1, "worker-1", 3, 5)
    plan = watch.plan([mine, theirs], (), 50.0)
    assert (plan.take, plan.ask, plan.give) == ([mine], [], [])


def test_free_lanes_wait_a_term_for_their_home_worker() -> None:
    watch = LaneWatch("worker-0", {0}, TERM_S)
    free = [Lease(0, NOBODY, 0, 0), Lease(1, NOBODY, 0, 0)]
    assert watch.plan(free, (), 50.0).take == [free[0]]
    assert watch.plan(free, {0}, 50.0 + TERM_S).take == [free[1]]
