"""A real broker with a real auth callout; only the records of devices are held in memory."""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion

from hub.app import authd
from hub.config import ApiSettings, BrokerSettings, MqttSettings, Settings
from hub.ports.broker.callout import Shown, Standing
from hub.ports.broker.nats_client import NatsBroker, NatsServers
from hub.ports.broker.nats_server import NatsAccess, NatsServer, load_or_create_issuer
from hub.ports.broker.port import Broker
from hub.services.pki import CertificateAuthority, save_pair
from hub.wiring import compose

PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until the condition holds; a bound on the wait, not an assertion on time."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@dataclass
class Records:
    """What the database would say of devices."""

    fingerprints: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)

    def standing(self, device_id: str, fingerprint: str) -> Standing:
        if device_id not in self.fingerprints:
            return Standing.UNKNOWN_DEVICE
        if device_id in self.revoked:
            return Standing.REVOKED_DEVICE
        if self.fingerprints[device_id] != fingerprint:
            return Standing.UNKNOWN_CERTIFICATE
        return Standing.WELCOME

    def unwelcome(self, connected: Collection[Shown]) -> set[Shown]:
        return {shown for shown in connected if self.standing(*shown) is not Standing.WELCOME}


class Callout:
    """The auth callout on a thread of its own; may be ended and started again."""

    def __init__(self, admission: authd.Admission) -> None:
        self._admission = admission
        self.start()

    def start(self) -> None:
        self._stop = threading.Event()
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(authd.serve(self._admission, ready.set, self._stop)),
        )
        self._thread.start()
        assert ready.wait(PATIENCE_S)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)


class MqttClient:
    """A paho client that remembers what happened to it."""

    def __init__(self, port: int, ca: Path, certificate: Path, key: Path, client_id: str) -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.connects: list[str] = []
        self.disconnected = threading.Event()
        self.granted: dict[int, list[Any]] = {}
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False
        )
        client.tls_set(str(ca), str(certificate), str(key))
        self.client_id = client_id
        client.on_connect = lambda _c, _u, _f, code, _p: self.connects.append(str(code))
        client.on_disconnect = lambda *_: self.disconnected.set()
        client.on_message = lambda _c, _u, m: self.messages.put((m.topic, bytes(m.payload)))
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self.granted.update({mid: codes})
        self.client = client
        self._port = port

    def connect(self) -> bool:
        """Tell whether the broker lets this client in."""
        try:
            self.client.connect("127.0.0.1", self._port, keepalive=10)
        except OSError:
            return False
        self.client.loop_start()
        eventually(lambda: bool(self.connects) or self.disconnected.is_set())
        return self.connects == ["Success"]

    def subscribe(self, topic: str) -> bool:
        _, mid = self.client.subscribe(topic)
        assert mid is not None
        assert eventually(lambda: mid in self.granted)
        return not self.granted[mid][0].is_failure

    def publish(self, topic: str, payload: bytes = b"x") -> None:
        self.client.publish(topic, payload).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class DeviceRig:
    """Devices and parts of the hub as clients of some broker."""

    settings: Settings
    folder: Path
    authority: CertificateAuthority
    records: Records
    broker: Broker
    _clients: list[MqttClient]

    def enrol(self, device_id: str, authority: CertificateAuthority | None = None) -> str:
        """Issue a certificate to a device and write it into the records."""
        key = ec.generate_private_key(ec.SECP256R1())
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        pem = csr.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        issued = (authority or self.authority).issue_device(pem, device_id, compose.now())
        (self.folder / f"{device_id}.pem").write_text(issued.certificate_pem)
        (self.folder / f"{device_id}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.records.fingerprints[device_id] = issued.fingerprint_sha256_hex
        return device_id

    def device(self, device_id: str, client_id: str | None = None) -> MqttClient:
        pem, key = self.folder / f"{device_id}.pem", self.folder / f"{device_id}.key"
        return self._client(pem, key, client_id or device_id)

    def part(self, name: str) -> MqttClient:
        who = self.broker.identity(name)
        return self._client(who.certificate_file, who.key_file, name)

    def _client(self, pem: Path, key: Path, client_id: str) -> MqttClient:
        ca = self.settings.pki_dir / "ca.pem"
        client = MqttClient(self.settings.mqtt.port, ca, pem, key, client_id)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()


class BrokerRig(DeviceRig):
    """One broker, its authority and its callout."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            data_dir=folder,
            api=ApiSettings(port=0),
            mqtt=MqttSettings(port=free_port()),
            broker=BrokerSettings(client_port=free_port()),
        )
        pki = self.settings.pki_dir
        self.folder = folder
        self.authority = CertificateAuthority.load_or_create(pki, compose.now())
        save_pair(self.authority.issue_server(["127.0.0.1"], compose.now()), pki, "server")
        for part in ("hub-ingest-0", "hub-control", "hub-stranger"):
            save_pair(self.authority.issue_internal(part, compose.now()), pki, part)
        self.records = Records()
        self.broker = NatsBroker(self.settings)
        server = compose.embedded_broker(self.settings)
        assert isinstance(server, NatsServer)
        self.server = server
        self.server.start()
        self.callout = Callout(
            authd.Admission(
                servers=NatsServers.of(self.settings),
                access=NatsAccess.load_or_create(self.settings.broker_dir),
                issuer=load_or_create_issuer(self.settings.keys_dir),
                standing=self.records.standing,
                unwelcome=self.records.unwelcome,
                now=compose.now,
            )
        )
        self._clients = []

    def close(self) -> None:
        self.close_clients()
        self.callout.end()
        self.server.stop()


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerRig]:
    made = BrokerRig(tmp_path_factory.mktemp("broker"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def rig(_running: BrokerRig) -> Iterator[BrokerRig]:
    """The broker, without connections of the test before."""
    yield _running
    _running.close_clients()
