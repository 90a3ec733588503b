"""Which rows of which streams are settled: the hub's half of exactly-once.

1. A stream's state is its watermark (every seq below is settled) and at most 16 ranges beyond it, as in a receipt.
2. A row is new once. A row that cannot be remembered (beyond the window, or one gap too many) is neither stored nor
   receipted: the device keeps it and sends it again.
3. State moves only with the journal: on start it is read from a snapshot and replayed from there.
4. A device may hold 64 streams; it makes a new one only when its spool was lost or rolled back.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hub.pipeline.frames import I64, U8, U32, U64

NEW, DUPLICATE, BEYOND = 0, 1, 2
MAX_RANGES = 16
MAX_STREAMS = 64


@njit("u8(u8, u8)", cache=True, nogil=True)
def _hash_stream(slot, stream):  # type: ignore[no-untyped-def]
    h = (stream ^ (slot * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> np.uint64(31))


@njit("i8(u4, u8, i4[::1], u4[::1], u8[::1])", cache=True, nogil=True)
def _find(slot, stream, table, slots, streams):  # type: ignore[no-untyped-def]
    """Entry of a stream, or -1 - place in the table where it belongs."""
    mask = np.uint64(table.size - 1)
    probe = _hash_stream(np.uint64(slot), stream) & mask
    while table[probe] >= 0:
        entry = np.int64(table[probe])
        if slots[entry] == slot and streams[entry] == stream:
            return entry
        probe = (probe + np.uint64(1)) & mask
    return -1 - np.int64(probe)


@njit("b1(i8, i8, i8, i8[::1], i8[::1], i8[:, :, ::1])", cache=True, nogil=True)
def _settle(entry, start, end, watermark, count, ranges):  # type: ignore[no-untyped-def]
    """Add `[start, end)` to what is settled, merging; False if that takes one range too many."""
    if end <= watermark[entry]:
        return True
    n = count[entry]
    if start > watermark[entry]:
        first = 0
        while first < n and ranges[entry, first, 1] < start:
            first += 1
        last = first
        low = start
        high = end
        while last < n and ranges[entry, last, 0] <= end:
            low = min(low, ranges[entry, last, 0])
            high = max(high, ranges[entry, last, 1])
            last += 1
        merged = last - first
        if merged == 0:
            if n == ranges.shape[1]:
                return False
            for k in range(n, first, -1):
                ranges[entry, k, 0] = ranges[entry, k - 1, 0]
                ranges[entry, k, 1] = ranges[entry, k - 1, 1]
        else:
            for k in range(last, n):
                ranges[entry, k - merged + 1, 0] = ranges[entry, k, 0]
                ranges[entry, k - merged + 1, 1] = ranges[entry, k, 1]
        ranges[entry, first, 0] = low
        ranges[entry, first, 1] = high
        count[entry] = n + 1 - merged
        return True
    watermark[entry] = end
    gone = 0
    while gone < n and ranges[entry, gone, 0] <= watermark[entry]:
        watermark[entry] = max(watermark[entry], ranges[entry, gone, 1])
        gone += 1
    if gone:
        for k in range(gone, n):
            ranges[entry, k - gone, 0] = ranges[entry, k, 0]
            ranges[entry, k - gone, 1] = ranges[entry, k, 1]
        count[entry] = n - gone
    return True


@njit("b1(i8, i8, i8[::1], i8[::1], i8[:, :, ::1])", cache=True, nogil=True)
def _is_settled(entry, seq, watermark, count, ranges):  # type: ignore[no-untyped-def]
    if seq < watermark[entry]:
        return True
    for k in range(count[entry]):
        if ranges[entry, k, 0] <= seq < ranges[entry, k, 1]:
            return True
    return False


@njit(
    "Tuple((i8, i8))(i8, i8, u4[::1], u4[::1], u8[::1], u8[::1], i8, i4[::1], i8, u4[::1], u8[::1], i8[::1], i8[::1],"
    " i8[:, :, ::1], i8[::1], u1[::1], u1[::1])",
    cache=True,
    nogil=True,
)
def _admit(  # type: ignore[no-untyped-def]
    first,
    rows,
    slot,
    flags,
    stream,
    seq,
    window,
    table,
    used,
    slots,
    streams,
    watermark,
    count,
    ranges,
    spent,
    dirty,
    status,
):
    """Settle rows from `first` on; stops at a row of a stream it does not know. Returns (stopped at, entries used)."""
    entry = np.int64(-1)
    for i in range(first, rows):
        if flags[i] & np.uint32(16):  # anonymous: no identity, nothing to remember
            status[i] = 0
            continue
        if entry < 0 or slots[entry] != slot[i] or streams[entry] != stream[i]:
            entry = _find(slot[i], stream[i], table, slots, streams)
            if entry < 0:
                return i, used
        s = np.int64(seq[i])
        dirty[entry] = 1
        if s == watermark[entry] and count[entry] == 0:
            watermark[entry] = s + 1
            spent[entry] += 1
            status[i] = 0
        elif _is_settled(entry, s, watermark, count, ranges):
            status[i] = 1
        elif s - watermark[entry] >= window or not _settle(
            entry, s, s + 1, watermark, count, ranges
        ):
            status[i] = 2
        else:
            spent[entry] += 1
            status[i] = 0
    return rows, used


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream's settled rows, as a receipt tells them."""

    watermark: int
    ranges: tuple[tuple[int, int], ...]


