"""The arrays that pipeline stages share, from bytes off the broker to rows for the journal.

1. Struct of arrays, allocated once and reused for every micro-batch; nothing here is an object per message.
2. A stage reads the columns of earlier stages and fills its own; it never changes another's.
3. Only layout lives here: no I/O, no decisions.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hub.ports.journal.telemetry import TelemetryBatch

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

# Channels the hot path reads; anything else on its subscription is forged or misrouted.
CHANNEL_UNKNOWN, CHANNEL_PACK, CHANNEL_JSON, CHANNEL_SENML, CHANNEL_PRESENCE = 0, 1, 2, 3, 4

# Verdicts, with the numbers of the gate snapshot (docs/architecture.md).
ACCEPT, QUARANTINE, THROTTLE, REFUSE = 0, 1, 2, 3
# A message that carries no rows, so that there is nothing to decide.
NO_ROWS = 4

# Why a frame was throttled.
BY_PRODUCT, BY_OWNER, BY_LOAD = 1, 2, 3

# Why a topic did not authenticate.
AUTH_OK, AUTH_MALFORMED, AUTH_UNKNOWN_DEVICE, AUTH_WRONG_SHARD = 0, 1, 2, 3

# What a row came from, bits 8-9 of its flags.
SOURCE_PACK, SOURCE_JSON, SOURCE_SENML = 0, 1, 2


@dataclass(slots=True)
class Frames:
    """One micro-batch as the broker delivered it.

    Attributes:
        buffer: bytes received, u8[B]; spans below index into it.
        count: messages in this batch; every column holds at least so many elements.
        topic, topic_size, payload, payload_size: spans, i64.
        slot: device slot, u32 (0: not authenticated).
        auth: AUTH_* outcome, u8.
        channel: CHANNEL_*, u8.
        verdict: gate verdict, u8.
        reason: quarantine reason, BY_* or reject code that goes with it, u8.
        epoch: owner epoch in force for the device, u32 (for messages that carry none).
        budget: row of the budget in force in the gate snapshot's table, u16.
        wait: how long its device is to be told to wait, ns, i64; 0: nothing is to be told.
    """

    buffer: U8
    capacity: int
    count: int = 0
    topic: I64 = field(init=False)
    topic_size: I64 = field(init=False)
    payload: I64 = field(init=False)
    payload_size: I64 = field(init=False)
    slot: U32 = field(init=False)
    auth: U8 = field(init=False)
    channel: U8 = field(init=False)
    verdict: U8 = field(init=False)
    reason: U8 = field(init=False)
    epoch: U32 = field(init=False)
    budget: U16 = field(init=False)
    wait: I64 = field(init=False)

    def __post_init__(self) -> None:
        n = self.capacity
        for name in ("topic", "topic_size", "payload", "payload_size", "wait"):
            setattr(self, name, np.zeros(n, np.int64))
        self.budget = np.zeros(n, np.uint16)
        for name in ("slot", "epoch"):
            setattr(self, name, np.zeros(n, np.uint32))
        for name in ("auth", "channel", "verdict", "reason"):
            setattr(self, name, np.zeros(n, np.uint8))

    @classmethod
    def of(cls, topic: str, payload: bytes) -> "Frames":
        """A batch of one message that did not come from the broker."""
        head = topic.encode()
        frames = cls(np.frombuffer(bytearray(head + payload), np.uint8), 1, 1)
        frames.topic_size[0] = frames.payload[0] = len(head)
        frames.payload_size[0] = len(payload)
        return frames

    def pass_over_presence(self) -> I64:
        """Take what says that a device is there out of the gate's hands; returns which frames, i64[K].

        Those that the gate refused are left out of the answer.
        """
        n = self.count
        presence = (self.channel[:n] == CHANNEL_PRESENCE) & (self.auth[:n] == AUTH_OK)
        welcome = np.flatnonzero(presence & (self.verdict[:n] != REFUSE))
        self.verdict[:n][presence] = NO_ROWS
        return welcome

    def topic_text(self, i: int) -> str:
        """The topic of message `i`, for logs and dead letters (never on the fast path)."""
        start = int(self.topic[i])
        return bytes(self.buffer[start : start + int(self.topic_size[i])]).decode(
            "utf-8", "replace"
        )

    def part(self, start: int, stop: int) -> "Frames":
        """The messages `[start, stop)` as a batch of their own, over the same bytes."""
        part = Frames(self.buffer, stop - start, stop - start)
        for name in ("topic", "topic_size", "payload", "payload_size"):
            getattr(part, name)[:] = getattr(self, name)[start:stop]
        return part

    def payload_bytes(self, i: int) -> bytes:
        """A copy of the payload of message `i`."""
        start = int(self.payload[i])
        return bytes(self.buffer[start : start + int(self.payload_size[i])])


@dataclass(slots=True)
class Rows:
    """Decoded rows of one micro-batch: the journal's columns and, per row, the message it came from.

    Attributes:
        rows, samples: how much of each column is in use.
        frame: index of the message in `Frames`, u32[row capacity].
        others: the columns of `TelemetryBatch` (docs/architecture.md), at capacity.
    """

    row_capacity: int
    sample_capacity: int
    rows: int = 0
    samples: int = 0
    slot: U32 = field(init=False)
    epoch: U32 = field(init=False)
    flags: U32 = field(init=False)
    width: U32 = field(init=False)
    frame: U32 = field(init=False)
    stream: U64 = field(init=False)
    seq: U64 = field(init=False)
    raw_time: I64 = field(init=False)
    time: I64 = field(init=False)
    metric: U16 = field(init=False)
    value: F64 = field(init=False)

    def __post_init__(self) -> None:
        r, s = self.row_capacity, self.sample_capacity
        for name in ("slot", "epoch", "flags", "width", "frame"):
            setattr(self, name, np.zeros(r, np.uint32))
        for name in ("stream", "seq"):
            setattr(self, name, np.zeros(r, np.uint64))
        for name in ("raw_time", "time"):
            setattr(self, name, np.zeros(r, np.int64))
        self.metric = np.zeros(s, np.uint16)
        self.value = np.zeros(s, np.float64)

    def clear(self) -> None:
        """Forget the rows of the last batch; the memory stays."""
        self.rows = self.samples = 0

    def grow(self, rows: int, samples: int) -> None:
        """Make room for at least so many rows and samples, keeping what is there."""
        while self.row_capacity < rows:
            self.row_capacity *= 2
        while self.sample_capacity < samples:
            self.sample_capacity *= 2
        for name in (
            "slot",
            "epoch",
            "flags",
            "width",
            "frame",
            "stream",
            "seq",
            "raw_time",
            "time",
        ):
            setattr(self, name, _resized(getattr(self, name), self.row_capacity))
        self.metric = _resized(self.metric, self.sample_capacity)
        self.value = _resized(self.value, self.sample_capacity)

    def batch(self) -> TelemetryBatch:
        """Views on the used part, as the journal writes it; valid until the next `clear`."""
        r, s = self.rows, self.samples
        return TelemetryBatch(
            slot=self.slot[:r],
            epoch=self.epoch[:r],
            flags=self.flags[:r],
            count=self.width[:r],
            stream=self.stream[:r],
            seq=self.seq[:r],
            raw_time=self.raw_time[:r],
            time=self.time[:r],
            metric=self.metric[:s],
            value=self.value[:s],
        )


def _resized(column: NDArray[Any], size: int) -> NDArray[Any]:
    if column.size >= size:
        return column
    grown = np.zeros(size, column.dtype)
    grown[: column.size] = column
    return grown
