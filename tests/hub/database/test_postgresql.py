"""PostgreSQL beyond the contract: what is refused, and how it is said."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from hub.config import ConfigurationError
from hub.errors import InvalidInputError, StorageError
from hub.ports.database import postgresql as adapter
from hub.ports.database.engine import migrate, open_engine, read_session, write_session
from hub.ports.database.record_tables import Setting
from tests.hub.database.postgresql_server import PostgresServer


def test_a_database_that_sorts_by_a_language_is_refused_with_the_remedy(
    postgresql: PostgresServer,
) -> None:
    url = postgresql.empty()
    engine = open_engine(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "_SORTED_BY_CODE_POINT", frozenset({"another"}))
        with pytest.raises(StorageError, match="--locale=C"):
            migrate(engine)
    with engine.connect() as connection:
        assert (
            connection.scalar(text("SELECT count(*) FROM pg_tables WHERE tablename = 'product'"))
            == 0
        )


def test_a_server_that_is_too_old_is_refused(
    postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_OLDEST", 990_000)
    with pytest.raises(StorageError, match="too old"):
        migrate(open_engine(postgresql.empty()))


def test_a_server_that_is_away_is_said_without_its_password() -> None:
    engine = open_engine("postgresql://homeport:hunter2@127.0.0.1:1/homeport")
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        migrate(engine)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/n", "hunter2", "postgresql+nothing://hunter2"]
)
def test_an_address_of_something_else_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"database\.url") as caught:
        open_engine(url)
    assert "hunter2" not in str(caught.value)


def test_a_commit_is_on_disk_whatever_the_server_prefers(postgresql: PostgresServer) -> None:
    url = postgresql.migrated()
    engine = open_engine(url)
    with engine.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    engine.dispose()
    with write_session(engine) as session:
        assert session.scalar(text("SHOW synchronous_commit")) == "on"
        assert session.scalar(text("SHOW transaction_isolation")) == "read committed"
    with read_session(engine) as session:
        assert session.scalar(text("SHOW transaction_isolation")) == "repeatable read"
        assert session.scalar(text("SHOW transaction_read_only")) == "on"


def test_a_writer_that_waits_too_long_fails_and_the_next_one_does_not(
    postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "LOCK_TIMEOUT_MS", 50)
    engine = open_engine(postgresql.migrated())
    with write_session(engine) as session:
        session.add(Setting(name="a", value="first"))
        session.flush()

        def write() -> None:
            with write_session(engine) as second:
                second.add(Setting(name="a", value="second"))

        with pytest.raises(OperationalError, match="lock timeout"):
            write()
    with write_session(engine) as session:
        assert session.get_one(Setting, "a").value == "first"


def test_what_no_column_can_hold_is_the_callers_error(postgresql: PostgresServer) -> None:
    engine = open_engine(postgresql.migrated())

    def put(name: str) -> None:
        with write_session(engine) as session:
            session.add(Setting(name="kept", value="no"))
            session.flush()
            session.add(Setting(name=name, value=""))

    for name in ("a\0b", "x" * 201):
        with pytest.raises(InvalidInputError, match="cannot be kept"):
            put(name)
    with read_session(engine) as session:
        assert session.get(Setting, "kept") is None
    with pytest.raises(InvalidInputError), read_session(engine) as session:
        session.get(Setting, "a\0b")


@pytest.mark.parametrize(
    ("value", "kept"),
    [(float("nan"), "null"), ([1.5, float("inf")], "[1.5, null]"), ({"a": -0.0}, '{"a": -0.0}')],
)
def test_documents_have_no_infinities(value: object, kept: str) -> None:
    assert adapter._json(value) == kept
