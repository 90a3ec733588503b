"""A bundle: files in one tar archive, with the size and SHA-256 of each in its last member.

1. The first member, `about.json`, says what this is; the last, `files.json`, lists all others. A bundle without
   it is not whole.
2. Written and read in order, as a stream, so it may be sealed, piped or on tape; plain tar reads it too.
3. It appears under its name when all of it is on disk, mode 0600, or not at all.
What must never live here: what the files mean.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Final, cast

from hub.errors import InvalidInputError, StorageError
from hub.ports.archive.sealing import MAGIC, SealedReader, SealedWriter
from hub.ports.journal.durability import FILE_MODE, make_folder, sync_file, sync_folder

ABOUT: Final = "about.json"
FILES: Final = "files.json"
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """What `files.json` says of one file.

    Attributes:
        path: within the archive, with slashes.
        size: bytes.
        sha256: lower-case hex.
    """

    path: str
    size: int
    sha256: str


class BundleWriter:
    """Adds files to a bundle that is being written; see `written`."""

    def __init__(self, tar: tarfile.TarFile, time_s: int) -> None:
        self._tar = tar
        self._time_s = time_s
        self.listed: list[Listed] = []

    def add(self, path: str, source: IO[bytes], size: int) -> None:
        """Add the next `size` bytes of a file.

        Raises:
            StorageError: the source ended before.
        """
        info = tarfile.TarInfo(path)
        info.size, info.mode, info.mtime = size, FILE_MODE, self._time_s
        hashing = _Hashing(source)
        try:
            self._tar.addfile(info, cast("IO[bytes]", hashing))
        except OSError as error:
            if error.errno is not None:
                raise
            raise StorageError(f"{path} became shorter while it was read.") from error
        self.listed.append(Listed(path, size, hashing.hexdigest()))

    def add_bytes(self, path: str, data: bytes) -> None:
        """Add a file whose bytes are at hand."""
        self.add(path, io.BytesIO(data), len(data))


class _Hashing:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def written(
    path: Path,
    about: dict[str, Any],
    *,
    time_s: int,
    passphrase: bytes | None,
    octets: Callable[[int], bytes],
    check: Callable[[Path], None],
) -> Iterator[BundleWriter]:
    """Write a bundle in a block; it appears at its end, and not at all if the block raises.

    Args:
        path: where it is to appear; must not exist.
        about: what it is; JSON.
        time_s: time of all members, s since 1970 UTC.
        passphrase: seals it; None leaves it plain.
        octets: source of random bytes.
        check: called with the finished file before it gets its name; raises if it is not good.

    Raises:
        InvalidInputError: `path` exists.
        OSError: the disk refused.
    """
    if path.exists():
        raise InvalidInputError(f"{path} exists already. Give a new name, or the folder it is in.")
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            target: BinaryIO = file
            if passphrase is not None:
                target = cast("BinaryIO", SealedWriter(file, passphrase, octets))
            with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                bundle = BundleWriter(tar, time_s)
                bundle.add_bytes(ABOUT, _json(about))
                yield bundle
                files = [[one.path, one.size, one.sha256] for one in bundle.listed]
                bundle.add_bytes(FILES, _json({"files": files}))
            if passphrase is not None:
                target.close()
            file.flush()
            sync_file(file.fileno())
        check(part)
        os.link(part, path)  # never over another file, as a rename would
        sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


class Bundle:
    """A bundle that is being read, in order. Make one with `opened`.

    Attributes:
        about: what its first member says.
    """

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._seen: list[Listed] = []
        first = tar.next()
        if first is None or first.name != ABOUT:
            raise StorageError("This is no backup of Homeport.")
        self.about: dict[str, Any] = _object(self._whole(first))

    def files(self) -> Iterator[tuple[str, int, "IO[bytes]"]]:
        """Yield path, size and content of each file; its content must be read before the next one.

        After the last one, what was read is compared with the list of files.

        Raises:
            StorageError: something is missing, damaged, or was added.
        """
        listed = None
        while (info := self._tar.next()) is not None:
            if listed is not None:
                raise StorageError(f"{info.name} stands behind the end of the backup.")
            if info.name == FILES:
                listed = _object(self._whole(info, count=False))["files"]
                continue
            _check_name(info)
            content = _Hashing(self._open(info))
            yield info.name, info.size, cast("IO[bytes]", content)
            while content.read(_PIECE):
                pass
            self._seen.append(Listed(info.name, info.size, content.hexdigest()))
        self._compare(listed)

    def _compare(self, listed: Any) -> None:
        if listed is None:
            raise StorageError("The backup is cut off: its list of files is missing.")
        found = {one.path: one for one in self._seen}
        wanted = {path: Listed(path, size, sha256) for path, size, sha256 in listed}
        wrong = sorted(path for path in found | wanted if found.get(path) != wanted.get(path))
        if wrong:
            raise StorageError(
                f"The backup is damaged: {len(wrong)} files are not as they were written, "
                f"{wrong[0]} first. Use another backup."
            )

    def _whole(self, info: tarfile.TarInfo, *, count: bool = True) -> bytes:
        content = _Hashing(self._open(info))
        data = content.read()
        if count:
            self._seen.append(Listed(info.name, info.size, content.hexdigest()))
        return data

    def _open(self, info: tarfile.TarInfo) -> IO[bytes]:
        file = self._tar.extractfile(info) if info.isreg() else None
        if file is None:
            raise StorageError(f"{info.name} in the backup is no plain file.")
        return file


@contextmanager
def opened(path: Path, passphrase: bytes | None) -> Iterator[Bundle]:
    """Open a bundle for reading.

    Raises:
        InvalidInputError: there is no such file, it needs a passphrase and there is none, or it is wrong.
        StorageError: it is no bundle, or damaged; also raised while it is read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidInputError(f"The backup {path} cannot be read: {error.strerror}.") from error
    with file:
        sealed = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        if sealed and passphrase is None:
            raise InvalidInputError(
                f"{path.name} is encrypted. Name the file with its passphrase: --passphrase-file"
            )
        source: BinaryIO = file
        if sealed and passphrase is not None:
            source = cast("BinaryIO", io.BufferedReader(SealedReader(file, passphrase), _PIECE))
        try:
            with tarfile.open(fileobj=source, mode="r|") as tar:
                yield Bundle(tar)
        except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path.name} is no backup of Homeport, or damaged ({error}). Use another backup."
            ) from error


def _check_name(info: tarfile.TarInfo) -> None:
    """Refuse what would end up outside of the folder into which a bundle is put back."""
    parts = PurePosixPath(info.name).parts
    if info.name.startswith("/") or ".." in parts or not parts or "\\" in info.name:
        raise StorageError(f"The backup holds a file with an unsafe name: {info.name!r}.")


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise StorageError("The backup is damaged: it does not say what it is.")
    return value
