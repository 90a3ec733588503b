"""The table of dead letters stays within its limits, whoever fills it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select

from hub.app import dead_letter_desk as module
from hub.app.dead_letter_desk import DeadLetterSweep
from hub.metrics import Metrics
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.record_tables import DeadLetter
from hub.services.dead_letter_limits import STEP, DeadLetterLimits, thin
from tests.hub.database.sqlite_template import open_migrated

NOW = 1_790_000_000_000_000_000
MANY = 1 << 40


@pytest.fixture
def engine(tmp_path: Path, new_database: str) -> Iterator[Engine]:
    opened = open_migrated(new_database)
    yield opened
    opened.dispose()


def bury(engine: Engine, slots: list[int], *, size: int = 10) -> None:
    """One letter each, a second apart; `offset` tells them."""
    with write_session(engine) as session:
        session.execute(
            insert(DeadLetter),
            [
                {
                    "log": "deadletters/0",
                    "offset": number,
                    "position": 0,
                    "at": NOW + number * 10**9,
                    "slot": slot,
                    "channel": "t",
                    "reason": 1,
                    "hash": bytes(32),
                    "size": size,
                    "sample": bytes(size),
                }
                for number, slot in enumerate(slots)
            ],
        )


def thinned(engine: Engine, limits: DeadLetterLimits, step: int = STEP) -> list[int]:
    """How many went at each step."""
    steps = []
    while True:
        with write_session(engine) as session:
            steps.append(thin(session, limits, step))
        if not steps[-1]:
            return steps[:-1]


def left(engine: Engine) -> list[int]:
    with read_session(engine) as session:
        return list(session.scalars(select(DeadLetter.offset).order_by(DeadLetter.offset)))


def test_within_the_limits_nothing_goes(engine: Engine) -> None:
    assert thinned(engine, DeadLetterLimits(1, 1, 1)) == []
    bury(engine, [0, 1, 1, 2])
    assert thinned(engine, DeadLetterLimits(4, 2, 40)) == []
    assert len(left(engine)) == 4


def test_a_device_that_sends_much_pushes_out_its_own_first(engine: Engine) -> None:
    bury(engine, [7, 8, *[1] * 10, 9])
    assert thinned(engine, DeadLetterLimits(6, 3, MANY)) == [7]
    assert left(engine) == [0, 1, 9, 10, 11, 12]


def test_of_all_together_the_newest_stay(engine: Engine) -> None:
    bury(engine, list(range(10)))
    assert thinned(engine, DeadLetterLimits(4, 100, MANY), step=4) == [4, 2]
    assert left(engine) == [6, 7, 8, 9]


def test_bytes_of_frames_are_bounded(engine: Engine) -> None:
    bury(engine, list(range(10)), size=1_000)
    assert thinned(engine, DeadLetterLimits(100, 100, 3_500), step=4) == [4, 3]
    assert left(engine) == [7, 8, 9]


def test_the_sweep_goes_on_until_all_is_within_the_limits(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    monkeypatch.setattr(module, "BREATH_S", 0.0)
    metrics, stop = Metrics("control"), threading.Event()
    bury(engine, [1] * (2 * STEP + 5))
    sweep = DeadLetterSweep(engine, DeadLetterLimits(MANY, 5, MANY), metrics)
    thread = threading.Thread(target=sweep.run, args=(stop,))
    thread.start()
    gone = "homeport_dropped_frames_total", {"reason": "old_dead_letter"}
    for _ in range(2_000):
        if metrics.registry.get_sample_value(*gone) == 2 * STEP:
            break
        stop.wait(0.01)
    stop.set()
    thread.join()
    assert left(engine) == list(range(2 * STEP, 2 * STEP + 5))
