"""The manifest: which files are the store, and how much of each journal they hold.

1. It is replaced whole (write, sync, rename, sync of the folder); readers see one or the other.
2. A sample is in the files if its block is below the journal's `offset`, else in the journal.
3. Files no longer named stay in `retired` until readers of older manifests have surely finished.
What must never live here: reading or writing the files it names.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from hub.errors import StorageError
from hub.ports.journal.durability import write_whole

MANIFEST_NAME = "manifest.json"
VERSION = 2
"""1 had no rollups, floors and erasures; what it says is read as a store without any."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One live Parquet file.

    Args:
        name: within the store folder.
        samples: number of entries.
        rows: number of rows those belong to (entries with `FIRST_OF_ROW`).
        min_slot: least device slot.
        max_slot: greatest device slot.
        min_time: least time, ns since 1970 UTC.
        max_time: greatest time, ns since 1970 UTC.
        size: bytes.
        rolled: bits of the levels (`levels.Level.bit`) that hold its samples too.
    """

    name: str
    samples: int
    rows: int
    min_slot: int
    max_slot: int
    min_time: int
    max_time: int
    size: int
    rolled: int = 0


@dataclass(frozen=True, slots=True)
class RollupFile:
    """One live file of aggregates.

    Args:
        name: within the store folder.
        level: name of its level.
        entries: number of aggregates.
        min_slot: least device slot.
        max_slot: greatest device slot.
        min_time: beginning of the earliest bucket, ns since 1970 UTC.
        max_time: beginning of the latest bucket, ns since 1970 UTC.
        size: bytes.
    """

    name: str
    level: str
    entries: int
    min_slot: int
    max_slot: int
    min_time: int
    max_time: int
    size: int


@dataclass(frozen=True, slots=True)
class Retired:
    """A file no manifest names any more.

    Args:
        name: within the store folder.
        since: when it was replaced, ns since 1970 UTC.
    """

    name: str
    since: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The state of the store.

    Args:
        generation: rises by one with each replacement.
        journals: offset up to which each journal, by folder name, is in the files.
        files: live Parquet files, oldest first.
        latest: live files of latest values, oldest first.
        retired: files that wait for deletion.
        rollups: live files of aggregates, oldest first.
        floors: file that says from when on what is kept; empty: everything is.
        erased: the greatest id of an order (`tombstones`) that was carried out, with all before.
    """

    generation: int = 0
    journals: dict[str, int] = field(default_factory=dict)
    files: tuple[DataFile, ...] = ()
    latest: tuple[str, ...] = ()
    retired: tuple[Retired, ...] = ()
    rollups: tuple[RollupFile, ...] = ()
    floors: str = ""
    erased: int = 0

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a store; a store without one is empty.

        Raises:
            StorageError: it is damaged or of another version.
        """
        path = folder / MANIFEST_NAME
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise StorageError(f"{path.name} cannot be read: {error.strerror}.") from error
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("version") not in {1, VERSION}:
                raise StorageError(
                    f"{path.name} is of another version than this hub's store; "
                    "run the version that wrote it, or migrate the store.",
                )
            return cls(
                generation=data["generation"],
                journals=data["journals"],
                files=tuple(DataFile(**entry) for entry in data["files"]),
                latest=tuple(data["latest"]),
                retired=tuple(Retired(**entry) for entry in data["retired"]),
                rollups=tuple(RollupFile(**entry) for entry in data.get("rollups", ())),
                floors=data.get("floors", ""),
                erased=data.get("erased", 0),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path.name} is damaged ({error}); restore it and the files beside it "
                "from a backup.",
                file=path.name,
            ) from error

    def write(self, folder: Path) -> None:
        """Put this manifest in force.

        Raises:
            OSError: the one before is still in force, or it is not known which will be.
        """
        write_whole(folder / MANIFEST_NAME, self.encoded())

    def encoded(self) -> bytes:
        """Return the content of its file."""
        return json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":")).encode()

    def live(self) -> tuple[str, ...]:
        """Every file that a query may need."""
        floors = (self.floors,) if self.floors else ()
        rollups = (file.name for file in self.rollups)
        return (*(file.name for file in self.files), *rollups, *self.latest, *floors)

    def names(self) -> set[str]:
        """Every file that must not be deleted yet."""
        return set(self.live()) | {r.name for r in self.retired}


def renew_manifest(folder: Path) -> None:
    """Write the manifest of a store as this version writes it; a store without one stays so.

    Raises:
        StorageError: it is damaged or newer.
        OSError: it could not be written; the old one is in force.
    """
    if (folder / MANIFEST_NAME).exists():
        Manifest.read(folder).write(folder)
