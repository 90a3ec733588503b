"""Fixtures of the API's tests: an application over a copy of a migrated database."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import migrate, open_engine
from hub.services.caller import Role
from hub.services.pki import CertificateAuthority
from tests.hub.api.api_world import START, World, new_world


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


@pytest.fixture
def ada(world: World) -> TestClient:
    return world.person("ada", Role.CUSTOMER)


@pytest.fixture
def bob(world: World) -> TestClient:
    return world.person("bob", Role.CUSTOMER)


@pytest.fixture
def support(world: World) -> TestClient:
    return world.person("support", Role.SUPPORT)
