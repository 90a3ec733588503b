"""What is kept of telemetry for how long: levels equal the rows, and what is too old leaves the disk."""

import io
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.ports.journal.telemetry import TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.levels import DAY_NS, KEEP, Floors, Retention
from hub.ports.store.manifest import Manifest
from hub.ports.store.port import BucketColumns, Visibility, Window
from hub.ports.store.upkeep import Rules
from hub.services import export_series
from hub.services.telemetry import MetricView

S = 1_000_000_000
MINUTE, HOUR = 60 * S, 3_600 * S
TODAY = 20_500 * DAY_NS
ALL = Visibility(reasons=frozenset({1}))
EAGER = CompactionPolicy(run_bytes=1, grace_ns=0, fanout=2)
Row = tuple[int, int, int, int, float]  # slot, epoch, reason, time, value


def batch_of(rows: Sequence[Row], seq: int) -> TelemetryBatch:
    count = len(rows)
    slot, epoch, reason, time, value = (list(column) for column in zip(*rows, strict=True))
    return TelemetryBatch(
        slot=np.array(slot, np.uint32),
        epoch=np.array(epoch, np.uint32),
        flags=np.array(reason, np.uint32) << np.uint32(5),
        count=np.ones(count, np.uint32),
        stream=np.array(slot, np.uint64),
        seq=np.arange(seq, seq + count, dtype=np.uint64),
        raw_time=np.array(time, np.int64),
        time=np.array(time, np.int64),
        metric=np.zeros(count, np.uint16),
        value=np.array(value, np.float64),
    )


class Bench:
    """A journal, a compactor and a store over one folder."""

    def __init__(self, folder: Path, retention: Retention) -> None:
        self.folder = folder
        self.retention = retention
        self.seq = 0
        self.store = EmbeddedStore(folder / "store", {"0": folder / "journal"})

    def write(self, *batches: Sequence[Row]) -> None:
        rotation = Rotation(size=1)
        with JournalWriter.open(self.folder / "journal", now_ns=0, rotation=rotation) as writer:
            for rows in batches:
                writer.append(1, encode(batch_of(rows, self.seq)), 0)
                self.seq += len(rows)
            writer.seal_if_due(1 << 62)

    def compact(self, now: int) -> None:
        journals = {"0": self.folder / "journal"}
        with Compactor(
            self.folder / "store", journals, EAGER, lambda _now: Rules(self.retention)
        ) as compactor:
            while compactor.run(now, {"0": 1 << 60}):
                pass

    def buckets(
        self, slot: int, step: int, start: int = 0, visible: Visibility = ALL
    ) -> BucketColumns:
        end = TODAY + 10_000 * DAY_NS
        return self.store.buckets(slot, 0, start, end, step, visible=visible)

    def on_disk(self) -> list[int]:
        """Times of all rows in all Parquet files of rows, live or not."""
        found: list[int] = []
        for path in (self.folder / "store").glob("*.parquet"):
            table = pq.read_table(path)
            if "raw_time" in table.column_names:
                found += table.column("time").to_pylist()
        return found


def expected(rows: Sequence[Row], slot: int, step: int) -> dict[int, tuple[float, ...]]:
    """The slow, obvious aggregates of rows, in the order in which they were written."""
    groups: dict[int, list[tuple[int, int, float]]] = {}
    for seq, (of, _, _, time, value) in enumerate(rows):
        if of == slot:
            groups.setdefault(time // step * step, []).append((time, seq, value))
    return {
        start: (
            len(found),
            min(v for *_, v in found),
            max(v for *_, v in found),
            math.fsum(v for *_, v in found) / len(found),
            min(found)[2],
            max(found)[2],
        )
        for start, found in sorted(groups.items())
    }


def seen(b: BucketColumns) -> dict[int, tuple[float, ...]]:
    columns = (b.count, b.min, b.max, b.mean, b.first, b.last)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(b.start.tolist(), rows, strict=True))


values = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)
times = st.integers(0, 4 * DAY_NS).map(lambda back: TODAY - back)
rows_of = st.tuples(st.integers(1, 2), st.integers(0, 2), st.integers(0, 1), times, values)


