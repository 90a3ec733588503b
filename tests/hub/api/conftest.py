"""Fixtures of the API's tests: an application over a copy of a migrated database."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import migrate, open_engine
from hub.services.caller import Role
from hub.services.events import Broadcaster
from hub.services.gate import GatePublisher
from hub.services.pki import CertificateAuthority
from hub.services.signing_keys import SigningKeys
from hub.services.state import Place
from hub.services.tokens import Tokens, secret_hash
from tests.hub.api.api_world import (
    CATALOGUE,
    OPERATOR_TOKEN,
    START,
    Clock,
    Devices,
    Gate,
    Source,
    World,
    new_world,
    ok,
)
from tests.hub.api.memory_store import MemoryStore


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("api") / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(tmp_path_factory.mktemp("pki") / "pki", START)


@pytest.fixture
def world(
    tmp_path: Path, migrated: Path, new_database: str, authority: CertificateAuthority
) -> Iterator[World]:
    if new_database.startswith("sqlite:///"):
        shutil.copy(migrated, new_database.removeprefix("sqlite:///"))
    with new_world(tmp_path, new_database, authority) as world:
        yield world
    engine = open_engine(new_database)
    clock, devices, source = Clock(), Devices(), Source()
    gate = Gate(GatePublisher(engine, tmp_path / "gate", clock))
    hub = Hub(
        engine=engine,
        store=MemoryStore(),
        ca=authority,
        tokens=Tokens(b"pepper of the tests", source),
        devices=devices,
        settle=gate.settled,
        decisions=lambda: gate.publisher.decisions,
        live=Broadcaster(),
        place=Place("broker.example.org", 8883, "https://hub.example.org"),
        signing_keys=SigningKeys.load_or_create(tmp_path / "keys"),
        incarnation=bytes(range(8)),
        operator_token_hash=secret_hash(OPERATOR_TOKEN),
        metrics=Metrics("control"),
        metrics_dir=tmp_path / "metrics",
        clock=clock,
        monotonic=lambda: 0.0,
        random_bytes=source,
    )
    world = World(hub, create_app(hub), clock, devices)
    ok(world.operator.post("/api/v1/catalogue", json=CATALOGUE))
    yield world
    engine.dispose()


@pytest.fixture
def ada(world: World) -> TestClient:
    return world.person("ada", Role.CUSTOMER)


@pytest.fixture
def bob(world: World) -> TestClient:
    return world.person("bob", Role.CUSTOMER)


@pytest.fixture
def support(world: World) -> TestClient:
    return world.person("support", Role.SUPPORT)
