"""Fingerprints of rows: tell a row that was sent again from another row under the same identity.

1. A fingerprint is 64 bits over the time a row was given by its device, its metrics and its values, bit for bit. A row
   that carries no time of its own counts as having none: it is given another at each receipt.
2. Known fingerprints stand in one table of fixed size, a place for each of so many rows; a later row that falls on the
   same place takes it. Of the rows stored R rows ago, about exp(-R / places) are still known.
3. Rows of one stream stand side by side, so a pack touches few cache lines.
Must never live here: what follows from a difference.
"""

from collections import deque

import numpy as np
from numba import njit

from hub.pipeline.frames import I64, U64
from hub.ports.journal.telemetry import TelemetryBatch

PLACES = 1 << 20
MAX_BLOCKS = 1 << 16


@njit("void(i8, i8, i8[::1], u4[::1], u2[::1], u8[::1], u8[::1])", cache=True, nogil=True)
def _print_rows(rows, received, raw_time, width, metric, bits, prints):  # type: ignore[no-untyped-def]
    """Multiply-xorshift over the words of each row (the mixer of SplitMix64, Steele et al. 2014)."""
    at = 0
    for i in range(rows):
        time = raw_time[i]
        if time == received:
            time = np.int64(0)
        h = (np.uint64(time) + np.uint64(width[i])) * np.uint64(0x9E3779B97F4A7C15)
        for _ in range(width[i]):
            word = bits[at] + np.uint64(metric[at]) * np.uint64(0xD6E8FEB86659FD93)
            h = ((h ^ (h >> np.uint64(29))) ^ word) * np.uint64(0xBF58476D1CE4E5B9)
            at += 1
        prints[i] = h ^ (h >> np.uint64(32))


def fingerprints(batch: TelemetryBatch, received: int) -> U64:
    """Return the fingerprint of each row, u64[R].

    Args:
        batch: rows as decoded or as journalled.
        received: time of receipt of these rows, ns; rows without a time of their own have it.
    """
    prints: U64 = np.empty(batch.rows, np.uint64)
    bits = batch.value.view(np.uint64)
    _print_rows(batch.rows, received, batch.raw_time, batch.count, batch.metric, bits, prints)
    return prints


@njit("u8(u8, u8)", cache=True, nogil=True, inline="always")
def hash_stream(slot, stream):  # type: ignore[no-untyped-def]
    """Hash a stream's identity; rows of it follow one another from there."""
    h = (stream ^ (slot * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> np.uint64(31))


@njit("void(i8, u4[::1], u4[::1], u8[::1], u8[::1], u8[::1], u8[:, ::1])", cache=True, nogil=True)
def remember(rows, slot, flags, stream, seq, prints, known):  # type: ignore[no-untyped-def]
    """Take rows into the table without asking anything, for a start from the journal."""
    mask = np.uint64(known.shape[0] - 1)
    for i in range(rows):
        if flags[i] & np.uint32(16):
            continue
        key = hash_stream(np.uint64(slot[i]), stream[i]) + seq[i]
        known[key & mask, 0] = key
        known[key & mask, 1] = prints[i]


class Trail:
    """Where in the journal the rows stand whose fingerprints a restart takes again: the last `places` or so.

    Args:
        places: rows that the table holds.
        marks: i64[M, 3] as `marks` returned it: offset, and rows and blocks before it.
    """

    def __init__(self, places: int, marks: I64 | None = None) -> None:
        self._places = places
        self._rows = self._blocks = 0
        self._marks: deque[tuple[int, int, int]] = deque()
        for offset, rows, blocks in [] if marks is None else marks.tolist():
            self._marks.append((offset, rows, blocks))
            self._rows, self._blocks = rows, blocks

    def journalled(self, offset: int, rows: int) -> None:
        """Note a block of `rows` rows at `offset`."""
        last = self._marks[-1] if self._marks else None
        if (
            last is None
            or self._rows - last[1] >= self._places >> 4
            or self._blocks - last[2] >= MAX_BLOCKS >> 4
        ):
            self._marks.append((offset, self._rows, self._blocks))
        self._rows += rows
        self._blocks += 1
        while len(self._marks) > 1 and (
            self._rows - self._marks[0][1] > self._places
            or self._blocks - self._marks[0][2] > MAX_BLOCKS
        ):
            self._marks.popleft()

    @property
    def start(self) -> int | None:
        """Offset from which a restart reads; `None` if nothing was journalled."""
        return self._marks[0][0] if self._marks else None

    def marks(self) -> I64:
        """What a snapshot must keep, i64[M, 3]."""
        return np.array(self._marks, np.int64).reshape(-1, 3)
