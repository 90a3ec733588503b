"""The control link on the embedded broker, with its auth callout and certificates."""

import asyncio
import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from device_sdk.wire import topics
from device_sdk.wire.messages import Event, Get, Presence, Reply, Reported
from device_sdk.wire.topics import Down
from hub.app import authd
from hub.app.control_link import ControlLink
from hub.config import BrokerSettings
from hub.metrics import Metrics
from hub.ports.broker import nkeys
from hub.ports.broker.callout import Standing
from hub.ports.broker.nats_client import NatsServers
from hub.ports.broker.nats_server import (
    NatsAccess,
    NatsConfiguration,
    NatsServer,
    load_or_create_issuer,
)
from hub.ports.broker.port import CONTROL, ClientIdentity
from hub.services.pki import CertificateAuthority, save_pair

pytestmark = pytest.mark.hub

DEVICE = "abcdefgh01234567"
WAIT_S = 60.0

Message = Presence | Event | Reported | Reply | Get


class Recorder:
    """Hands the messages to the test."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[str, Message]] = queue.Queue()

    def _put(self, device_id: str, message: Message, at: int) -> None:
        assert at > 0
        self.got.put((device_id, message))

    on_presence = on_event = on_reported = on_reply = on_get = _put


@dataclass
class Running:
    """A broker with its callout, and the authority of its clients."""

    authority: CertificateAuthority
    pki: Path
    port: int
    server: NatsServer

    def identity(self, name: str) -> ClientIdentity:
        return ClientIdentity(
            name,
            "127.0.0.1",
            self.port,
            self.pki / "ca.pem",
            self.pki / f"{name}.pem",
            self.pki / f"{name}.key",
        )

    def device(self, device_id: str) -> Client:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whoever")])
        csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        pem = csr.public_bytes(serialization.Encoding.PEM).decode()
        issued = self.authority.issue_device(pem, device_id, time.time_ns())
        (self.pki / "device.pem").write_text(issued.certificate_pem)
        (self.pki / "device.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.create_default_context(cafile=str(self.pki / "ca.pem"))
        context.load_cert_chain(self.pki / "device.pem", self.pki / "device.key")
        client = Client(CallbackAPIVersion.VERSION2, client_id=device_id)
        client.tls_set_context(context)
        return client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def callout(admission: authd.Admission) -> Iterator[None]:
    ready, stop = threading.Event(), threading.Event()
    work = authd.serve(admission, ready.set, stop)
    thread = threading.Thread(target=asyncio.run, args=(work,))
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    now = time.time_ns()
    pki, folder = tmp_path / "pki", tmp_path / "broker"
    folder.mkdir(mode=0o700)
    authority = CertificateAuthority.load_or_create(pki, now)
    certificate, key = save_pair(authority.issue_server(["127.0.0.1"], now), pki, "server")
    save_pair(authority.issue_internal(CONTROL, now), pki, CONTROL)
    access, issuer = NatsAccess.load_or_create(folder), load_or_create_issuer(folder)
    client_port, mqtt_port = free_port(), free_port()
    server = NatsServer(
        NatsConfiguration(
            folder=folder,
            mqtt_host="127.0.0.1",
            mqtt_port=mqtt_port,
            client_port=client_port,
            ca_file=pki / "ca.pem",
            certificate_file=certificate,
            key_file=key,
            issuer=nkeys.account_name(issuer.public_key()),
            access=access,
            settings=BrokerSettings(),
        )
    )
    server.start()
    try:
        admission = authd.Admission(
            NatsServers((("127.0.0.1", client_port),)),
            access,
            issuer,
            lambda _device, _fingerprint: Standing.WELCOME,
            lambda _devices: set(),
            time.time_ns,
        )
        with callout(admission):
            yield Running(authority, pki, mqtt_port, server)
    finally:
        server.stop()


@contextlib.contextmanager
def linked(running: Running, recorder: Recorder) -> Iterator[ControlLink]:
    identity = running.identity(CONTROL)
    link = ControlLink(identity, recorder, Metrics("control"), time.time_ns)
    link.start()
    try:
        assert link.wait_connected(WAIT_S)
        yield link
    finally:
        link.stop()


def test_messages_come_up_and_pushes_go_down(running: Running) -> None:
    recorder = Recorder()
    pushed: queue.Queue[tuple[str, bytes]] = queue.Queue()
    subscribed = threading.Event()

    def on_message(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        pushed.put((message.topic, bytes(message.payload)))

    with linked(running, recorder) as link:
        device = running.device(DEVICE)
        device.on_connect = lambda client, *_: client.subscribe(
            f"{topics.ROOT}/{topics.shard_of(DEVICE)}/{DEVICE}/down/+"
        )
        device.on_subscribe = lambda *_: subscribed.set()
        device.on_message = on_message
        device.connect("127.0.0.1", running.port)
        device.loop_start()
        assert subscribed.wait(WAIT_S)
        device.publish(topics.up(topics.ROOT, DEVICE, "get"), Get(("state",), 4).encode())
        assert recorder.got.get(timeout=WAIT_S) == (DEVICE, Get(("state",), 4))
        assert link.publish(DEVICE, Down.NOTICE, b"hello")
        topic = topics.down(topics.ROOT, DEVICE, "notice")
        assert pushed.get(timeout=WAIT_S) == (topic, b"hello")
        device.disconnect()
        device.loop_stop()
    assert not link.connected
    assert not link.publish(DEVICE, Down.NOTICE, b"too late")


def test_the_link_comes_back_after_the_broker(running: Running) -> None:
    with linked(running, Recorder()) as link:
        running.server.stop()
        while link.connected:
            time.sleep(0.01)
        assert not link.publish(DEVICE, Down.NOTICE, b"nobody there")
        running.server.start()
        assert link.wait_connected(3 * WAIT_S)
