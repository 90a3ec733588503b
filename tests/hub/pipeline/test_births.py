"""What a birth says of the rows sent, against what is settled."""

import pytest

from device_sdk.wire.codes import ClockState
from device_sdk.wire.messages import Birth
from hub.pipeline.births import REST_NS, older_copies
from hub.pipeline.identity import StreamTable
from hub.pipeline.outcome import OlderCopy

STREAM = bytes(range(8))
NUMBER = int.from_bytes(STREAM, "big")


def birth(sent: int | None) -> tuple[int, Birth]:
    return 1, Birth(STREAM, b"bootboot", "1", "1", (), 0, 0, ClockState.SYNCED, 0, sent)


@pytest.mark.parametrize(
    ("settled", "sent", "older"),
    [
        ([], 0, None),
        ([(0, 10)], None, None),
        ([(0, 10)], 10, None),
        ([(0, 10)], 12, None),
        ([(0, 10)], 9, 10),
        ([(5, 10)], 10, None),  # not settled from 0 on
        ([(5, 10)], 9, 10),
        ([(0, 3), (5, 10), (20, 21)], 20, 21),
    ],
)
def test_more_settled_than_sent_is_an_older_copy(
    settled: list[tuple[int, int]], sent: int | None, older: int | None
) -> None:
    streams = StreamTable(1_000, 1 << 4)
    for start, end in settled:
        assert streams.settle(1, NUMBER, start, end, 0)
    streams.settle(2, NUMBER, 0, 500, 0)  # another device's
    expected = [] if older is None else [OlderCopy(1, NUMBER, sent or 0, older)]
    assert older_copies([birth(sent)], streams, REST_NS) == expected
    assert older_copies([birth(sent)], streams, REST_NS - 1) == []  # it may have come late
