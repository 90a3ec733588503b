"""Checkpoints of a worker: detector and settled streams, with the journal offset they stand for.

1. A checkpoint is taken between two micro-batches, after the findings log is synced: replaying from it loses nothing
   and finds the same findings again, under the same ids.
2. Written beside and renamed, then synced: a crash leaves the last good one.
3. The newest that can be read wins; a damaged one is passed over for an older one, at the price of a longer replay.
   So the journal must reach back to the oldest that is kept.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
_KEEP = 2


def save_checkpoint(folder: Path, offset: int, arrays: dict[str, NDArray[Any]]) -> int:
    """Write a checkpoint that stands for journal offset `offset`, and drop all but the newest two.

    Returns:
        Offset of the oldest one kept; the journal is needed from there on.

    Raises:
        OSError: the disk failed or is full; the older checkpoints are as they were.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{offset:020d}.checkpoint"
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
    for old in sorted(folder.glob("*.checkpoint"))[:-_KEEP]:
        old.unlink(missing_ok=True)
    return oldest_checkpoint(folder)


def oldest_checkpoint(folder: Path) -> int:
    """Offset that the oldest checkpoint stands for; 0 if there is none."""
    return min((int(path.stem) for path in folder.glob("*.checkpoint")), default=0)


def load_checkpoint(folder: Path) -> tuple[int, dict[str, NDArray[Any]]] | None:
    """The newest checkpoint that can be read, as (offset, arrays); None if there is none."""
    for path in sorted(folder.glob("*.checkpoint"), reverse=True):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            continue
        if int(arrays.pop("format", -1)) == FORMAT:
            return int(arrays.pop("offset")), arrays
    return None
