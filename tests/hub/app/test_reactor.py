"""The reactor on real logs and a real database."""

import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from device_sdk.wire import cbor
from hub.app import reactor as module
from hub.app.dead_letter_desk import keep_dead_letters
from hub.app.log_records import Entry, checked
from hub.app.reactor import Follower, Reactor
from hub.errors import StorageError
from hub.metrics import Metrics
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.record_tables import Cursor, DeadLetter, Setting
from hub.ports.journal.block import Kind
from hub.ports.journal.segments import SEGMENT_HEADER_SIZE, list_segments
from hub.ports.journal.writer import JournalWriter, Rotation
from tests.hub.database.sqlite_template import open_migrated

NOW = 1_790_000_000_000_000_000
NAME = "findings/0"


def finding(number: int, **other: Any) -> dict[str, Any]:
    return {
        "id": number.to_bytes(16, "big"),
        "slot": 1,
        "metric": 0,
        "kind": 2,
        "severity": 1,
        "time": NOW,
        "since": NOW - 5,
        "surprise": 17.5,
        "observed": 80.25,
        "low": 20.0,
        "high": 60.0,
        "offset": 64,
        "historical": False,
        "hidden": False,
        "cohort": 0,
        "members": 0,
        "stream": bytes(8),
        "seq": 3,
    } | other


def letter(**other: Any) -> dict[str, Any]:
    return {
        "id": b"l" * 16,
        "slot": 0,
        "topic": "hp/1/00/abcdefgh01234567/up/json",
        "code": 1,
        "detail": "not JSON",
        "sha256": b"h" * 32,
        "size": 8,
        "bytes": b"{garbage",
        "time": NOW,
    } | other


