"""Fixtures of the end-to-end tests: one real hub for the session, with people and products."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.world import Home, World


@pytest.fixture(scope="session")
def world(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The running hub with the demo manufacturer's catalogue and a person of support."""
    made = World(hub.data_dir, tmp_path_factory.mktemp("e2e"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def anna(world: World) -> Iterator[Home]:
    """A customer."""
    home = world.home("anna")
    yield home
    home.api.close()


@pytest.fixture(scope="session")
def bert(world: World) -> Iterator[Home]:
    """Another customer."""
    home = world.home("bert")
    yield home
    home.api.close()
