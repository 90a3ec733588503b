"""Settled rows against a set, which is what they mean."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.pipeline.identity import (
    BEYOND,
    DUPLICATE,
    MAX_RANGES,
    MAX_STREAMS,
    NEW,
    StreamTable,
    StreamView,
)

ANONYMOUS = 1 << 4


def admit(table: StreamTable, rows: list[tuple[int, int, int]]) -> list[int]:
    slot, stream, seq = (list(c) for c in zip(*rows, strict=True)) if rows else ([], [], [])
    status: list[int] = table.admit(
        np.array(slot, np.uint32),
        np.zeros(len(rows), np.uint32),
        np.array(stream, np.uint64),
        np.array(seq, np.uint64),
    ).tolist()
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


@settings(max_examples=400)
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
                assert status == DUPLICATE
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
            if table.settle(slot, 0, a, a + b):
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
    assert set(admit(copy, rows)) <= {DUPLICATE, BEYOND}


def test_anonymous_rows_are_always_new_and_leave_nothing_behind() -> None:
    table = StreamTable(10)
    flags = np.full(3, ANONYMOUS, np.uint32)
    zeros = np.zeros(3, np.uint64)
    assert table.admit(np.ones(3, np.uint32), flags, zeros, zeros).tolist() == [NEW] * 3
    assert table.used == 0


def test_a_device_cannot_open_streams_without_end() -> None:
    table = StreamTable(10)
    status = admit(table, [(1, stream, 0) for stream in range(MAX_STREAMS + 5)])
    assert status == [NEW] * MAX_STREAMS + [BEYOND] * 5
    assert admit(table, [(2, 0, 0)]) == [NEW]
    assert not table.settle(1, 10_000, 0, 5)


def test_many_streams_grow_the_table_and_all_are_found_again() -> None:
    table = StreamTable(10)
    rows = [(slot, slot * 7919, 0) for slot in range(1, 5000)]
    assert admit(table, rows) == [NEW] * len(rows)
    assert admit(table, rows) == [DUPLICATE] * len(rows)
