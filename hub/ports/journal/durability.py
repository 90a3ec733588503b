"""Getting bytes onto the disk for certain, and files that appear whole or not at all.

1. `sync_file` returns only when the device says that the bytes are safe; macOS needs F_FULLFSYNC.
2. A new or renamed file is durable only after its folder was synced as well.
3. Files are born with mode 0600 and folders with 0700.
What must never live here: retries. After a failed sync the kernel may have dropped the bytes.
"""

import errno
import fcntl
import os
import sys
from pathlib import Path

from hub.errors import ConflictError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
LOCK_NAME = "lock"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write fails with when a disk, a quota or the limit of a file's size is reached."""


def sync_file(fd: int) -> None:
    """Wait until the bytes of an open file are on disk.

    Raises:
        OSError: they may not be; never call this again for the same bytes.
    """
    if sys.platform == "darwin":  # fsync there stops at the drive's cache, fdatasync is missing
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk.

    Raises:
        OSError: they may not be.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to the disk of a folder.

    Raises:
        OSError: the folder is not there.
    """
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, mode 0700, and sync the names.

    Raises:
        OSError: it cannot be created.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    sync_folder(folder.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place, replacing an older one; after a crash it is one or the other, whole.

    Args:
        path: final name; `path` + `.tmp` is used on the way.
        data: all of its content.

    Raises:
        OSError: nothing was put in place, or the rename may not be durable yet.
    """
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        written = 0
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])
        sync_file(fd)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    temporary.replace(path)
    sync_folder(path.parent)


def lock_folder(folder: Path) -> int:
    """Take a folder for this process; the kernel gives it back when the process ends.

    Returns:
        The descriptor that holds the lock; close it to let go.

    Raises:
        ConflictError: another process, or another part of this one, has it.
        OSError: the lock file cannot be made.
    """
    fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise ConflictError(
            f"The folder {folder.name} is open for writing elsewhere; stop that process first.",
            folder=folder.name,
        ) from error
    return fd
