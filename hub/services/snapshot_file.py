"""Named arrays in a file: written once, published by one rename, read memory-mapped.

1. A folder holds one file a version and the symbolic link `CURRENT` to the newest. Files never
   change; publishing a version is moving the link, so a reader sees the old or the new, whole.
2. Versions rise by one, also over restarts.
3. The newest `KEEP` versions stay, for readers that have just read the link.

File: magic `HPSNAP1` and NUL, header length u32, CRC-32 of the header u32, header (JSON: version
and, for each array, name, dtype, shape, offset), then the arrays at multiples of 64 bytes.
"""

import contextlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hub.errors import StorageError
from hub.ports.journal.durability import make_folder, sync_folder

KEEP = 3
_CURRENT = "CURRENT"
_MAGIC = b"HPSNAP1\0"
_PREFIX = struct.Struct("<8sII")
_ALIGN = 64
_TRIES = 5

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version and its arrays, which live in private pages of the mapped file."""

    version: int
    arrays: Arrays


def publish_snapshot(folder: Path, arrays: Arrays) -> int:
    """Write the next version and make it current. One process publishes in a folder.

    Args:
        folder: where; made with mode 0700 if missing.
        arrays: any shapes of little-endian numbers.

    Returns:
        The version.
    """
    make_folder(folder)
    version = (current_version(folder) or 0) + 1
    path = folder / _name(version)
    header, offsets, size = _layout(version, arrays)
    with path.open("wb") as file:
        file.write(_PREFIX.pack(_MAGIC, len(header), zlib.crc32(header)) + header)
        for name, offset in offsets.items():
            file.seek(offset)
            file.write(np.ascontiguousarray(arrays[name]).tobytes())
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())
    staged = folder / f"{_CURRENT}.new"
    staged.unlink(missing_ok=True)
    staged.symlink_to(path.name)
    staged.replace(folder / _CURRENT)
    sync_folder(folder)
    for old in sorted(folder.glob("*.snap"))[:-KEEP]:
        old.unlink(missing_ok=True)
    return version


def current_version(folder: Path) -> int | None:
    """Return the newest version, None before the first; costs one system call.

    Raises:
        StorageError: the link does not name a version.
    """
    try:
        target = (folder / _CURRENT).readlink().name
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(folder / _CURRENT, str(error)) from error
    number, _, suffix = target.partition(".")
    if suffix != "snap" or not number.isdecimal():
        raise _damaged(folder / _CURRENT, f"it points to {target}")
    return int(number)


def read_snapshot(folder: Path) -> Snapshot:
    """Map the newest version.

    The arrays may be written to without effect on the file or on other readers.

    Raises:
        StorageError: there is none yet, or it is damaged.
    """
    for _ in range(_TRIES):
        version = current_version(folder)
        if version is None:
            break
        # A publisher may overtake us and remove what the link just named.
        with contextlib.suppress(FileNotFoundError):
            return _read(folder / _name(version), version)
    raise StorageError(
        f"There is no snapshot in {folder}. The process `control` publishes one when it starts.",
        folder=str(folder),
    )


def _read(path: Path, version: int) -> Snapshot:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _PREFIX.size:
            raise _damaged(path, "it is too short")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    magic, length, checksum = _PREFIX.unpack_from(content)
    header = content[_PREFIX.size : _PREFIX.size + length]
    if magic != _MAGIC or zlib.crc32(header) != checksum:
        raise _damaged(path, "its header is wrong")
    facts = json.loads(header)
    if facts["version"] != version or facts["size"] != size:
        raise _damaged(path, "it is not the version or size it should be")
    arrays = {
        name: np.frombuffer(content, dtype, int(np.prod(shape)), offset).reshape(shape)
        for name, dtype, shape, offset in facts["arrays"]
    }
    return Snapshot(version, arrays)


def _layout(version: int, arrays: Arrays) -> tuple[bytes, dict[str, int], int]:
    """Return the header, the offset of each array, and the size of the file."""
    # Offsets depend on the header's length, so room is left for the largest numbers.
    room = 256 + sum(128 + len(name) for name in arrays)
    offset = _aligned(_PREFIX.size + room)
    offsets: dict[str, int] = {}
    for name, array in arrays.items():
        offsets[name] = offset
        offset = _aligned(offset + array.nbytes)
    facts = {
        "version": version,
        "size": offset,
        "arrays": [
            [name, array.dtype.newbyteorder("<").str, list(array.shape), offsets[name]]
            for name, array in arrays.items()
        ],
    }
    return json.dumps(facts, separators=(",", ":")).encode(), offsets, offset


def _name(version: int) -> str:
    return f"{version:020d}.snap"


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGN) * _ALIGN


def _damaged(path: Path, why: str) -> StorageError:
    return StorageError(
        f"The snapshot {path} cannot be used: {why}. Remove its folder and restart the process "
        "`control`, which makes it anew from the database.",
        path=str(path),
    )
