"""A clock that can be moved ahead: the machine's, and eight mapped bytes that all processes of a hub share.

1. It only ever moves ahead; whether it may at all is not decided here.
2. Reading costs one aligned load; what one process writes the others read at their next look.
3. The bytes are synced before a move counts, so the clock never falls back after a power cut.
"""

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from hub.ports.journal.durability import make_folder

_SIZE = 8


class MovableClock:
    """The hub's time.

    Args:
        path: file of the offset; made if it is not there.
        world: the time of the world, ns since 1970 UTC.
    """

    def __init__(self, path: Path, world: Callable[[], int] = time.time_ns) -> None:
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size != _SIZE:
                os.ftruncate(descriptor, _SIZE)
            self._offset = memoryview(mmap.mmap(descriptor, _SIZE)).cast("q")
        finally:
            os.close(descriptor)
        self._world = world

    @classmethod
    def found(cls, path: Path) -> Self | None:
        """Open the clock of a folder if it has one."""
        return cls(path) if path.exists() else None

    def __call__(self) -> int:
        """Return the present time, ns since 1970 UTC."""
        return self._world() + int(self._offset[0])

    @property
    def ahead_ns(self) -> int:
        """How far it is ahead of the world."""
        return int(self._offset[0])

    def put_ahead(self, ahead_ns: int) -> None:
        """Say how far it is ahead of the world from now on; less than before changes nothing."""
        if ahead_ns <= self.ahead_ns:
            return
        self._offset[0] = ahead_ns
        mapped = self._offset.obj
        if isinstance(mapped, mmap.mmap):
            mapped.flush()
