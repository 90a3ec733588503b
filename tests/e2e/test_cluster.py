"""The layout of `docs/operations/cluster.md`: three NATS servers, PostgreSQL, VictoriaMetrics and a hub of two workers.

The settings are the documented file; only addresses and the password are the test's own.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg
import pytest

from device_sdk import enrol
from device_sdk.client import Device
from firmware_sim.recording import Row
from hub.ports.store.embedded import EmbeddedStore
from tests.chaos.hub_under_test import free_ports
from tests.conftest import ROOT, hub_environment, start_hub, stop_hub
from tests.e2e.test_production_parts import mirrored
from tests.e2e.world import Home, Unit, World, eventually
from tests.hub.broker.nats_nodes import Node, await_nodes
from tests.hub.database.postgresql_server import PostgresServer
from tests.hub.store.victoria_server import VictoriaServer

pytestmark = pytest.mark.hub
S = 1_000_000_000
SETTINGS = ROOT / "docs" / "operations" / "cluster" / "homeport.toml"
NODES = 3
PATIENCE_S = 120.0
"""Generous: connecting waits for the servers' election of a leader, and devices try ever more rarely."""


@dataclass(frozen=True)
class Cluster:
    """The hub and what it stands on."""

    world: World
    nodes: list[Node]
    database: str

    def tokens(self) -> dict[int, int]:
        """Fencing tokens of the lanes, as PostgreSQL has them."""
        with psycopg.connect(self.database) as connection:
            return dict(connection.execute("SELECT lane, token FROM ingest_lane").fetchall())

    def stored(self, units: list[Unit]) -> list[int]:
        """Rows that the archive has of each of some products."""
        data = self.world.data_dir
        store = EmbeddedStore(
            data / "store", {str(lane): data / "journal" / str(lane) for lane in range(2)}
        )
        return [store.count([self.world.disk.slot(unit.id)]) for unit in units]


@pytest.fixture(scope="module")
def cluster(
    postgresql: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    data, database, ports = folder / "data", postgresql.empty(), free_ports(3 * NODES)
    names = ("mqtt_port", "client_port", "route_port")
    with ExitStack() as stack:
        victoria = VictoriaServer(folder)
        stack.callback(victoria.stop)
        places = [dict(zip(names, ports[3 * n : 3 * n + 3], strict=True)) for n in range(NODES)]
        environment = hub_environment(
            data,
            DATABASE__URL=database,
            STORE__URL=victoria.url,
            BROKER__NODES=json.dumps([{"host": "127.0.0.1"} | place for place in places]),
        )
        write = ["broker", "nats-conf", str(folder / "nats"), "--config", str(SETTINGS)]
        subprocess.run([sys.executable, "-m", "hub", *write], cwd=ROOT, env=environment, check=True)
        nodes = []
        for number, place in enumerate(places, 1):
            node = Node(folder / "nats" / f"node-{number}" / "nats.conf", place["mqtt_port"])
            stack.callback(node.kill)
            nodes.append(node)
        await_nodes(nodes)
        process = start_hub(data, environment, SETTINGS)
        stack.callback(stop_hub, process)
        units = folder / "units"
        units.mkdir()
        world = World(data, units)
        stack.callback(world.close)
        yield Cluster(world, nodes, database)


def first_choice(unit: Unit) -> int:
    """Port of the node that a product tries first."""
    enrolment = enrol.load(unit.folder)
    assert enrolment is not None
    assert len(enrolment.other_brokers) == NODES - 1
    return enrolment.broker_port


@contextmanager
def spread(cluster: Cluster, anna: Home) -> Iterator[dict[Unit, Device]]:
    """Products that are switched on, at least one connected to the first node and one to another."""
    with ExitStack() as stack:
        devices: dict[Unit, Device] = {}
        first = cluster.nodes[0].port
        while {first_choice(unit) == first for unit in devices} != {True, False}:
            assert len(devices) < 40, "products do not spread over the nodes"
            unit = cluster.world.sold(anna)
            devices[unit] = stack.enter_context(cluster.world.open(unit))
        for device in devices.values():
            assert device.wait_connected(PATIENCE_S)
        yield devices


def reads_as(rows: list[Row], home: Home, unit: Unit) -> bool:
    """Wait until queries, which VictoriaMetrics answers, give exactly these rows."""
    return eventually(
        lambda: mirrored(home.api, unit.id) == rows, "rows in VictoriaMetrics", PATIENCE_S
    )


def test_a_node_and_a_worker_die_and_every_row_is_there_once(cluster: Cluster) -> None:
    world = cluster.world
    anna = world.home("anna")
    start = time.time_ns() // S * S - 600 * S
    rows = [Row(start + number * S, 20.0 + number / 4) for number in range(30)]
    with spread(cluster, anna) as devices:

        def send(part: slice) -> None:
            for row in rows[part]:
                for device in devices.values():
                    device.measure("temp_c", row.value, row.time_ns)

        def receipted() -> bool:
            return all(device.flush(PATIENCE_S) for device in devices.values())

        send(slice(0, 10))
        assert receipted()
        before = cluster.tokens()
        assert set(before) == {0, 1}

        send(slice(10, 15))
        cluster.nodes[0].kill()  # that of the hub's own parts, and of a third of the products
        send(slice(15, 20))
        assert receipted()

        send(slice(20, 25))
        pid = world.role_pid("ingest-0")
        assert pid is not None
        subprocess.run(["kill", "-9", str(pid)], check=True)
        send(slice(25, 30))
        assert receipted()
        eventually(
            lambda: cluster.tokens()[0] > before[0], "the lane under a new token", PATIENCE_S
        )

        units = list(devices)
        assert cluster.stored(units) == [len(rows)] * len(units)
        for unit in units:
            assert reads_as(rows, anna, unit)

        unit, device = next(
            (unit, device)
            for unit, device in devices.items()
            if first_choice(unit) != cluster.nodes[0].port
        )
        world.vendor.call("POST", f"/products/{unit.id}/revoke", {"reason": "stolen"})
        eventually(lambda: not device.connected, "the revoked product is cut off", PATIENCE_S)
