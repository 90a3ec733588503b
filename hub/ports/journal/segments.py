"""The files of a journal: names, headers, order, damage and pruning.

1. An offset counts block bytes since the beginning of the journal; segment headers do not count.
   Byte `offset` stands in the segment with the greatest first offset not above it, at position
   `offset - first + SEGMENT_HEADER_SIZE`.
2. A segment file appears whole (header written and synced under another name, then renamed).
3. A segment is sealed when a later one exists; it was synced before that one was made, so any
   defect in it is damage. Only the last segment may have a torn tail.
4. Any process may prune, also while the writer's and readers' are at work: the oldest segment goes first, the last one
   stays, and whoever listed a segment that is gone since passes over it.
5. A name may carry a fencing token. A segment ends where one of a higher token begins, and is void if it begins there
   or behind: so nothing counts that a writer appends, or seals, after another one has taken its place.
What must never live here: the payloads of blocks.
"""

import itertools
import os
import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hub.errors import StorageError
from hub.ports.journal.block import ALIGNMENT, HEADER_SIZE, MAGIC, Header, decode_header, is_intact
from hub.ports.journal.durability import sync_folder, write_whole

SUFFIX = ".hpj"
SEGMENT_MAGIC = b"HPJSEG1\0"
# magic 8s, version u32, CRC-32 of the other fields u32, first offset u64, created ns u64, zeros
SEGMENT_HEADER = struct.Struct("<8sIIQQ32x")
SEGMENT_HEADER_SIZE = SEGMENT_HEADER.size
VERSION = 1
_NAME_DIGITS, _TOKEN_DIGITS = 20, 10
_NAME = re.compile(rf"([0-9]{{{_NAME_DIGITS}}})(?:-([0-9]{{{_TOKEN_DIGITS}}}))?{re.escape(SUFFIX)}")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One file of a journal; in the order of the journal.

    Args:
        first: offset of its first block.
        token: fencing token of who wrote it; 0 for a writer that needed none.
        path: where it is.
    """

    first: int
    token: int
    path: Path


def segment_path(folder: Path, first: int, token: int = 0) -> Path:
    """Name of the segment whose first block has this offset."""
    fence = f"-{token:0{_TOKEN_DIGITS}d}" if token else ""
    return folder / f"{first:0{_NAME_DIGITS}d}{fence}{SUFFIX}"


def parse_name(name: str) -> tuple[int, int] | None:
    """Return first offset and token of a segment by its file name; None if it is no segment."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def all_segments(folder: Path) -> list[Segment]:
    """List the files of a journal by first offset and token, void ones too; empty if the folder does not exist."""
    if not folder.is_dir():
        return []
    named = ((parse_name(path.name), path) for path in folder.iterdir())
    return sorted(Segment(*name, path) for name, path in named if name is not None)


def list_segments(folder: Path) -> list[Segment]:
    """List the segments of a journal that count, oldest first; empty if the folder does not exist."""
    return counted(all_segments(folder))


def counted(segments: Iterable[Segment]) -> list[Segment]:
    """Leave out the segments of a journal that are void by what others of it say."""
    kept: list[Segment] = []
    for segment in sorted(segments):
        if kept and segment.token < kept[-1].token:
            continue
        if kept and segment.first == kept[-1].first:
            kept.pop()
        kept.append(segment)
    return kept


def create_segment(folder: Path, first: int, created_ns: int, token: int = 0) -> Segment:
    """Make an empty segment, durably.

    Raises:
        OSError: it could not be made.
    """
    path = segment_path(folder, first, token)
    crc = _segment_crc(first, created_ns)
    write_whole(path, SEGMENT_HEADER.pack(SEGMENT_MAGIC, VERSION, crc, first, created_ns))
    return Segment(first, token, path)


