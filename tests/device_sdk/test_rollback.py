"""A spool that went back to an older copy of itself: nothing is lost, nothing is stored twice, nothing is confused.

The hub of these tests compares no contents: whatever comes again under a seq that it knows, it takes for a repetition.
"""

import itertools
import sqlite3
from pathlib import Path

import pytest

from device_sdk import spool_file
from device_sdk.errors import SpoolError
from device_sdk.rows import Run, Stamp
from device_sdk.spool import Spool
from device_sdk.wire.codes import ClockState, RejectCode
from device_sdk.wire.messages import Event
from tests.device_sdk.device_bench import START, Bench

STAMP = Stamp(0, ClockState.SYNCED, historical=False)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def go_back(bench: Bench, copy: bytes) -> None:
    """Put a copy of the spool in place of what the device has, as a restored backup does."""
    bench.disconnect()
    bench.engine.spool.close()
    (bench.folder / "spool.db").write_bytes(copy)
    bench.open()


def copied(bench: Bench) -> bytes:
    """A copy of the spool; the device starts again on the way."""
    bench.engine.sync()
    bench.engine.on_disconnected()
    bench.hub.online = False
    bench.engine.spool.close()
    copy = (bench.folder / "spool.db").read_bytes()
    bench.open()
    return copy


def settled(bench: Bench, *values: float) -> None:
    bench.measure(*values)
    bench.settle()
    assert bench.engine.pending == 0


@pytest.mark.parametrize("offline", [0, 2, 5, 9])
@pytest.mark.parametrize("restart", [False, True])
def test_rows_measured_after_going_back_are_all_stored(
    bench: Bench, offline: int, restart: bool
) -> None:
    bench.connect()
    settled(bench, 1, 2)
    copy = copied(bench)
    bench.connect()
    for value in (3, 4, 5, 6, 7):
        settled(bench, value)
    go_back(bench, copy)
    for i in range(offline):
        bench.measure(10.0 + i)
        bench.engine.sync()
    if restart:
        bench.restart()
    bench.connect()
    bench.measure(30)
    bench.settle()
    assert bench.hub.values() == [1, 2, 3, 4, 5, 6, 7, *(10 + i for i in range(offline)), 30]
    assert bench.hub.older == 0
    assert bench.engine.pending == 0


def test_what_the_copy_still_held_is_not_stored_a_second_time(bench: Bench) -> None:
    bench.measure(1, 2)
    copy = copied(bench)
    bench.connect()
    settled(bench, 3, 4, 5)
    go_back(bench, copy)
    bench.measure(6)
    bench.connect()
    bench.settle()
    assert bench.hub.values() == [1, 2, 3, 4, 5, 6]
    assert bench.engine.counters().streams_left == 0
    assert bench.hub.conflicts == []
    assert bench.hub.older == 0


def test_a_receipt_lost_before_a_restart_stores_nothing_twice(bench: Bench) -> None:
    bench.connect()
    settled(bench, 1)
    bench.restart()
    bench.measure(2)
    bench.connect()
    bench.step()  # the hub takes the pack, its receipt never arrives
    assert bench.hub.values() == [1, 2]
    bench.restart()
    bench.connect()
    bench.settle()
    assert bench.hub.values() == [1, 2]
    assert bench.engine.pending == 0
    assert bench.hub.older == 0


def test_rows_wait_for_no_answer_after_a_restart(bench: Bench) -> None:
    bench.connect()
    settled(bench, 1)
    bench.restart()
    for value in range(2, 6):
        bench.measure(float(value))
        bench.engine.sync()
    bench.hub.greets = False
    bench.connect()
    bench.step()
    assert bench.hub.values() == [1, 2, 3, 4, 5]


def test_each_opening_has_a_stream_of_its_own(bench: Bench) -> None:
    streams = set()
    for value in range(4):
        streams.add(bench.engine.spool.stream)
        if value != 2:  # one that adds nothing leaves nothing behind
            bench.measure(float(value))
            bench.engine.sync()
        bench.restart()
    held = [stream for stream, *_ in bench.engine.spool.streams()]
    assert (len(streams), len(held)) == (4, 4)
    assert held[-1] == bench.engine.spool.stream
    bench.connect()
    bench.settle()
    assert bench.hub.values() == [0, 1, 3]
    assert len(bench.engine.spool.streams()) == 1


