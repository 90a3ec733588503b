"""A database file with the newest schema, migrated once a process and copied for each test."""

import functools
import shutil
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from hub.ports.database.engine import migrate, open_engine

_PREFIX = "sqlite:///"


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the template is, until the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="homeport-template-")
    engine = open_engine(f"{_PREFIX}{folder.name}/empty.db")
    migrate(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return folder


def open_migrated(url: str) -> Engine:
    """Open a new database with the newest schema; one of PostgreSQL has it already."""
    if url.startswith(_PREFIX):
        shutil.copy(Path(_folder().name) / "empty.db", url.removeprefix(_PREFIX))
    return open_engine(url)
