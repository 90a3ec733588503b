"""Files that hold secrets: private keys, tokens, broker credentials.

1. A file is born whole and with mode 0600: written beside its place, synced, then moved there.
2. Its folder is born with mode 0700.
3. Nothing here logs or returns a secret in an error.
"""

import os
import secrets
from pathlib import Path

from hub.errors import StorageError
from hub.ports.journal.durability import make_folder, sync_file, sync_folder


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700; one that exists is left as it is."""
    make_folder(folder)


def create_private(path: Path, data: bytes) -> bool:
    """Create a secret file unless it exists; of two processes that race, one wins whole.

    Returns:
        True if this call made the file, False if it was there already (and is untouched).
    """
    staged = _stage(path, data)
    try:
        os.link(staged, path)
    except FileExistsError:
        return False
    finally:
        staged.unlink()
    sync_folder(path.parent)
    return True


def replace_private(path: Path, data: bytes) -> None:
    """Write a secret file, replacing what was there in one step."""
    _stage(path, data).replace(path)
    sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """Read a secret file.

    Raises:
        StorageError: it cannot be read, or others than its owner may read it.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise StorageError(
                    f"The secret file {path} may be read by others than its owner. "
                    f"Replace the secret if that matters, then run: chmod 600 {path}",
                    path=str(path),
                )
            return file.read()
    except OSError as error:
        raise StorageError(
            f"The secret file {path} cannot be read: {error.strerror}.", path=str(path)
        ) from error


def _stage(path: Path, data: bytes) -> Path:
    make_folder(path.parent)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        sync_file(file.fileno())
    return staged
