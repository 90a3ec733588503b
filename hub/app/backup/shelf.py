"""The folder in which backups are kept: their names, which one is the newest, and which may go.

1. A name says when the backup was taken, in UTC, so a listing is in order: `homeport-20260314T021500Z.tar`,
   with `.sealed` behind it if it is encrypted.
2. Only files with such names are ever touched, and the newest never goes.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hub.ports.journal.durability import sync_folder

_NAME: Final = re.compile(r"homeport-(\d{8}T\d{6})Z\.tar(\.sealed)?")
_STAMP: Final = "%Y%m%dT%H%M%S"


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup in the folder.

    Attributes:
        path: where it is.
        taken_ns: when it was taken, as its name says, ns since 1970 UTC.
        size: bytes.
    """

    path: Path
    taken_ns: int
    size: int


def name_of(taken_ns: int, *, sealed: bool) -> str:
    """Return the name of a backup taken at an instant, ns since 1970 UTC."""
    stamp = datetime.fromtimestamp(taken_ns // 1_000_000_000, UTC).strftime(_STAMP)
    return f"homeport-{stamp}Z.tar{'.sealed' if sealed else ''}"


def kept(folder: Path) -> list[Kept]:
    """Return the backups in a folder, the oldest first; none if the folder is not there."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            taken = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
            found.append(Kept(path, int(taken.timestamp()) * 1_000_000_000, path.stat().st_size))
    return sorted(found, key=lambda one: (one.taken_ns, one.path.name))


def prune(folder: Path, keep: int) -> list[Kept]:
    """Delete all but the newest backups.

    Args:
        folder: of the backups.
        keep: how many stay, at least one.

    Returns:
        Those deleted, the oldest first.
    """
    gone = kept(folder)[: -max(keep, 1)]
    for one in gone:
        one.path.unlink()
    if gone:
        sync_folder(folder)
    return gone
