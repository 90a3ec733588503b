"""Fixtures over a real database file."""

import random
from pathlib import Path

import pytest

from hub.ports.database.engine import migrate, open_engine, write_session
from hub.services import catalogue
from hub.services.caller import HUB
from hub.services.pki import CertificateAuthority
from hub.services.tokens import Tokens
from tests.hub.services.service_world import CATALOGUE, T0, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    engine = open_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(engine)
    with write_session(engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(CATALOGUE), T0)
    ca = CertificateAuthority.load_or_create(tmp_path / "pki", T0)
    source = random.Random(7).randbytes  # noqa: S311  the same in every run
    return World(engine, Tokens(b"pepper" * 4, source), ca)
