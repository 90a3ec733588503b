"""Takes a backup of a hub, running or not, and checks it before it gets its name.

1. What is copied is one moment of the hub; see `moment`.
2. What the backup is stands in its first member, so that its age and version are known without reading all of it.
3. A backup that cannot be read back is no backup: it is read whole before it appears.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, text

from hub.app.backup.check import Findings, examine
from hub.app.backup.moment import Moment, Pinned, pinned
from hub.config import Settings
from hub.errors import DiskFullError
from hub.ports.archive.bundle import BundleWriter, written
from hub.ports.database.duplicate import duplicate
from hub.ports.journal.durability import free_bytes, make_folder
from hub.services.identity import stored_incarnation

FORMAT: Final = 1
DATABASE: Final = "homeport.db"


@dataclass(frozen=True, slots=True)
class Source:
    """The hub that a backup is made of.

    Attributes:
        settings: its settings.
        engine: its database.
        version: of the program.
        octets: source of random bytes, for sealing.
    """

    settings: Settings
    engine: Engine
    version: str
    octets: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class About:
    """What the first member of a backup says.

    Attributes:
        format: of backups, 1.
        taken_ns: when, ns since 1970 UTC.
        taken: the same for people.
        version: of the program that took it.
        schema: of the database.
        incarnation: of the hub, hex.
        journals: first and end offset of each journal, by folder.
        store: generation of the store, and the journal offsets up to which it holds rows.
    """

    format: int
    taken_ns: int
    taken: str
    version: str
    schema: str
    incarnation: str
    journals: dict[str, tuple[int, int]]
    store: dict[str, Any]


def take(source: Source, path: Path, now_ns: int, passphrase: bytes | None = None) -> Findings:
    """Take a backup.

    Args:
        source: the hub.
        path: of the backup; must not exist.
        now_ns: the present time, ns since 1970 UTC.
        passphrase: seals it; None leaves it plain.

    Returns:
        What reading it back found.

    Raises:
        InvalidInputError: `path` exists.
        StorageError: the hub's files are damaged, or what was written cannot be read back.
        OSError: the disk refused.
    """
    make_folder(path.parent)
    seen: list[Findings] = []
    with pinned(source.settings, source.engine) as moment:
        about = _about(source, moment, now_ns)
        _check_room(source.settings, moment, path.parent)
        with (
            written(
                path,
                asdict(about),
                time_s=now_ns // 1_000_000_000,
                passphrase=passphrase,
                octets=source.octets,
                check=lambda part: seen.append(examine(part, passphrase)),
            ) as bundle,
            tempfile.TemporaryDirectory(prefix=".backup-", dir=path.parent) as scratch,
        ):
            copy = Path(scratch) / DATABASE
            duplicate(moment.session, copy)
            moment.session.rollback()  # it would keep SQLite's log from being shortened
            with copy.open("rb") as file:
                bundle.add(DATABASE, file, copy.stat().st_size)
            copy.unlink()
            for one in sorted(moment.files, key=lambda file: file.path):
                _add(bundle, one)
    return seen[0]


def _about(source: Source, moment: Moment, now_ns: int) -> About:
    own = stored_incarnation(moment.session)
    schema = moment.session.scalar(text("SELECT version_num FROM alembic_version"))
    taken = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return About(
        format=FORMAT,
        taken_ns=now_ns,
        taken=taken.isoformat().replace("+00:00", "Z"),
        version=source.version,
        schema=str(schema),
        incarnation=own.hex() if own is not None else "",
        journals=moment.journals,
        store={"generation": moment.store.generation, "journals": moment.store.journals},
    )


def _check_room(settings: Settings, moment: Moment, folder: Path) -> None:
    """Refuse to begin what cannot end well, or would take the room that the hub itself needs."""
    database = settings.database_url.get_secret_value()
    needed = sum(one.size for one in moment.files)
    if database.startswith("sqlite:///"):  # once as it is, once in the archive
        needed += 2 * Path(database.removeprefix("sqlite:///")).stat().st_size
    # Reading it back unpacks one file at a time.
    needed += max((one.size for one in moment.files), default=0)
    if folder.stat().st_dev == settings.data_dir.stat().st_dev:
        needed += settings.ingest.reserve_bytes
    free = free_bytes(folder)
    if free < needed:
        raise DiskFullError(
            f"A backup into {folder} needs {needed / 1e6:.0f} MB there, and {free / 1e6:.0f} MB are free. "
            "Delete old backups, or name another disk."
        )


def _add(bundle: BundleWriter, one: Pinned) -> None:
    if one.descriptor < 0:
        bundle.add_bytes(one.path, one.data)
        return
    with open(one.descriptor, "rb", closefd=False) as file:
        file.seek(0)
        bundle.add(one.path, file, one.size)
