"""Which versions a data folder is written in, and whether this program may open it.

1. Every kind of file says its version by itself; here they are read side by side, without opening anything for use.
2. `format.json` names the version of the folder as a whole and the program that wrote it last: what a program does
   not know of, it cannot find in the parts that it knows.
3. Newer is refused, with words, by whatever opens the folder. Older is changed by `homeport upgrade`.
4. What can be made again (gate snapshots, a detector's memory) is never a reason to refuse.
What must never live here: changing anything but `format.json`.
"""

import json
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from analytics.records import LAYOUT
from analytics.snapshot import SnapshotError, opened
from hub.config import Settings
from hub.errors import ConflictError, StorageError
from hub.pipeline.checkpoint import FORMAT as CHECKPOINT
from hub.ports.database import engine as database
from hub.ports.journal.durability import write_whole
from hub.ports.journal.segments import SEGMENT_MAGIC, list_segments
from hub.ports.journal.segments import VERSION as SEGMENT
from hub.ports.store.manifest import MANIFEST_NAME
from hub.ports.store.manifest import VERSION as MANIFEST

FOLDER: Final = 1
"""Version of the data folder as a whole; a folder without `format.json` has this one too."""
MARK: Final = "format.json"
UNFINISHED: Final = ".restoring"
"""Folder within the data folder while a restore goes on."""
_SEGMENT_VERSION: Final = struct.Struct("<8sI")


class Age(StrEnum):
    """How a part's version compares with the program's."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    AFRESH = "afresh"
    """Of another version, but made again by itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of file in a data folder.

    Attributes:
        name: for people.
        found: version in the folder.
        known: version that this program writes.
        age: how they compare.
        steps: what an upgrade does, a line each.
    """

    name: str
    found: str
    known: str
    age: Age
    steps: tuple[str, ...] = ()


class NewerDataError(ConflictError):
    """A data folder was written by a newer program."""

    code = "newer-data"
    title = "The data folder is newer than this program"


class OlderDataError(ConflictError):
    """A data folder was written by an older program."""

    code = "older-data"
    title = "The data folder must be upgraded first"


def survey(settings: Settings) -> list[Part]:
    """Read the versions of all that a data folder holds; nothing if there is no hub in it.

    Raises:
        StorageError: a part is damaged, or the database cannot be asked.
    """
    if not settings.pki_dir.exists():
        return []
    return [part for part in _parts(settings) if part.found]


def refuse_newer(settings: Settings) -> None:
    """Refuse a data folder that this program does not understand.

    Raises:
        NewerDataError: a part of it is newer.
        ConflictError: a restore into it did not finish.
        StorageError: a part is damaged.
    """
    if (settings.data_dir / UNFINISHED).exists():
        raise ConflictError(
            f"A restore into {settings.data_dir} did not finish. Delete the folder and restore again."
        )
    newer = [part for part in survey(settings) if part.age is Age.NEWER]
    if newer:
        first = newer[0]
        raise NewerDataError(
            f"{settings.data_dir} was written by a newer version of Homeport{_writer(settings)}: its "
            f"{first.name} has version {first.found}, this program knows {first.known} and older. Nothing was changed. "
            "Run that version, or restore a backup taken by this one."
        )


def refuse_other(settings: Settings) -> None:
    """Refuse a data folder that a hub of this program must not run with.

    Raises:
        NewerDataError: a part of it is newer.
        OlderDataError: a part of it is older.
    """
    refuse_newer(settings)
    older = [part for part in survey(settings) if part.age is Age.OLDER]
    if older:
        first = older[0]
        raise OlderDataError(
            f"{settings.data_dir} was written by an older version of Homeport{_writer(settings)}: its "
            f"{first.name} has version {first.found}, this program's is {first.known}. "
            "Upgrade it, with a backup first: homeport upgrade"
        )


def mark(settings: Settings, version: str) -> None:
    """Note which program writes the folder from now on."""
    facts = {"format": FOLDER, "written_by": version}
    path = settings.data_dir / MARK
    text = json.dumps(facts).encode() + b"\n"
    if not path.exists() or path.read_bytes() != text:
        write_whole(path, text)


def _parts(settings: Settings) -> Iterator[Part]:
    found = _mark(settings).get("format", FOLDER)
    yield _numbered("data folder", int(found), FOLDER)
    yield _database(settings)
    for worker in range(settings.lanes):
        folders = {
            "journal": settings.journal_dir(worker),
            "findings log": settings.findings_dir(worker),
            "dead letters": settings.deadletters_dir(worker),
        }
        for name, folder in folders.items():
            versions = [_segment_version(segment.path) for segment in list_segments(folder)]
            if versions:
                yield _numbered(f"{name} {worker}", max(versions), SEGMENT)
        yield from _checkpoint(settings.detector_dir(worker), worker)
    yield from _store(settings.store_dir)


def _numbered(name: str, found: int, known: int) -> Part:
    age = Age.SAME if found == known else Age.NEWER if found > known else Age.OLDER
    return Part(name, str(found), str(known), age)


def _database(settings: Settings) -> Part:
    steps = database.steps()
    known = [version for version, _ in steps]
    found = _schema(settings)
    if found in ("", known[-1]):
        return Part("database", found, known[-1], Age.SAME)
    if found not in known:
        return Part("database", found, known[-1], Age.NEWER)
    missing = steps[known.index(found) + 1 :]
    words = tuple(f"{version}: {about}" for version, about in missing)
    return Part("database", found, known[-1], Age.OLDER, words)


def _schema(settings: Settings) -> str:
    """Version of the database's schema; empty if it has none yet."""
    url = settings.database_url.get_secret_value()
    if url.startswith("sqlite:///"):
        return _schema_of_file(Path(url.removeprefix("sqlite:///")))
    engine = database.open_engine(url)
    try:
        return database.schema_version(engine) or ""
    finally:
        engine.dispose()


