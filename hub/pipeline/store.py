"""Stage 8, store: tell whoever follows the journal how far it is synced.

1. The embedded store needs nothing more: the journal is queryable at once, the compactor follows it.
2. Other stores (InfluxDB, VictoriaMetrics) follow in their own process with their own offset; they may lag and never
   hold up receipts.
3. Progress is one small memory-mapped file of whole u64s, readable by any process at any time.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_FIELDS = struct.Struct("<QQQQQ")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a worker has come.

    Attributes:
        synced: journal offset below which everything is on disk.
        checkpoint: offset from which a restart may read, so journal segments at or above it must stay.
        beat_ns: time of the last turn.
        paused: 1 while the worker takes nothing because its disk is full.
        overloaded: 1 while it cannot take all that is offered, and tells devices to wait.
    """

    synced: int = 0
    checkpoint: int = 0
    beat_ns: int = 0
    paused: int = 0
    overloaded: int = 0


class StoreStage:
    """Publishes a worker's progress.

    Args:
        path: of the progress file; made if it is not there.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != _FIELDS.size:
                os.ftruncate(descriptor, 0)
                # Written, not stretched: a full disk shall refuse here and not by a signal at some later access.
                os.pwrite(descriptor, bytes(_FIELDS.size), 0)
            self._map = mmap.mmap(descriptor, _FIELDS.size)
        finally:
            os.close(descriptor)
        self._checkpoint = 0
        self._paused = 0
        self._overloaded = 0

    def store(self, synced: int, now_ns: int) -> None:
        """Let followers read up to `synced`."""
        self._map[:] = _FIELDS.pack(
            synced, self._checkpoint, now_ns, self._paused, self._overloaded
        )

    def checkpointed(self, offset: int) -> None:
        """A checkpoint for `offset` is on disk; the next `store` says so."""
        self._checkpoint = offset

    def paused(self, *, full: bool) -> None:
        """Nothing is taken because the disk is full, or again; the next `store` says so."""
        self._paused = int(full)

    def overloaded(self, *, shedding: bool) -> None:
        """Devices are told to wait, or not any more; the next `store` says so."""
        self._overloaded = int(shedding)

    def close(self) -> None:
        """Let go of the file; what it says stays."""
        self._map.close()


def read_progress(path: Path) -> Progress:
    """Read a worker's progress; all zeros if it never ran."""
    try:
        return Progress(*_FIELDS.unpack(path.read_bytes()))
    except (FileNotFoundError, struct.error):
        return Progress()
