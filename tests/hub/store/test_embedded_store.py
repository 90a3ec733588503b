"""The embedded store beyond the contract: crashes, concurrency, damage, layout of the files."""

import errno
import json
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hub.app.compactor import run_compactor
from hub.errors import ConflictError, StorageError
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.ports.store import parquet
from hub.ports.store.columns import expand, file_order
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.manifest import MANIFEST_NAME, Manifest
from hub.ports.store.parquet import ParquetSink, ParquetSource
from hub.ports.store.port import Visibility

DAY = 86_400 * 1_000_000_000
MINUTE = 60 * 1_000_000_000
BASE = 20_500 * DAY
EVERYTHING = Visibility()
EAGER = CompactionPolicy(run_bytes=1, grace_ns=0, fanout=2)
TOP = {"0": 1 << 60}


def batch(
    seqs: Sequence[int], *, devices: int = 1, metrics: int = 2, step: int = MINUTE
) -> TelemetryBatch:
    """Rows of devices 1 to `devices`, one for each seq; value = seq + metric / 10."""
    slot = np.repeat(np.arange(1, devices + 1, dtype=np.uint32), len(seqs))
    seq = np.tile(np.asarray(seqs, np.uint64), devices)
    time = BASE + seq.astype(np.int64) * step
    metric = np.tile(np.arange(metrics, dtype=np.uint16), seq.size)
    return TelemetryBatch(
        slot=slot,
        epoch=np.ones(seq.size, np.uint32),
        flags=np.zeros(seq.size, np.uint32),
        count=np.full(seq.size, metrics, np.uint32),
        stream=slot.astype(np.uint64),
        seq=seq,
        raw_time=time,
        time=time,
        metric=metric,
        value=np.repeat(seq, metrics) + metric / 10,
    )


def seqs_of(store: EmbeddedStore, slot: int = 1) -> list[int]:
    page = store.range(slot, 1, 0, BASE + 400 * DAY, visible=EVERYTHING, limit=1 << 30)
    assert page.following is None
    return [int(seq) for seq in page.seq]


def fill(folder: Path, batches: int, *, rows: int = 10, step: int = MINUTE) -> EmbeddedStore:
    """Write batches, each into a segment of its own; the last one stays unsealed."""
    rotation = Rotation(size=1)
    with JournalWriter.open(folder / "journal", now_ns=BASE, rotation=rotation) as writer:
        for number in range(batches):
            seqs = range(number * rows, (number + 1) * rows)
            writer.append(1, encode(batch(seqs, step=step)), BASE)
    return EmbeddedStore(folder / "store", {"0": folder / "journal"})


def compactor(folder: Path, policy: CompactionPolicy = EAGER) -> Compactor:
    return Compactor(folder / "store", {"0": folder / "journal"}, policy)


def test_a_crash_after_any_step_loses_and_repeats_nothing(tmp_path: Path) -> None:
    store = fill(tmp_path, 7)
    expected = list(range(70))
    seen = set()
    for steps in range(1, 1000):
        with compactor(tmp_path) as crashing:
            done = 0
            for step in crashing.steps(BASE, TOP):
                seen.add(step.split()[0])
                done += 1
                if done == steps:
                    break  # the process dies here
        assert seqs_of(store) == expected
        assert seqs_of(EmbeddedStore(tmp_path / "store", {"0": tmp_path / "journal"})) == expected
        assert store.count() == 70
        assert store.latest(1, visible=EVERYTHING).value.tolist() == [69.0, 69.1]
        if done < steps:
            break
    assert {"read", "wrote", "compacted", "merged", "pruned", "deleted", "forgot"} <= seen
    manifest = Manifest.read(tmp_path / "store")
    on_disk = {path.name for path in (tmp_path / "store").iterdir()} - {MANIFEST_NAME, "lock"}
    assert on_disk == manifest.names()
    assert len(list_segments(tmp_path / "journal")) == 1


def test_a_crash_within_a_step_leaves_only_files_that_the_next_start_removes(
    tmp_path: Path,
) -> None:
    store = fill(tmp_path, 3)
    with compactor(tmp_path) as first:
        first.run(BASE, {})
    leftovers = ["2026-02-16-0000000099.parquet", "latest-0000000099.npy", "manifest.json.tmp"]
    for name in leftovers:
        (tmp_path / "store" / name).write_bytes(b"half a file")
    assert seqs_of(store) == list(range(30))
    with compactor(tmp_path):
        pass
    assert not any((tmp_path / "store" / name).exists() for name in leftovers)
    assert seqs_of(store) == list(range(30))


def write_slowly(folder: Path, batches: int, rows: int, pause: threading.Event) -> None:
    rotation = Rotation(size=3000)
    with JournalWriter.open(folder, now_ns=BASE, rotation=rotation) as writer:
        for number in range(batches):
            seqs = range(number * rows, (number + 1) * rows)
            writer.append(1, encode(batch(seqs)), BASE)
            pause.wait(0.002)


