"""Reads a backup whole and says whether a hub can be made of it.

1. Every byte is hashed; the database is opened and checked; every journal block is checked by its CRC, its journals
   are without gaps and reach as far as store, checkpoints and database say; files of the store are those that its
   manifest names; authority and keys can be read and fit.
2. At most one file of the backup is on disk at a time, in a folder that goes away.
What must never live here: a clock; how old it is, is for the caller to say.
"""

import itertools
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from hub.errors import HubError, StorageError
from hub.pipeline.checkpoint import parse_checkpoint
from hub.ports.archive.bundle import opened
from hub.ports.database.duplicate import version_of
from hub.ports.database.engine import versions
from hub.ports.journal.segments import (
    SEGMENT_HEADER_SIZE,
    Segment,
    intact_header,
    parse_name,
    read_created_ns,
)
from hub.ports.store.manifest import MANIFEST_NAME, Manifest
from hub.services.generations import FILE as GENERATIONS
from hub.services.pki import CertificateAuthority
from hub.services.signing_keys import FIRST, RING, SigningKeys, load_pepper

FORMATS: Final = frozenset({1})
_DATABASE: Final = "homeport.db"
_FIRST_AUTHORITY: Final = ("pki/ca.key", "pki/ca.pem")
_KEY_FOLDERS: Final = ("pki/", "keys/")


@dataclass(slots=True)
class Findings:
    """What an examination of a backup found; made only if it is good.

    Attributes:
        about: what the backup says of itself.
        files: how many.
        size: bytes of them together.
        blocks: journal blocks read.
        samples: samples in the store's files.
    """

    about: dict[str, Any] = field(default_factory=dict)
    files: int = 0
    size: int = 0
    blocks: int = 0
    samples: int = 0

    @property
    def taken_ns(self) -> int:
        """When it was taken, ns since 1970 UTC."""
        return int(self.about["taken_ns"])


def examine(path: Path, passphrase: bytes | None = None) -> Findings:
    """Read a backup whole.

    Args:
        path: of the backup.
        passphrase: if it is sealed.

    Raises:
        InvalidInputError: it cannot be opened: no such file, or not with this passphrase.
        StorageError: it is damaged, or of a newer format; says what and where.
    """
    with (
        opened(path, passphrase) as bundle,
        tempfile.TemporaryDirectory(prefix=".verify-", dir=path.parent) as scratch,
    ):
        readable(bundle.about)
        found = _Reading(Path(scratch))
        for name, size, content in bundle.files():
            found.take(name, size, content)
        return found.judge(bundle.about)


def readable(about: dict[str, Any]) -> None:
    """Refuse a backup of a format that this program does not know.

    Raises:
        StorageError: it is newer.
    """
    if about.get("format") not in FORMATS or about.get("schema") not in versions():
        raise StorageError(
            f"The backup has format {about.get('format')} and schema {about.get('schema')}, written by Homeport "
            f"{about.get('version')}, which is newer than this one. Use that version, or a later one."
        )


