"""Accounts count what the plain definition counts, in whatever order and blocks rows arrive."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.billing.meters import Aggregation, Meter, Reading, quantity, tally
from hub.pipeline.meter import MeterBook
from hub.ports.journal.telemetry import REASON_SHIFT, TelemetryBatch
from hub.services.meter_terms import AccountTerms, MeterTerms
from hub.services.meter_terms_table import compile_terms
from hub.services.usage_accounts import NEVER, ON_TIME
from hub.services.usage_archive import Counted

METERS = (
    Meter("rows", 0, Aggregation.COUNT),
    Meter("sum", 0, Aggregation.SUM, 1),
    Meter("peak", 0, Aggregation.MAX),
    Meter("level", 1, Aggregation.LAST, 2),
    Meter("energy", 1, Aggregation.INCREASE, 1),
    Meter("modes", 1, Aggregation.UNIQUE),
)
EDGES = (10, 20, 30, 40)
MARKS = (1, 5, 20)


class Row(NamedTuple):
    """One row of one product: values of metrics 0 and 1, in quarantine or not."""

    slot: int
    time: int
    values: tuple[float, float]
    hidden: bool = False


numbers = st.integers(-8, 8).map(lambda n: n / 4) | st.sampled_from([float("nan"), 1e300, 7.0])
rows = st.builds(
    Row, st.integers(1, 3), st.integers(5, 45), st.tuples(numbers, numbers), st.booleans()
)
blocks = st.lists(st.lists(rows, max_size=6), max_size=8)


def batch_of(found: Sequence[Row]) -> TelemetryBatch:
    n = len(found)
    return TelemetryBatch(
        slot=np.array([row.slot for row in found], np.uint32),
        epoch=np.zeros(n, np.uint32),
        flags=np.array([row.hidden << REASON_SHIFT for row in found], np.uint32),
        count=np.full(n, 2, np.uint32),
        stream=np.zeros(n, np.uint64),
        seq=np.zeros(n, np.uint64),
        raw_time=np.zeros(n, np.int64),
        time=np.array([row.time for row in found], np.int64),
        metric=np.tile(np.arange(2, dtype=np.uint16), n),
        value=np.array([value for row in found for value in row.values], np.float64),
    )


def terms_of(edges: tuple[int, ...] = EDGES, marks: tuple[int, ...] = MARKS) -> MeterTerms:
    accounts = (
        AccountTerms(slot, number, edges, marks) for slot in (1, 2) for number in range(len(METERS))
    )
    return compile_terms(METERS, accounts)


class Archive:
    """All rows that were journalled, each with its place; counts as the store's reader would."""

    def __init__(self, journal: Sequence[Sequence[Row]]) -> None:
        self._rows = [
            (block, row) for block, found in enumerate(journal) for row in found if not row.hidden
        ]

    def readings(self, slot: int, metric: int, until: int) -> list[Reading]:
        return [
            Reading(row.time, 0, number, row.values[metric])
            for number, (block, row) in enumerate(self._rows)
            if row.slot == slot and block < until
        ]

    def recount(self, account: Any, until: int) -> Counted:
        meter = METERS[account["meter"]]
        start, end = int(account["start"]), int(account["end"])
        found = self.readings(int(account["slot"]), meter.metric, until)
        known = [
            (reading.time, reading.seq, number)
            for reading in found
            if (number := quantity(meter, reading.value)) is not None and reading.time < end
        ]
        newest = max(known, default=(NEVER, 0, 0))
        total = tally(meter, found, start, end)
        return Counted(total, sum(time >= start for time, *_ in known), newest[0], newest[2])


def settle(book: MeterBook, archive: Archive, until: int) -> None:
    for account in book.late():
        book.put(int(account), archive.recount(book.accounts[account], until), until)


def check(book: MeterBook, archive: Archive, until: int) -> None:
    for account in book.accounts:
        meter = METERS[account["meter"]]
        found = archive.readings(int(account["slot"]), meter.metric, until)
        counted = [r.time for r in found if quantity(meter, r.value) is not None]
        newest = max(counted, default=NEVER)
        if newest < EDGES[0]:
            assert account["start"] == NEVER
            continue
        start = max(edge for edge in EDGES[:-1] if edge <= newest)
        assert (account["start"], account["end"]) == (start, start + 10)
        total = tally(meter, found, start, start + 10)
        assert (meter.code, account["total"]) == (meter.code, total)
        assert account["level"] == sum(mark <= total for mark in MARKS)


