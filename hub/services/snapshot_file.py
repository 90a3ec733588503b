"""Named arrays in files: published by one rename, read memory-mapped, changed by small patches.

1. A folder holds one file a version and the symbolic link `CURRENT` to the newest. Files never
   change; publishing a version is moving the link, so a reader sees the old or the new, whole.
2. Versions rise by one, also over restarts.
3. A version is whole, or a patch: rows that differ from the whole version that it names. Patches of
   one whole version add up, so a reader needs that one and the newest, whatever it missed.
4. Whole files are synced. Patches are not: their checksum finds those that a power failure tore, and
   whoever publishes begins with a whole version.
5. The newest `KEEP` versions stay, for readers that have just read the link, and the whole version
   that the newest is a patch of.

File: magic `HPSNAP1` and NUL, header length u32, CRC-32 of the header u32, header (JSON: version,
base, CRC-32 of a patch's arrays and, for each array, name, dtype, shape, offset), then the arrays
at multiples of 64 bytes. A patch has two arrays for each that it changes: `NAME@`, i64, the rows,
and `NAME`, what they hold now.
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

Arrays = Mapping[str, npt.NDArray[Any]]
Patch = Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version and its arrays, which live in private pages of a mapped file.

    Attributes:
        version: the version.
        base: the whole version that `arrays` were mapped from.
        arrays: by name, as they are in this version.
        changed: i64[K] by name, rows that were patched since `base`.
    """

    version: int
    base: int
    arrays: Arrays
    changed: Mapping[str, npt.NDArray[np.int64]]


def publish_snapshot(folder: Path, arrays: Arrays) -> int:
    """Write the next version, whole, and make it current. One process publishes in a folder.

    Args:
        folder: where; made with mode 0700 if missing.
        arrays: any shapes of little-endian numbers.

    Returns:
        The version.
    """
    make_folder(folder)
    version = (current_version(folder) or 0) + 1
    path = folder / _name(version)
    facts, offsets, size = _layout(version, version, arrays)
    with path.open("wb") as file:
        file.write(_head(facts))
        for name, offset in offsets.items():
            file.seek(offset)
            file.write(np.ascontiguousarray(arrays[name]).data)
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())
    _make_current(folder, version, version)
    sync_folder(folder)
    return version


def publish_patch(folder: Path, base: int, rows: Patch) -> int:
    """Write the next version as a patch of a whole one and make it current.

    Args:
        folder: where `base` was published.
        base: version of the whole one, the newest whole one.
        rows: by name of an array, the rows that differ from `base` and what they hold now.

    Returns:
        The version.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, (index, values) in rows.items():
        arrays[f"{name}@"], arrays[name] = index.astype(np.int64), values
    version = (current_version(folder) or 0) + 1
    facts, offsets, size = _layout(version, base, arrays)
    first = min(offsets.values(), default=size)
    content = bytearray(size - first)
    for name, offset in offsets.items():
        data = arrays[name].tobytes()
        content[offset - first : offset - first + len(data)] = data
    facts["checksum"] = zlib.crc32(content)
    (folder / _name(version)).write_bytes(_head(facts).ljust(first, b"\0") + content)
    _make_current(folder, version, base)
    return version


def _make_current(folder: Path, version: int, base: int) -> None:
    staged = folder / f"{_CURRENT}.new"
    staged.unlink(missing_ok=True)
    staged.symlink_to(_name(version))
    staged.replace(folder / _CURRENT)
    for old in sorted(folder.glob("*.snap"))[:-KEEP]:
        if old.name != _name(base):
            old.unlink(missing_ok=True)


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


def read_snapshot(folder: Path, before: Snapshot | None = None) -> Snapshot:
    """Map the newest version.

    The arrays may be written to without effect on the file or on other readers.

    Args:
        folder: where versions are published.
        before: an earlier one that the caller gives up. Where the newest is a patch of the same
            whole version its arrays are brought up to date and returned, which costs as much as
            differs.

    Raises:
        StorageError: there is none yet, or it is damaged.
    """
    missing, version = None, current_version(folder)
    while version is not None and version != missing:
        # A publisher may overtake us and remove what the link just named.
        with contextlib.suppress(FileNotFoundError):
            return _read(folder, version, before)
        missing, version = version, current_version(folder)
    raise StorageError(
        f"There is no snapshot in {folder}. The process `control` publishes one when it starts.",
        folder=str(folder),
    )


def _read(folder: Path, version: int, before: Snapshot | None) -> Snapshot:
    base, arrays = _map(folder / _name(version), version)
    if base == version:
        return Snapshot(version, version, arrays, {})
    if before is not None and before.base == base:
        whole = before.arrays
    else:
        _, whole = _map(folder / _name(base), base)
    changed = {name[:-1]: rows for name, rows in arrays.items() if name.endswith("@")}
    for name, rows in changed.items():
        whole[name][rows] = arrays[name]
    return Snapshot(version, base, whole, changed)


def _map(path: Path, version: int) -> tuple[int, Arrays]:
    """Return the whole version that a file belongs to, and the arrays in the file."""
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
    first = min((offset for *_, offset in facts["arrays"]), default=size)
    if facts["base"] != version and zlib.crc32(content[first:]) != facts["checksum"]:
        raise _damaged(path, "its checksum is wrong")
    arrays = {
        name: np.frombuffer(content, dtype, int(np.prod(shape)), offset).reshape(shape)
        for name, dtype, shape, offset in facts["arrays"]
    }
    return int(facts["base"]), arrays


def _layout(version: int, base: int, arrays: Arrays) -> tuple[dict[str, Any], dict[str, int], int]:
    """Return the facts of the header, the offset of each array, and the size of the file."""
    # Offsets depend on the header's length, so room is left for the largest numbers.
    room = 256 + sum(128 + len(name) for name in arrays)
    offset = _aligned(_PREFIX.size + room)
    offsets: dict[str, int] = {}
    for name, array in arrays.items():
        offsets[name] = offset
        offset = _aligned(offset + array.nbytes)
    facts = {
        "version": version,
        "base": base,
        "size": offset,
        "arrays": [
            [name, array.dtype.newbyteorder("<").str, list(array.shape), offsets[name]]
            for name, array in arrays.items()
        ],
    }
    return facts, offsets, offset


def _head(facts: dict[str, Any]) -> bytes:
    header = json.dumps(facts, separators=(",", ":")).encode()
    return _PREFIX.pack(_MAGIC, len(header), zlib.crc32(header)) + header


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
