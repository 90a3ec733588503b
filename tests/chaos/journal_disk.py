"""The disk under a hub's journal, which may have no room left for a while.

1. `tmpfs`: the journal has a small file system of its own, which is shrunk to what is in use, so that the worker sees
   ENOSPC. Mounting needs root.
2. `limit`, elsewhere: the size of files of the worker's process is limited (RLIMIT_FSIZE) to what its segments have, so
   that it sees EFBIG. Any user may do that to a process of their own.
"""

import contextlib
import os
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_ROOM = 1 << 30  # a hub keeps a quarter of this in reserve; memory is used for what is written only


class JournalDisk:
    """The disk under one journal.

    Args:
        folder: of the journals; made if it is mounted.
        worker: tells the process that writes.
        mounted: try to give it a file system of its own.
    """

    def __init__(self, folder: Path, worker: Callable[[], int | None], *, mounted: bool) -> None:
        self._folder = folder
        self._worker = worker
        self.mounted = mounted and self._mount()

    @contextlib.contextmanager
    def full(self) -> Iterator[str]:
        """Leave no room during a block; yields `tmpfs` or `limit`."""
        if self.mounted:
            used = os.statvfs(self._folder)
            in_use = (used.f_blocks - used.f_bfree) * used.f_frsize
            _mount_again(self._folder, in_use)
            try:
                yield "tmpfs"
            finally:
                _mount_again(self._folder, _ROOM)
            return
        over = threading.Event()
        limiter = threading.Thread(target=self._limit, args=(over,))
        limiter.start()
        try:
            yield "limit"
        finally:
            over.set()
            limiter.join()

    def close(self) -> None:
        """Take the file system away."""
        if self.mounted:
            subprocess.run(["umount", str(self._folder)], check=True)

    def _mount(self) -> bool:
        if os.geteuid() != 0:
            return False
        self._folder.mkdir(mode=0o700, parents=True)
        command = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={_ROOM},mode=700",
            "journal",
            str(self._folder),
        ]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _limit(self, over: threading.Event) -> None:
        """Limit every process that writes until it is over."""
        limited: set[int] = set()
        while not over.wait(0.01):
            pid = self._worker()
            if pid is not None and pid not in limited:
                sizes = [path.stat().st_size for path in self._folder.rglob("*.hpj")]
                _limit_files(pid, max(sizes))
                limited.add(pid)
        for pid in limited:
            _limit_files(pid, None)


def _mount_again(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def _limit_files(pid: int, size: int | None) -> None:
    """Limit the size of files that a process writes; None: as much as it may have."""
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
