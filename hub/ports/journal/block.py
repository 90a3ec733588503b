"""The block: the unit that is appended to a journal, and the header that guards it.

1. A block is `HEADER` (32 bytes) + payload + zeros up to the next multiple of 8.
2. The CRC-32 covers every byte of the block but itself: header, payload and padding.
3. A block names its own offset, so bytes of another place are never taken for it.
4. `unsynced` says how many bytes right before the block were not known to be on disk when it was
   written. Recovery needs it to tell a torn tail from damage to data that had been promised.
What must never live here: files. This module only knows bytes.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from hub.errors import StorageError

Buffer: TypeAlias = bytes | bytearray | memoryview  # collections.abc.Buffer needs Python 3.12

MAGIC = b"HB1"
ALIGNMENT = 8
MAX_PAYLOAD = 1 << 28  # 256 MiB; a longer length can only be damage

# magic 3s, kind u8, payload length u32, unsynced u32, CRC-32 u32, offset u64, received ns u64
HEADER = struct.Struct("<3sBIIIQQ")
HEADER_SIZE = HEADER.size
_GUARDED_HEAD = struct.Struct("<3sBII")  # the fields before the CRC
_GUARDED_TAIL = struct.Struct("<QQ")  # the fields after it
_PADDING = tuple(bytes(n) for n in range(ALIGNMENT))


class Kind(IntEnum):
    """What a block's payload holds."""

    TELEMETRY = 1
    FINDINGS = 2
    DEAD_LETTERS = 3
    SETTLEMENTS = 4
    BEAT = 5
    """Somebody listens; see `beat.py`."""
    USAGE = 6
    """A mark of usage was crossed, or a closed period changed."""


@dataclass(frozen=True, slots=True)
class Header:
    """The decoded header of a block.

    Args:
        kind: see `Kind`; an unknown kind is kept and left to the reader.
        length: payload bytes without padding.
        unsynced: bytes before `offset` not known to be on disk when the block was written.
        crc: CRC-32 as `checksum` computes it.
        offset: place of the block in its journal.
        received_ns: time of receipt, ns since 1970 UTC.
    """

    kind: int
    length: int
    unsynced: int
    crc: int
    offset: int
    received_ns: int

    @property
    def end(self) -> int:
        """Offset of the first byte behind the block and its padding."""
        return self.offset + block_size(self.length)


@dataclass(frozen=True, slots=True)
class Block:
    """A block whose CRC was right.

    Args:
        kind: see `Kind`.
        offset: place of the block in its journal.
        end: offset of the next block.
        received_ns: time of receipt, ns since 1970 UTC.
        payload: read-only view; it keeps what lies under it alive.
    """

    kind: int
    offset: int
    end: int
    received_ns: int
    payload: memoryview


def block_size(length: int) -> int:
    """Bytes that a block with a payload of `length` bytes takes on disk."""
    return HEADER_SIZE + length + -length % ALIGNMENT


def encode(
    kind: int, parts: Sequence[Buffer], *, offset: int, unsynced: int, received_ns: int
) -> tuple[list[Buffer], int]:
    """Put a header before the parts of a payload, without copying them.

    Args:
        kind: 1 to 255.
        parts: the payload in pieces; contiguous buffers of bytes.
        offset: where in the journal the block will stand; a multiple of 8.
        unsynced: bytes before `offset` that are not known to be on disk.
        received_ns: time of receipt, ns since 1970 UTC.

    Returns:
        The buffers to write one after the other, and how many bytes they are together.

    Raises:
        StorageError: the payload is longer than `MAX_PAYLOAD`.
    """
    length = sum(memoryview(part).nbytes for part in parts)
    if length > MAX_PAYLOAD:
        raise StorageError(
            f"A block of {length} bytes is over the limit of {MAX_PAYLOAD}; "
            "append it in smaller batches.",
            length=length,
        )
    padding = _PADDING[-length % ALIGNMENT]
    crc = zlib.crc32(_GUARDED_HEAD.pack(MAGIC, kind, length, unsynced))
    crc = zlib.crc32(_GUARDED_TAIL.pack(offset, received_ns), crc)
    for part in parts:
        crc = zlib.crc32(part, crc)
    crc = zlib.crc32(padding, crc)
    header = HEADER.pack(MAGIC, kind, length, unsynced, crc, offset, received_ns)
    buffers: list[Buffer] = [header, *parts]
    if padding:
        buffers.append(padding)
    return buffers, block_size(length)


def decode_header(data: Buffer, position: int = 0) -> Header | None:
    """Read the header at `position`, or None if these bytes cannot be one."""
    magic, kind, length, unsynced, crc, offset, received_ns = HEADER.unpack_from(data, position)
    if magic != MAGIC or length > MAX_PAYLOAD or offset % ALIGNMENT:
        return None
    return Header(kind, length, unsynced, crc, offset, received_ns)


def is_intact(block: memoryview) -> bool:
    """Tell whether the CRC of a whole block (header, payload, padding) is right."""
    crc = zlib.crc32(block[:12])
    crc = zlib.crc32(block[16:], crc)
    return crc == int.from_bytes(block[12:16], "little")
