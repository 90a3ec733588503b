"""A cluster of NATS servers that somebody else runs: a folder with configuration and certificate for each node.

1. The nodes admit clients as the embedded server does: certificates of the hub's authority, and the auth callout,
   whose questions reach the hub's `authd` from whichever node asks.
2. MQTT on NATS keeps a record for each connected client in JetStream. Here it has as many copies as there are
   nodes (at most three), so clients can connect while most of the nodes live.
3. Everything between machines is TLS: routes with certificates on both sides and a password, as a certificate
   of the same authority alone could be any device's; the server's own protocol with the hub's passwords.
4. Nodes know each other from this configuration alone and tell nobody of one another.
What must never live here: anything that runs.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hub.config import BrokerNode, BrokerSettings
from hub.ports.broker.nats_server import NatsAccess, admission, limits, logging_to, storage, written
from hub.ports.keyfile import create_private, make_private_folder, read_private, replace_private

MOST_COPIES: Final = 3
CONFIGURATION: Final = "nats.conf"

_CLUSTER: Final = "homeport"
_ROUTE_USER: Final = "node"


def load_or_create_route_password(folder: Path) -> str:
    """Read the password by which nodes know one another (`routes.password` of a folder), or make it."""
    path = folder / "routes.password"
    create_private(path, secrets.token_urlsafe(24).encode())
    return read_private(path).decode()


@dataclass(frozen=True, slots=True)
class NatsCluster:
    """What `write_cluster` makes folders of.

    Attributes:
        folder: where the folders `node-1`, `node-2` ... go; each is found at this place on the machine of its node.
        ca_pem: the hub's authorities.
        issue: makes certificate and key, PEM, of a server that is reached under some names and connects to its like.
        issuer: public key that signs answers of the auth callout, as NATS writes it.
        access: passwords of the hub's own users.
        route_password: of the nodes.
        settings: nodes and limits.
    """

    folder: Path
    ca_pem: bytes
    issue: Callable[[list[str]], tuple[bytes, bytes]]
    issuer: str
    access: NatsAccess
    route_password: str
    settings: BrokerSettings

    def text(self, number: int) -> str:
        """Return the configuration of a node; `number` counts from 0."""
        node, settings, own = self.settings.nodes[number], self.settings, self.folder / name(number)
        return written(
            {
                "server_name": f"{_CLUSTER}-{number + 1}",
                "listen": _address(node.host, node.client_port),
                "tls": _tls(own, settings),
                **limits(settings),
                **logging_to(own),
                "jetstream": storage(own),
                **admission(self.access, self.issuer, settings),
                "mqtt": {
                    "listen": _address(node.host, node.mqtt_port),
                    "stream_replicas": min(MOST_COPIES, len(settings.nodes)),
                    "tls": {**_tls(own, settings), "verify": True},
                },
                "cluster": {
                    "name": _CLUSTER,
                    "listen": _address(node.host, node.route_port),
                    "authorization": {"user": _ROUTE_USER, "password": self.route_password},
                    "routes": list(self._routes(node)),
                    "no_advertise": True,
                    "tls": _tls(own, settings),
                },
            }
        )

    def _routes(self, own: BrokerNode) -> Iterator[str]:
        for node in self.settings.nodes:
            if node is not own:
                there = _address(node.host, node.route_port)
                yield f"nats-route://{_ROUTE_USER}:{self.route_password}@{there}"


def name(number: int) -> str:
    """Return the name of a node's folder; `number` counts from 0."""
    return f"node-{number + 1}"


def write_cluster(cluster: NatsCluster) -> list[Path]:
    """Write a folder for each node: configuration, authorities, and a new key and certificate.

    Returns:
        The configuration files, in the order of the nodes.
    """
    files = []
    for number, node in enumerate(cluster.settings.nodes):
        folder = cluster.folder / name(number)
        make_private_folder(folder)
        certificate, key = cluster.issue(list(dict.fromkeys([node.public[0], node.host])))
        replace_private(folder / "ca.pem", cluster.ca_pem)
        replace_private(folder / "server.pem", certificate)
        replace_private(folder / "server.key", key)
        replace_private(folder / CONFIGURATION, cluster.text(number).encode())
        files.append(folder / CONFIGURATION)
    return files


def _tls(own: Path, settings: BrokerSettings) -> dict[str, Any]:
    return {
        "cert_file": str(own / "server.pem"),
        "key_file": str(own / "server.key"),
        "ca_file": str(own / "ca.pem"),
        "min_version": "1.2",
        "timeout": settings.auth_timeout_s,
    }


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