def read_until(done: threading.Event, store: EmbeddedStore, rows: int, wrong: list[object]) -> None:
    """Note each answer that is not the first whole batches, each row once, never fewer."""
    before = finished = 0
    while not finished:
        finished = done.is_set()
        try:
            seqs, count = seqs_of(store), store.count()
        except StorageError as error:
            wrong.append(error)
            continue
        if seqs != list(range(len(seqs))) or len(seqs) < before or len(seqs) % rows:
            wrong.append(seqs)
        if count < len(seqs) or count % rows:
            wrong.append(count)
        before = len(seqs)


def test_each_row_shows_exactly_once_while_everything_moves(tmp_path: Path) -> None:
    """Writer, compactor, and readers, all at once; segments are pruned at once, files after a
    grace period as in production, which is what promises that no query fails.
    """
    rows, batches = 20, 150
    journal = tmp_path / "journal"
    store = EmbeddedStore(tmp_path / "store", {"0": journal})
    wrong: list[object] = []
    done, stop = threading.Event(), threading.Event()

    def compact() -> None:
        policy = CompactionPolicy(run_bytes=1, fanout=2)
        run_compactor(
            lambda: compactor(tmp_path, policy),
            clock=lambda: BASE,
            prune_below=lambda: TOP,
            stop=stop,
            pause_s=0.001,
        )

    readers = [
        threading.Thread(target=read_until, args=(done, store, rows, wrong)) for _ in range(2)
    ]
    moving = threading.Thread(target=compact)
    for thread in (*readers, moving):
        thread.start()
    write_slowly(journal, batches, rows, stop)
    while len(list_segments(journal)) > 1:
        stop.wait(0.01)  # until all that is sealed is compacted and pruned
    done.set()
    for thread in readers:
        thread.join()
    stop.set()
    moving.join()
    assert wrong == []
    assert seqs_of(store) == list(range(rows * batches))
    assert Manifest.read(tmp_path / "store").generation > 10
    assert list_segments(journal)[0].first > 0


def test_a_full_disk_is_waited_for_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path, 9)
    monkeypatch.setattr("hub.app.compactor.FULL_PAUSE_S", 0.001)
    publish, refused, stop = Compactor._publish, 0, threading.Event()

    def publish_or_refuse(self: Compactor, manifest: Manifest) -> None:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        publish(self, manifest)
        stop.set()

    monkeypatch.setattr(Compactor, "_publish", publish_or_refuse)
    before = seqs_of(store)
    run_compactor(
        lambda: compactor(tmp_path, CompactionPolicy(run_bytes=1, fanout=100)),
        clock=lambda: BASE,
        prune_below=lambda: TOP,
        stop=stop,
        pause_s=0.001,
    )
    assert seqs_of(store) == before
    manifest = Manifest.read(tmp_path / "store")
    files = {path.name for path in (tmp_path / "store").glob("*.parquet")}
    assert files == {file.name for file in manifest.files}


@pytest.mark.parametrize("compacted_before", [True, False])
def test_a_query_starts_again_when_what_it_read_is_deleted(
    tmp_path: Path, *, compacted_before: bool
) -> None:
    """Without any grace period: a compaction that ends between a query's look and its reading."""
    store = fill(tmp_path, 9)
    if compacted_before:
        with compactor(tmp_path, CompactionPolicy(run_bytes=1, fanout=100)) as first:
            first.run(BASE, {})
    read_manifest = store._present
    asked = 0

    def then_compact() -> Manifest:
        nonlocal asked
        manifest = read_manifest()
        asked += 1
        if asked == 1:
            with compactor(tmp_path) as merging:
                merging.run(BASE, TOP)
                merging.run(BASE, TOP)  # deletes what the first one replaced
        return manifest

    store._present = then_compact  # type: ignore[method-assign]
    assert seqs_of(store) == list(range(90))
    assert asked > 1


def test_nothing_is_compacted_before_it_is_sealed_and_due(tmp_path: Path) -> None:
    store = fill(tmp_path, 3)
    lazy = CompactionPolicy(run_bytes=1 << 30, wait_ns=100)
    with compactor(tmp_path, lazy) as patient:
        assert patient.run(BASE + 99, {}) == 0
        assert patient.run(BASE + 100, {}) > 0
        assert patient.manifest.journals["0"] == list_segments(tmp_path / "journal")[-1].first
        assert sum(file.rows for file in patient.manifest.files) == 20
    assert store.count() == 30


def test_the_journal_is_pruned_only_as_far_as_all_readers_allow(tmp_path: Path) -> None:
    fill(tmp_path, 6)
    firsts = [segment.first for segment in list_segments(tmp_path / "journal")]
    with compactor(tmp_path) as pruning:
        pruning.run(BASE, {})
        assert len(list_segments(tmp_path / "journal")) == 6
        pruning.run(BASE, {"0": firsts[2] + 8})
        assert [s.first for s in list_segments(tmp_path / "journal")] == firsts[2:]
        pruning.run(BASE, {"0": 1 << 60})
        assert [s.first for s in list_segments(tmp_path / "journal")] == firsts[-1:]