class _Reading:
    """What was read so far."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._names: set[str] = set()
        self._ends: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._checkpoints: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._cursors: dict[str, int] = {}
        self._manifest = Manifest()
        self._schema = ""
        self._found = Findings()

    def take(self, name: str, size: int, content: IO[bytes]) -> None:
        """Look at one file, as it passes by."""
        self._names.add(name)
        self._found.files += 1
        self._found.size += size
        folder, _, leaf = name.rpartition("/")
        if name == _DATABASE:
            self._database(content)
        elif name.startswith(_KEY_FOLDERS):
            _keep(self._scratch / name, content)
        elif leaf.endswith(".hpj"):
            self._segment(folder, Path(leaf), content)
        elif leaf.endswith(".checkpoint"):
            self._checkpoints[folder.rpartition("/")[2]].append(parse_checkpoint(leaf))
        elif name == f"store/{MANIFEST_NAME}":
            _keep(self._scratch / name, content)
            self._manifest = Manifest.read(self._scratch / "store")
        elif leaf.endswith(".parquet"):
            self._parquet(name, content)

    def judge(self, about: dict[str, Any]) -> Findings:
        """Look at what only all files together can tell.

        Raises:
            StorageError: they do not fit together.
        """
        if not self._schema:
            raise StorageError("The backup has no database, or one without a schema.")
        self._keys()
        ends = {folder: self._contiguous(folder) for folder in self._ends}
        for offset, wanted in self._wanted():
            first, end = ends.get(wanted, (0, 0))
            if not first <= offset <= end:
                raise StorageError(
                    f"The journal {wanted} in the backup reaches from {first} to {end}; what refers "
                    f"to it is at {offset}. Use another backup."
                )
        missing = {f"store/{name}" for name in self._manifest.names()} - self._names
        if missing:
            raise StorageError(f"The backup lacks {min(missing)} of the store. Use another backup.")
        self._found.about = about
        self._found.samples = sum(one.samples for one in self._manifest.files)
        return self._found

    def _wanted(self) -> Iterator[tuple[int, str]]:
        """Yield the offsets at which a restored hub begins to read, with the journal."""
        for name, offset in self._manifest.journals.items():
            yield offset, f"journal/{name}"
        for name, found in self._checkpoints.items():
            yield max(found)[1], f"journal/{name}"
        for name, offset in self._cursors.items():
            yield offset, name

    def _database(self, content: IO[bytes]) -> None:
        path = self._scratch / _DATABASE
        _keep(path, content)
        self._schema = version_of(path)
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT name, offset FROM cursor").fetchall()
        self._cursors = {str(name): int(offset) for name, offset in rows}
        path.unlink()

    def _segment(self, folder: str, leaf: Path, content: IO[bytes]) -> None:
        path = self._scratch / leaf
        _keep(path, content)
        data = memoryview(path.read_bytes())
        segment = Segment(*(parse_name(leaf.name) or (0, 0)), path)
        read_created_ns(segment)
        path.unlink()
        blocks, position = data[SEGMENT_HEADER_SIZE:], 0
        while header := intact_header(blocks, position, segment.first + position):
            position = header.end - segment.first
            self._found.blocks += 1
        if position != len(blocks):
            raise StorageError(
                f"{folder}/{leaf} in the backup is damaged at offset {segment.first + position}. "
                "The journal was damaged already when the backup was taken, unless hashes differ too."
            )
        self._ends[folder].append((segment.first, segment.first + position))

    def _parquet(self, name: str, content: IO[bytes]) -> None:
        path = self._scratch / "file.parquet"
        _keep(path, content)
        try:
            rows = pq.ParquetFile(path).metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{name} in the backup cannot be read: {error}.") from error
        finally:
            path.unlink()
        leaf = name.rpartition("/")[2]
        wanted = next((one.samples for one in self._manifest.files if one.name == leaf), None)
        if wanted is not None and rows != wanted:
            raise StorageError(f"{name} holds {rows} samples, the store's manifest says {wanted}.")

    def _contiguous(self, folder: str) -> tuple[int, int]:
        spans = sorted(self._ends[folder])
        for (_, end), (first, _) in itertools.pairwise(spans):
            if end != first:
                raise StorageError(f"{folder} in the backup has a gap from {end} to {first}.")
        return spans[0][0], spans[-1][1]

    def _keys(self) -> None:
        """Open authority and keys as a hub does; nothing may be missing, or it would be made anew."""
        signing = RING if f"keys/{RING}" in self._names else FIRST
        pki = (f"pki/{GENERATIONS}",) if f"pki/{GENERATIONS}" in self._names else _FIRST_AUTHORITY
        for name in (*pki, f"keys/{signing}", "keys/claim-codes.key"):
            if name not in self._names:
                raise StorageError(
                    f"The backup lacks {name}: devices would not know the hub again."
                )
        try:
            CertificateAuthority.load_or_create(self._scratch / "pki", 0)
            SigningKeys.load(self._scratch / "keys")
            load_pepper(self._scratch / "keys")
        except HubError as error:
            raise StorageError(f"A key in the backup cannot be used. {error.detail}") from error


def _keep(path: Path, content: IO[bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as file:
        path.chmod(0o600)
        shutil.copyfileobj(content, file, 1 << 20)
