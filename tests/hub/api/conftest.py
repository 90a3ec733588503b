"""Fixtures of the API's tests: an application over a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hub.services.caller import Role
from hub.services.pki import CertificateAuthority
from tests.hub.api.api_world import START, World, new_world


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(tmp_path_factory.mktemp("pki") / "pki", START)


@pytest.fixture
def world(tmp_path: Path, new_database: str, authority: CertificateAuthority) -> Iterator[World]:
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
