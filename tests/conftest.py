"""What all tests share: a real hub, started once for those that ask for it."""

import gc
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from hypothesis import settings

from hub.config import Settings
from hub.wiring.kernels import use_cache
from tests.hub.database.postgresql_server import PostgresServer, running_server

# The kernels that `homeport warm` compiled; before anything imports numba.
use_cache(Settings().cache_dir)

# No test says anything of time: how long an example takes is the machine's matter.
settings.register_profile("homeport", deadline=None)
settings.load_profile("homeport")

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class RunningHub:
    """A hub that runs for the tests.

    Attributes:
        api_url: base address of the API.
        ca_file: trust for API and broker.
        operator_token: bearer token of the operator.
        data_dir: its data folder.
        mqtt: host and port of the broker.
        client: HTTP client that is the operator.
        process: the supervisor.
    """

    api_url: str
    ca_file: Path
    operator_token: str
    data_dir: Path
    mqtt: tuple[str, int]
    client: httpx.Client
    process: subprocess.Popen[bytes]

    def anonymous(self) -> httpx.Client:
        """Return a client that is nobody; close it after use."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.Client(base_url=self.api_url, verify=context, trust_env=False)


def hub_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a hub on free ports with a data folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMEPORT_")}
    chosen = {"DATA_DIR": str(data_dir), "API__PORT": "0", "MQTT__PORT": "0", **settings}
    cache = os.environ.get("HOMEPORT_CACHE_DIR")
    if cache is not None:
        chosen["CACHE_DIR"] = cache
    return {**kept, **{f"HOMEPORT_{name}": value for name, value in chosen.items()}}


def start_hub(
    data_dir: Path, environment: Mapping[str, str] | None = None, settings: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start `homeport serve` and return when it is ready; its words go to `DATA_DIR.log`."""
    log = data_dir.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hub",
                "serve",
                *(["--config", str(settings)] if settings else []),
            ],
            cwd=ROOT,
            env=environment or hub_environment(data_dir),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (data_dir / "run" / "hub.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            stop_hub(process)
            pytest.fail(f"the hub did not start:\n{log.read_text()[-4_000:]}")
        time.sleep(0.05)
    return process


def stop_hub(process: subprocess.Popen[bytes]) -> int:
    """Stop a hub in order, by force where it does not; return its exit status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def reach(data_dir: Path, process: subprocess.Popen[bytes]) -> RunningHub:
    """Return what is needed to talk to a hub that is ready."""
    card: dict[str, Any] = json.loads((data_dir / "run" / "hub.json").read_text())
    token = Path(card["operator_token_file"]).read_text().strip()
    ca_file = Path(card["ca_file"])
    client = httpx.Client(
        base_url=card["api_url"],
        verify=ssl.create_default_context(cafile=str(ca_file)),
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=30.0,
    )
    mqtt = (card["mqtt_host"], card["mqtt_port"])
    return RunningHub(card["api_url"], ca_file, token, data_dir, mqtt, client, process)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub on free ports, started once for the session; ask for it in tests marked `hub`."""
    data_dir = tmp_path_factory.mktemp("hub") / "data"
    process = start_hub(data_dir)
    running = reach(data_dir, process)
    try:
        yield running
    finally:
        running.client.close()
        stop_hub(process)


# Of the tests marked `hub`; three processes run them on two cores, as they wait a good part of their time.
LONGEST = (
    "test_web_browser_hub",
    "test_money_walk",
    "test_demo_hub",
    "test_chaos_short",
    "test_chaos_backup",
    "test_serve",
    "test_clock_hub",
    "test_cluster",
    "test_chaos_handover",
    "test_observed_hub",
    "test_fleet_hub",
    "test_replay_hub",
    "test_upgrade",
    "test_certificates_over_years",
    "test_production_parts",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process waits for another at the end."""
    place = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish() -> None:
    """Spare the collector what stays: without it, each full collection walks all modules again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _passwords_are_hashed_at_once() -> Iterator[None]:
    """What a hash costs an attacker is not under test, and hundreds of people are made here."""
    from hub.services import people, sessions  # not above: they lead to numba

    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "HASHER", cheap)
        patch.setattr(sessions, "HASHER", cheap)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of the services run on another database."""
    parser.addoption(
        "--database",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="where the tests of services, API and reactor keep their tables",
    )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own, started once for the session."""
    with running_server() as server:
        yield server


BOTH_DATABASES = pytest.mark.parametrize("new_database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a new database, of the kind that the test (`BOTH_DATABASES`) or `--database` names.

    It may lack its schema.
    """
    if getattr(request, "param", request.config.getoption("--database")) == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgresql")
    url = server.migrated()
    yield url
    server.drop(url)
