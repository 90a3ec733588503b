"""A clock that halts wherever something is due, shared by processes, and never goes back."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select

from hub.app.clock_mover import STRIDE_NS, ClockMover, Duty
from hub.errors import ConflictError, ForbiddenError, InvalidInputError
from hub.ports.clock import MovableClock
from hub.ports.database.engine import read_session
from hub.ports.database.record_tables import Audit
from hub.services.caller import HUB
from hub.services.clock import FURTHEST_NS, kept_ahead, length_ns
from tests.hub.services.service_world import DAY, T0, S, World

HOUR = 3_600 * S


class Diary:
    """A duty with appointments; each may make another."""

    def __init__(self, clock: Callable[[], int], *instants: int, every: int = 0) -> None:
        self.clock, self.open, self.every = clock, sorted(instants), every
        self.done: list[tuple[int, int]] = []

    def due(self, after: int) -> int | None:
        return min((at for at in self.open if at > after), default=None)

    def step(self) -> None:
        now = self.clock()
        for at in [at for at in self.open if at <= now]:
            self.open.remove(at)
            self.done.append((at, now))
            if self.every:
                self.open.append(at + self.every)


@pytest.fixture
def clock(tmp_path: Path) -> MovableClock:
    return MovableClock(tmp_path / "clock", lambda: T0)


def test_what_is_due_happens_in_order_and_at_its_instant(world: World, clock: MovableClock) -> None:
    monthly = Diary(clock, T0 + 3 * DAY + 17, every=10 * DAY)
    odd = Diary(clock, T0 + 5 * DAY + 1, T0 + 5 * DAY + 2, T0 + 90 * DAY)
    rounds: list[int] = []
    duties = [
        Duty("monthly", monthly.step, monthly.due),
        Duty("odd", odd.step, odd.due),
        Duty("rounds", lambda: rounds.append(clock())),
    ]
    settled: list[int] = []
    mover = ClockMover(world.engine, clock, duties, lambda: settled.append(clock()))
    halts = mover.advance(HUB, 40 * DAY)
    assert clock() == T0 + 40 * DAY
    assert [at - now for at, now in monthly.done + odd.done] == [0] * 6
    assert [at for at, _ in monthly.done] == [T0 + (3 + 10 * n) * DAY + 17 for n in range(4)]
    assert odd.open == [T0 + 90 * DAY]
    assert rounds == settled == sorted(rounds)
    assert len(rounds) == halts
    assert max(b - a for a, b in pairwise(rounds)) <= 2 * STRIDE_NS


def test_a_move_is_audited_and_outlives_the_file(
    world: World, clock: MovableClock, tmp_path: Path
) -> None:
    ClockMover(world.engine, clock, [], lambda: None).advance(HUB, 40 * DAY)
    with read_session(world.engine) as session:
        assert kept_ahead(session) == 40 * DAY
        entry = session.scalars(select(Audit).order_by(Audit.id.desc())).first()
    assert entry is not None
    assert (entry.action, entry.details) == (
        "clock.advance",
        {"by_ns": 40 * DAY, "to": T0 + 40 * DAY},
    )
    again = MovableClock(tmp_path / "again", lambda: T0)
    with read_session(world.engine) as session:
        again.put_ahead(kept_ahead(session))
    assert again() == clock()


def test_only_demo_hubs_move_and_only_ahead(world: World, clock: MovableClock) -> None:
    with pytest.raises(ConflictError, match="no demo hub"):
        ClockMover(world.engine, None, [], lambda: None).advance(HUB, DAY)
    mover = ClockMover(world.engine, clock, [], lambda: None)
    for wrong in (0, -DAY, FURTHEST_NS + 1):
        with pytest.raises(InvalidInputError):
            mover.advance(HUB, wrong)
    with pytest.raises(ForbiddenError):
        mover.advance(world.customer(), DAY)
    assert clock() == T0
    clock.put_ahead(5 * S)
    clock.put_ahead(4 * S)
    assert clock.ahead_ns == 5 * S


def test_one_move_at_a_time(world: World, clock: MovableClock) -> None:
    refused: list[str] = []

    def meddle() -> None:
        try:
            mover.advance(HUB, DAY)
        except ConflictError as error:
            refused.append(error.detail)

    mover = ClockMover(world.engine, clock, [Duty("meddler", meddle)], lambda: None)
    mover.advance(HUB, HOUR)
    assert refused == ["The clock is being moved already. Wait until that is done."]
    assert clock() == T0 + HOUR


def test_a_duty_that_is_always_due_does_not_hold_the_hub_for_good(
    world: World, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.app.clock_mover.MOST_HALTS", 50)
    busy = Duty("busy", lambda: None, lambda after: after + 1)
    with pytest.raises(ConflictError, match="again and again"):
        ClockMover(world.engine, clock, [busy], lambda: None).advance(HUB, DAY)
    assert clock() < T0 + DAY


def test_another_process_sees_the_move_at_once(tmp_path: Path) -> None:
    clock = MovableClock(tmp_path / "clock", lambda: 0)
    program = (
        "import sys; from pathlib import Path; from hub.ports.clock import MovableClock\n"
        "clock = MovableClock(Path(sys.argv[1]), lambda: 0)\n"
        "for _ in sys.stdin: print(clock(), flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "clock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for ahead in (0, 7, 40 * DAY):
            clock.put_ahead(ahead)
            other.stdin.write("\n")
            other.stdin.flush()
            assert int(other.stdout.readline()) == ahead
        other.stdin.close()
    assert (tmp_path / "clock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("40d", 40 * DAY),
        ("1h30m", HOUR + 1_800 * S),
        ("2w3d", 17 * DAY),
        ("P40D", 40 * DAY),
        ("PT1H30M", HOUR + 1_800 * S),
        ("P1DT12H", DAY + 12 * HOUR),
        ("P2W", 14 * DAY),
        ("90s", 90 * S),
    ],
)
def test_lengths_of_time(text: str, ns: int) -> None:
    assert length_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["", "40", "-40d", "d", "P", "PT", "P1DT", "0d", "P1M", "P1Y", "30m1h", "1.5d", "40 d"]
)
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(InvalidInputError, match="A length of time is written"):
        length_ns(text)
