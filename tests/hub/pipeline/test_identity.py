"""Settled rows against a set, which is what they mean."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.pipeline.fingerprints import Trail
from hub.pipeline.identity import (
    BEYOND,
    CONFLICT,
    DUPLICATE,
    FEW_STREAMS,
    FORGOTTEN,
    MAX_RANGES,
    MAX_STREAMS,
    NEW,
    REST_NS,
    SHORT_REST_NS,
    StreamTable,
    StreamView,
)
from tests.hub.pipeline.row_bench import rows_of

NOW = 1_800_000_000_000_000_000
ANONYMOUS = 1 << 4


def admit(
    table: StreamTable, rows: list[tuple[int, int, int]], *, at: int = NOW, value: float = 0.0
) -> list[int]:
    status: list[int] = table.admit(rows_of(rows, value=value), at).tolist()
    return status


def view_of(settled: set[int]) -> StreamView:
    watermark = 0
    while watermark in settled:
        watermark += 1
    ranges: list[tuple[int, int]] = []
    for seq in sorted(s for s in settled if s >= watermark):
        if ranges and ranges[-1][1] == seq:
            ranges[-1] = (ranges[-1][0], seq + 1)
        else:
            ranges.append((seq, seq + 1))
    return StreamView(watermark, tuple(ranges))


steps = st.one_of(
    st.tuples(
        st.just("row"),
        st.integers(1, 3),
        st.integers(0, 2**64 - 1).map(lambda s: s % 2 * (2**64 - 1)),
        st.integers(0, 60),
    ),
    st.tuples(st.just("settle"), st.integers(1, 3), st.integers(0, 50), st.integers(1, 12)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=120), st.integers(1, 50))
def test_equals_a_set_of_settled_rows(script: list[tuple[str, int, int, int]], window: int) -> None:
    table = StreamTable(window)
    settled: dict[tuple[int, int], set[int]] = {}
    for action, slot, a, b in script:
        if action == "row":
            mine = settled.setdefault((slot, a), set())
            before = view_of(mine)
            (status,) = admit(table, [(slot, a, b)])
            if b in mine:
                assert status in {DUPLICATE, FORGOTTEN}  # forgotten: settled without a row
            elif b - before.watermark >= window:
                assert status == BEYOND
            else:
                after = view_of(mine | {b})
                fits = len(after.ranges) <= MAX_RANGES
                assert status == (NEW if fits else BEYOND)
                if fits:
                    mine.add(b)
        else:
            mine = settled.setdefault((slot, 0), set())
            grown = mine | set(range(a, a + b))
            if table.settle(slot, 0, a, a + b, NOW):
                settled[slot, 0] = grown
            else:
                assert len(view_of(grown).ranges) > MAX_RANGES
    for (slot, stream), mine in settled.items():
        assert table.view(slot, stream) == view_of(mine)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 40)), max_size=100),
    st.integers(0, 100),
)
def test_the_split_into_batches_does_not_matter(rows: list[tuple[int, int, int]], cut: int) -> None:
    whole, split = StreamTable(1000), StreamTable(1000)
    assert admit(whole, rows) == admit(split, rows[:cut]) + admit(split, rows[cut:])


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(0, 40)), max_size=100))
def test_a_restored_table_is_the_same_table(rows: list[tuple[int, int, int]]) -> None:
    table = StreamTable(1000)
    admit(table, rows)
    copy = StreamTable.restore(1000, {k: v.copy() for k, v in table.arrays().items()})
    for slot, stream, _ in rows:
        assert copy.view(slot, stream) == table.view(slot, stream)
    assert set(admit(copy, rows)) <= {FORGOTTEN, BEYOND}


def test_anonymous_rows_are_always_new_and_leave_nothing_behind() -> None:
    table = StreamTable(10)
    batch = rows_of([(1, 0, 0)] * 3, flags=ANONYMOUS)
    assert table.admit(batch, NOW).tolist() == [NEW] * 3
    assert table.used == 0


def test_a_device_cannot_open_streams_without_end() -> None:
    table = StreamTable(10)
    status = admit(table, [(1, stream, 0) for stream in range(MAX_STREAMS + 5)])
    assert status == [NEW] * MAX_STREAMS + [BEYOND] * 5
    assert admit(table, [(2, 0, 0)]) == [NEW]
    assert not table.settle(1, 10_000, 0, 5, NOW)


def test_many_streams_grow_the_table_and_all_are_found_again() -> None:
    table = StreamTable(10)
    rows = [(slot, slot * 7919, 0) for slot in range(1, 5000)]
    assert admit(table, rows) == [NEW] * len(rows)
    again = admit(table, rows)
    assert set(again) <= {DUPLICATE, FORGOTTEN}
    assert again.count(FORGOTTEN) < 100  # rows that share a place


def test_other_content_under_a_known_identity_is_a_conflict_also_within_one_batch() -> None:
    table = StreamTable(100)
    assert admit(table, [(1, 5, 0), (1, 5, 1)], value=1.0) == [NEW, NEW]
    assert admit(table, [(1, 5, 1), (1, 5, 2)], value=2.0) == [CONFLICT, NEW]
    assert admit(table, [(1, 5, 1)], value=1.0) == [DUPLICATE]
    batch = rows_of([(1, 6, 0), (1, 6, 0), (1, 6, 0)])
    batch.value[1] = 3.0
    assert table.admit(batch, NOW).tolist() == [NEW, CONFLICT, DUPLICATE]


def test_every_part_of_a_row_counts_but_the_time_the_hub_gave_it() -> None:
    table = StreamTable(100)
    row = rows_of([(1, 5, 9)])
    admit(table, [(1, 5, 9)])
    for column, value in (("raw_time", 1), ("metric", 3), ("value", -0.0)):
        other = rows_of([(1, 5, 9)])
        getattr(other, column)[0] = value
        assert table.admit(other, NOW).tolist() == [CONFLICT], column
    row.seq[0], row.raw_time[0] = 10, NOW
    assert table.admit(row, NOW).tolist() == [NEW]
    row.raw_time[0] = NOW + 5  # came again without a time of its own, later
    assert table.admit(row, NOW + 5).tolist() == [DUPLICATE]


def test_what_is_known_is_bounded_and_the_newest_rows_stay_known() -> None:
    table = StreamTable(10_000, places=256)
    admit(table, [(1, 5, seq) for seq in range(1_000)])
    again = admit(table, [(1, 5, seq) for seq in range(1_000)], value=1.0)
    assert again == [FORGOTTEN] * 744 + [CONFLICT] * 256


def test_a_restart_takes_fingerprints_from_the_journal_again() -> None:
    table = StreamTable(100)
    batch = rows_of([(1, 5, 0), (2, 6, 0)])
    table.admit(batch, NOW)
    copy = StreamTable.restore(100, {k: v.copy() for k, v in table.arrays().items()})
    copy.remember(batch, NOW)
    assert admit(copy, [(1, 5, 0)], value=1.0) == [CONFLICT]
    assert admit(copy, [(2, 6, 0)]) == [DUPLICATE]


def test_the_trail_reaches_back_over_the_rows_that_the_table_can_hold() -> None:
    assert Trail(1_000).start is None
    trail = Trail(1_000)
    for block in range(1_000):
        trail.journalled(8 * block, 10)
    assert 890 <= (trail.start or 0) // 8 <= 910
    assert len(trail.marks()) <= 20
    copy = Trail(1_000, trail.marks())
    assert copy.start == trail.start


def test_a_stream_that_rested_makes_room_for_a_new_one() -> None:
    table = StreamTable(10)
    admit(table, [(1, stream, 0) for stream in range(MAX_STREAMS)])
    later = NOW + SHORT_REST_NS
    admit(table, [(1, stream, 1) for stream in range(1, MAX_STREAMS)], at=later - 1)
    assert admit(table, [(1, 1_000, 0)], at=later - 1) == [BEYOND]
    assert admit(table, [(1, 1_000, 0), (1, 1_001, 0)], at=later) == [NEW, BEYOND]
    assert table.view(1, 0) is None
    assert table.view(1, 1_000) == StreamView(1, ())
    assert all(table.view(1, stream) == StreamView(2, ()) for stream in range(1, MAX_STREAMS))


def test_a_device_switched_on_every_day_takes_no_more_room_over_the_years() -> None:
    table = StreamTable(10)
    for day in range(1_000):
        at = NOW + day * REST_NS
        assert admit(table, [(1, day, 0), (2, day, 0)], at=at) == [NEW, NEW]
        assert admit(table, [(1, day, 0)], at=at) == [DUPLICATE]
    assert table.used == 2 * FEW_STREAMS
    for slot in (1, 2):
        held = [day for day in range(1_000) if table.view(slot, day)]
        assert held == list(range(1_000 - FEW_STREAMS, 1_000))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 30)), max_size=200))
def test_streams_that_remain_are_found_after_others_made_room(
    openings: list[tuple[int, int]],
) -> None:
    table = StreamTable(10)
    held: dict[int, dict[int, int]] = {}
    for i, (slot, stream) in enumerate(openings):
        at = NOW + i * REST_NS // 8
        admit(table, [(slot, stream, 0)], at=at)
        mine = held.setdefault(slot, {})
        if stream not in mine and len(mine) >= FEW_STREAMS:
            oldest = min(mine, key=lambda s: mine[s])
            if at - mine[oldest] >= REST_NS:
                del mine[oldest]
        mine[stream] = at
    for slot, mine in held.items():
        assert {s for s in range(31) if table.find(slot, s) is not None} == set(mine)


def test_a_hostile_device_cannot_make_the_table_grow() -> None:
    table = StreamTable(10_000)
    rng = np.random.default_rng(3)
    for _ in range(20):
        streams = rng.integers(0, 2**63, 500)
        admit(table, [(7, int(stream), int(stream) % 9_000) for stream in streams])
        admit(table, [(8, 1, int(seq)) for seq in rng.integers(0, 9_000, 500)])
    assert table.used == MAX_STREAMS + 1
    assert int(table.count.max()) <= MAX_RANGES
    assert table.slot.size == 1_024  # not grown since the start
    assert admit(table, [(9, 1, 0)]) == [NEW]  # and others do not notice
