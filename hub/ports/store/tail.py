"""What a journal holds beyond the Parquet files, queried where it lies.

1. An index of one device slot per row stays in memory (4 bytes a row), and of each block the times of its
   earliest and latest row; rows that match are read from the memory-mapped segments.
2. Only blocks whose CRC was right are mapped and touched; those are never cut.
3. Blocks below the offset that the manifest covers are dropped, so no row shows twice.
What must never live here: Parquet, visibility.
"""

import itertools
import mmap
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hub.ports.journal.block import HEADER_SIZE, Kind
from hub.ports.journal.reader import JournalReader, OvertakenError
from hub.ports.journal.segments import SEGMENT_HEADER_SIZE, Segment, list_segments
from hub.ports.journal.telemetry import U32, decode
from hub.ports.store.columns import NO_SAMPLES, Columns, Index, Mask, Samples, expand, samples_of


class OutdatedError(Exception):
    """The manifest in hand is older than what this tail already left behind."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a block's payload is."""

    offset: int
    segment: Segment
    position: int
    length: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one block that matched; the view keeps the mapped segment alive.

    Args:
        payload: of the block.
        rows: i64[N], positions of the rows in its batch.
        offset: of the block.
        first: time of the earliest row of the block, ns.
        last: time of the latest.
    """

    payload: memoryview
    rows: Index
    offset: int
    first: int
    last: int

    def columns(self) -> Columns:
        """Read all samples."""
        return expand(decode(self.payload), self.rows)

    def series(self, metric: int, start: int, end: int) -> Samples:
        """Read the samples of one metric with `start <= time < end`."""
        if self.last < start or self.first >= end:
            return NO_SAMPLES
        batch = decode(self.payload)
        time = batch.time[self.rows]
        return samples_of(batch, self.rows[(time >= start) & (time < end)], metric)


class Tail:
    """The rows of one journal from an offset on. One caller at a time; `EmbeddedStore` sees to it.

    Args:
        folder: of the journal.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[int, memoryview] = {}
        self._restart(0)

    def find(self, base: int | None, slots: U32) -> list[Found]:
        """Find the rows of some devices. What is found stays readable, whatever is pruned later.

        Args:
            base: offset from which on the journal counts; None means from its beginning.
            slots: u32[N], devices wanted.

        Raises:
            OutdatedError: read the manifest again.
            FileNotFoundError: the same, a segment was pruned.
            StorageError: the journal is damaged, or was pruned beyond `base`.
        """
        self._advance(base)
        index = self._slots[: self._rows]
        match = index == slots[0] if slots.size == 1 else np.isin(index, slots)
        rows = np.flatnonzero(match)
        first_row = np.frombuffer(self._first_row, np.int64)
        block = np.searchsorted(first_row, rows, side="right") - 1
        del first_row  # an array that is looked at cannot grow
        found = []
        edges = np.flatnonzero(np.diff(block, prepend=-1))
        for here, there in itertools.pairwise([*edges, rows.size]):
            number = int(block[here])
            place = self._places[number]
            mine = rows[here:there] - self._first_row[number]
            payload = self._payload(place)
            found.append(Found(payload, mine, place.offset, place.first, place.last))
        return found

    def count(self, base: int | None, slots: U32 | None) -> int:
        """Count rows with samples; arguments and errors as for `find`."""
        self._advance(base)
        index = self._slots[: self._rows]
        match: U32 | Mask = index if slots is None else np.isin(index, slots[slots != 0])
        return int(np.count_nonzero(match))

    def _advance(self, base: int | None) -> None:
        """Drop what is below `base` and index what has been appended."""
        if base is None:
            segments = list_segments(self._folder)
            base = segments[0].first if segments else 0
        if base < self._base:
            raise OutdatedError
        if base > self._reader.offset:
            self._restart(base)
        elif base > self._base:
            self._drop(base)
        try:
            self._index_new_blocks()
        except OvertakenError as error:
            self._restart(base)
            raise OutdatedError from error
        except BaseException:
            self._restart(base)  # so that the next query meets the same block again
            raise

    def _index_new_blocks(self) -> None:
        for block in self._reader.blocks():
            segment = self._reader.segment
            if block.kind != Kind.TELEMETRY or segment is None:
                continue
            batch = decode(block.payload)
            position = block.offset - segment.first + SEGMENT_HEADER_SIZE + HEADER_SIZE
            # A row without samples does not exist for a store: slot 0 is no device's.
            exists = batch.count != 0
            times = batch.time[exists]
            first, last = (int(times.min()), int(times.max())) if times.size else (0, 0)
            place = _Place(block.offset, segment, position, block.payload.nbytes, first, last)
            self._append(place, np.where(exists, batch.slot, np.uint32(0)))

    def _restart(self, base: int) -> None:
        self._base = base
        self._reader = JournalReader(self._folder, base)
        self._slots: U32 = np.empty(1024, np.uint32)
        self._rows = 0
        self._first_row = array("q")
        self._places: list[_Place] = []
        self._maps.clear()

    def _append(self, place: _Place, slots: U32) -> None:
        needed = self._rows + slots.size
        if needed > self._slots.size:
            grown = np.empty(max(needed, 2 * self._slots.size), np.uint32)
            grown[: self._rows] = self._slots[: self._rows]
            self._slots = grown
        self._slots[self._rows : needed] = slots
        self._first_row.append(self._rows)
        self._places.append(place)
        self._rows = needed

    def _drop(self, base: int) -> None:
        keep = next((i for i, p in enumerate(self._places) if p.offset >= base), None)
        if keep is None:
            self._restart(base)
            return
        gone = self._first_row[keep]
        self._slots = self._slots[gone : self._rows].copy()
        self._rows -= gone
        self._first_row = array("q", (first - gone for first in self._first_row[keep:]))
        self._places = self._places[keep:]
        live = {place.segment.first for place in self._places}
        self._maps = {first: view for first, view in self._maps.items() if first in live}
        self._base = base

    def _payload(self, place: _Place) -> memoryview:
        end = place.position + place.length
        view = self._maps.get(place.segment.first)
        if view is None or len(view) < end:
            with place.segment.path.open("rb") as file:
                view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._maps[place.segment.first] = view
        return view[place.position : end]
