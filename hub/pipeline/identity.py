"""Which rows of which streams are settled: the hub's half of exactly-once.

1. A stream's state is its watermark (every seq below is settled) and at most 16 ranges beyond it, as in a receipt.
2. A row is new once. A row that cannot be remembered (beyond the window, or one gap too many) is neither stored nor
   receipted: the device keeps it and sends it again.
3. A settled row that comes again with other content is a conflict, as long as its fingerprint is known.
4. State moves only with the journal: on start it is read from a snapshot and replayed from there.
5. A device makes a new stream each time it takes up its spool. From the fifth on, a stream takes the place of the one
   of its device that rested longest, if that was a day or more; the 64th lets one go that rested for an hour.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hub.pipeline.fingerprints import PLACES, Trail, fingerprints, hash_stream, remember
from hub.pipeline.frames import I64, U8, U32, U64
from hub.ports.journal.telemetry import ANONYMOUS, TelemetryBatch

# FORGOTTEN: settled too, but what stood there is not known any more (or it was rejected, or reported lost).
NEW, DUPLICATE, BEYOND, CONFLICT, FORGOTTEN = 0, 1, 2, 3, 4
MAX_RANGES = 16
FEW_STREAMS = 4
MAX_STREAMS = 64
REST_NS = 86_400 * 1_000_000_000
SHORT_REST_NS = 3_600 * 1_000_000_000


@njit("i8(u4, u8, i4[::1], u4[::1], u8[::1])", cache=True, nogil=True)
def _find(slot, stream, table, slots, streams):  # type: ignore[no-untyped-def]
    """Entry of a stream, or -1 - place in the table where it belongs."""
    mask = np.uint64(table.size - 1)
    probe = hash_stream(np.uint64(slot), stream) & mask
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
    "i8(i8, i8, u4[::1], u4[::1], u8[::1], u8[::1], u8[::1], i8, i8, i4[::1], u4[::1], u8[::1], i8[::1], i8[::1],"
    " i8[:, :, ::1], i8[::1], i8[::1], u1[::1], u8[:, ::1], u1[::1])",
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
    prints,
    window,
    received,
    table,
    slots,
    streams,
    watermark,
    count,
    ranges,
    spent,
    used_at,
    dirty,
    known,
    status,
):
    """Settle rows from `first` on; returns where it stopped: at a row of a stream it does not know, or at the end."""
    mask = np.uint64(known.shape[0] - 1)
    entry = np.int64(-1)
    base = np.uint64(0)
    for i in range(first, rows):
        if flags[i] & np.uint32(16):  # anonymous: no identity, nothing to remember
            status[i] = 0
            continue
        if entry < 0 or slots[entry] != slot[i] or streams[entry] != stream[i]:
            entry = _find(slot[i], stream[i], table, slots, streams)
            if entry < 0:
                return i
            base = hash_stream(np.uint64(slot[i]), stream[i])
            used_at[entry] = received
            dirty[entry] = 1
        s = np.int64(seq[i])
        key = base + seq[i]
        place = np.int64(key & mask)
        if s == watermark[entry] and count[entry] == 0:
            watermark[entry] = s + 1
        elif _is_settled(entry, s, watermark, count, ranges):
            if known[place, 0] != key:
                status[i] = 4
            elif known[place, 1] != prints[i]:
                status[i] = 3
            else:
                status[i] = 1
            continue
        elif s - watermark[entry] >= window or not _settle(
            entry, s, s + 1, watermark, count, ranges
        ):
            status[i] = 2
            continue
        spent[entry] += 1
        known[place, 0] = key
        known[place, 1] = prints[i]
        status[i] = 0
    return rows


@njit("void(i8, i4[::1], u4[::1], u8[::1])", cache=True, nogil=True)
def _fill_table(used, table, slots, streams):  # type: ignore[no-untyped-def]
    for k in range(table.size):
        table[k] = -1
    for entry in range(used):
        table[-1 - _find(slots[entry], streams[entry], table, slots, streams)] = entry


@njit("void(i8, i4[::1], u4[::1], u8[::1])", cache=True, nogil=True)
def _take_out(entry, table, slots, streams):  # type: ignore[no-untyped-def]
    """Remove an entry from the table, moving up those behind it (Knuth, TAOCP 3, 6.4, algorithm R)."""
    mask = np.uint64(table.size - 1)
    one = np.uint64(1)
    hole = hash_stream(np.uint64(slots[entry]), streams[entry]) & mask
    while table[hole] != entry:
        hole = (hole + one) & mask
    probe = (hole + one) & mask
    while table[probe] >= 0:
        other = table[probe]
        home = hash_stream(np.uint64(slots[other]), streams[other]) & mask
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            table[hole] = other
            hole = probe
        probe = (probe + one) & mask
    table[hole] = -1


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
        used_at: i64[C], time of receipt of the stream's last row, ns.
        trail: where in the journal the rows are whose fingerprints a restart takes again.
        dirty: u8[C], 1 where a receipt is due sooner or later.

    Args:
        window: rows beyond a watermark that are admitted.
        places: rows whose fingerprints are kept, at most; a power of two, 16 bytes each.
    """

    def __init__(self, window: int, places: int = PLACES) -> None:
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
        self.used_at: I64 = np.zeros(capacity, np.int64)
        self.dirty: U8 = np.zeros(capacity, np.uint8)
        self._known: U64 = np.zeros((places, 2), np.uint64)
        self.trail = Trail(places)
        self._table: NDArray[np.int32] = np.full(4 * capacity, -1, np.int32)
        self._streams_of: dict[int, int] = {}
        self._oldest_use: dict[int, int] = {}

    def admit(self, batch: TelemetryBatch, received: int, *, window: int | None = None) -> U8:
        """Tell which rows are new, and settle those.

        Args:
            batch: R rows, in journal order.
            received: time of their receipt, ns.
            window: another window than the table's (replay admits what was admitted before).

        Returns:
            u8[R]: NEW, DUPLICATE, BEYOND, CONFLICT or FORGOTTEN.
        """
        rows = batch.rows
        status: U8 = np.empty(rows, np.uint8)
        prints = fingerprints(batch, received)
        limit = self.window if window is None else window
        at = 0
        while at < rows:
            at = _admit(
                at,
                rows,
                batch.slot,
                batch.flags,
                batch.stream,
                batch.seq,
                prints,
                limit,
                received,
                self._table,
                self.slot,
                self.stream,
                self.watermark,
                self.count,
                self.ranges,
                self.spent,
                self.used_at,
                self.dirty,
                self._known,
                status,
            )
            if at < rows:
                slot, stream = int(batch.slot[at]), int(batch.stream[at])
                if self._entry(slot, stream, received) is None:
                    status[at] = BEYOND
                    at += 1
        return status

    def remember(self, batch: TelemetryBatch, received: int) -> None:
        """Take the fingerprints of rows that are settled already, on start."""
        prints = fingerprints(batch, received)
        # Of a row that was erased nobody knows any more what it said: it is passed over like an anonymous one.
        erased = (batch.count == 0) & (batch.raw_time == 0)
        flags = np.where(erased, batch.flags | np.uint32(ANONYMOUS), batch.flags)
        remember(batch.rows, batch.slot, flags, batch.stream, batch.seq, prints, self._known)

    def settle(self, slot: int, stream: int, start: int, end: int, received: int) -> bool:
        """Settle `[start, end)` without storing anything (rejected or lost rows).

        Returns:
            False if this stream cannot remember it (too many streams or gaps): then no receipt may name it.
        """
        entry = self._entry(slot, stream, received)
        if entry is None:
            return False
        self.dirty[entry] = 1
        self.used_at[entry] = received
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
            "stream_used_at": self.used_at[:n],
            "stream_trail": self.trail.marks(),
        }

    @classmethod
    def restore(cls, window: int, arrays: dict[str, NDArray[np.generic]]) -> "StreamTable":
        """The table as `arrays` kept it; every stream is due a receipt."""
        table = cls(window)
        for slot, stream in zip(
            arrays["stream_slot"].tolist(), arrays["stream_stream"].tolist(), strict=True
        ):
            table._entry(slot, stream, 0)
        n = table.used
        table.watermark[:n] = arrays["stream_watermark"]
        table.count[:n] = arrays["stream_count"]
        table.ranges[:n] = arrays["stream_ranges"]
        if "stream_used_at" in arrays:  # not in checkpoints of versions before 0.2
            table.used_at[:n] = arrays["stream_used_at"]
            table.trail = Trail(PLACES, np.asarray(arrays["stream_trail"], np.int64))
        return table

    def move(self) -> None:
        """Forget where in its journal recent rows stand: the streams go on in another one."""
        self.trail = Trail(PLACES)

    def without(self, foreign: NDArray[np.bool_]) -> "StreamTable":
        """The table without the streams of devices that are another lane's, bool[N] by slot; itself if it has none."""
        slot = self.slot[: self.used].astype(np.int64)
        gone = (slot < foreign.size) & foreign[np.minimum(slot, foreign.size - 1)]
        if not gone.any():
            return self
        arrays = self.arrays()
        marks = arrays.pop("stream_trail")
        kept = {name: array[~gone] for name, array in arrays.items()}
        table = StreamTable.restore(self.window, {**kept, "stream_trail": marks})
        table._known, table.trail = self._known, self.trail  # noqa: SLF001  a table like this one
        return table

    def _entry(self, slot: int, stream: int, received: int) -> int | None:
        """Find or make the entry of a stream; None if its device holds too many that are in use."""
        entry = int(_find(slot, stream, self._table, self.slot, self.stream))
        if entry >= 0:
            return entry
        held = self._streams_of.get(slot, 0)
        if held >= MAX_STREAMS:
            return self._take_over(slot, stream, received, SHORT_REST_NS)
        if held >= FEW_STREAMS:
            taken = self._take_over(slot, stream, received, REST_NS)
            if taken is not None:
                return taken
        self._streams_of[slot] = held + 1
        if self.used == self.slot.size:
            self._grow()
            entry = int(_find(slot, stream, self._table, self.slot, self.stream))
        new = self.used
        self.used += 1
        self.slot[new], self.stream[new], self.used_at[new] = slot, stream, received
        self._table[-1 - entry] = new
        return new

    def _take_over(self, slot: int, stream: int, received: int, rest: int) -> int | None:
        """Give a stream the entry of the one of its device that rested longest, if it did for `rest` ns."""
        # Who tries again and again must not cost a search each time: nothing of it is older than this.
        if received < self._oldest_use.get(slot, 0) + rest:
            return None
        own = np.flatnonzero(self.slot[: self.used] == slot)
        entry = int(own[np.argmin(self.used_at[own])])
        self._oldest_use[slot] = int(self.used_at[entry])
        if received < self._oldest_use[slot] + rest:
            return None
        _take_out(entry, self._table, self.slot, self.stream)
        self.stream[entry], self.used_at[entry] = stream, received
        for column in (self.watermark, self.count, self.spent, self.receipted, self.dirty):
            column[entry] = 0
        place = int(_find(slot, stream, self._table, self.slot, self.stream))
        self._table[-1 - place] = entry
        return entry

    def _grow(self) -> None:
        for name in (
            "slot",
            "stream",
            "watermark",
            "count",
            "ranges",
            "spent",
            "receipted",
            "used_at",
            "dirty",
        ):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self._table = np.full(4 * self.slot.size, -1, np.int32)
        _fill_table(self.used, self._table, self.slot, self.stream)
