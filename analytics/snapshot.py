"""The frame of a detector snapshot: header and records, so that damage and other layouts are told apart.

1. `HPDETEC1`, CRC-32 of the rest, length of the JSON header, header, records.
2. Reading the header needs no kernel: whoever asks only for the version pays for nothing else.
What must never live here: what the records mean.
"""

import json
import struct
import zlib
from typing import Any

_MAGIC = b"HPDETEC1"
_HEAD = struct.Struct("<8sII")  # magic, CRC-32 of the rest, length of the JSON header


class SnapshotError(ValueError):
    """A detector snapshot is damaged or was written by another layout of the records."""


def closed(header: dict[str, Any], records: bytes) -> bytes:
    """Return a snapshot."""
    encoded = json.dumps(header).encode()
    body = encoded + records
    return _HEAD.pack(_MAGIC, zlib.crc32(body), len(encoded)) + body


def opened(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return header and records of a snapshot.

    Raises:
        SnapshotError: the bytes are damaged.
    """
    try:
        magic, checksum, length = _HEAD.unpack_from(data)
    except struct.error as error:
        raise SnapshotError("The detector snapshot is cut short; replay the journal.") from error
    body = memoryview(data)[_HEAD.size :]
    if magic != _MAGIC or zlib.crc32(body) != checksum:
        raise SnapshotError("The detector snapshot is damaged; replay the journal.")
    header: dict[str, Any] = json.loads(bytes(body[:length]))
    return header, body[length:]