def read_created_ns(segment: Segment) -> int:
    """Check the header of a segment and tell when it was created, ns since 1970 UTC.

    Raises:
        StorageError: this is not a segment of this format, or not the one its name says.
    """
    with segment.path.open("rb") as file:
        data = file.read(SEGMENT_HEADER_SIZE)
    if len(data) == SEGMENT_HEADER_SIZE:
        magic, version, crc, first, created_ns = SEGMENT_HEADER.unpack(data)
        right = magic == SEGMENT_MAGIC and version == VERSION and first == segment.first
        if right and crc == _segment_crc(first, created_ns):
            return int(created_ns)
        if magic == SEGMENT_MAGIC and version > VERSION:
            raise StorageError(
                f"{segment.path.name} has version {version}, written by a newer Homeport; this one reads {VERSION}. "
                "Run the version that wrote it, or restore a backup taken by this one.",
                file=segment.path.name,
            )
    raise StorageError(
        f"{segment.path.name} has no valid segment header; "
        "restore the file from a backup, or move it out of the journal folder.",
        file=segment.path.name,
        offset=segment.first,
    )


def check_contiguous(segments: list[Segment]) -> None:
    """Check that each segment ends where the next one starts; one pruned since it was listed is passed over.

    Raises:
        StorageError: names the file and offset from which bytes are missing.
    """
    for segment, following in itertools.pairwise(segments):
        try:
            end = segment.first + segment.path.stat().st_size - SEGMENT_HEADER_SIZE
        except FileNotFoundError:
            continue
        # Who was deposed may have written on behind the place where its successor began.
        if end < following.first or (end > following.first and following.token == segment.token):
            raise StorageError(
                f"{segment.path.name} ends at offset {end} but {following.path.name} starts at "
                f"{following.first}; restore the missing segment from a backup.",
                file=segment.path.name,
                offset=end,
            )


def damage_at(segment: Segment, offset: int) -> StorageError:
    """Build the error for a bad block in data that had been synced."""
    return StorageError(
        f"{segment.path.name} is damaged at offset {offset} (file position "
        f"{offset - segment.first + SEGMENT_HEADER_SIZE}); restore this segment from a backup. "
        "Nothing behind it was read.",
        file=segment.path.name,
        offset=offset,
    )


def intact_header(data: memoryview, position: int, offset: int) -> Header | None:
    """Read the block at `position` of `data` if all of it is there and its CRC is right."""
    if position + HEADER_SIZE > len(data):
        return None
    header = decode_header(data, position)
    if header is None or header.offset != offset:
        return None
    stop = position + header.end - offset
    if stop > len(data) or not is_intact(data[position:stop]):
        return None
    return header


def was_synced(data: memoryview, bad: int, offset: int) -> bool:
    """Tell whether a bad block had been synced, by what the blocks after it say.

    A machine that loses power may keep later blocks and lose earlier ones, so a good block
    after a bad one proves nothing by itself; its field `unsynced` does.

    Args:
        data: the segment from some position on.
        bad: position of the bad block in `data`.
        offset: offset of the bad block.
    """
    position = bad + ALIGNMENT
    raw = data.obj if isinstance(data.obj, bytes) else bytes(data)
    while (position := raw.find(MAGIC, position)) >= 0:
        here = offset + position - bad
        header = None if here % ALIGNMENT else intact_header(data, position, here)
        if header is not None and header.offset - header.unsynced > offset:
            return True
        position += 1
    return False


def prune(folder: Path, below: int) -> list[Path]:
    """Delete the segments all of whose blocks are below an offset; the last segment stays.

    Args:
        folder: the journal.
        below: no reader will ask for anything before this offset again.

    Returns:
        The files deleted, oldest first (so that a crash leaves no hole).

    Raises:
        OSError: a file could not be deleted; the older ones are gone.
    """
    segments = list_segments(folder)
    deleted = []
    for segment, following in itertools.pairwise(segments):
        if following.first > below:
            break
        segment.path.unlink()
        deleted.append(segment.path)
    if deleted:
        sync_folder(folder)
    return deleted


def read_tail(path: Path, position: int) -> bytes:
    """Read a file from a position to its present end.

    Raises:
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.pread(fd, 1 << 24, position):
            parts.append(part)
            position += len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _segment_crc(first: int, created_ns: int) -> int:
    return zlib.crc32(struct.pack("<8sIQQ", SEGMENT_MAGIC, VERSION, first, created_ns))
