"""Makes a data folder of a backup.

1. Into an empty folder only. Everything is read, hashed and checked in a folder within it (`.restoring`) first and
   then moved up, the database last; a folder in which `.restoring` is left is refused by every command.
2. The hub becomes another incarnation, so that devices send again what they hold that the backup does not know.
3. Everything is synced before it counts.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from sqlalchemy import Engine

from hub.app.backup.check import Findings, examine, readable
from hub.app.erasure_list import Listed
from hub.app.formats import UNFINISHED
from hub.config import Settings
from hub.errors import ConflictError
from hub.ports.archive.bundle import opened
from hub.ports.database.duplicate import put_back
from hub.ports.database.engine import migrate, open_engine, write_session
from hub.ports.database.scrubbing import scrub
from hub.ports.journal.durability import FILE_MODE, make_folder, sync_file, sync_folder
from hub.ports.store.manifest import renew_manifest
from hub.services import erasure
from hub.services.identity import renew_incarnation
from hub.services.signing_keys import load_pepper
from hub.services.tokens import Tokens

_DATABASE: Final = "homeport.db"


def restore(
    path: Path,
    settings: Settings,
    now_ns: int,
    passphrase: bytes | None = None,
    database: Callable[[], Engine] | None = None,
    erasures: Sequence[Listed] = (),
) -> Findings:
    """Put a backup back.

    Args:
        path: of the backup.
        settings: name the data folder; it must be empty or not there.
        now_ns: the present time, ns since 1970 UTC.
        passphrase: if the backup is sealed.
        database: opens the PostgreSQL database into which its rows go, which must be empty; None keeps SQLite in the
            data folder.
        erasures: people who were erased since; they are again, before the hub can start.

    Raises:
        ConflictError: the folder or the database is not empty.
        InvalidInputError: the backup cannot be opened.
        StorageError: the backup is damaged; the folder is as empty as it was.
        OSError: the disk refused.
    """
    root = settings.data_dir
    if root.exists() and any(root.iterdir()):
        raise ConflictError(
            f"{root} is not empty. Restore into a new folder (--into), or move this one away first."
        )
    found = examine(path, passphrase)
    make_folder(root)
    stage = root / UNFINISHED
    make_folder(stage)
    try:
        _unpack(path, stage, passphrase)
        _declare(stage, now_ns, erasures)
        if database is not None:
            put_back(stage / _DATABASE, database())
            (stage / _DATABASE).unlink()
    except BaseException:
        shutil.rmtree(stage)
        raise
    _move_up(stage, root)
    return found


def _unpack(path: Path, stage: Path, passphrase: bytes | None) -> None:
    with opened(path, passphrase) as bundle:
        readable(bundle.about)
        for name, _, content in bundle.files():
            target = stage / name
            make_folder(target.parent)
            _write(target, content)
    for folder in sorted({file.parent for file in stage.rglob("*") if file.is_file()}):
        sync_folder(folder)


def _write(target: Path, content: IO[bytes]) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        file.flush()
        sync_file(file.fileno())


def _declare(stage: Path, now_ns: int, erasures: Sequence[Listed]) -> None:
    """Make it another incarnation of the hub, and erase again whoever was."""
    engine = open_engine(f"sqlite:///{stage / _DATABASE}")
    try:
        migrate(engine)
        with write_session(engine) as session:
            tokens = Tokens(load_pepper(stage / "keys"))
            renew_incarnation(session, now_ns, tokens)
            for one in erasures:
                erasure.again(session, one.id, one.person_id, now_ns, tokens)
        if erasures:
            scrub(engine)
    finally:
        engine.dispose()
    renew_manifest(stage / "store")
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            (stage / f"{_DATABASE}{suffix}").unlink()


def _move_up(stage: Path, root: Path) -> None:
    names = sorted(path.name for path in stage.iterdir())
    for name in sorted(names, key=lambda one: one == _DATABASE):
        (stage / name).rename(root / name)
    sync_folder(root)
    stage.rmdir()
    sync_folder(root)
