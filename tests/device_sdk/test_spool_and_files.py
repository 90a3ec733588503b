"""The spool's promises, the key file, and small private files."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from device_sdk import files
from device_sdk.errors import DeviceError, SpoolError
from device_sdk.keys import DeviceKey
from device_sdk.rows import Run, Stamp
from device_sdk.spool import Spool
from device_sdk.wire.codes import ClockState
from device_sdk.wire.pack import decode_pack

STAMP = Stamp(0, ClockState.SYNCED, historical=False)
BOOT = b"boot-one"


def open_spool(path: Path, max_bytes: int = 1 << 20) -> Spool:
    return Spool(path, new_stream=lambda: os.urandom(8), max_bytes=max_bytes)


def store(spool: Spool, *values: float) -> None:
    spool.store([Run(STAMP, [(int(value), {"temp_c": value}) for value in values])], BOOT)


def held(spool: Spool) -> list[float]:
    found: list[float] = []
    for stream, _, _ in spool.streams():
        seq = 0
        while pack := spool.next_pack(stream, seq):
            found += [float(v) for v in decode_pack(pack.data).metrics["temp_c"] if v is not None]
            seq = pack.end
    return found


def test_packs_survive_a_restart_and_new_rows_go_to_a_new_stream(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    store(spool, 1, 2, 3)
    store(spool, 4)
    stream = spool.stream
    spool.close()
    spool = open_spool(tmp_path / "spool.db")
    assert (spool.stream != stream, spool.next_seq, spool.rows) == (True, 0, 4)
    store(spool, 5)
    assert held(spool) == [1, 2, 3, 4, 5]
    spool.close()


def test_nothing_is_left_of_a_stream_that_was_settled(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    store(spool, 1, 2, 3)
    assert spool.settle(spool.stream, [(0, 3)]) == 3
    spool.close()
    spool = open_spool(tmp_path / "spool.db")
    assert (len(spool.streams()), spool.rows, spool.bytes) == (1, 0, 0)
    spool.close()


def test_what_store_returned_for_survives_a_kill(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from device_sdk.rows import Run, Stamp
from device_sdk.spool import Spool
from device_sdk.wire.codes import ClockState
spool = Spool(Path(sys.argv[1]), new_stream=lambda: os.urandom(8))
stamp = Stamp(0, ClockState.SYNCED, historical=False)
for i in range(10_000):
    spool.store([Run(stamp, [(i, {"temp_c": float(i)})])], b"boot-one")
    print(i, flush=True)
"""
    path = tmp_path / "spool.db"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        seen = [int(child.stdout.readline()) for _ in range(20)]
        child.send_signal(signal.SIGKILL)
    spool = open_spool(path)
    assert held(spool)[:20] == [float(i) for i in seen]
    assert spool.streams()[0][2] == spool.rows >= 20
    spool.close()


def test_a_pack_stays_until_all_of_its_rows_are_settled(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    store(spool, 1, 2, 3)
    store(spool, 4, 5)
    assert spool.settle(spool.stream, [(0, 2), (3, 5)]) == 2
    assert held(spool) == [1, 2, 3]
    assert spool.settle(spool.stream, [(0, 5)]) == 3
    spool.close()


def test_a_folder_in_use_is_refused_with_a_sentence(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    with pytest.raises(SpoolError, match="another process"):
        open_spool(tmp_path / "spool.db")
    spool.close()


def test_a_damaged_spool_is_put_aside_and_a_new_stream_begins(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"not a database at all" * 500)
    spool = open_spool(path)
    assert spool.put_aside is not None
    assert spool.put_aside.read_bytes().startswith(b"not a database")
    store(spool, 1)
    assert held(spool) == [1]
    spool.close()


def test_a_failed_write_changes_nothing_and_says_so(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    store(spool, 1)
    spool._db.execute("PRAGMA max_page_count = 1")
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolError, match="cannot be written"):
        store(spool, *range(100_000))
    assert (spool.next_seq, spool.rows) == (1, 1)
    spool._db.execute("PRAGMA max_page_count = 100000")
    store(spool, 2)
    assert held(spool) == [1, 2]
    spool.close()


def test_dropped_rows_stay_on_record_until_the_hub_knows(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db", max_bytes=2_000)
    for value in range(30):
        store(spool, value)
    lost = spool.drop_oldest(1_000)
    assert len(lost) == 1
    stream, start, end = lost[0]
    assert (stream, start) == (spool.stream, 0)
    assert spool.bytes <= 1_000
    assert held(spool) == [float(i) for i in range(end, 30)]
    spool.close()
    spool = open_spool(tmp_path / "spool.db")
    assert spool.lost(stream) == [(0, end)]
    spool.settle(stream, [(0, end + 1)])
    assert spool.lost(stream) == []
    spool.close()


def test_moving_leaves_out_what_is_settled(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    store(spool, 1, 2, 3)
    store(spool, 4, 5)
    old = spool.stream
    spool.move(old, 0, {1, 3, 4})
    assert spool.stream != old
    assert held(spool) == [1, 3]
    assert (spool.next_seq, spool.rows) == (2, 2)
    store(spool, 6)
    assert held(spool) == [1, 3, 6]
    assert [stream for stream, _, _ in spool.streams()] == [spool.stream]
    spool.close()


def test_an_id_is_new_once_also_after_a_restart(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    assert spool.first_time(b"a" * 16, 1)
    assert not spool.first_time(b"a" * 16, 2)
    spool.close()
    spool = open_spool(tmp_path / "spool.db")
    assert not spool.first_time(b"a" * 16, 3)
    spool.close()


def test_files_are_private_from_birth(tmp_path: Path) -> None:
    home = tmp_path / "device"
    files.private_folder(home)
    spool = open_spool(home / "spool.db")
    store(spool, 1)
    key = DeviceKey.load_or_create(home / "device.key")
    assert home.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o600}
    assert DeviceKey.load_or_create(home / "device.key").hash() == key.hash()
    assert sorted(path.name for path in home.iterdir()) == [
        "device.key",
        "spool.db",
        "spool.db-wal",
    ]
    spool.close()


def test_a_damaged_key_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    path.write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(DeviceError, match="no P-256 private key"):
        DeviceKey.load_or_create(path)
    assert path.read_bytes() == b"-----BEGIN NOTHING-----"


def test_an_existing_file_is_kept_or_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert files.write_private(path, b"one")
    assert not files.write_private(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    assert files.write_private(path, b"three")
    assert path.read_bytes() == b"three"
    assert list(tmp_path.iterdir()) == [path]


def test_the_spool_is_synced_on_every_commit(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    assert spool._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert spool._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert isinstance(spool._db, sqlite3.Connection)
    spool.close()
