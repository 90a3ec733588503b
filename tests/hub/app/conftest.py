"""Fixtures over a real database file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.services.service_world import World, new_world


@pytest.fixture
def world(tmp_path: Path, new_database: str) -> Iterator[World]:
    made = new_world(tmp_path, new_database)
    yield made
    made.engine.dispose()
