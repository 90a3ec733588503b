"""Rows that must be erased: out of journal, files, aggregates and latest values, and not taken again."""

import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hub.errors import StorageError
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.redaction import redact
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import decode, encode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.levels import DAY_NS
from hub.ports.store.manifest import Manifest
from hub.ports.store.port import Visibility
from hub.ports.store.tombstones import Order, Tombstones
from hub.ports.store.upkeep import Rules
from tests.hub.store.test_levels import Row, batch_of

S = 1_000_000_000
T = 20_500 * DAY_NS
CANARY = 1234.56789012345
OTHER = 9876.54321098765
ALL = Visibility()
STONES = Tombstones((Order(7, 1, 1, 1), Order(8, 1, 0, 0, None, T + 100 * S)))
# Of device 1: epoch 1 goes, of epoch 0 what is before an instant; the rest stays.
ROWS: list[Row] = [
    (1, 1, 0, T, CANARY),
    (1, 0, 0, T + S, CANARY),
    (1, 0, 0, T + 200 * S, OTHER),
    (1, 2, 0, T + 2 * S, OTHER),
    (2, 1, 0, T, OTHER),
]


def journal(folder: Path, *, blocks: int = 1, sealed: bool = True) -> Path:
    with JournalWriter.open(folder, now_ns=0, rotation=Rotation(size=1 << 20)) as writer:
        start = writer.end // 8
        for number in range(blocks):
            writer.append(1, encode(batch_of(ROWS, start + number * 10)), 5)
        if sealed:
            writer.seal_if_due((1 << 58) + writer.end * 10**12)
    return folder


def run(folder: Path, stones: Tombstones, now: int = 1 << 61) -> Manifest:
    policy = CompactionPolicy(run_bytes=1, grace_ns=0)
    journals = {"0": folder / "journal"}
    with Compactor(folder / "store", journals, policy, lambda _now: Rules(tombstones=stones)) as c:
        for _ in range(3):
            c.run(now, {})
        return c.manifest


