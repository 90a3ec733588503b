from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.comparison import compare
from firmware_sim.recording import Row

HOUR = 3_600 * 10**9
rows = st.lists(
    st.builds(Row, st.integers(-60, 60).map(lambda n: n * HOUR), st.sampled_from([0.0, 1.5, -2.0])),
    max_size=60,
)


def outcome(sent: list[Row], stored: list[Row]) -> tuple[int, int, int, int]:
    def within(start: int | None, end: int | None) -> Iterator[Row]:
        return (
            row
            for row in stored
            if (start is None or row.time_ns >= start) and (end is None or row.time_ns < end)
        )

    found = compare(lambda: sent, within)
    assert found.exact == (found.missing == found.extra == 0)
    return found.sent, found.stored, found.missing, found.extra


@given(rows, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(sent: list[Row], random: object) -> None:
    shuffled = sorted(sent, key=lambda row: hash((row, id(random))))
    assert outcome(sent, shuffled) == (len(sent), len(sent), 0, 0)


@given(rows, rows)
def test_it_equals_counting_everything(sent: list[Row], stored: list[Row]) -> None:
    ours, theirs = Counter(sent), Counter(stored)
    assert outcome(sent, stored) == (
        len(sent),
        len(stored),
        (ours - theirs).total(),
        (theirs - ours).total(),
    )


def test_a_lost_row_hidden_by_a_doubled_one_is_seen() -> None:
    sent = [Row(0, 1.0), Row(HOUR, 1.0), Row(2 * HOUR, 1.0)]
    assert outcome(sent, [sent[0], sent[0], sent[2]]) == (3, 3, 1, 1)


def test_rows_that_swap_their_values_are_other_rows() -> None:
    sent = [Row(HOUR, -2.0), Row(11 * HOUR, 0.0)]
    assert outcome(sent, [Row(5 * HOUR, 0.0), Row(7 * HOUR, -2.0)]) == (2, 2, 2, 2)
