"""What every telemetry store promises, against a slow and obvious oracle, in every phase."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from time import time_ns
from typing import Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import InvalidInputError
from hub.ports.journal.telemetry import ANONYMOUS, REASON_SHIFT, TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store import compaction, parquet, partitions, sources
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.line_writer import LineWriter
from hub.ports.store.lines import EARLIEST_NS, MS
from hub.ports.store.mirror import Mirror
from hub.ports.store.port import BucketColumns, Cursor, TelemetryStore, Visibility, Window
from hub.ports.store.sinks import VictoriaSink
from hub.ports.store.victoria import VictoriaAddress, VictoriaStore
from tests.hub.store.victoria_server import VictoriaServer

DAY = 86_400 * 1_000_000_000
BASE = 20_500 * DAY
SLOTS = (1, 2, 70_000, (1 << 32) - 1)
METRICS = (0, 1, 5)
LIMITS = (-(1 << 63), (1 << 63) - 1)
VISIBILITIES = (
    Visibility(),
    Visibility((Window(1, 2),)),
    Visibility((Window(first_epoch=2),), frozenset({1, 4})),
    Visibility((Window(3, 2),)),
    Visibility(()),
    Visibility(reasons=frozenset(range(8))),
    Visibility((Window(0, 1, end=BASE + DAY // 2), Window(2, 3, start=BASE + DAY // 2))),
    Visibility((Window(end=BASE + MS),), frozenset({1, 4})),
    Visibility((Window(1, 1, BASE, BASE + DAY), Window(3, 3, BASE + 2 * DAY))),
)


@dataclass(frozen=True)
class Row:
    slot: int
    epoch: int
    reason: int
    stream: int
    seq: int
    time: int
    samples: tuple[tuple[int, float], ...]

    def shown(self, visible: Visibility) -> bool:
        accepted = self.reason == 0 or self.reason in visible.reasons
        return accepted and any(
            window.first_epoch <= self.epoch <= window.last_epoch
            and (window.start is None or window.start <= self.time)
            and (window.end is None or self.time < window.end)
            for window in visible.windows
        )


def batch_of(rows: Sequence[Row]) -> TelemetryBatch:
    samples = [sample for row in rows for sample in row.samples]
    flags = [(row.reason << REASON_SHIFT) | (0 if row.stream else ANONYMOUS) for row in rows]
    time = np.array([row.time for row in rows], np.int64)
    return TelemetryBatch(
        slot=np.array([row.slot for row in rows], np.uint32),
        epoch=np.array([row.epoch for row in rows], np.uint32),
        flags=np.array(flags, np.uint32),
        count=np.array([len(row.samples) for row in rows], np.uint32),
        stream=np.array([row.stream for row in rows], np.uint64),
        seq=np.array([row.seq for row in rows], np.uint64),
        raw_time=time - 5,
        time=time,
        metric=np.array([metric for metric, _ in samples], np.uint16),
        value=np.array([value for _, value in samples], np.float64),
    )


class Oracle:
    """Rows in a list, and loops."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = [row for row in rows if row.samples]

    def series(
        self, slots: Sequence[int], metric: int, start: int, end: int, visible: Visibility
    ) -> list[tuple[int, int, int, float]]:
        found = [
            (row.time, row.stream, row.seq, value)
            for row in self.rows
            for number, value in row.samples
            if row.slot in slots and number == metric
            if start <= row.time < end and row.shown(visible)
        ]
        return sorted(found)

    def buckets(
        self,
        slots: Sequence[int],
        metric: int,
        start: int,
        end: int,
        step: int,
        visible: Visibility,
    ) -> list[tuple[int, int, float, float, float, float]]:
        result = []
        series = self.series(slots, metric, start, end, visible)
        for begin, group in itertools.groupby(series, lambda row: row[0] // step * step):
            rows = list(group)
            values = [value for *_, value in rows]
            last = max((time, seq, stream, value) for time, stream, seq, value in rows)[3]
            mean = sum(values) / len(values)
            result.append((begin, len(values), min(values), max(values), mean, last))
        return result

    def latest(self, slot: int, visible: Visibility) -> list[tuple[int, int, float]]:
        result = []
        for metric in METRICS:
            series = self.series([slot], metric, *LIMITS, visible)
            if series:
                time, _, _, value = max((t, seq, stream, v) for t, stream, seq, v in series)
                result.append((metric, time, value))
        return result

    def count(self, slots: Sequence[int] | None) -> int:
        return sum(slots is None or row.slot in slots for row in self.rows)


class Harness(Protocol):
    """How the contract fills an adapter and moves it through the phases it has.

    `kept` gives, of rows that a test makes up, those that the adapter promises to give back as they
    are: a mirror in milliseconds promises less than the archive (`Fidelity`).
    """

    @property
    def phases(self) -> Sequence[str]: ...
    def kept(self, batches: Sequence[Sequence[Row]]) -> list[list[Row]]: ...
    def fill(self, batches: Sequence[Sequence[Row]]) -> None: ...
    def enter(self, phase: str) -> None: ...
    def stores(self) -> Sequence[TelemetryStore]: ...
    def close(self) -> None: ...


class EmbeddedHarness:
    """Two journals; each batch in a sealed segment of its own, so any half can be compacted."""

    phases = ("all in the journal", "half compacted", "all compacted", "merged", "pruned")

    def __init__(self, folder: Path, server: VictoriaServer | None) -> None:
        self.folder = folder
        self.journals = {name: folder / "journal" / name for name in ("0", "1")}
        self.stack = ExitStack()
        self.now = BASE
        self.writers = [
            self.stack.enter_context(JournalWriter.open(path, now_ns=self.now))
            for path in self.journals.values()
        ]
        # Asked from the beginning, so that it sees every change of the files.
        self.long_lived = EmbeddedStore(folder / "store", self.journals)

    def kept(self, batches: Sequence[Sequence[Row]]) -> list[list[Row]]:
        return [list(rows) for rows in batches]

    def fill(self, batches: Sequence[Sequence[Row]]) -> None:
        for number, rows in enumerate(batches):
            writer = self.writers[number % 2]
            self.now += 1_000 * 1_000_000_000
            writer.append(1, encode(batch_of(rows)), self.now)
            writer.append(2, [b"a finding, none of the store's business"], self.now)
            if number == len(batches) // 2:
                self._seal()

    def _seal(self) -> None:
        self.now += 1_000 * 1_000_000_000
        for writer in self.writers:
            writer.seal_if_due(self.now)

    def enter(self, phase: str) -> None:
        if phase == "half compacted":
            self._compact(CompactionPolicy(run_bytes=1, fanout=1000))
        elif phase == "all compacted":
            self._seal()
            self._compact(CompactionPolicy(run_bytes=1, fanout=1000))
        elif phase == "merged":
            self._compact(CompactionPolicy(fanout=2, grace_ns=0))
        elif phase == "pruned":
            self._compact(CompactionPolicy(fanout=2, grace_ns=0), prune=True)

    def _compact(self, policy: CompactionPolicy, *, prune: bool = False) -> None:
        below = {name: 1 << 60 for name in self.journals if prune}
        with Compactor(self.folder / "store", self.journals, policy) as compactor:
            compactor.run(self.now, below)

    def stores(self) -> Sequence[TelemetryStore]:
        return self.long_lived, EmbeddedStore(self.folder / "store", self.journals)

    def close(self) -> None:
        self.stack.close()


class VictoriaHarness:
    """Journals mirrored to a real server, under a measurement of this harness alone."""

    phases = ("mirrored", "mirrored again after a rewind", "mirrored by another process")
    numbers = itertools.count()

    def __init__(self, folder: Path, server: VictoriaServer | None) -> None:
        assert server is not None
        self.archive = EmbeddedHarness(folder, None)
        name = "test_" + "abcdefghij"[next(self.numbers) % 10] * (1 + next(self.numbers) // 10)
        self.address = VictoriaAddress(server.url, measurement=name)
        self.file = folder / "mirror.json"
        self.writer = LineWriter(server.url, bucket="b", org="o", token="")
        self.boots = ["first"]
        self.mirror = self._mirror()

    def _mirror(self) -> Mirror:
        harness = self

        class Sink(VictoriaSink):
            def boot(self) -> str:
                return harness.boots[-1]

        sink = Sink(self.writer, self._store(), self.address.measurement)
        return Mirror(self.file, self.archive.journals, sink)

    def _store(self) -> VictoriaStore:
        return VictoriaStore(self.address, time_ns)

    def kept(self, batches: Sequence[Sequence[Row]]) -> list[list[Row]]:
        """One row an instant in ms, from 1971 to now, without identity, with few digits."""
        seen: set[object] = set()
        result = []
        for rows in batches:
            good = []
            for row in rows:
                instant = row.time // MS * MS
                key = (row.slot, row.epoch, row.reason, instant)
                if key in seen or not EARLIEST_NS <= instant < BASE + 2 * DAY:
                    continue
                seen.add(key)
                samples = tuple((metric, round(value, 3)) for metric, value in row.samples)
                good.append(replace(row, time=instant, stream=0, seq=0, samples=samples))
            result.append(good)
        return [rows for rows in result if rows]

    def fill(self, batches: Sequence[Sequence[Row]]) -> None:
        self.archive.fill(batches)

    def enter(self, phase: str) -> None:
        if phase == "mirrored again after a rewind":
            self.boots.append("second")
        elif phase == "mirrored by another process":
            self.mirror = self._mirror()
        while self.mirror.step(BASE, dict.fromkeys(self.archive.journals, 1 << 60)):
            pass

    def stores(self) -> Sequence[TelemetryStore]:
        return [self._store()]

    def close(self) -> None:
        self.writer.close()
        self.archive.close()


ADAPTERS: dict[str, Callable[[Path, VictoriaServer | None], Harness]] = {
    "embedded": EmbeddedHarness,
    "victoriametrics": VictoriaHarness,
}


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaServer]:
    server = VictoriaServer(tmp_path_factory.mktemp("victoria"))
    yield server
    server.stop()


@pytest.fixture(params=sorted(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> Callable[[Path], Harness]:
    needs_server = request.param == "victoriametrics"
    server = request.getfixturevalue("victoria") if needs_server else None
    return lambda folder: ADAPTERS[request.param](folder, server)


@pytest.fixture
def tiny_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make row groups, chunks and days so small that a few rows fill many."""
    monkeypatch.setattr(parquet, "ROW_GROUP", 4)
    monkeypatch.setattr(partitions, "OWN_DAY", 4)
    monkeypatch.setattr(sources, "CHUNK", 6)
    monkeypatch.setattr(compaction, "TIERS", (4, 16, 1000))


TIMES = st.one_of(
    st.integers(0, 20).map(lambda minute: BASE + minute * 60 * 1_000_000_000),
    st.integers(BASE, BASE + DAY),
    st.integers(-3, 3).map(lambda day: BASE + day * DAY),
    st.sampled_from([0, -1, -DAY, LIMITS[0] + 2 * DAY, LIMITS[1] - DAY]),
)
VALUES = st.floats(-1e6, 1e6).map(lambda value: value + 0.0)  # no negative zero
SAMPLES = st.dictionaries(st.sampled_from(METRICS), VALUES, max_size=3)
ROW_PARTS = st.tuples(
    st.sampled_from(SLOTS),
    st.integers(0, 3),
    st.sampled_from([0, 0, 0, 1, 2, 4]),
    st.sampled_from([0, 7, (1 << 64) - 1]),
    TIMES,
    SAMPLES,
)


@st.composite
def batches_of_rows(draw: st.DrawFn) -> list[list[Row]]:
    seqs: dict[tuple[int, int], Iterator[int]] = {}
    batches = []
    for parts in draw(st.lists(st.lists(ROW_PARTS, min_size=1, max_size=12), max_size=8)):
        rows = []
        for slot, epoch, reason, stream, time, samples in parts:
            # Anonymous rows (stream 0) have no identity: their seq is always 0.
            counter = seqs.setdefault((slot, stream), itertools.count())
            seq = next(counter) if stream else 0
            rows.append(Row(slot, epoch, reason, stream, seq, time, tuple(samples.items())))
        batches.append(rows)
    return batches


def bucket_rows(columns: BucketColumns) -> list[tuple[int, int, float, float, float, float]]:
    names = ("start", "count", "min", "max", "mean", "last")
    return list(zip(*(getattr(columns, name).tolist() for name in names), strict=True))


def approximately(rows: list[tuple[int, int, float, float, float, float]]) -> list[object]:
    return [(*row[:4], pytest.approx(row[4], rel=1e-9, abs=1e-6), row[5]) for row in rows]


def all_pages(
    store: TelemetryStore, slot: int, metric: int, span: tuple[int, int], visible: Visibility
) -> list[tuple[int, int, int, float]]:
    rows: list[tuple[int, int, int, float]] = []
    after: Cursor | None = None
    for limit in itertools.cycle((1, 2, 5)):
        page = store.range(slot, metric, *span, visible=visible, limit=limit, after=after)
        columns = (page.time, page.stream, page.seq, page.value)
        rows += zip(*(column.tolist() for column in columns), strict=True)
        assert len(page.time) <= limit
        after = page.following
        if after is None:
            return rows
        assert len(page.time) == limit
    raise AssertionError


def check_everything(store: TelemetryStore, oracle: Oracle) -> None:
    spans: list[tuple[int, int]] = [LIMITS]
    spans += ((BASE, BASE + DAY), (BASE + 90 * 1_000_000_000, BASE + 600 * 1_000_000_000))
    groups: list[tuple[int, ...]] = [(), (2, 1, 1), SLOTS]
    assert store.count() == oracle.count(None)
    for slots in (*groups, (3,)):
        assert store.count(slots) == oracle.count(slots)
    # A query over HTTP costs milliseconds; a part of them finds what a store does wrong.
    every = 1 if store.fidelity.exact else 5
    for visible, slot in islice(itertools.product(VISIBILITIES, SLOTS), 0, None, every):
        latest = store.latest(slot, visible=visible)
        columns = (latest.metric, latest.time, latest.value)
        found = list(zip(*(column.tolist() for column in columns), strict=True))
        assert found == oracle.latest(slot, visible)
    for visible, (start, end) in islice(itertools.product(VISIBILITIES[:3], spans), 0, None, every):
        for slot, metric in ((1, 0), (70_000, 5), (SLOTS[-1], 1)):
            expected = oracle.series([slot], metric, start, end, visible)
            assert all_pages(store, slot, metric, (start, end), visible) == expected
            for step in (60 * 1_000_000_000, DAY):
                got = store.buckets(slot, metric, start, end, step, visible=visible)
                wanted = oracle.buckets([slot], metric, start, end, step, visible)
                assert bucket_rows(got) == approximately(wanted)
        for slots in groups:
            got = store.fleet(slots, 0, start, end, DAY, visible=visible)
            wanted = oracle.buckets(slots, 0, start, end, DAY, visible)
            assert bucket_rows(got) == approximately(wanted)


@pytest.mark.usefixtures("tiny_files")
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=batches_of_rows())
def test_every_query_equals_the_oracle_in_every_phase(
    adapter: Callable[[Path], Harness],
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[Row]],
) -> None:
    harness = adapter(tmp_path_factory.mktemp("store"))
    batches = harness.kept(batches)
    oracle = Oracle([row for rows in batches for row in rows])
    try:
        harness.fill(batches)
        for phase in harness.phases:
            harness.enter(phase)
            for store in harness.stores():
                check_everything(store, oracle)
    finally:
        harness.close()


@pytest.fixture
def harness(adapter: Callable[[Path], Harness], tmp_path: Path) -> Iterator[Harness]:
    made = adapter(tmp_path)
    yield made
    made.close()


def test_an_empty_store_answers_with_nothing(harness: Harness) -> None:
    for store in harness.stores():
        check_everything(store, Oracle([]))


def test_equal_times_with_different_seq_are_both_returned(harness: Harness) -> None:
    """Where the store keeps identity; elsewhere one of them is."""
    rows = [Row(1, 1, 0, 7, seq, BASE, ((0, float(seq)),)) for seq in range(3)]
    harness.fill([rows[:1], rows[1:]])
    for phase in harness.phases:
        harness.enter(phase)
        for store in harness.stores():
            page = store.range(1, 0, BASE, BASE + 1, visible=Visibility(), limit=10)
            if not store.fidelity.identity:
                assert page.time.tolist() == [BASE]
                assert page.value[0] in {0.0, 1.0, 2.0}
                assert store.count() == 1
                continue
            assert page.seq.tolist() == [0, 1, 2]
            assert store.latest(1, visible=Visibility()).value.tolist() == [2.0]


@pytest.mark.usefixtures("tiny_files")
def test_ties_are_ordered_by_stream_then_seq_and_last_is_by_seq(harness: Harness) -> None:
    high = (1 << 64) - 1
    rows = [Row(1, 1, 0, 7, 9, BASE, ((0, 1.0),)), Row(1, 1, 0, 7, 8, BASE, ((0, 2.0),))]
    rows += [Row(1, 1, 0, high, seq, BASE, ((0, 3.0 + seq),)) for seq in (5, 0, 1, 2, 3, 4)]
    harness.fill([rows])
    for phase in harness.phases:
        harness.enter(phase)
        for store in harness.stores():
            if not store.fidelity.identity:
                continue
            pages = all_pages(store, 1, 0, (BASE, BASE + 1), Visibility())
            assert [(stream, seq) for _, stream, seq, _ in pages] == [
                (7, 8),
                (7, 9),
                *((high, seq) for seq in range(6)),
            ]
            bucket = store.buckets(1, 0, BASE, BASE + 1, DAY, visible=Visibility())
            assert bucket.last.tolist() == [1.0]  # seq 9, though of the lesser stream
            assert store.latest(1, visible=Visibility()).value.tolist() == [1.0]


def test_a_lapsed_owners_rows_show_only_once_they_are_allowed(harness: Harness) -> None:
    kept = Row(1, 1, 1, 7, 0, BASE, ((0, 1.0),))  # quarantined: lapsed
    harness.fill([[kept]])
    for phase in harness.phases:
        harness.enter(phase)
        for store in harness.stores():
            assert store.latest(1, visible=Visibility()).time.size == 0
            renewed = Visibility(reasons=frozenset({1}))
            assert store.latest(1, visible=renewed).time.tolist() == [BASE]
            next_owner = Visibility((Window(first_epoch=2),), frozenset({1}))
            assert store.latest(1, visible=next_owner).time.size == 0


def test_impossible_questions_are_refused(harness: Harness) -> None:
    for store in harness.stores():
        with pytest.raises(InvalidInputError, match="limit"):
            store.range(1, 0, 0, 1, visible=Visibility(), limit=0)
        with pytest.raises(InvalidInputError, match="bucket"):
            store.buckets(1, 0, 0, 1, 0, visible=Visibility())
        with pytest.raises(InvalidInputError, match="bucket"):
            store.fleet([1], 0, 0, 1, 0)


def test_times_are_cut_to_the_resolution_and_values_kept_as_promised(harness: Harness) -> None:
    values = [1e-7, 1 / 3, -0.0, 1e5 + 1 / 3, 123456.789, -5e-324]
    rows = [Row(1, 1, 0, 7, i, BASE + i * 2_000_001, ((0, v),)) for i, v in enumerate(values)]
    rows.append(Row(1, 1, 0, 7, 9, -DAY, ((0, 1.0),)))
    harness.fill([rows])
    for phase in harness.phases:
        harness.enter(phase)
        for store in harness.stores():
            promised = store.fidelity
            page = store.range(1, 0, BASE, BASE + DAY, visible=Visibility(), limit=10)
            cut = promised.resolution_ns
            assert page.time.tolist() == [row.time // cut * cut for row in rows[:-1]]
            if promised.exact:
                assert page.value.tobytes() == np.array(values).tobytes()
            else:
                assert page.value == pytest.approx(values, rel=0, abs=1e-12 * 123456.789)
            before = store.range(1, 0, -2 * DAY, 0, visible=Visibility(), limit=10)
            assert before.time.size == (promised.earliest <= -DAY)