@settings(max_examples=150, deadline=None)
@given(blocks, st.sets(st.integers(0, 8)), st.data())
def test_accounts_count_what_the_definition_counts(
    journal: list[list[Row]], recounts: set[int], data: st.DataObject
) -> None:
    """Now and then the archive counts, knowing some blocks that the book has not seen yet."""
    book, archive = MeterBook(terms_of()), Archive(journal)
    for offset, block in enumerate(journal):
        if offset in recounts:
            settle(book, archive, data.draw(st.integers(offset, len(journal))))
        book.count(batch_of(block), offset)
    settle(book, archive, len(journal))
    check(book, archive, len(journal))


@settings(max_examples=60, deadline=None)
@given(blocks)
def test_blocks_do_not_matter(journal: list[list[Row]]) -> None:
    one, many = MeterBook(terms_of()), MeterBook(terms_of())
    one.count(batch_of([row for block in journal for row in block]), 0)
    for block in journal:
        many.count(batch_of(block), 0)
    assert one.accounts.tobytes() == many.accounts.tobytes()


@settings(max_examples=60, deadline=None)
@given(blocks, st.integers(0, 8), st.sampled_from([EDGES, (10, 25, 40), (10, 20), (30, 40, 50)]))
def test_accounts_outlive_a_change_of_terms(
    journal: list[list[Row]], at: int, before: tuple[int, ...]
) -> None:
    """What was counted under other periods counts under these as if these had been in force."""
    book, archive = MeterBook(terms_of(before, (2, 9))), Archive(journal)
    for offset, block in enumerate(journal):
        if offset == at:
            book = MeterBook(terms_of(), book.accounts)
        book.count(batch_of(block), offset)
    if at >= len(journal):
        book = MeterBook(terms_of(), book.accounts)
    settle(book, archive, len(journal))
    check(book, archive, len(journal))


def test_each_crossing_is_told_once_in_both_directions() -> None:
    book = MeterBook(terms_of())
    told = book.count(batch_of([Row(1, 11, (v, 0.0)) for v in (2.0, 0.0, -0.5, -0.5, 4.0)]), 0)
    sums = [(c["before"], c["level"], c["total"]) for c in told if c["account"] == 1]
    assert [tuple(map(int, crossing)) for crossing in sums] == [(0, 3, 20), (3, 2, 15), (2, 3, 50)]


def test_a_row_of_a_closed_period_is_a_correction() -> None:
    book = MeterBook(terms_of())
    book.count(batch_of([Row(1, 25, (1.0, 1.0))]), 0)
    assert book.late().size == 0
    book.count(batch_of([Row(1, 15, (1.0, 1.0)), Row(1, 16, (1.0, 1.0))]), 1)
    assert book.corrected() == [(account, 15) for account in range(len(METERS))]
    assert book.corrected() == []
    # Only a counter may have begun the present period with it.
    late = [METERS[book.accounts["meter"][account]].code for account in book.late()]
    assert late == ["energy"]


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        (AccountTerms(1, 9, (1, 2)), "is not among"),
        (AccountTerms(1, 0, (1,)), "at least two"),
        (AccountTerms(1, 0, (2, 1)), "at least two and rise"),
        (AccountTerms(1, 0, (1, 2), (0, 3)), "must rise from 1"),
        (AccountTerms(1, 0, (1, 2), (3, 3)), "must rise from 1"),
    ],
)
def test_terms_that_make_no_sense_are_refused(account: AccountTerms, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        compile_terms(METERS, [account])
    twice = AccountTerms(1, 0, (1, 2))
    with pytest.raises(ValueError, match="two accounts"):
        compile_terms(METERS, [twice, twice])


def test_a_row_from_the_future_does_not_move_an_account() -> None:
    book = MeterBook(terms_of())
    future = Row(1, 35, (1.0, 1.0))
    for offset, time in enumerate((11, 12)):
        book.count(batch_of([Row(1, time, (1.0, 1.0)), future]), offset, latest=20)
    counted = book.accounts[0]
    assert (counted["start"], counted["total"], counted["late"]) == (10, 2, ON_TIME)