@settings(max_examples=20, deadline=None)
@given(
    runs=st.lists(st.lists(rows_of, min_size=1, max_size=30), min_size=1, max_size=5),
    step=st.sampled_from([MINUTE, 5 * MINUTE, HOUR, DAY_NS]),
    days=st.sampled_from([1, 2, 3, 30]),
)
def test_levels_equal_the_rows_whatever_came_when(
    runs: list[list[Row]], step: int, days: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), Retention((days, 90, 730, None)))
        rows: list[Row] = []
        for run in runs:
            bench.write(run)
            rows += run
            for slot in (1, 2):  # from the journal, before it is compacted
                assert seen(bench.buckets(slot, step)) == expected(rows, slot, step)
            bench.compact(TODAY)
            for slot in (1, 2):
                assert seen(bench.buckets(slot, step)) == expected(rows, slot, step)
        floor = TODAY - days * DAY_NS
        assert all(time >= floor for time in bench.on_disk())
        together = bench.store.fleet([1, 2], 0, 0, TODAY + DAY_NS, step, visible=ALL)
        whole = expected([(1, *row[1:]) for row in rows], 1, step)
        counted = {start: facts[:4] for start, facts in whole.items()}
        assert {start: facts[:4] for start, facts in seen(together).items()} == counted


def test_each_level_ends_at_its_floor_and_leaves_the_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Retention((1, 2, 3, 5)))
    rows: list[Row] = [(1, 1, 0, TODAY + i * 30 * S, float(i)) for i in range(240)]
    bench.write(rows)
    bench.compact(TODAY)
    assert bench.buckets(1, MINUTE).level == "raw"
    levels = []
    for day in range(8):
        bench.compact(TODAY + day * DAY_NS)
        found = bench.buckets(1, MINUTE)
        levels.append((found.level, found.step, found.start.size))
        assert found.count.sum() in {0, 240}
    assert levels == [
        ("raw", MINUTE, 120),
        ("raw", MINUTE, 120),
        ("minute", MINUTE, 120),
        ("hour", HOUR, 2),
        ("day", DAY_NS, 1),
        ("day", DAY_NS, 1),
        ("raw", MINUTE, 0),
        ("raw", MINUTE, 0),
    ]
    bench.compact(TODAY + 9 * DAY_NS)
    manifest = Manifest.read(tmp_path / "store")
    assert (manifest.files, manifest.rollups) == ((), ())
    assert list((tmp_path / "store").glob("*.parquet")) == []


def test_a_late_row_reaches_the_levels_though_rows_of_its_day_are_gone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Retention((1, None, None, None)))
    early: list[Row] = [(1, 1, 0, TODAY + i * S, 1.0) for i in range(10)]
    bench.write(early)
    bench.compact(TODAY + 5 * DAY_NS)
    assert bench.on_disk() == []
    late: list[Row] = [(1, 1, 0, TODAY + 5 * S, 7.5)]
    bench.write(late)
    for _ in range(2):  # from the journal, then compacted
        assert seen(bench.buckets(1, MINUTE)) == expected([*early, *late], 1, MINUTE)
        bench.compact(TODAY + 5 * DAY_NS)
    assert bench.on_disk() == []
    rows = bench.store.range(1, 0, 0, TODAY + DAY_NS, visible=ALL, limit=10)
    assert rows.time.size == 0


def test_products_keep_what_their_own_terms_say(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Retention((1, 1, 1, 1), [2], [(30, 30, 30, 30)]))
    rows: list[Row] = [(slot, 1, 0, TODAY, 1.0) for slot in (1, 2, 3)]
    bench.write(rows)
    bench.compact(TODAY + 5 * DAY_NS)
    assert [bench.buckets(slot, DAY_NS).count.sum() for slot in (1, 2, 3)] == [0, 1, 0]
    assert bench.store.count() == 1
    bench.retention = Retention((1, 1, 1, 1))
    bench.compact(TODAY + 5 * DAY_NS)
    assert bench.store.count() == 0


