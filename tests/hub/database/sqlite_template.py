"""A database file with the newest schema, migrated once a process and copied for each test.

All of them share one dialect and one cache of compiled statements: an engine of its own would compile each
statement again in each test, which took longer than all else the tests do.
"""

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Dialect, Engine
from sqlalchemy.util import LRUCache

from hub.ports.database.engine import migrate, open_engine

_PREFIX = "sqlite:///"
_STATEMENTS = 10_000
_compiled: LRUCache[Any, Any] = LRUCache(_STATEMENTS)


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


@functools.cache
def _dialect() -> Dialect:
    """A dialect that knows what it connects to."""
    engine = open_engine("sqlite://")
    engine.connect().close()
    return engine.dialect


def open_sharing(url: str) -> Engine:
    """Open a database of SQLite that shares dialect and compiled statements with all others."""
    engine = open_engine(url)
    engine.dialect = _dialect()
    engine._compiled_cache = _compiled
    return engine


def open_migrated(url: str) -> Engine:
    """Open a new database with the newest schema; one of PostgreSQL has it already."""
    if not url.startswith(_PREFIX):
        return open_engine(url)
    shutil.copy(Path(_folder().name) / "empty.db", url.removeprefix(_PREFIX))
    return open_sharing(url)
