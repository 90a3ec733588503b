"""Small private files, written so that they are whole or not there, and never readable by others.

1. Folders are born with mode 0700 and files with 0600; modes are never repaired afterwards.
2. A file appears under its name only after its bytes are on the disk.
"""

import os
from pathlib import Path


def private_folder(path: Path) -> None:
    """Make the folder (mode 0700) if it does not exist."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, data: bytes, *, replace: bool = True) -> bool:
    """Write a file atomically with mode 0600.

    Args:
        path: where it shall stand.
        data: its bytes.
        replace: overwrite an existing file; if False an existing one stays as it is.

    Returns:
        Whether the file was written.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            scratch.replace(path)
        else:
            # A hard link fails if the name is taken, so of two processes only one key survives.
            os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        scratch.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
