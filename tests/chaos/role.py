"""One process of a hub under test: the product's own, with a disk that fails when told to.

Run as `python -m tests.chaos.role NAME`. A fault is ordered by writing its name to `run/fault`; the next sync of the
telemetry journal takes the order away and obeys: `eio` fails, `kill-before-sync` and `kill-after-sync` end the process
as `kill -9` would. Everything else is what `python -m hub _role NAME` does.
"""

import errno
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, Self

from hub.app import ingest
from hub.ports.journal.durability import sync_file
from hub.ports.journal.writer import JournalWriter
from hub.wiring import roles

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


class _FaultyWriter(JournalWriter):
    """The journal on a disk that takes orders; findings and dead letters have a good one."""

    @classmethod
    def open(cls, folder: Path, **options: Any) -> Self:
        if folder.parent.name == "journal":
            options["sync_fd"] = partial(_sync, folder.parents[1] / "run" / ORDER)
        return super().open(folder, **options)


def main(name: str) -> int:
    """Play one role."""
    if name.startswith("ingest"):
        vars(ingest)["JournalWriter"] = _FaultyWriter
    return roles.run(name, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