def test_nothing_goes_without_terms_and_nothing_comes_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Retention())
    bench.write([(1, 1, 0, TODAY - 9_000 * DAY_NS, 1.0), (1, 1, 0, TODAY, 2.0)])
    bench.compact(TODAY)
    assert bench.store.count() == 2
    assert Manifest.read(tmp_path / "store").floors == ""
    bench.retention = Retention((10, 10, None, None))
    bench.compact(TODAY)
    assert bench.store.count() == 1
    bench.retention = Retention()  # what is gone stays with the hours
    bench.compact(TODAY)
    found = bench.buckets(1, MINUTE, TODAY - 9_999 * DAY_NS)
    assert (found.level, found.count.tolist()) == ("hour", [1, 1])


def test_an_aggregate_that_is_partly_somebody_elses_shows_to_nobody_but_staff(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, Retention((1, 1, None, None)))
    cut = TODAY + 30 * MINUTE
    bench.write([(1, 1, 0, cut - S, 1.0), (1, 1, 0, cut + S, 2.0), (1, 2, 0, cut + 2 * S, 3.0)])
    bench.compact(TODAY + 9 * DAY_NS)
    first = Visibility((Window(0, 1, None, cut),))
    second = Visibility((Window(2, 2, cut, None),))
    assert bench.buckets(1, HOUR, visible=first).count.tolist() == []
    assert bench.buckets(1, HOUR, visible=second).mean.tolist() == [3.0]
    assert bench.buckets(1, HOUR).count.tolist() == [3]


def test_what_is_kept_of_each_time_is_taken_along_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, Retention((2, 4, 6, None)))
    assert not bench.store.rolled(1)
    sold = TODAY - 5 * DAY_NS  # within the time of which hours are kept
    times = [TODAY - back * 20 * MINUTE for back in range(1, 10 * 72 + 1)]
    bench.write([(slot, 1 + (time >= sold), 0, time, 1.0) for time in times for slot in (1, 2)])
    bench.compact(TODAY)
    late: Row = (1, 1, 0, TODAY - 12 * DAY_NS, 1.0)
    bench.write([late])  # not aggregated yet
    assert [
        (one.level, one.step, (one.start - TODAY) // DAY_NS, (one.end - TODAY) // DAY_NS)
        for one in bench.store.rolled(1)
    ] == [("day", DAY_NS, -12, -6), ("hour", HOUR, -6, -4), ("minute", MINUTE, -4, -2)]
    monkeypatch.setattr(export_series, "_BUCKETS", 1_440)
    metric = MetricView(0, "temp_c", "", "Cel", "gauge", None, None)
    for window, rows, widths in (
        (Window(0, 1, None, sold), 0, {DAY_NS: 1 + 4, HOUR: 24}),
        (Window(2, 2, sold, None), 2 * 72, {HOUR: 24, MINUTE: 2 * 72}),
    ):
        series = export_series.Series("HP-1", 1, metric, Visibility((window,)), {})
        files = {
            name: b"".join(pieces) for name, pieces in export_series.files_of(bench.store, series)
        }
        folders = ["aggregates", "telemetry"] if rows else ["aggregates"]
        assert sorted(name.split("/")[0] for name in files if name.endswith("csv")) == folders
        table = pq.read_table(io.BytesIO(files["aggregates/HP-1/temp_c.parquet"]))
        starts = table.column("start").cast("int64").to_pylist()
        assert starts == sorted(set(starts))
        steps = table.column("step_s").to_pylist()
        assert {step * S: steps.count(step) for step in set(steps)} == widths
        assert sum(table.column("count").to_pylist()) + rows == sum(
            (time < sold) == (window.end is not None) for time in (*times, late[3])
        )
        assert files["aggregates/HP-1/temp_c.csv"].count(b"\n") == 1 + len(starts)


@given(st.lists(st.tuples(st.integers(1, 9), *[st.integers(0, 5)] * 4), max_size=6))
def test_floors_only_rise(rows: list[tuple[int, ...]]) -> None:
    own = {row[0]: row[1:] for row in rows}
    slots = np.array(sorted(own), np.uint32)
    table = np.array([own[slot] for slot in sorted(own)], np.int64).reshape(-1, 4)
    one = Floors(np.full(4, 2), slots, table)
    both = one.raised(Floors())
    asked = np.arange(12, dtype=np.uint32)
    assert np.array_equal(both.of(asked), np.maximum(one.of(asked), KEEP))
    again = one.raised(Floors(np.full(4, 3)))
    assert (again.of(asked) >= one.of(asked)).all()
    assert again.raised(one).same_as(again)
