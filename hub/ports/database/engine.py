"""Opens the relational database and hands out sessions on it.

1. SQLite: WAL, synchronous=FULL, foreign keys on, a busy timeout; the file is created mode 0600.
2. A writing session takes the write lock when it begins (BEGIN IMMEDIATE), so two writers queue
   instead of failing half-way; a reading session sees one consistent state and cannot write.
3. A writing session commits when its block ends well and rolls back when it does not.
4. PostgreSQL URLs work the same way; there the reading session is a read-only transaction.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

from hub.ports.database import schema
from hub.ports.journal.durability import make_folder

BUSY_TIMEOUT_MS = 10_000
_WRITES = "homeport_writes"
_listeners: WeakKeyDictionary[Engine, list[Callable[[Mapping[Any, Any]], None]]] = (
    WeakKeyDictionary()
)


def open_engine(url: str) -> Engine:
    """Open a database.

    Args:
        url: an SQLAlchemy URL, such as `sqlite:////var/lib/homeport/homeport.db`.

    Returns:
        An engine whose sessions come from `read_session` and `write_session`.
    """
    schema.METADATA.sorted_tables  # noqa: B018  every table is known before the first session
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed, pool_pre_ping=True)
        event.listen(engine, "begin", _begin_elsewhere)
        return engine
    if parsed.database and parsed.database != ":memory:":
        _create_private(Path(parsed.database))
    engine = create_engine(parsed)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def read_session(engine: Engine) -> Iterator[Session]:
    """A session that only reads; it sees one state of the database throughout."""
    with Session(engine, expire_on_commit=False, autoflush=False) as session:
        yield session


@contextmanager
def write_session(engine: Engine) -> Iterator[Session]:
    """A session that holds the write lock; commits at the end, rolls back on any exception."""
    writing = engine.execution_options(**{_WRITES: True})
    with Session(writing, expire_on_commit=False) as session:
        try:
            yield session
        except BaseException:
            session.rollback()
            raise
        session.commit()
    for hear in _listeners.get(engine, ()):
        hear(session.info)


def after_commit(engine: Engine, hear: Callable[[Mapping[Any, Any]], None]) -> None:
    """Call `hear` with `session.info` after each writing session that ended well.

    It runs on the thread that wrote, must not raise, and does not run if anything failed.
    """
    _listeners.setdefault(engine, []).append(hear)


def migrate(engine: Engine) -> None:
    """Bring the database to the newest schema; does nothing when it is there already."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.execution_options(**{_WRITES: True}).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _create_private(path: Path) -> None:
    """Create the file mode 0600 before SQLite would create it readable for all."""
    make_folder(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: _begin_sqlite does, with the right kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    # query_only is per connection and the pool shares connections: set it at each begin.
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_elsewhere(connection: Connection) -> None:
    if not connection.get_execution_options().get(_WRITES, False):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
