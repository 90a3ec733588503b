"""The SQLite file under a spool: its tables, how it is opened, and what becomes of a damaged one.

1. Every commit is on the disk when it returns (WAL, synchronous=FULL).
2. A file opened twice is refused; a damaged one is put aside, never deleted, and a fresh one takes its place.
3. A file of an earlier version is brought to this one when it is opened.
"""

import os
import sqlite3
from pathlib import Path

from device_sdk.errors import SpoolError
from device_sdk.wire.pack import pack_hash

VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS pack (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream BLOB NOT NULL,
    first INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    data BLOB NOT NULL,
    hash BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS pack_by_seq ON pack (stream, first);
CREATE TABLE IF NOT EXISTS stream (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    stream BLOB NOT NULL UNIQUE,
    next INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS lost (
    stream BLOB NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS handled (id BLOB NOT NULL UNIQUE, at INTEGER NOT NULL);
"""
_FROM_0 = """
BEGIN IMMEDIATE;
ALTER TABLE pack ADD COLUMN hash BLOB NOT NULL DEFAULT x'';
UPDATE pack SET hash = pack_hash(data);
PRAGMA user_version = 2;
COMMIT;
"""
_FROM_1 = """
BEGIN IMMEDIATE;
CREATE TABLE streams_kept (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    stream BLOB NOT NULL UNIQUE,
    next INTEGER NOT NULL
);
INSERT INTO streams_kept SELECT ordinal, stream, next FROM stream;
DROP TABLE stream;
ALTER TABLE streams_kept RENAME TO stream;
PRAGMA user_version = 2;
COMMIT;
"""


def open_file(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """Open the file of a spool, and a fresh one in its place if it is damaged.

    Args:
        path: the file; made with mode 0600 if it is not there.

    Returns:
        The connection, and where a damaged file was put.

    Raises:
        SpoolError: it is in use, cannot be read or written, or a later version wrote it.
    """
    try:
        return _connect(path), None
    except sqlite3.OperationalError as error:
        raise SpoolError(
            f"The spool {path} cannot be opened: {error}. Is another process using this folder?"
        ) from error
    except sqlite3.DatabaseError:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _connect(path), aside


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    db = sqlite3.connect(path, timeout=0.2, check_same_thread=False)
    try:
        # Exclusive before WAL: no shared-memory file, and a second opener fails at once.
        for setting in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = FULL",
            "cache_size = -512",
        ):
            db.execute(f"PRAGMA {setting}")
        _check_whole(db)
        _bring_up_to_date(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _check_whole(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("quick_check failed")


def _bring_up_to_date(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SpoolError(
            f"The spool {path} was written by a later version of the SDK. Update the SDK, or put "
            "the file aside (rows in it without receipt stay behind)."
        )
    if version == 0:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'pack'").fetchone():
            db.create_function("pack_hash", 1, pack_hash, deterministic=True)
            db.executescript(_FROM_0)
        else:
            db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {VERSION};COMMIT;")
    elif version == 1:
        db.executescript(_FROM_1)
