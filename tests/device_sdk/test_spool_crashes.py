"""The spool on a disk that crashes at any point: what `store` returned for stays, and no seq names two rows."""

import contextlib
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from device_sdk.errors import SpoolError
from device_sdk.rows import Row, Run, Stamp
from device_sdk.spool import Spool
from device_sdk.wire.codes import ClockState
from device_sdk.wire.pack import decode_pack
from tests.device_sdk import crash_disk
from tests.device_sdk.crash_disk import CrashDisk

STAMP = Stamp(0, ClockState.SYNCED, historical=False)
BOOT = b"boot-one"

pytestmark = pytest.mark.skipif(
    not crash_disk.available(), reason="this Python has SQLite built in"
)


class SpoolOnACrashingDisk(RuleBasedStateMachine):
    """What is stored, settled and moved, with crashes between and within."""

    @initialize(seed=st.integers(0, 10**6))
    def begin(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.disk = CrashDisk(seed)
        self.chance = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
        self.value = 0.0
        self.promised: set[float] = set()  # `store` returned
        self.settled: set[float] = (
            set()
        )  # forgotten with the hub's leave; a crash may bring them back
        self.shown: dict[
            tuple[bytes, int], float
        ] = {}  # what could have been sent under which name
        self.lost: set[float] = set()
        self.open()

    def teardown(self) -> None:
        self.disk.die()
        with contextlib.suppress(Exception):
            self.spool.close()
        self.folder.cleanup()

    def open(self) -> None:
        with self.disk.mounted():
            self.spool = Spool(
                Path(self.folder.name) / "spool.db",
                new_stream=lambda: self.chance.randbytes(8),
                max_bytes=20_000,
            )
        assert self.spool.put_aside is None

    def crash(self) -> None:
        self.disk.die()
        with contextlib.suppress(Exception):
            self.spool.close()
        self.disk.crash()
        self.open()

    def held(self) -> dict[tuple[bytes, int], float]:
        found: dict[tuple[bytes, int], float] = {}
        for stream, first, _ in self.spool.streams():
            seq = first
            while pack := self.spool.next_pack(stream, seq):
                values = decode_pack(pack.data).metrics["temp_c"]
                found |= {(stream, pack.first + i): float(v or 0) for i, v in enumerate(values)}
                seq = pack.end
        return found

    def store_some(self, count: int) -> None:
        values = [self.value + i for i in range(1, count + 1)]
        self.value += count
        rows: list[Row] = [(int(value), {"temp_c": value}) for value in values]
        self.spool.store([Run(STAMP, rows)], BOOT)
        self.promised.update(values)

    @rule(count=st.integers(1, 1_500))
    def store(self, count: int) -> None:
        self.store_some(count)

    @rule(share=st.floats(0, 1))
    def settle(self, share: float) -> None:
        names = sorted(self.held())
        stream = self.spool.stream
        mine = [seq for owner, seq in names if owner == stream]
        if mine:
            until = mine[0] + int(share * len(mine))
            before = self.held()
            self.spool.settle(stream, [(0, until)])
            after = self.held()
            self.settled.update(value for name, value in before.items() if name not in after)

    @rule()
    def commit(self) -> None:
        self.spool.commit()

    @rule()
    def move(self) -> None:
        stream, first, _ = self.spool.streams()[0]
        self.spool.move(stream, first, set())

    @rule()
    def drop_oldest(self) -> None:
        before = self.held()
        self.spool.drop_oldest(2_000)
        after = self.held()
        self.lost.update(value for name, value in before.items() if name not in after)

    @rule()
    def crash_between(self) -> None:
        self.crash()

    @rule(
        fuse=st.integers(0, 12), count=st.integers(1, 300), deed=st.sampled_from(("store", "move"))
    )
    def crash_within(self, fuse: int, count: int, deed: str) -> None:
        self.disk.fuse = fuse
        with contextlib.suppress(SpoolError):
            if deed == "store":
                self.store_some(count)
            else:
                self.spool.move(self.spool.stream, 0, set())
        self.crash()

    @invariant()
    def nothing_promised_is_gone_and_nothing_is_confused(self) -> None:
        held = self.held()
        values = list(held.values())
        assert len(values) == len(set(values)), "a row is held twice"
        missing = self.promised - self.settled - self.lost - set(values)
        assert not missing, f"{len(missing)} rows are gone"
        for name, value in held.items():
            assert self.shown.setdefault(name, value) == value, "a seq names two rows"
        for stream, _, following in self.spool.streams():
            assert all(seq < following for owner, seq in held if owner == stream)
        assert self.spool.rows == len(values)


TestSpoolOnACrashingDisk = SpoolOnACrashingDisk.TestCase
TestSpoolOnACrashingDisk.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_without_syncs_the_same_machine_finds_rows_that_are_gone(tmp_path: Path) -> None:
    gone = 0
    for seed in range(10):
        disk = CrashDisk(seed, syncs=False)
        path = tmp_path / f"{seed}.db"
        with disk.mounted():
            spool = Spool(path, new_stream=lambda: b"streamid")
        spool.store([Run(STAMP, [(1, {"temp_c": 1.0})])], BOOT)
        disk.die()
        with contextlib.suppress(Exception):
            spool.close()
        disk.crash()
        with disk.mounted(), contextlib.suppress(Exception):
            spool = Spool(path, new_stream=lambda: b"another!")
        gone += spool.next_pack(b"streamid", 0) is None
        with contextlib.suppress(Exception):
            spool.close()
    assert gone > 0
