"""A duplicate of the relational database as one SQLite file, whatever the hub works on, and the way back.

1. A duplicate is one state of the database: that of the session it is made from.
2. From SQLite it is a copy page by page (the online backup API); from PostgreSQL row by row. So a duplicate
   of either can be put back into either.
3. A duplicate says by its schema version which program can read it.
What must never live here: tables or queries by name.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Integer, Table, func, insert, inspect, select, text
from sqlalchemy.orm import Session

from hub.errors import ConflictError, StorageError
from hub.ports.database import schema
from hub.ports.database.engine import migrate, open_engine, read_session, versions, write_session

_ROWS: Final = 2_000


def duplicate(session: Session, path: Path) -> None:
    """Write the state that a reading session sees into a new SQLite file, mode 0600.

    Args:
        session: a reading session.
        path: where the file goes; must not exist.

    Raises:
        StorageError: a PostgreSQL database has another schema than this program's.
        OSError: the disk refused.
    """
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        _copy_pages(connection, path)
        return
    found = str(connection.scalar(text("SELECT version_num FROM alembic_version")))
    if found != versions()[-1]:
        raise StorageError(
            f"The database has schema {found}, this program writes {versions()[-1]}. Make the backup "
            "with the version of Homeport that the hub runs."
        )
    engine = open_engine(f"sqlite:///{path}")
    try:
        migrate(engine)
        with write_session(engine) as target:
            _copy_rows(connection, target.connection())
    finally:
        engine.dispose()
    _close_log(path)


def put_back(path: Path, engine: Engine) -> None:
    """Put a duplicate into a PostgreSQL database, which must be empty.

    Args:
        path: of the duplicate; brought to this program's schema if it is older.
        engine: of the database.

    Raises:
        ConflictError: the database has tables.
    """
    if inspect(engine).get_table_names():
        raise ConflictError(
            "The database of the settings is not empty. Make a new one, or drop its tables, and "
            "restore again."
        )
    source = open_engine(f"sqlite:///{path}")
    try:
        migrate(source)
        migrate(engine)
        with read_session(source) as old, write_session(engine) as new:
            _copy_rows(old.connection(), new.connection())
            _go_on_counting(new.connection())
    finally:
        source.dispose()


def version_of(path: Path) -> str:
    """Return the schema version of a duplicate, after looking for damage.

    Raises:
        StorageError: it is damaged, or no database of a hub.
    """
    try:
        address = f"file:{quote(str(path))}?immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            said = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if said != "ok":
                raise StorageError(f"The database in the backup is damaged: {said}.")
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            if broken is not None:
                raise StorageError(f"The database in the backup lacks what {broken[0]} refers to.")
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"The database in the backup cannot be read: {error}.") from error
    return str(row[0]) if row else ""


def _copy_pages(connection: Connection, path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    source: Any = connection.connection.driver_connection
    with closing(sqlite3.connect(path)) as target:
        source.backup(target)  # within the transaction that the session has begun: its state
    _close_log(path)


def _close_log(path: Path) -> None:
    """Make it one file, without a write-ahead log; the hub opens it with one again."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _copy_rows(source: Connection, target: Connection) -> None:
    for table in schema.METADATA.sorted_tables:
        target.execute(table.delete())  # rows that the migrations made
    for table in schema.METADATA.sorted_tables:
        result = source.execution_options(yield_per=_ROWS).execute(select(table))
        for rows in result.mappings().partitions(_ROWS):
            target.execute(insert(table), [dict(row) for row in rows])


def _go_on_counting(connection: Connection) -> None:
    """Let PostgreSQL number new rows behind those that were put in."""
    for table in schema.METADATA.sorted_tables:
        column = _counted(table)
        if column is None:
            continue
        sequence = connection.scalar(select(func.pg_get_serial_sequence(table.name, column)))
        most = connection.scalar(select(func.max(table.c[column])))
        if sequence is not None and most is not None:
            connection.execute(select(func.setval(sequence, most)))


def _counted(table: Table) -> str | None:
    """Name of the column that the database numbers by itself, if there is one."""
    column = table.autoincrement_column
    return column.name if column is not None and isinstance(column.type, Integer) else None