class Scene:
    """A database, a findings log with its writer, and a reactor that notes what it applies."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.engine = open_migrated(url or f"sqlite:///{folder / 'homeport.db'}")
        self.folder = folder / "findings" / "0"
        self.log = JournalWriter.open(self.folder, now_ns=NOW)
        self.metrics = Metrics("control")
        self.published: list[list[str]] = []
        self.failures: list[Exception] = []
        self.reactor = self.fresh()

    def fresh(self) -> Reactor:
        """A reactor as after a restart."""
        follower = Follower(NAME, self.folder, Kind.FINDINGS, self.apply, self.published.append)
        return Reactor(self.engine, [follower], self.metrics, lambda: NOW)

    def apply(self, session: Session, entries: Sequence[Entry], at: int) -> list[str]:
        if self.failures:
            raise self.failures.pop()
        names = []
        for entry in entries:
            if entry.record["kind"] == 13:
                raise ValueError("nobody knows kind 13")
            name = str(int.from_bytes(entry.record["id"], "big"))
            session.add(Setting(name=name, value=str(at)))
            names.append(name)
        session.flush()
        return names

    def write(self, *findings: object, kind: int = Kind.FINDINGS) -> int:
        return self.write_bytes(cbor.encode(list(findings)), kind)

    def write_bytes(self, payload: bytes, kind: int = Kind.FINDINGS) -> int:
        offset = self.log.append(kind, [payload], NOW)
        self.log.sync()
        return offset

    def applied(self) -> list[int]:
        with read_session(self.engine) as session:
            return sorted(int(name) for name in session.scalars(select(Setting.name)))

    def cursor(self) -> int:
        with read_session(self.engine) as session:
            cursor = session.get(Cursor, NAME)
            return cursor.offset if cursor else 0

    def passed_over(self) -> float:
        value = self.metrics.registry.get_sample_value(
            "homeport_dropped_frames_total", {"reason": "reactor_record"}
        )
        return value or 0.0


@pytest.fixture
def scene(tmp_path: Path, new_database: str) -> Iterator[Scene]:
    made = Scene(tmp_path, new_database)
    yield made
    made.log.close()
    made.engine.dispose()


def test_findings_are_applied_and_the_cursor_follows(scene: Scene) -> None:
    scene.write(finding(1), finding(2))
    scene.write(finding(3))
    assert scene.reactor.step() == 3
    assert scene.applied() == [1, 2, 3]
    assert scene.cursor() == scene.log.end
    assert scene.published == [["1", "2", "3"]]
    assert scene.reactor.step() == 0
    scene.write(finding(4))
    assert scene.reactor.step() == 1
    assert scene.published[1:] == [["4"]]


def test_a_restart_goes_on_at_the_cursor(scene: Scene) -> None:
    scene.write(finding(1))
    scene.reactor.step()
    scene.write(finding(2))
    assert scene.fresh().step() == 1
    assert scene.applied() == [1, 2]
    assert scene.fresh().step() == 0


def test_a_log_that_does_not_exist_yet_is_empty(scene: Scene, tmp_path: Path) -> None:
    follower = Follower("findings/9", tmp_path / "none", Kind.FINDINGS, scene.apply, print)
    assert Reactor(scene.engine, [follower], scene.metrics, lambda: NOW).step() == 0


def test_one_poisoned_record_is_passed_over_alone(scene: Scene) -> None:
    scene.write(finding(1), finding(2, kind=13), finding(3))
    assert scene.reactor.step() == 3
    assert scene.applied() == [1, 3]
    assert scene.published == [["1"], ["3"]]
    assert scene.passed_over() == 1
    assert scene.cursor() == scene.log.end
    assert scene.reactor.step() == 0


def test_a_record_that_the_database_refuses_is_passed_over_alone(scene: Scene) -> None:
    scene.write(finding(1))
    scene.reactor.step()
    scene.write(finding(2), finding(1), finding(3))
    scene.reactor.step()
    assert scene.applied() == [1, 2, 3]
    assert scene.passed_over() == 1


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", cbor.encode({"id": 1}), cbor.encode([finding(9)])[:-3]],
)
def test_a_block_that_cannot_be_read_is_passed_over(scene: Scene, payload: bytes) -> None:
    scene.write_bytes(payload)
    scene.write(finding(1))
    assert scene.reactor.step() == 2
    assert scene.applied() == [1]
    assert scene.passed_over() == 1
    assert scene.reactor.step() == 0


def test_a_malformed_record_leaves_its_neighbours(scene: Scene) -> None:
    broken = {key: value for key, value in finding(2).items() if key != "slot"}
    scene.write(finding(1), broken, 7, finding(3, severity="high"), finding(4))
    scene.reactor.step()
    assert scene.applied() == [1, 4]
    assert scene.passed_over() == 3


def test_blocks_of_other_kinds_are_passed_by(scene: Scene) -> None:
    scene.write(letter(), kind=Kind.DEAD_LETTERS)
    scene.write(finding(1))
    assert scene.reactor.step() == 1
    assert (scene.applied(), scene.passed_over()) == ([1], 0)


@pytest.mark.parametrize(
    "failure",
    [
        OperationalError("insert", {}, Exception("disk is full")),
        DatabaseError("insert", {}, Exception("database disk image is malformed")),
        OSError(5, "Input/output error"),
    ],
)
def test_a_database_that_fails_loses_nothing(scene: Scene, failure: Exception) -> None:
    scene.write(finding(1), finding(2))
    scene.failures.append(failure)
    with pytest.raises(type(failure)):
        scene.reactor.step()
    assert (scene.applied(), scene.cursor(), scene.published) == ([], 0, [])
    assert scene.passed_over() == 0
    assert scene.reactor.step() == 2
    assert scene.applied() == [1, 2]


def test_a_failed_sync_of_the_log_moves_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.write(finding(1))

    def refuse(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(module, "sync_file", refuse)
        with pytest.raises(OSError, match="Input/output"):
            scene.reactor.step()
    assert (scene.applied(), scene.cursor()) == ([], 0)
    scene.reactor.step()
    assert scene.applied() == [1]


def test_an_announcement_that_fails_does_not_undo_what_was_committed(scene: Scene) -> None:
    def fail(_names: list[str]) -> None:
        raise RuntimeError("no listener")

    follower = Follower(NAME, scene.folder, Kind.FINDINGS, scene.apply, fail)
    scene.write(finding(1))
    assert Reactor(scene.engine, [follower], scene.metrics, lambda: NOW).step() == 1
    assert scene.applied() == [1]
    assert scene.cursor() == scene.log.end


def test_a_batch_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    for number in range(3):
        scene.write(finding(number))
    assert [scene.reactor.step() for _ in range(4)] == [1, 1, 1, 0]
    assert scene.applied() == [0, 1, 2]


def test_segments_are_followed_from_one_to_the_next(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.log.close()
    scene.log = JournalWriter.open(scene.folder, now_ns=NOW, rotation=Rotation(size=1))
    for number in range(5):
        scene.write(finding(number))
        if number % 2:
            scene.reactor.step()
    scene.reactor.step()
    assert scene.applied() == [0, 1, 2, 3, 4]
    scene.log.close()
    scene.engine.dispose()


def test_a_log_that_grows_for_long_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 4_096)
    scene = Scene(tmp_path)
    scene.log.close()
    scene.log = JournalWriter.open(scene.folder, now_ns=NOW, rotation=Rotation(size=8_192))
    largest = 0
    for number in range(2_000):
        scene.write(finding(number))
        if number % 40 == 39:
            while scene.reactor.step():
                pass
            largest = max(largest, sum(s.path.stat().st_size for s in list_segments(scene.folder)))
    assert scene.applied() == list(range(2_000))
    assert scene.log.end > 10 * largest
    assert largest < 3 * 8_192
    # What is left still opens, for the writer and for a reactor after a restart.
    end = scene.log.end
    scene.log.close()
    scene.log = JournalWriter.open(scene.folder, now_ns=NOW, rotation=Rotation(size=8_192))
    assert scene.log.end == end
    scene.write(finding(2_000))
    assert scene.fresh().step() == 1
    scene.log.close()
    scene.engine.dispose()


def test_nothing_is_deleted_that_is_not_committed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.log.close()
    scene.log = JournalWriter.open(scene.folder, now_ns=NOW, rotation=Rotation(size=1))
    for number in range(5):
        scene.write(finding(number))
    before = list_segments(scene.folder)
    scene.failures.append(OperationalError("insert", {}, Exception("database is locked")))
    with pytest.raises(OperationalError):
        scene.reactor.step()
    assert list_segments(scene.folder) == before
    waiting = Follower(NAME, scene.folder, Kind.FINDINGS, scene.apply, print, lambda: True)
    assert Reactor(scene.engine, [waiting], scene.metrics, lambda: NOW).step() == 0
    assert list_segments(scene.folder) == before
    assert scene.fresh().step() == 5
    assert list_segments(scene.folder) == before[-1:]
    scene.log.close()
    scene.engine.dispose()


def test_a_segment_that_cannot_be_deleted_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    scene = Scene(tmp_path)
    scene.log.close()
    scene.log = JournalWriter.open(scene.folder, now_ns=NOW, rotation=Rotation(size=1))
    for number in range(3):
        scene.write(finding(number))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert scene.reactor.step() == 3
    scene.write(finding(3))
    assert scene.reactor.step() == 1
    assert scene.applied() == [0, 1, 2, 3]
    assert len(list_segments(scene.folder)) == 1
    scene.log.close()
    scene.engine.dispose()


def test_a_database_older_than_what_is_left_of_the_log_goes_on_there(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.log.close()
    scene.log = JournalWriter.open(scene.folder, now_ns=NOW, rotation=Rotation(size=1))
    for number in range(3):
        scene.write(finding(number))
    scene.reactor.step()
    with write_session(scene.engine) as session:
        session.merge(Cursor(name=NAME, offset=0))
        session.execute(delete(Setting))
    scene.write(finding(3))
    assert scene.fresh().step() == 2
    assert scene.applied() == [2, 3]
    gaps = scene.metrics.registry.get_sample_value(
        "homeport_dropped_frames_total", {"reason": "reactor_gap"}
    )
    assert gaps == 1
    scene.log.close()
    scene.engine.dispose()


def test_a_damaged_log_stops_the_reactor_and_says_where(scene: Scene) -> None:
    scene.write(finding(1))
    second = scene.write(finding(2))
    scene.write(finding(3))
    path = list_segments(scene.folder)[0].path
    data = bytearray(path.read_bytes())
    data[SEGMENT_HEADER_SIZE + second + 40] ^= 1
    path.write_bytes(data)
    assert scene.reactor.step() == 1
    for _ in range(2):
        with pytest.raises(StorageError, match=path.name):
            scene.reactor.step()
    assert (scene.applied(), scene.cursor()) == ([1], second)


def test_dead_letters_become_rows(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "deadletters" / "0"
    log = JournalWriter.open(folder, now_ns=NOW)
    written = cbor.encode([letter(), letter(slot=4, code=2)])
    offset = log.append(Kind.DEAD_LETTERS, [written], NOW)
    log.sync()
    name = "deadletters/0"
    follower = Follower(
        name, folder, Kind.DEAD_LETTERS, keep_dead_letters(name), lambda _count: None
    )
    assert Reactor(scene.engine, [follower], scene.metrics, lambda: NOW).step() == 2
    with read_session(scene.engine) as session:
        rows = session.scalars(select(DeadLetter).order_by(DeadLetter.position)).all()
    assert [(row.log, row.offset, row.position) for row in rows] == [
        (name, offset, 0),
        (name, offset, 1),
    ]
    assert [(row.slot, row.channel, row.reason) for row in rows] == [(0, "json", 1), (4, "json", 2)]
    assert rows[0].sample == b"{garbage"
    log.close()


def test_the_thread_goes_on_after_a_failure(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    scene.failures.append(OperationalError("insert", {}, Exception("locked")))
    done, stop = threading.Event(), threading.Event()
    follower = Follower(NAME, scene.folder, Kind.FINDINGS, scene.apply, lambda _names: done.set())
    running = Reactor(scene.engine, [follower], scene.metrics, lambda: NOW)
    scene.write(finding(1))
    thread = threading.Thread(target=running.run, args=(stop,))
    thread.start()
    assert done.wait(120)
    stop.set()
    thread.join()
    assert scene.applied() == [1]
    assert running.problem is None


def test_a_checked_record_has_exactly_the_known_keys() -> None:
    record = checked(Kind.FINDINGS, finding(1, low=math.nan, high=61, more="ignored"))
    assert set(record) == set(finding(1))
    assert record["low"] is None
    assert (record["high"], type(record["high"])) == (61.0, float)


@pytest.mark.parametrize("change", [{"slot": True}, {"id": "text"}, {"observed": None}])
def test_a_field_of_another_type_is_named(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        checked(Kind.FINDINGS, finding(1, **change))


def test_the_time_from_a_row_to_its_limit_is_measured(scene: Scene, tmp_path: Path) -> None:
    crossed = {"slot": 1, "meter": 1, "start": 0, "total": 5, "before": 1, "level": 1, "late": 0}
    written = [crossed, crossed | {"received": NOW - 2_000_000_000}]  # the first by an older meter
    taken: list[Entry] = []
    follower = Follower(
        "usage",
        tmp_path / "usage",
        Kind.USAGE,
        lambda _s, entries, _at: taken.extend(entries),
        lambda _: None,
    )
    with JournalWriter.open(tmp_path / "usage", now_ns=NOW) as log:
        log.append(Kind.USAGE, [cbor.encode(written)], NOW)
        log.sync()
        Reactor(scene.engine, [follower], scene.metrics, lambda: NOW).step()
    assert len(taken) == 2
    found = scene.metrics.registry.get_sample_value
    assert found("homeport_limit_seconds_count") == 1
    assert found("homeport_limit_seconds_sum") == 2.0


def test_a_reactor_that_starts_again_after_a_takeover_misses_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    """It had read ahead of what was synced, from a worker that had lost its lane and did not know."""
    folder = tmp_path / "findings" / "1"
    taken: list[bytes] = []

    def started() -> Reactor:
        follower = Follower(
            "findings/1", folder, Kind.FINDINGS, lambda _s, found, _at: note(found), lambda _: None
        )
        return Reactor(scene.engine, [follower], scene.metrics, lambda: NOW)

    def note(entries: Sequence[Entry]) -> None:
        taken.extend(entry.record["id"] for entry in entries)

    def log(writer: JournalWriter, *numbers: int) -> None:
        for number in numbers:
            writer.append(Kind.FINDINGS, [cbor.encode([finding(number)])], NOW)
        writer.sync()

    old = JournalWriter.open(folder, now_ns=NOW, token=1)
    log(old, 1)
    new = JournalWriter.open(folder, now_ns=NOW, token=2)
    path = list_segments(folder)[-1].path
    hidden = path.with_name("later")
    path.rename(hidden)  # the old worker's last words come before the new one's are seen
    log(old, 2, 3)
    started().step()
    assert taken == [finding(number)["id"] for number in (1, 2, 3)]
    hidden.rename(path)
    log(new, 4, 5)
    again = started()  # nothing but the database tells it how far it was, and under whom
    while again.step():
        pass
    log(new, 6)
    again.step()
    started().step()
    assert again.problem is None
    assert taken[3:] == [finding(number)["id"] for number in (4, 5, 6)]
    for writer in (old, new):
        writer.close()
