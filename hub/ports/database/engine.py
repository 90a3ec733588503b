"""Opens the relational database and hands out sessions on it.

1. SQLite: WAL, synchronous=FULL, foreign keys on, a busy timeout; the file is created mode 0600.
2. A writing session takes the write lock when it begins (BEGIN IMMEDIATE), so two writers queue
   instead of failing half-way, those of one process in order (`write_turns`); a reading session sees
   one consistent state and cannot write.
3. A writing session commits when its block ends well and rolls back when it does not.
4. Inside of `one_transaction` all sessions of the thread are that one transaction.
5. PostgreSQL promises the same by its own means, see `postgresql.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError
from sqlalchemy.orm import Session

from hub.config import ConfigurationError
from hub.errors import InvalidInputError, StorageError
from hub.ports.database import postgresql, schema
from hub.ports.database.write_turns import WriteTurns
from hub.ports.journal.durability import make_folder

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_TIMEOUT_MS = 10_000
_WRITES = "homeport_writes"
_joined: ContextVar[tuple[Engine, Session] | None] = ContextVar("homeport_joined", default=None)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """Whose turn it is to write to an engine, and who hears of it; kept at it, as what hears may hold the engine."""

    begun: list[Callable[[Session], Callable[[], None]]] = field(default_factory=list)
    committed: list[Callable[[Mapping[Any, Any]], None]] = field(default_factory=list)
    ended: list[Callable[[Mapping[Any, Any]], None]] = field(default_factory=list)
    turns: WriteTurns = field(default_factory=WriteTurns)


def open_engine(url: str) -> Engine:
    """Open a database.

    Args:
        url: an SQLAlchemy URL, such as `sqlite:////var/lib/homeport/homeport.db` or
            `postgresql://homeport@db.example.org/homeport`.

    Returns:
        An engine whose sessions come from `read_session` and `write_session`.

    Raises:
        ConfigurationError: the URL names neither SQLite nor PostgreSQL.
    """
    schema.METADATA.sorted_tables  # noqa: B018  every table is known before the first session
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return postgresql.open_engine(parsed, writes=_is_writing)
    if parsed.database and parsed.database != ":memory:":
        _create_private(Path(parsed.database))
    engine = create_engine(parsed)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def read_session(engine: Engine) -> Iterator[Session]:
    """A session that only reads; it sees one state of the database throughout."""
    if (outer := _outer(engine)) is not None:
        outer.flush()
        yield outer
        return
    with _understood(), Session(engine, expire_on_commit=False, autoflush=False) as session:
        yield session
    for hear in _sessions(engine).ended:
        hear(session.info)


@contextmanager
def write_session(engine: Engine) -> Iterator[Session]:
    """A session that holds the write lock; commits at the end, rolls back on any exception.

    Raises:
        InvalidInputError: a value is none that the database can keep; nothing was changed.
    """
    if (outer := _outer(engine)) is not None:
        with _understood(), outer.begin_nested():
            yield outer
        return
    writing = engine.execution_options(**{_WRITES: True})
    sessions = _sessions(engine)
    with (
        sessions.turns.turn(),
        _understood(),
        Session(writing, expire_on_commit=False) as session,
    ):
        finishing = [watch(session) for watch in sessions.begun]
        try:
            yield session
            for finish in finishing:
                finish()
        except BaseException:
            session.rollback()
            raise
        session.commit()
    for hear in [*sessions.committed, *sessions.ended]:
        hear(session.info)


@contextmanager
def write_turn(engine: Engine) -> Iterator[None]:
    """Let no other thread of this process begin to write meanwhile: they wait in order, and do not fail soon.

    For what locks the database for long and is no session.
    """
    with _sessions(engine).turns.turn():
        yield


@contextmanager
def one_transaction(engine: Engine) -> Iterator[Session]:
    """A writing session which the sessions that this thread opens in the block are part of.

    So what a block of code writes can be kept together with what the code around it writes, all or
    nothing, though neither knows of the other. What an inner writing session did is undone if that
    one fails; it lasts only when the outer block ends well, and is heard of after that.
    """
    with write_session(engine) as session:
        mark = _joined.set((engine, session))
        try:
            yield session
        finally:
            _joined.reset(mark)


def _sessions(engine: Engine) -> _Sessions:
    return vars(engine).setdefault("homeport_sessions", _Sessions())  # type: ignore[no-any-return]


def _outer(engine: Engine) -> Session | None:
    joined = _joined.get()
    return joined[1] if joined is not None and joined[0] is engine else None


def before_commit(engine: Engine, watch: Callable[[Session], Callable[[], None]]) -> None:
    """Call `watch` with each writing session when it begins, and what it returns before the commit.

    What that writes is part of the transaction, and what it raises undoes it.
    """
    _sessions(engine).begun.append(watch)


def after_commit(engine: Engine, hear: Callable[[Mapping[Any, Any]], None]) -> None:
    """Call `hear` with `session.info` after each writing session that ended well.

    It runs on the thread that wrote, must not raise, and does not run if anything failed.
    """
    _sessions(engine).committed.append(hear)


def after_session(engine: Engine, hear: Callable[[Mapping[Any, Any]], None]) -> None:
    """Call `hear` with `session.info` after each session that ended well, also one that only read.

    It runs on the thread that had the session; what it raises fails the request.
    """
    _sessions(engine).ended.append(hear)


def migrate(engine: Engine) -> None:
    """Bring the database to the newest schema; does nothing when it is there already.

    Raises:
        StorageError: it has a schema that this program does not know; nothing was changed.
    """
    from alembic import command  # noqa: PLC0415  heavy, and few processes migrate

    found = schema_version(engine)
    if found is not None and found not in versions():
        raise StorageError(
            f"The database has schema {found}, which this version of Homeport does not know. Nothing was changed. "
            "Run the newer version that wrote it, or restore a backup taken by this one."
        )

    config = _migrations()
    if engine.dialect.name == "postgresql":
        postgresql.check(engine)
    with (
        engine.execution_options(**{_WRITES: True}).connect() as connection,
        _tables_may_be_rebuilt(connection),
        connection.begin(),
    ):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _check_references(connection)


@contextmanager
def _tables_may_be_rebuilt(connection: Connection) -> Iterator[None]:
    """Let SQLite drop a table that others refer to, as its way to change one is to make it anew.

    See https://www.sqlite.org/lang_altertable.html#otheralter; the setting counts only outside of a transaction.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def _check_references(connection: Connection) -> None:
    """Refuse to commit a migration that left something referring to nothing."""
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise StorageError(
            f"A row of the table {broken[0]} refers to a row of {broken[2]} that is not there. The database was left "
            "as it was; restore a backup, or report this."
        )