def bytes_of(folder: Path) -> bytes:
    """All bytes of a folder, and what is compressed in its Parquet files."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            found += [c.to_numpy().tobytes() for c in table.columns if str(c.type) == "double"]
        if path.is_file():
            found.append(path.read_bytes())
    return b"".join(found)


def values(store: EmbeddedStore, slot: int) -> list[float]:
    rows = store.range(slot, 0, 0, T + DAY_NS, visible=ALL, limit=1_000)
    return [float(value) for value in rows.value]


def test_a_redacted_segment_keeps_offsets_and_identities(tmp_path: Path) -> None:
    folder = journal(tmp_path / "journal", blocks=3)
    before = list(JournalReader(folder).blocks())
    places = [(block.offset, block.end, block.received_ns) for block in before]
    segment, following = list_segments(folder)
    size = segment.path.stat().st_size
    assert redact(segment, following.first, STONES.of_batch) == 6
    assert segment.path.stat().st_size == size
    assert segment.path.stat().st_mode & 0o777 == 0o600
    blocks = list(JournalReader(folder).blocks())
    assert [(block.offset, block.end, block.received_ns) for block in blocks] == places
    for number, block in enumerate(blocks):
        batch = decode(block.payload)
        assert batch.seq.tolist() == list(range(number * 10, number * 10 + 5))
        assert batch.count.tolist() == [0, 0, 1, 1, 1]
        assert batch.time.tolist() == [0, 0, *(row[3] for row in ROWS[2:])]
        assert batch.value.tolist() == [OTHER] * 3
    assert struct.pack("<d", CANARY) not in segment.path.read_bytes()
    assert redact(segment, following.first, STONES.of_batch) == 0


def test_a_damaged_segment_is_named_and_left(tmp_path: Path) -> None:
    folder = journal(tmp_path / "journal", blocks=2)
    segment, following = list_segments(folder)
    data = bytearray(segment.path.read_bytes())
    data[-20] ^= 1
    segment.path.write_bytes(data)
    with pytest.raises(StorageError, match=segment.path.name):
        redact(segment, following.first, STONES.of_batch)
    assert segment.path.read_bytes() == data


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_of_it_is_left_on_the_disk(tmp_path: Path, when: str) -> None:
    journal(tmp_path / "journal", blocks=2)
    store = EmbeddedStore(tmp_path / "store", {"0": tmp_path / "journal"})
    if when == "after":
        run(tmp_path, Tombstones())
        assert len(values(store, 1)) == 8
    needle = struct.pack("<d", CANARY)
    assert needle in bytes_of(tmp_path)
    manifest = run(tmp_path, STONES)
    assert manifest.erased == 8
    assert manifest.retired == ()
    assert needle not in bytes_of(tmp_path)
    assert values(store, 1) == [OTHER] * 4
    assert values(store, 2) == [OTHER] * 2
    latest = store.latest(1, visible=ALL)
    assert (latest.time.tolist(), latest.value.tolist()) == ([T + 200 * S], [OTHER])
    whole = store.buckets(1, 0, 0, T + DAY_NS, DAY_NS, visible=ALL)
    assert whole.count.tolist() == [4]


def test_what_comes_later_is_not_kept_either(tmp_path: Path) -> None:
    journal(tmp_path / "journal")
    run(tmp_path, STONES)
    journal(tmp_path / "journal")
    manifest = run(tmp_path, STONES)
    assert manifest.erased == 8
    assert struct.pack("<d", CANARY) not in bytes_of(tmp_path)
    store = EmbeddedStore(tmp_path / "store", {"0": tmp_path / "journal"})
    assert values(store, 1) == [OTHER] * 4


def test_it_is_not_called_done_before_the_open_segment_is(tmp_path: Path) -> None:
    journal(tmp_path / "journal")
    journal(tmp_path / "journal", sealed=False)
    policy = CompactionPolicy(run_bytes=1, grace_ns=0)
    with Compactor(
        tmp_path / "store",
        {"0": tmp_path / "journal"},
        policy,
        lambda _now: Rules(tombstones=STONES),
    ) as compactor:
        compactor.run(1 << 61, {})
        assert compactor.manifest.erased == 0
        assert values(EmbeddedStore(tmp_path / "store", {}), 1) == [OTHER] * 2
        with JournalWriter.open(tmp_path / "journal", now_ns=0) as writer:
            writer.seal_if_due(1 << 60)
        compactor.run(1 << 61, {})
        compactor.run(1 << 61, {})
        assert compactor.manifest.erased == 8
    assert struct.pack("<d", CANARY) not in bytes_of(tmp_path)


def test_a_crash_between_any_two_steps_ends_the_same(tmp_path: Path) -> None:
    journal(tmp_path / "journal", blocks=2)
    run(tmp_path, Tombstones())
    policy = CompactionPolicy(run_bytes=1, grace_ns=0)
    for steps in range(1, 100):
        with Compactor(
            tmp_path / "store",
            {"0": tmp_path / "journal"},
            policy,
            lambda _now: Rules(tombstones=STONES),
        ) as crashing:
            done = 0
            for _ in crashing.steps(1 << 61, {}):
                done += 1
                if done == steps:
                    break
        store = EmbeddedStore(tmp_path / "store", {"0": tmp_path / "journal"})
        assert values(store, 2) == [OTHER] * 2
        if done < steps:
            break
    assert run(tmp_path, STONES).erased == 8
    assert struct.pack("<d", CANARY) not in bytes_of(tmp_path)


def test_orders_are_asked_of_many_rows_at_once() -> None:
    slot = np.array([1, 1, 1, 2], np.uint32)
    epoch = np.array([1, 0, 0, 1], np.uint32)
    time = np.array([T, T, T + 100 * S, T], np.int64)
    assert STONES.mask(slot, epoch, time, time).tolist() == [True, True, False, False]
    assert not Tombstones().mask(slot, epoch, time, time).any()
    assert STONES.after(7).orders == (STONES.orders[1],)
    assert (STONES.touch(0, 5), STONES.touch(2, 5), STONES.touch(0, 0)) == (True, False, False)
