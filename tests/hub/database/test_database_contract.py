"""What every database promises the services, the same for SQLite and PostgreSQL."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from hub.errors import ConflictError
from hub.ports.database.engine import (
    after_commit,
    migrate,
    open_engine,
    read_session,
    write_session,
)
from hub.ports.database.product_tables import Device
from hub.ports.database.record_tables import Audit, Cursor, DeadLetter, Setting
from hub.ports.database.schema import METADATA
from hub.services import audit, ownership, products
from tests.hub.database.sqlite_template import open_migrated
from tests.hub.services.service_world import T0, World, new_world

BIGGEST, SMALLEST = (1 << 63) - 1, -(1 << 63)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.db'}"
    return str(request.getfixturevalue("postgresql").empty())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database for `open_migrated`."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql").migrated())
    return f"sqlite:///{tmp_path / 'hub.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = open_migrated(url)
    yield made
    made.dispose()


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[World]:
    made = new_world(tmp_path, url)
    yield made
    made.engine.dispose()


def in_threads(*acts: Callable[[], object]) -> list[BaseException]:
    """Run acts at the same time; return what they raised."""
    raised: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  handed to the test
            raised.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return raised


def value_of(engine: Engine, name: str) -> str | None:
    with read_session(engine) as session:
        found = session.get(Setting, name)
        return found.value if found else None


def put(engine: Engine, name: str, value: str) -> None:
    with write_session(engine) as session:
        session.merge(Setting(name=name, value=value))


def test_migrations_give_the_schema_that_the_tables_say(empty: str) -> None:
    engine = open_engine(empty)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        present = inspect(connection)
        for table in METADATA.sorted_tables:
            checks = {check["name"] for check in present.get_check_constraints(table.name)}
            wanted = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
            assert checks == wanted, table.name
    put(engine, "kept", "1")
    migrate(engine)
    assert value_of(engine, "kept") == "1"
    engine.dispose()


def test_a_reading_session_cannot_write(engine: Engine) -> None:
    with read_session(engine) as session:
        session.add(Setting(name="a", value="b"))
        with pytest.raises(DBAPIError, match=r"read-?only"):
            session.flush()
    put(engine, "a", "c")
    assert value_of(engine, "a") == "c"


def test_a_reading_session_sees_one_state_while_others_write(engine: Engine) -> None:
    put(engine, "a", "before")
    with read_session(engine) as session:
        query = select(Setting.value).where(Setting.name == "a")
        assert session.scalar(query) == "before"
        assert in_threads(lambda: put(engine, "a", "after")) == []
        assert session.scalar(query) == "before"
    assert value_of(engine, "a") == "after"


def test_writers_queue_so_that_what_they_read_stays_true(engine: Engine) -> None:
    """Read, then write what was read plus one: without queueing some of them would be lost."""
    put(engine, "count", "0")

    def add_many() -> None:
        for _ in range(10):
            with write_session(engine) as session:
                row = session.get_one(Setting, "count")
                row.value = str(int(row.value) + 1)

    assert in_threads(*[add_many] * 4) == []
    assert value_of(engine, "count") == "40"


def test_a_failed_block_leaves_nothing_and_tells_nobody(engine: Engine) -> None:
    told: list[object] = []
    after_commit(engine, told.append)

    def fail() -> None:
        with write_session(engine) as session:
            session.add(Setting(name="a", value="b"))
            session.flush()
            session.execute(text("INSERT INTO setting VALUES ('a', 'c')"))

    with pytest.raises(IntegrityError):
        fail()
    assert value_of(engine, "a") is None
    assert told == []
    put(engine, "a", "d")
    assert len(told) == 1


def test_a_savepoint_saves_the_rest_of_its_transaction(engine: Engine) -> None:
    """As the reactor passes over one bad record and keeps the others."""
    with write_session(engine) as session:
        session.add(Setting(name="good", value="1"))
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(text("INSERT INTO setting VALUES ('good', '2')"))
        session.add(Setting(name="also good", value="1"))
    assert value_of(engine, "good") == value_of(engine, "also good") == "1"


def test_values_come_back_as_they_were_put(engine: Engine) -> None:
    details = {
        "z": [1, 2.5, -0.0, 1e300, None, True],
        "a": {"é": "\U0001f525 \\ \" ' % :x"},
        "big": BIGGEST,
        "empty": {},
    }
    with write_session(engine) as session:
        session.add(Cursor(name="é \U0001f525", offset=BIGGEST))
        session.add(
            DeadLetter(
                log="deadletters/0",
                offset=BIGGEST,
                position=0,
                at=SMALLEST,
                slot=(1 << 32) - 1,
                channel="t",
                reason=9,
                hash=bytes(range(256))[-32:],
                size=0,
                sample=bytes(range(256)),
            )
        )
        audit.record(session, SMALLEST, "hub", "test", "product:x", details)
    with read_session(engine) as session:
        assert session.get_one(Cursor, "é \U0001f525").offset == BIGGEST
        letter = session.scalars(select(DeadLetter)).one()
        assert (letter.offset, letter.at, letter.slot) == (BIGGEST, SMALLEST, (1 << 32) - 1)
        assert (letter.sample, letter.hash) == (bytes(range(256)), bytes(range(224, 256)))
        row = session.scalars(select(Audit)).one()
        # repr tells -0.0 from 0.0, 1 from 1.0 and True from 1, and the order of keys.
        assert repr(row.details) == repr(details)
        assert audit.verify(session) is None


def test_text_sorts_by_code_point(engine: Engine) -> None:
    names = ["a", "B", "b", "A", "_", "é", "z", "0", "\U0001f525", "a b", "a-b", "ab"]
    with write_session(engine) as session:
        session.add_all(Setting(name=name, value="") for name in names)
    with read_session(engine) as session:
        assert list(session.scalars(select(Setting.name).order_by(Setting.name))) == sorted(names)
        from_b = select(Setting.name).where(Setting.name >= "a", Setting.name < "b")
        assert set(session.scalars(from_b)) == {"a", "a b", "a-b", "ab"}


def test_a_product_is_claimed_once_however_many_try(world: World) -> None:
    made = world.product()
    callers = [world.customer() for _ in range(4)]
    raised = in_threads(*(partial(world.claim, made, caller) for caller in callers))
    assert [type(error) for error in raised] == [ConflictError] * 3
    with read_session(world.engine) as session:
        assert audit.verify(session) is None


def test_a_products_life_from_factory_to_second_owner(world: World) -> None:
    made, first, second = world.product(), world.customer(), world.customer()
    enrolled = world.enrol(made)
    world.claim(made, first)
    with write_session(world.engine) as session:
        ownership.release(session, first, made.product_id, T0 + 1)
    assert world.claim(made, second, T0 + 2).epoch == 2
    with read_session(world.engine) as session:
        device = session.scalars(select(Device)).one()
        assert (device.device_id, device.slot, device.online) == (enrolled.device_id, 1, False)
        assert [p.product_id for p in products.listed(session, second)] == [made.product_id]
        assert products.listed(session, first) == []
        assert audit.verify(session) is None
