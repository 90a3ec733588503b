"""Reading a journal from an offset, up to the live end and on from there.

1. A block is returned whole and with a right CRC, or not at all.
2. At the live end an unfinished block means "not yet"; anywhere else a bad block is an error
   that names file and offset.
3. A segment is read up to where the next one begins: what stands behind that was written by a writer that had
   already lost its place. Who has read such blocks is told to begin again.
4. Sealed segments are memory-mapped. The live one is read by copy: the writer may cut a torn
   tail at any time, and touching a mapped page that was cut kills the process.
What must never live here: writing, waiting, or knowledge of payloads.
"""

import itertools
import mmap
from collections.abc import Iterator
from pathlib import Path

from hub.errors import StorageError
from hub.ports.journal.block import HEADER_SIZE, Block
from hub.ports.journal.segments import (
    SEGMENT_HEADER_SIZE,
    Segment,
    damage_at,
    intact_header,
    list_segments,
    read_tail,
    was_synced,
)


class OvertakenError(StorageError):
    """The journal went on from before the place that was read; only who reads ahead of `synced` meets this."""

    code = "journal-overtaken"
    title = "The journal was taken over"


class JournalReader:
    """Reads the blocks of a journal in order; call `blocks` again to go on.

    Args:
        folder: of the journal; it may not exist yet.
        offset: of the first block wanted: 0, or the `end` of a block read earlier.
        token: of the segment (`segment`) that the last block before `offset` was read from; None: nothing was read.
    """

    def __init__(self, folder: Path, offset: int = 0, token: int | None = None) -> None:
        self._folder = folder
        self._offset = offset
        self._token = token
        self._segment: Segment | None = None

    @property
    def segment(self) -> Segment | None:
        """The segment of the block yielded last; None before the first."""
        return self._segment

    @property
    def offset(self) -> int:
        """Offset of the next block to be read."""
        return self._offset

    def blocks(self, until: int | None = None) -> Iterator[Block]:
        """Read on until nothing complete is left.

        The live end may be ahead of what is synced. Whoever acts on blocks in a way that must
        survive a power failure passes the writer's `synced`, or the end of a sealed segment.

        Args:
            until: blocks at or behind this offset are left unread.

        Yields:
            Blocks; `offset` has moved past a block when it is yielded.

        Raises:
            StorageError: the journal is damaged (names file and offset), or does not hold
                `offset` any more, or not yet.
            OvertakenError: blocks that were read do not count any more.
        """
        while until is None or self._offset < until:
            found = self._locate()
            if found is None:
                return
            segment, end = found
            data = self._load(segment, end)
            self._segment, self._token = segment, segment.token
            position = 0
            while position < len(data) and (until is None or self._offset < until):
                header = intact_header(data, position, self._offset)
                if header is None:
                    if end is not None or was_synced(data, position, self._offset):
                        raise damage_at(segment, self._offset)
                    return
                start = position + HEADER_SIZE
                position += header.end - header.offset
                self._offset = header.end
                yield Block(
                    kind=header.kind,
                    offset=header.offset,
                    end=header.end,
                    received_ns=header.received_ns,
                    payload=data[start : start + header.length],
                )
            if end is None:
                return
            if self._offset < end and position >= len(data):
                raise damage_at(segment, self._offset)

    def _locate(self) -> tuple[Segment, int | None] | None:
        """Find the segment of the next block, and where it ends if it is sealed."""
        segments = list_segments(self._folder)
        self._check_place(segments)
        for segment, following in itertools.pairwise(segments):
            if segment.first <= self._offset < following.first:
                return segment, following.first
        if segments and segments[-1].first <= self._offset:
            return segments[-1], None
        if segments:
            raise StorageError(
                f"The journal {self._folder.name} begins at offset {segments[0].first}; "
                f"{self._offset} was pruned. Start from a newer snapshot.",
                journal=self._folder.name,
                offset=self._offset,
            )
        if self._offset:
            raise self._beyond_end(0)
        return None

    def _check_place(self, segments: list[Segment]) -> None:
        """Refuse to go on behind blocks that a writer of a higher token has put itself in the place of."""
        token = self._token
        if token is None or not segments or segments[-1].token <= token:
            return
        start = min(segment.first for segment in segments if segment.token > token)
        if start < self._offset:
            raise OvertakenError(
                f"The journal {self._folder.name} goes on from offset {start} under another writer, "
                f"before {self._offset} which was read; read again from there.",
                journal=self._folder.name,
                offset=start,
            )

    def _load(self, segment: Segment, end: int | None) -> memoryview:
        """Give the bytes of a segment from the next block on, up to `end` or as far as they are there."""
        position = self._offset - segment.first + SEGMENT_HEADER_SIZE
        try:
            size = segment.path.stat().st_size
            if position > size:
                raise self._beyond_end(segment.first + size - SEGMENT_HEADER_SIZE)
            if end is None:
                return memoryview(read_tail(segment.path, position))
            with segment.path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise StorageError(
                f"The journal segment {segment.path.name} cannot be read: {error.strerror}. "
                "If it was pruned, start from a newer snapshot.",
                file=segment.path.name,
                offset=self._offset,
            ) from error
        return memoryview(mapped)[position : position + end - self._offset]

    def _beyond_end(self, end: int) -> StorageError:
        return StorageError(
            f"The journal {self._folder.name} ends at offset {end}, before {self._offset}; "
            "it was restored from an older state than its reader. Restore both together.",
            journal=self._folder.name,
            offset=self._offset,
        )