class StreamTable:
    """Settled rows of every stream of every device of this worker.

    Attributes:
        slot, stream: u32[C], u64[C], identity of each entry; `used` of them are in use.
        watermark: i64[C]. count: i64[C], ranges in use. ranges: i64[C, 16, 2].
        spent: i64[C], rows settled since the last receipt. receipted: i64[C], time of the last receipt, ns.
        dirty: u8[C], 1 where a receipt is due sooner or later.

    Args:
        window: rows beyond a watermark that are admitted.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.used = 0
        capacity = 1024
        self.slot: U32 = np.zeros(capacity, np.uint32)
        self.stream: U64 = np.zeros(capacity, np.uint64)
        self.watermark: I64 = np.zeros(capacity, np.int64)
        self.count: I64 = np.zeros(capacity, np.int64)
        self.ranges: I64 = np.zeros((capacity, MAX_RANGES, 2), np.int64)
        self.spent: I64 = np.zeros(capacity, np.int64)
        self.receipted: I64 = np.zeros(capacity, np.int64)
        self.dirty: U8 = np.zeros(capacity, np.uint8)
        self._table: NDArray[np.int32] = np.full(4 * capacity, -1, np.int32)
        self._streams_of: dict[int, int] = {}

    def admit(
        self, slot: U32, flags: U32, stream: U64, seq: U64, *, window: int | None = None
    ) -> U8:
        """Tell which rows are new, and settle those.

        Args:
            slot: column of R rows, in journal order;
            flags: likewise,
            stream: likewise,
            seq: likewise.
            window: another window than the table's (replay admits what was admitted before).

        Returns:
            u8[R]: NEW, DUPLICATE or BEYOND.
        """
        rows = slot.size
        status: U8 = np.empty(rows, np.uint8)
        limit = self.window if window is None else window
        at = 0
        while at < rows:
            at, self.used = _admit(
                at,
                rows,
                slot,
                flags,
                stream,
                seq,
                limit,
                self._table,
                self.used,
                self.slot,
                self.stream,
                self.watermark,
                self.count,
                self.ranges,
                self.spent,
                self.dirty,
                status,
            )
            if at < rows and self._entry(int(slot[at]), int(stream[at])) is None:
                status[at] = BEYOND
                at += 1
        return status

    def settle(self, slot: int, stream: int, start: int, end: int) -> bool:
        """Settle `[start, end)` without storing anything (rejected or lost rows).

        Returns:
            False if this stream cannot remember it (too many streams or gaps): then no receipt may name it.
        """
        entry = self._entry(slot, stream)
        if entry is None:
            return False
        self.dirty[entry] = 1
        return bool(_settle(entry, start, end, self.watermark, self.count, self.ranges))

    def view(self, slot: int, stream: int) -> StreamView | None:
        """What is settled of one stream; None if it is unknown."""
        entry = int(_find(slot, stream, self._table, self.slot, self.stream))
        if entry < 0:
            return None
        used = self.ranges[entry, : self.count[entry]]
        return StreamView(int(self.watermark[entry]), tuple((int(a), int(b)) for a, b in used))

    def find(self, slot: int, stream: int) -> int | None:
        """Index of a stream's entry, or None."""
        entry = int(_find(slot, stream, self._table, self.slot, self.stream))
        return None if entry < 0 else entry

    def tell_all(self) -> None:
        """Make a receipt due at once for every stream, for devices whose last one may not have arrived."""
        self.dirty[: self.used] = 1
        self.receipted[: self.used] = 0

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What a snapshot must keep."""
        n = self.used
        return {
            "stream_slot": self.slot[:n],
            "stream_stream": self.stream[:n],
            "stream_watermark": self.watermark[:n],
            "stream_count": self.count[:n],
            "stream_ranges": self.ranges[:n],
        }

    @classmethod
    def restore(cls, window: int, arrays: dict[str, NDArray[np.generic]]) -> "StreamTable":
        """The table as `arrays` kept it; every stream is due a receipt."""
        table = cls(window)
        for slot, stream in zip(
            arrays["stream_slot"].tolist(), arrays["stream_stream"].tolist(), strict=True
        ):
            table._entry(slot, stream)
        n = table.used
        table.watermark[:n] = arrays["stream_watermark"]
        table.count[:n] = arrays["stream_count"]
        table.ranges[:n] = arrays["stream_ranges"]
        return table

    def _entry(self, slot: int, stream: int) -> int | None:
        """Find or make the entry of a stream; None if its device holds too many."""
        entry = int(_find(slot, stream, self._table, self.slot, self.stream))
        if entry >= 0:
            return entry
        held = self._streams_of.get(slot, 0)
        if held >= MAX_STREAMS:
            return None
        self._streams_of[slot] = held + 1
        if self.used == self.slot.size:
            self._grow()
            entry = int(_find(slot, stream, self._table, self.slot, self.stream))
        new = self.used
        self.used += 1
        self.slot[new], self.stream[new] = slot, stream
        self._table[-1 - entry] = new
        return new

    def _grow(self) -> None:
        for name in (
            "slot",
            "stream",
            "watermark",
            "count",
            "ranges",
            "spent",
            "receipted",
            "dirty",
        ):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self._table = np.full(4 * self.slot.size, -1, np.int32)
        for entry in range(self.used):
            place = int(
                _find(self.slot[entry], self.stream[entry], self._table, self.slot, self.stream)
            )
            self._table[-1 - place] = entry