def test_rows_in_conflict_travel_under_a_new_stream_without_being_asked(bench: Bench) -> None:
    bench.connect()
    stream = bench.engine.spool.stream
    bench.hub.refuse = {0: RejectCode.CONFLICT}
    bench.measure(1)
    bench.step()
    bench.hub.refuse = {}
    bench.settle()
    assert bench.hub.values() == [1]
    assert bench.engine.spool.stream != stream


def test_a_damaged_pack_is_not_sent_and_counts_as_lost(bench: Bench) -> None:
    for value in (1.0, 2.0, 3.0):
        bench.measure(value)
        bench.engine.sync()
    spool = bench.engine.spool
    (data,) = spool._db.execute("SELECT data FROM pack WHERE first = 1").fetchone()
    rotten = bytes(data[:-1]) + bytes([data[-1] ^ 1])
    spool._db.execute("UPDATE pack SET data = ? WHERE first = 1", (rotten,))
    bench.connect()
    bench.settle()
    assert bench.engine.pending == 0
    bench.measure(4.0)  # the next row tells the hub not to wait for what is lost
    bench.settle()
    assert bench.hub.values() == [1.0, 3.0, 4.0]
    assert bench.hub.lost == {(spool.stream, 1)}
    bench.step()
    told = [Event.decode(p) for channel, p in bench.hub.heard if channel == "event"]
    assert [(e.name, e.arguments["cause"], e.arguments["start"]) for e in told] == [
        ("rows_lost", "damaged", 1)
    ]


def test_less_is_sent_at_a_time_while_receipts_fail_to_come(bench: Bench) -> None:
    rows = [(START + i, {"temp_c": float(i)}) for i in range(20_000)]
    bench.engine.record(rows, historical=True)
    bench.hub.window = 20_000
    bench.hub.lose = lambda: True
    bench.connect()
    sent = [bench.engine.counters().packs_sent]
    for _ in range(4):
        bench.step(200.0)
        sent.append(bench.engine.counters().packs_sent)
    rounds = [after - before for before, after in itertools.pairwise(sent)]
    assert (sent[0], rounds) == (8, [4, 2, 1, 1])
    bench.hub.lose = lambda: False
    bench.step(200.0)
    bench.settle()
    assert len(bench.hub.rows) == 20_000


@pytest.mark.parametrize("version", [0, 1])
def test_a_spool_of_an_earlier_version_is_taken_over(tmp_path: Path, version: int) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path, new_stream=lambda: b"streamid")
    spool.store([Run(STAMP, [(1, {"temp_c": 1.0})])], b"boot-one")
    spool.close()
    earlier = (
        "ALTER TABLE pack DROP COLUMN hash;",
        """ALTER TABLE stream ADD COLUMN known INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE stream ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;""",
    )
    with sqlite3.connect(path) as db:
        db.executescript(f"{earlier[version]} PRAGMA user_version = {version};")
    db.close()
    spool = Spool(path, new_stream=lambda: b"another!")
    assert spool.streams() == [(b"streamid", 0, 1), (b"another!", 0, 0)]
    assert (spool.next_seq, spool.rows) == (0, 1)
    assert spool.next_pack(b"streamid", 0) is not None
    assert spool.take_damaged() == []
    spool.close()


def test_a_spool_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {spool_file.VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(SpoolError, match="later version"):
        Spool(path, new_stream=lambda: b"streamid")
    assert path.read_bytes()[100:] == before[100:]


def test_a_hub_that_went_back_unsaid_is_believed_after_a_reconnection(bench: Bench) -> None:
    bench.connect()
    for value in (1, 2, 3, 4):
        settled(bench, value)
    stream = bench.engine.spool.stream
    bench.hub.rows = {key: row for key, row in bench.hub.rows.items() if key[1] < 2}
    bench.disconnect()
    bench.connect()
    settled(bench, 5)
    assert bench.hub.values() == [1, 2, 5]
    assert bench.hub.lost == {(stream, 2), (stream, 3)}
