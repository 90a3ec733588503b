from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, text
from sqlalchemy.exc import IntegrityError, OperationalError

from hub.errors import StorageError
from hub.ports.database.engine import migrate, open_engine, read_session, write_session
from hub.ports.database.record_tables import Setting
from hub.ports.database.schema import METADATA


def test_migrations_and_metadata_agree(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        present = inspect(connection)
        for table in METADATA.sorted_tables:
            checks = {check["name"] for check in present.get_check_constraints(table.name)}
            wanted = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
            assert checks == wanted, table.name
        made = connection.scalar(text("SELECT sql FROM sqlite_master WHERE name = 'device'"))
        assert "AUTOINCREMENT" in made


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(engine)
    with write_session(engine) as session:
        session.add(Setting(name="incarnation", value="00"))
    migrate(engine)
    with read_session(engine) as session:
        assert session.get_one(Setting, "incarnation").value == "00"


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hub.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }


def test_a_reading_session_cannot_write_and_the_next_writer_can(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(engine)
    with read_session(engine) as session:
        session.add(Setting(name="a", value="b"))
        with pytest.raises(OperationalError, match="readonly"):
            session.flush()
    with write_session(engine) as session:
        session.add(Setting(name="a", value="b"))
    with read_session(engine) as session:
        assert session.get_one(Setting, "a").value == "b"


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(engine)

    def fail() -> None:
        with write_session(engine) as session:
            session.add(Setting(name="a", value="b"))
            session.flush()
            session.execute(text("INSERT INTO setting VALUES ('a', 'c')"))

    with pytest.raises(IntegrityError):
        fail()
    with read_session(engine) as session:
        assert session.get(Setting, "a") is None


def test_a_schema_of_a_newer_version_is_refused_and_references_are_enforced_again(
    tmp_path: Path,
) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(engine)
    with write_session(engine) as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="schema 9999"):
        migrate(engine)
