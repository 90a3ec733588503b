"""Takes rows out of a sealed journal segment, without moving anything: for rows that must be erased.

1. The segment is written anew beside the old one and takes its place by a rename; readers see one or the other, and
   offsets stay what they are.
2. A row that goes keeps its identity and nothing else (`telemetry.without_rows`): a device that sends it again is told
   that it is settled.
3. Only sealed segments: the last one belongs to its writer.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hub.ports.journal.block import HEADER_SIZE, Kind, encode
from hub.ports.journal.durability import write_whole
from hub.ports.journal.segments import (
    SEGMENT_HEADER_SIZE,
    Segment,
    damage_at,
    intact_header,
    read_tail,
)
from hub.ports.journal.telemetry import TelemetryBatch, decode, payload_size, without_rows
from hub.ports.journal.telemetry import encode as encode_rows

Gone = Callable[[TelemetryBatch], npt.NDArray[np.bool_]]


def redact(segment: Segment, end: int, gone: Gone) -> int:
    """Take rows out of a sealed segment.

    Args:
        segment: not the last one of its journal.
        end: where the next one begins; what the file has behind that counts for nothing, and goes.
        gone: says of each row of a batch whether it must go; asked again, it says the same.

    Returns:
        How many rows with samples there were; 0 leaves the file untouched.

    Raises:
        FileNotFoundError: the segment was pruned.
        StorageError: it is damaged.
        OSError: it could not be written; the old one stands.
    """
    data = read_tail(segment.path, 0)
    live = end - segment.first
    view = memoryview(data)[SEGMENT_HEADER_SIZE : SEGMENT_HEADER_SIZE + live]
    changed: dict[int, bytes] = {}
    position = rows = 0
    while position < len(view):
        header = intact_header(view, position, segment.first + position)
        if header is None:
            raise damage_at(segment, segment.first + position)
        if header.kind == Kind.TELEMETRY:
            start = position + HEADER_SIZE
            batch = decode(view[start : start + header.length])
            mask = gone(batch) & (batch.count > 0)
            if mask.any():
                kept = without_rows(batch, mask)
                filler = header.length - payload_size(kept.rows, kept.samples)
                buffers, _ = encode(
                    header.kind,
                    encode_rows(kept, filler=filler),
                    offset=header.offset,
                    unsynced=header.unsynced,
                    received_ns=header.received_ns,
                )
                changed[position] = b"".join(buffers)
                rows += int(mask.sum())
        position = header.end - segment.first
    void = data[SEGMENT_HEADER_SIZE + live :]
    if changed or any(void):
        whole = bytearray(data)
        whole[SEGMENT_HEADER_SIZE + live :] = bytes(len(void))
        for at, block in changed.items():
            start = at + SEGMENT_HEADER_SIZE
            whole[start : start + len(block)] = block
        write_whole(segment.path, bytes(whole))
    return rows
