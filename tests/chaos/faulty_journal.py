"""The telemetry journal on a disk that fails when told to.

A fault is ordered by writing its name to `run/fault`; the next sync of the telemetry journal takes the order away and
obeys: `eio` fails, `kill-before-sync` and `kill-after-sync` end the process as `kill -9` would.
"""

import errno
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any, Self

from hub.ports.journal.durability import sync_file
from hub.ports.journal.writer import JournalWriter

ORDER = "fault"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _sync(order: Path, fd: int) -> None:
    try:
        fault = order.read_text()
        order.unlink()
    except FileNotFoundError:
        fault = ""
    if fault == "eio":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if fault == "kill-before-sync":
        _die()
    sync_file(fd)
    if fault == "kill-after-sync":
        _die()


class FaultyWriter(JournalWriter):
    """The journal on a disk that takes orders; findings and dead letters have a good one."""

    @classmethod
    def open(cls, folder: Path, **options: Any) -> Self:
        if folder.parent.name == "journal":
            options["sync_fd"] = partial(_sync, folder.parents[1] / "run" / ORDER)
        return super().open(folder, **options)
