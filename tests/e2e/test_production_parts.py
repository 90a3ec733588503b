"""One hub on PostgreSQL, Mosquitto and VictoriaMetrics together: the whole path, and a revocation."""

import getpass
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.hub_client import HubAnswerError, HubClient
from firmware_sim.recording import Row
from tests.conftest import ROOT, hub_environment, start_hub, stop_hub
from tests.e2e.world import PATIENCE_S, RawDevice, World, eventually
from tests.hub.broker.conftest import free_port
from tests.hub.broker.mosquitto_rig import Mosquitto, program
from tests.hub.database.postgresql_server import PostgresServer
from tests.hub.store.victoria_server import VictoriaServer

pytestmark = pytest.mark.hub
S = 1_000_000_000
WRITE = ("broker", "mosquitto-conf")


@dataclass(frozen=True)
class Production:
    """A hub, and the parts that others run for it."""

    world: World
    mosquitto: Mosquitto
    victoria: VictoriaServer


@pytest.fixture(scope="module")
def production(
    postgresql: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    data, port = folder / "data", free_port()
    program()
    with ExitStack() as stack:
        victoria = VictoriaServer(folder)
        stack.callback(victoria.stop)
        environment = hub_environment(
            data,
            DATABASE__URL=postgresql.empty(),
            BROKER__KIND="mosquitto",
            MQTT__PORT=str(port),
            STORE__KIND="victoriametrics",
            STORE__URL=victoria.url,
        )
        conf = folder / "mosquitto"
        subprocess.run(
            [sys.executable, "-m", "hub", *WRITE, "--user", getpass.getuser(), conf],
            cwd=ROOT,
            env=environment,
            check=True,
        )
        mosquitto = Mosquitto(conf / "mosquitto.conf", port)
        stack.callback(mosquitto.end)
        process = start_hub(data, environment)
        stack.callback(stop_hub, process)
        world = World(data, _made(folder / "units"))
        stack.callback(world.close)
        yield Production(world, mosquitto, victoria)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_telemetry_and_pushes_go_their_ways_and_a_revoked_device_is_out(
    production: Production,
) -> None:
    world = production.world
    anna = world.home("anna")
    unit = world.sold(anna)
    start = time.time_ns() // S * S - 60 * S
    expected = [Row(start + number * S, 20.0 + number / 4) for number in range(20)]
    with world.open(unit) as device:
        configurations: list[Any] = []

        def configure(values: Mapping[str, Any]) -> dict[str, str]:
            configurations.append(dict(values))
            return {}

        device.on_configuration(configure)
        assert device.wait_connected(PATIENCE_S)
        for row in expected[:10]:
            device.measure("temp_c", row.value, row.time_ns)
        assert device.flush(PATIENCE_S)
        eventually(
            lambda: list(anna.api.rows(unit.id, "temp_c")) == expected[:10],
            "the rows in VictoriaMetrics",
        )
        anna.api.call("PATCH", f"/products/{unit.id}/configuration", {"values": {"target_c": 20.5}})
        eventually(lambda: {"target_c": 20.5} in configurations, "the configuration")

        production.victoria.kill()
        for row in expected[10:]:
            device.measure("temp_c", row.value, row.time_ns)
        assert device.flush(PATIENCE_S)  # receipts do not wait for the store
        production.victoria.start()
        eventually(lambda: mirrored(anna.api, unit.id) == expected, "what was missed")
        assert world.disk.count(unit.id) == 20  # and the archive has it all the same

    with RawDevice(unit) as raw:
        assert raw.connected
        reason = {"reason": "stolen"}
        world.vendor.call("POST", f"/products/{unit.id}/revoke", reason)
        assert raw.wait_ended()


def mirrored(api: HubClient, device_id: str) -> list[Row] | None:
    """The rows as queries give them; None while the store is away."""
    try:
        return list(api.rows(device_id, "temp_c"))
    except HubAnswerError:
        return None
