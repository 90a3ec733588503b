"""Feeding a real VictoriaMetrics: what it loses is sent again, what it refuses is not passed over."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hub.errors import StorageError
from hub.ports.journal.telemetry import encode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.columns import Columns, expand
from hub.ports.store.line_writer import LineWriter
from hub.ports.store.lines import lines_of
from hub.ports.store.mirror import REWIND_NS, Mirror, held_by
from hub.ports.store.port import Visibility
from hub.ports.store.sinks import VictoriaSink
from hub.ports.store.victoria import VictoriaAddress, VictoriaStore
from tests.hub.store.test_embedded_store import BASE, batch
from tests.hub.store.victoria_server import VictoriaServer

SECOND = 1_000_000_000


class FakeSink:
    """Keeps what it is sent; fails and starts again as told."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.boots = ["a"]
        self.failing = False

    def write(self, columns: Columns) -> None:
        if self.failing:
            raise StorageError("away")
        self.sent += sorted({int(seq) for seq in columns.seq})

    def flush(self) -> None:
        pass

    def boot(self) -> str:
        return self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    with JournalWriter.open(tmp_path / "journal", now_ns=BASE) as writer:
        yield writer


def append(journal: JournalWriter, seqs: Sequence[int]) -> int:
    journal.append(1, encode(batch(seqs)), BASE)
    journal.sync()
    return journal.synced


def test_offsets_move_only_past_what_was_taken_and_only_as_far_as_synced(
    tmp_path: Path, journal: JournalWriter
) -> None:
    sink, file, folders = FakeSink(), tmp_path / "m" / "marks", {"0": tmp_path / "journal"}
    mirror = Mirror(file, folders, sink)
    first = append(journal, [0, 1])
    append(journal, [2])
    sink.failing = True
    with pytest.raises(StorageError, match="away"):
        mirror.step(BASE, {"0": first})
    assert held_by(file, folders) == {"0": 0}
    sink.failing = False
    assert mirror.step(BASE, {"0": first}) == 4
    assert mirror.step(BASE, {"0": first}) == 0
    assert sink.sent == [0, 1]
    assert mirror.held() == {"0": 0}  # the database may still lose it


def test_a_restart_of_either_side_goes_back_some_minutes_and_no_further(
    tmp_path: Path, journal: JournalWriter
) -> None:
    sink, file, folders = FakeSink(), tmp_path / "marks", {"0": tmp_path / "journal"}
    mirror = Mirror(file, folders, sink)
    for number in range(60):  # ten minutes, a row each ten seconds
        mirror.step(BASE + number * 10 * SECOND, {"0": append(journal, [number])})
    assert sink.sent == list(range(60))
    sink.boots = ["b"]
    mirror.step(BASE + 601 * SECOND, {"0": journal.synced})
    resent = sink.sent[60:]
    assert resent == list(range(resent[0], 60))
    assert 59 - REWIND_NS // (10 * SECOND) - 1 <= resent[0] <= 59 - REWIND_NS // (10 * SECOND) + 1
    sink.sent.clear()
    Mirror(file, folders, sink).step(BASE + 602 * SECOND, {"0": journal.synced})
    assert sink.sent == resent
    assert len(json.loads(file.read_text())["journals"]["0"]) < 40


def test_a_database_that_restarts_during_a_step_gets_it_again(
    tmp_path: Path, journal: JournalWriter
) -> None:
    sink = FakeSink()
    sink.boots = ["a", "b"]
    mirror = Mirror(tmp_path / "marks", {"0": tmp_path / "journal"}, sink)
    synced = {"0": append(journal, [0])}
    with pytest.raises(StorageError, match="started again"):
        mirror.step(BASE, synced)
    assert mirror.step(BASE, synced) == 2
    assert sink.sent == [0, 0]


def test_a_damaged_file_of_marks_is_named(tmp_path: Path) -> None:
    file = tmp_path / "marks"
    for bad in ("{", "[]", '{"journals": 1}', '{"journals": {"0": [1]}}'):
        file.write_text(bad)
        with pytest.raises(StorageError, match="marks"):
            Mirror(file, {}, FakeSink())


def test_a_killed_server_gets_everything_again_and_shows_it_once(
    tmp_path: Path, journal: JournalWriter
) -> None:
    server = VictoriaServer(tmp_path)
    writer = LineWriter(server.url, bucket="b", org="o", token="")
    store = VictoriaStore(VictoriaAddress(server.url), time.time_ns)
    mirror = Mirror(tmp_path / "marks", {"0": tmp_path / "journal"}, VictoriaSink(writer, store))
    try:
        mirror.step(BASE, {"0": append(journal, range(500))})
        server.kill()
        synced = {"0": append(journal, range(500, 1_000))}
        with pytest.raises(StorageError):
            mirror.step(BASE + SECOND, synced)
        time.sleep(1.1)  # its start time, which tells a restart, counts whole seconds
        server.start()
        while mirror.step(BASE + 2 * SECOND, synced):
            pass
        page = store.range(1, 0, 0, BASE * 2, visible=Visibility(), limit=2_000)
        assert page.value.tolist() == [float(number) for number in range(1_000)]
        assert store.count([1]) == store.count() == 1_000
    finally:
        writer.close()
        server.stop()


def test_lines_are_those_of_a_slow_obvious_builder() -> None:
    columns = expand(batch(range(50), devices=3), np.arange(150))
    columns.value[:] = np.random.default_rng(3).normal(size=len(columns)) * 1e3
    text = lines_of(columns).text.decode()
    wanted = [
        f"homeport,s={s},m={m},e={e},r=0 v={v!r} {t // 1_000_000}"
        for s, m, e, v, t in zip(
            columns.slot.tolist(),
            columns.metric.tolist(),
            columns.epoch.tolist(),
            columns.value.tolist(),
            columns.time.tolist(),
            strict=True,
        )
    ]
    got = text.splitlines()
    assert got[: len(wanted)] == wanted
    assert len(got) == len(wanted) + 150
    assert got[-1].startswith("homeport,s=3,e=1,r=0 n=1 ")
    assert text.endswith("\n")


def test_building_in_columns_is_measured_against_points(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the ratio; nothing is asserted on time."""
    from influxdb_client.client.write import point

    new_point: Any = point.Point  # untyped
    columns = expand(batch(range(10_000), devices=2, metrics=5), np.arange(20_000))
    began = time.perf_counter()
    text = lines_of(columns).text
    fast = time.perf_counter() - began
    few = columns.take(slice(0, 5_000))
    began = time.perf_counter()
    lines = [
        new_point("homeport")
        .tag("s", str(few.slot[i]))
        .tag("m", str(few.metric[i]))
        .tag("e", str(few.epoch[i]))
        .tag("r", "0")
        .field("v", float(few.value[i]))
        .time(int(few.time[i]) // 1_000_000, "ms")
        .to_line_protocol()
        for i in range(len(few))
    ]
    slow = time.perf_counter() - began
    assert len(lines) == len(few)
    per = (slow / len(few)) / (fast / len(columns))
    with capsys.disabled():
        rate = len(text) / fast / 1e6
        print(  # noqa: T201  a measurement is for people to read
            f"\nline protocol in columns: {rate:.0f} MB/s, {per:.0f} times as fast as points"
        )
