"""PostgreSQL, opened so that a session on it promises what one on SQLite does.

1. Writers queue: a writing transaction begins by taking one advisory lock, so what it reads before
   it writes stays true until it commits. A writer that waits too long fails, as with SQLite.
2. A reading transaction is `REPEATABLE READ, READ ONLY`: one consistent state, and no writing.
3. A commit returns when it is on disk, whatever the server's default says.
4. Text sorts by code point (locale C), as in SQLite: pages and prefix searches rely on it, and no
   change of the system's collations can ever break an index.
What must never live here: tables or queries; they are the same for both databases.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from hub.errors import StorageError

LOCK_TIMEOUT_MS: Final = 10_000
CONNECT_TIMEOUT_S: Final = 10
WRITER_LOCK: Final = int.from_bytes(b"homeport", "big")
"""Key of the advisory lock; of this database alone, as advisory locks are."""

_SORTED_BY_CODE_POINT: Final = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8"})
_OLDEST: Final = 130_000
"""Server version 13: older ones get no fixes any more. The tests run 15."""


def open_engine(url: URL, *, writes: Callable[[Connection], bool]) -> Engine:
    """Open a database. Nothing is sent to the server before the first session.

    Args:
        url: of PostgreSQL; the driver is psycopg 3 unless the address names another.
        writes: tells whether the transaction that begins on a connection is a writing one.
    """
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(
        url,
        pool_pre_ping=True,
        # Set by rule 1 and 2 for each transaction; the driver then sends no setting of its own.
        isolation_level="READ COMMITTED",
        json_serializer=_json,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c synchronous_commit=on -c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC",
        },
    )

    def begin(connection: Connection) -> None:
        if writes(connection):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    event.listen(engine, "begin", begin)
    return engine


def check(engine: Engine) -> None:
    """Refuse a database on which the hub would not work right.

    Raises:
        StorageError: it cannot be reached, is too old, is not in UTF-8, or sorts by a language.
    """
    try:
        with engine.connect() as connection:
            version = int(connection.scalar(text("SHOW server_version_num")) or 0)
            found = connection.execute(
                text(
                    "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database "
                    "WHERE datname = current_database()"
                )
            ).one()
    except OperationalError as error:
        raise StorageError(
            f"PostgreSQL cannot be reached: {_first_line(error)}. Check the setting database.url "
            "and that the server runs."
        ) from error
    if version < _OLDEST:
        raise StorageError(
            f"PostgreSQL {version // 10_000} is too old for the hub; it needs "
            f"{_OLDEST // 10_000} or later."
        )
    encoding, collation = found
    if encoding != "UTF8" or collation not in _SORTED_BY_CODE_POINT:
        raise StorageError(
            f"The database has encoding {encoding} and locale {collation}; the hub needs UTF8 and C. "
            "Make it with: createdb --template=template0 --encoding=UTF8 --locale=C NAME"
        )


def _json(value: Any) -> str:
    """Write a document; NaN and infinities, which JSON has not, become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _first_line(error: OperationalError) -> str:
    """Say what the driver said; it names host and user, never the password."""
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0].rstrip(".")