def _schema_of_file(path: Path) -> str:
    """Ask SQLite without leave to write: opened for use, it would tidy up its log."""
    if not path.exists():
        return ""
    log = path.with_name(f"{path.name}-wal")
    mode = "mode=ro" if log.exists() else "immutable=1"  # else not even side files appear
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return ""
        raise StorageError(f"{path} cannot be read: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{path} is damaged: {error}. Restore it from a backup.") from error
    return str(row[0]) if row else ""


def _segment_version(path: Path) -> int:
    try:
        with path.open("rb") as file:
            magic, version = _SEGMENT_VERSION.unpack(file.read(_SEGMENT_VERSION.size))
    except FileNotFoundError:  # a running hub deletes those that are done with
        return 0
    except (OSError, struct.error) as error:
        raise StorageError(f"{path.name} has no valid segment header ({error}).") from error
    # Damage is for the journal itself to tell, when it is opened.
    return int(version) if magic == SEGMENT_MAGIC else SEGMENT


def _checkpoint(folder: Path, worker: int) -> Iterator[Part]:
    """Look at the newest checkpoint; one that is damaged is passed over when it is used."""
    for path in sorted(folder.glob("*.checkpoint"), reverse=True)[:1]:
        try:
            with np.load(path, allow_pickle=False) as file:
                yield _numbered(f"checkpoint {worker}", int(file["format"]), CHECKPOINT)
                layout = int(opened(file["detector"].tobytes())[0]["layout"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, SnapshotError):
            return
        age = Age.SAME if layout == LAYOUT else Age.AFRESH
        steps = () if age is Age.SAME else ("detection learns afresh what is usual",)
        yield Part(f"detector {worker}", str(layout), str(LAYOUT), age, steps)


def _store(folder: Path) -> Iterator[Part]:
    path = folder / MANIFEST_NAME
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        yield _numbered("store", int(facts["version"]), MANIFEST)
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is damaged ({error}); restore it from a backup.") from error


def _mark(settings: Settings) -> dict[str, Any]:
    path = settings.data_dir / MARK
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {"format": int(facts["format"]), "written_by": str(facts.get("written_by", ""))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged ({error}). Delete it if you know that this version of Homeport wrote the folder."
        ) from error


def _writer(settings: Settings) -> str:
    version = _mark(settings).get("written_by")
    return f" ({version})" if version else ""
