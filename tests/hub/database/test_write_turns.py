import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from hub.ports.database.engine import _sessions, open_engine, write_session
from hub.ports.database.scrubbing import scrub
from hub.ports.database.write_turns import WriteTurns


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_turns_come_in_the_order_of_asking() -> None:
    turns, order = WriteTurns(), list[int]()
    threads = []

    def write(number: int) -> None:
        with turns.turn():
            order.append(number)

    with turns.turn():
        for number in range(20):
            thread = threading.Thread(target=write, args=(number,))
            threads.append(thread)
            thread.start()
            until(lambda: len(turns._waiting) == len(threads))
    for thread in threads:
        thread.join()
    assert order == list(range(20))
    assert turns._owner is None


def test_what_fails_in_its_turn_still_gives_it_back() -> None:
    turns = WriteTurns()
    with pytest.raises(ValueError, match="x"), turns.turn():
        raise ValueError("x")
    with turns.turn():
        assert turns._owner == threading.get_ident()
    assert turns._owner is None


def test_who_waits_in_vain_or_for_itself_goes_on_and_takes_nobodys_turn() -> None:
    turns = WriteTurns(patience_s=0.01)
    passed = threading.Event()

    def write() -> None:
        with turns.turn():
            passed.set()

    with turns.turn():
        with turns.turn():
            pass
        other = threading.Thread(target=write)
        other.start()
        assert passed.wait(120)
        other.join()
        assert turns._owner == threading.get_ident()
        assert not turns._waiting
    assert turns._owner is None


def test_many_threads_write_to_one_database_and_all_of_it_is_there(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with write_session(engine) as session:
        session.execute(text("CREATE TABLE t (a INTEGER)"))

    def write() -> None:
        for number in range(10):
            with write_session(engine) as session:
                session.execute(text("INSERT INTO t VALUES (:a)"), {"a": number})

    threads = [threading.Thread(target=write) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with write_session(engine) as session:
        assert session.scalar(text("SELECT count(*) FROM t")) == 160
    engine.dispose()


def test_what_scrubs_the_files_waits_in_the_same_order(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    turns, free, emptied = _sessions(engine).turns, list[int](), list[bool]()

    def scrubbed() -> None:
        emptied.append(scrub(engine))

    def write() -> None:
        with write_session(engine) as session:
            free.append(session.execute(text("PRAGMA freelist_count")).scalar_one())

    threads = [threading.Thread(target=scrubbed), threading.Thread(target=write)]
    with write_session(engine) as session:
        for statement in (
            "CREATE TABLE t (a)",
            "INSERT INTO t VALUES (zeroblob(99999))",
            "DROP TABLE t",
        ):
            session.execute(text(statement))
        for number, thread in enumerate(threads):
            thread.start()
            until(lambda number=number: len(turns._waiting) > number)  # type: ignore[misc]
    for thread in threads:
        thread.join()
    assert len(emptied) == 1
    assert free == [0]  # it came after
    engine.dispose()