def versions() -> list[str]:
    """Return the versions of the schema that this program knows, the oldest first."""
    return [version for version, _ in steps()]


def steps() -> list[tuple[str, str]]:
    """Return version and meaning of each step of the schema, the oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  heavy, as above

    found = ScriptDirectory.from_config(_migrations()).walk_revisions()
    return [(str(script.revision), script.doc.splitlines()[0]) for script in found][::-1]


def schema_version(engine: Engine) -> str | None:
    """Return the version of a database's schema; None if it has none yet."""
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    except DatabaseError as error:
        raise StorageError(
            f"The database cannot be reached or read: {error.orig}. Check the setting database.url, and the "
            "database itself."
        ) from error
    return None if found is None else str(found)


def _migrations() -> "Config":
    from alembic.config import Config  # noqa: PLC0415  heavy, as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _parse(url: str) -> URL:
    """Read an address; its errors must not repeat it, as it may hold a password."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        parsed.get_dialect()  # known, and its driver too
    except ArgumentError:
        backend = ""
    if backend not in {"sqlite", "postgresql"}:
        raise ConfigurationError(
            "The setting database.url is no address of a database that the hub works with. Leave "
            "it empty for SQLite, or give one such as postgresql://user:password@host/name."
        )
    return parsed


@contextmanager
def _understood() -> Iterator[None]:
    """Tell the caller of a value that no column can hold, such as text with a NUL in it.

    SQLite keeps about everything, PostgreSQL does not; asking it is surer than to foresee it.
    """
    try:
        yield
    except DataError as error:
        raise InvalidInputError(
            "A value cannot be kept or looked for in the database "
            f"({type(error.orig).__name__}): it is too long, too large, or text with a character "
            "that the database does not take (NUL). Correct it and send it again."
        ) from error


def _is_writing(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(_WRITES, False))


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
    writes = _is_writing(connection)
    # query_only is per connection and the pool shares connections: set it at each begin.
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
