"""The checker finds what it is there to find: a checker that cannot fail proves nothing."""

import pytest

from device_sdk.wire.codes import ClockState
from device_sdk.wire.pack import Pack, encode_pack
from device_sdk.wire.receipt import Receipt, StreamReceipt
from tests.chaos.ledger import Ledger, Verdict

STREAM = b"streamid"
ROWS = [(100, 1.5), (200, 2.5), (300, 3.5)]


def pack(stream: bytes = STREAM, first: int = 0) -> bytes:
    times, values = [t for t, _ in ROWS], [v for _, v in ROWS]
    metrics = {"temp_c": values}
    return encode_pack(
        Pack(stream, first, 0, b"bootboot", ClockState.SYNCED, False, times, metrics)
    )


def receipt(
    watermark: int,
    ranges: tuple[tuple[int, int], ...] = (),
    rejections: tuple[tuple[int, int, int], ...] = (),
) -> bytes:
    entry = StreamReceipt(STREAM, watermark, ranges, rejections)
    return Receipt(b"incarnat", 0, (entry,), 100, 1000).encode()


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    for i, (time, value) in enumerate(ROWS):
        made.measured(value, time, time, float(i))
    made.sent(pack(), "temp_c")
    return made


def verdict(
    ledger: Ledger, rows: list[tuple[int, float]], doubled: list[float] | None = None
) -> Verdict:
    return ledger.check(rows, [2 * v for _, v in rows] if doubled is None else doubled)


def test_a_promise_kept_is_no_violation(ledger: Ledger) -> None:
    ledger.told(receipt(3), 9.0)
    assert verdict(ledger, ROWS) == Verdict(acked=3)
    assert ledger.newest_acked == 2.0


def test_what_was_not_promised_may_be_missing_or_there(ledger: Ledger) -> None:
    ledger.told(receipt(1), 9.0)
    assert verdict(ledger, ROWS[:1]) == verdict(ledger, ROWS) == Verdict(acked=1)


def test_ranges_promise_and_rejections_do_not(ledger: Ledger) -> None:
    ledger.told(receipt(0, ((1, 2),)), 9.0)
    ledger.told(receipt(3, rejections=((2, 3, 5),)), 9.0)
    assert verdict(ledger, ROWS[:2]) == Verdict(acked=2)
    assert ledger.rejected == {5: 1}


def test_a_promised_row_that_does_not_come_back_is_lost(ledger: Ledger) -> None:
    ledger.told(receipt(3), 9.0)
    assert verdict(ledger, ROWS[:2]) == Verdict(acked=3, lost=1)
    assert verdict(ledger, ROWS, [2 * v for _, v in ROWS[1:]]) == Verdict(acked=3, lost=1)


def test_a_row_that_comes_back_twice_is_a_duplicate(ledger: Ledger) -> None:
    ledger.told(receipt(3), 9.0)
    assert verdict(ledger, [*ROWS, ROWS[0]]).duplicates == 2  # the row and what accompanies it
    assert not verdict(ledger, [*ROWS, ROWS[0]]).kept


def test_a_row_nobody_measured_is_a_phantom(ledger: Ledger) -> None:
    assert verdict(ledger, [(400, 4.5)], []) == Verdict(phantoms=1)


def test_another_time_or_value_is_corrupt(ledger: Ledger) -> None:
    assert verdict(ledger, [(101, 1.5)]) == Verdict(corrupt=1)
    assert verdict(ledger, [(100, 1.25)], []) == Verdict(corrupt=1)
    assert verdict(ledger, ROWS, [3.0, 5.0, 7.5]) == Verdict(corrupt=1)


def test_two_rows_under_one_identity_are_both_promised(ledger: Ledger) -> None:
    ledger.measured(9.5, 900, 900, 5.0)
    other = Pack(STREAM, 2, 0, b"bootboot", ClockState.SYNCED, False, [900], {"temp_c": [9.5]})
    ledger.sent(encode_pack(other), "temp_c")
    ledger.told(receipt(3), 9.0)
    assert verdict(ledger, ROWS) == Verdict(acked=4, lost=1)


def test_an_accident_takes_only_what_it_must(ledger: Ledger) -> None:
    ledger.told(receipt(1), 5.0)
    ledger.told(receipt(2), 7.0)
    ledger.forgive_stored(6.0)  # the hub went back to a copy: the second row may be missing
    assert verdict(ledger, ROWS[:1]) == Verdict(acked=1)
    assert verdict(ledger, []) == Verdict(acked=1, lost=1)
    ledger.forgive_held(2.0)  # the device did: the third row was not promised
    ledger.promise_all()
    assert verdict(ledger, ROWS[:1]) == Verdict(acked=1)
