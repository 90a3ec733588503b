"""Checkpoints of a worker: detector and settled streams, with the journal offset they stand for.

1. A checkpoint is taken between two micro-batches, after the findings log is synced: replaying from it loses nothing
   and finds the same findings again, under the same ids.
2. Written beside and renamed, then synced: a crash leaves the last good one.
3. A name holds the offset and, where workers have leases, the fencing token of who wrote it. A higher token is newer;
   what reaches beyond the place where a higher token took over the journal does not count.
4. The newest that can be read wins; a damaged one is passed over for an older one, at the price of a longer replay.
   So the journal must reach back to the oldest that is kept.
"""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hub.ports.journal.segments import Segment

FORMAT = 1
_KEEP = 2
_SUFFIX = ".checkpoint"


def parse_checkpoint(name: str) -> tuple[int, int]:
    """Return token and offset of a checkpoint by its file name: its order among others."""
    offset, _, token = name.removesuffix(_SUFFIX).partition("-")
    return int(token or 0), int(offset)


def _newest_last(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: parse_checkpoint(path.name))


def save_checkpoint(
    folder: Path, offset: int, arrays: dict[str, NDArray[Any]], token: int = 0
) -> int:
    """Write a checkpoint that stands for journal offset `offset`, and drop all but the newest two.

    Returns:
        Offset of the oldest one kept; the journal is needed from there on.

    Raises:
        OSError: the disk failed or is full; the older checkpoints are as they were.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fence = f"-{token:010d}" if token else ""
    path = folder / f"{offset:020d}{fence}{_SUFFIX}"
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    kept: dict[str, Any] = {"format": np.array(FORMAT), "offset": np.array(offset), **arrays}
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **kept)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    for old in _newest_last(folder)[:-_KEEP]:
        old.unlink(missing_ok=True)
    return oldest_checkpoint(folder)


def oldest_checkpoint(folder: Path) -> int:
    """Offset that the oldest checkpoint stands for; 0 if there is none."""
    return min((parse_checkpoint(path.name)[1] for path in _newest_last(folder)), default=0)


def load_checkpoint(
    folder: Path, segments: Sequence[Segment] = ()
) -> tuple[int, dict[str, NDArray[Any]]] | None:
    """The newest checkpoint that can be read and counts, as (offset, arrays); None if there is none.

    Args:
        folder: of the checkpoints.
        segments: of the journal, by which is known where it was taken over.
    """
    for path in reversed(_newest_last(folder)):
        token, offset = parse_checkpoint(path.name)
        if any(one.token > token and one.first < offset for one in segments):
            continue
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            continue
        if int(arrays.pop("format", -1)) == FORMAT:
            return int(arrays.pop("offset")), arrays
    return None
