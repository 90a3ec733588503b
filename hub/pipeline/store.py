"""Stage 8, store: tell whoever follows the journal how far it is synced.

1. The embedded store needs nothing more: the journal is queryable at once, the compactor follows it.
2. Other stores (InfluxDB, VictoriaMetrics) follow in their own process with their own offset; they may lag and never
   hold up receipts.
3. Progress is one small memory-mapped file of whole u64s, readable by any process at any time. A worker with a lease
   has one of its own, with its fencing token in the name; the highest token counts, so what a deposed worker
   says of itself is not heard.
"""

import mmap
import os
import struct
from dataclasses import astuple, dataclass
from pathlib import Path

_FIELDS = struct.Struct("<QQQQQ")
_DIGITS = 10  # of a token


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
        token: fencing token of the worker, 0 without a lease; what was said under other tokens is taken over.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, token: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = _by_token(path)
        path = path.with_name(f"{path.stem}-{token:0{_DIGITS}d}{path.suffix}") if token else path
        start = _FIELDS.pack(*astuple(read_progress(before[-1]) if before else Progress()))
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != _FIELDS.size:
                os.ftruncate(descriptor, 0)
                # Written, not stretched: a full disk shall refuse here and not by a signal at some later access.
                os.pwrite(descriptor, start, 0)
            self._map = mmap.mmap(descriptor, _FIELDS.size)
        finally:
            os.close(descriptor)
        for other in before:
            if other != path and (not token or _token(other) < token):
                other.unlink(missing_ok=True)
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


def newest_progress(path: Path) -> Path:
    """Where the worker speaks that a lane has now, by the path of one without a lease."""
    return max(_by_token(path), key=_token, default=path)


def _by_token(path: Path) -> list[Path]:
    found = path.parent.glob(f"{path.stem}-{'[0-9]' * _DIGITS}{path.suffix}")
    return sorted([*found, *([path] if path.exists() else [])], key=_token)


def _token(path: Path) -> int:
    digits = path.stem[-_DIGITS:]
    return int(digits) if digits.isdecimal() and path.stem[-_DIGITS - 1] == "-" else 0