def test_replaced_files_stay_for_the_grace_period(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    with compactor(tmp_path, CompactionPolicy(run_bytes=1, fanout=2, grace_ns=50)) as keeping:
        keeping.run(BASE, {})
        retired = [file.name for file in keeping.manifest.retired]
        assert retired
        assert all((tmp_path / "store" / name).exists() for name in retired)
        keeping.run(BASE + 49, {})
        assert all((tmp_path / "store" / name).exists() for name in retired)
        keeping.run(BASE + 50, {})
        assert not any((tmp_path / "store" / name).exists() for name in retired)
        assert keeping.manifest.retired == ()


def test_file_count_stays_bounded_whatever_the_times(tmp_path: Path) -> None:
    """A device that claims another day in each row makes one file, not thousands."""
    store = fill(tmp_path, 40, rows=5, step=DAY)
    policy = CompactionPolicy(run_bytes=1, grace_ns=0)
    with compactor(tmp_path, policy) as busy:
        busy.run(BASE, TOP)
        assert len(busy.manifest.files) <= policy.fanout
        assert len(busy.manifest.latest) <= policy.fanout
    assert seqs_of(store) == list(range(200))


def test_a_long_lived_store_notices_every_compaction(tmp_path: Path) -> None:
    journals = {"0": tmp_path / "journal"}
    store = EmbeddedStore(tmp_path / "store", journals)
    with JournalWriter.open(journals["0"], now_ns=BASE, rotation=Rotation(size=1)) as writer:
        for number in range(12):
            writer.append(1, encode(batch([number])), BASE)
            assert seqs_of(store) == list(range(number + 1))
            with compactor(tmp_path) as each:
                each.run(BASE, TOP)
            assert seqs_of(store) == list(range(number + 1))


def test_a_device_is_never_split_and_days_get_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.ports.store.partitions.OWN_DAY", 100)
    fill(tmp_path, 4, rows=1000)
    with compactor(tmp_path, CompactionPolicy(run_bytes=1 << 20, wait_ns=0)) as days:
        days.run(BASE, {})
        spans = [(f.min_time - BASE, f.max_time - BASE) for f in days.manifest.files]
    assert spans == [(0, DAY - MINUTE), (DAY, 2 * DAY - MINUTE), (2 * DAY, 2999 * MINUTE)]


def test_two_compactors_are_refused(tmp_path: Path) -> None:
    with compactor(tmp_path), pytest.raises(ConflictError):
        compactor(tmp_path)


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    store = fill(tmp_path, 3)
    with compactor(tmp_path, CompactionPolicy(run_bytes=1)) as once:
        once.run(BASE, {})
        path = tmp_path / "store" / once.manifest.files[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match=path.name):
        seqs_of(EmbeddedStore(tmp_path / "store", {"0": tmp_path / "journal"}))
    path.unlink()
    with pytest.raises(StorageError, match="missing"):
        seqs_of(store)


def test_a_damaged_manifest_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with compactor(tmp_path) as once:
        once.run(BASE, {})
    path = tmp_path / "store" / MANIFEST_NAME
    good = json.loads(path.read_text())
    before = sorted(p.name for p in path.parent.iterdir())
    for bad in ("{", "[]", json.dumps(good | {"version": 99}), json.dumps(good | {"files": [1]})):
        path.write_text(bad)
        with pytest.raises(StorageError, match=MANIFEST_NAME):
            compactor(tmp_path)
    assert sorted(p.name for p in path.parent.iterdir()) == before


def test_files_are_private(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with compactor(tmp_path) as once:
        once.run(BASE, {})
    for path in (tmp_path / "store").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_row_groups_prune_to_the_one_that_holds_a_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 50)
    rows = batch(range(25), devices=20)
    path = tmp_path / "a.parquet"
    with ParquetSink(path) as sink:
        sink.add(file_order(expand(rows, np.arange(rows.rows))))
    assert sink.entry().samples == 1000
    assert sink.entry().rows == 500
    source = ParquetSource(path)
    assert source.groups((1, 20)) == list(range(20))
    assert source.groups((7, 7), 1) == [6]
    assert source.groups((7, 7), 2) == []
    assert source.groups((7, 7), 1, (BASE + DAY, BASE + 2 * DAY)) == []


def test_slots_far_apart_are_sorted_too() -> None:
    rng = np.random.default_rng(5)
    rows = batch(range(40), devices=50)
    slot = rng.integers(1, 1 << 32, rows.rows, np.uint32)
    columns = expand(rows, rng.permutation(rows.rows))
    columns.slot[:] = np.repeat(slot, 2)
    ordered = file_order(columns)
    keys = (ordered.seq, ordered.stream, ordered.time, ordered.metric, ordered.slot)
    assert np.array_equal(np.lexsort(keys), np.arange(len(ordered)))
