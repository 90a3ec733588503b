"""The whole device over real MQTT with mutual TLS: a NATS server, and a hub in miniature that gives receipts."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from device_sdk import enrol, files
from device_sdk.client import Device
from device_sdk.errors import ClosedError, DeviceError, EnrolmentError
from device_sdk.keys import DeviceKey
from device_sdk.wire import topics
from device_sdk.wire.codes import ReplyStatus
from device_sdk.wire.messages import Command, Presence, Reply
from device_sdk.wire.pack import decode_pack
from device_sdk.wire.receipt import Receipt, StreamReceipt

DEVICE = "abcdefgh01234567"
ROOT = "hp/1"


class Pki:
    """One CA, and certificates from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.issue("Test CA", self.key.public_key(), ca=True))

    def issue(self, name: str, public: Any, *, ca: bool = False) -> bytes:
        now = datetime.now(UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(address, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)

    def pair(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self.issue(name, key.public_key()))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private


class Broker:
    """A NATS server with its MQTT listener, on ports of its own."""

    def __init__(self, folder: Path, pki: Pki) -> None:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            self.port, plain = one.getsockname()[1], two.getsockname()[1]
        certificate, key = pki.pair("broker")
        self.config = folder / "nats.conf"
        self.config.write_text(
            f'server_name: test\nlisten: "127.0.0.1:{plain}"\n'
            f'jetstream {{ store_dir: "{folder / "jetstream"}" }}\n'
            f'mqtt {{ listen: "127.0.0.1:{self.port}"\n'
            f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{pki.ca}", verify: true }} }}\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = Path(sys.executable).with_name("nats-server")
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([program, "-c", self.config], stdout=quiet, stderr=quiet)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            threading.Event().wait(0.05)
        raise AssertionError("the broker did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class MiniHub:
    """Stores rows once and sends a receipt for every pack."""

    def __init__(self, broker: Broker, pki: Pki) -> None:
        certificate, key = pki.pair("hub")
        self.rows: dict[tuple[bytes, int], float] = {}
        self.replies: list[Reply] = []
        self.presence: list[bool] = []
        self.changed = threading.Condition()
        self.subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hub", clean_session=True)
        context = ssl.create_default_context(cafile=str(pki.ca))
        context.load_cert_chain(certificate, key)
        self.client.tls_set_context(context)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/+/+/up/+")
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self.take
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self.subscribed.wait(120)

    def say(self, channel: str, payload: bytes) -> None:
        self.client.publish(topics.down(ROOT, DEVICE, channel), payload)

    def take(self, _: Any, __: Any, message: mqtt.MQTTMessage) -> None:
        topic = topics.parse(message.topic, ROOT)
        assert topic.device == DEVICE
        payload = bytes(message.payload)
        with self.changed:
            if topic.channel == "t":
                pack = decode_pack(payload)
                for i in range(len(pack.times)):
                    value = pack.metrics["temp_c"][i]
                    assert value is not None
                    self.rows[pack.stream, pack.first_seq + i] = value
                mark = 0
                while (pack.stream, mark) in self.rows:
                    mark += 1
                entry = StreamReceipt(pack.stream, mark)
                self.say("receipt", Receipt(b"hub-one.", 0, (entry,), 8_192, 1_000).encode())
            elif topic.channel == "reply":
                self.replies.append(Reply.decode(payload))
            elif topic.channel == "presence":
                self.presence.append(Presence.decode(payload).online)
            self.changed.notify_all()

    def wait(self, ready: Any) -> bool:
        with self.changed:
            return bool(self.changed.wait_for(ready, 30))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class World:
    """Broker, hub, and one enrolled device's folder."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder)
        self.broker = Broker(folder, self.pki)
        self.broker.start()
        self.hub = MiniHub(self.broker, self.pki)
        self.home = folder / "device"
        files.private_folder(self.home)
        key = DeviceKey.load_or_create(self.home / "device.key")
        enrolment = enrol.Enrolment(
            device_id=DEVICE,
            certificate=self.pki.issue(DEVICE, key.private.public_key()).decode(),
            trust_bundle=self.pki.ca.read_text(),
            broker_host="127.0.0.1",
            broker_port=self.broker.port,
            topic_root=ROOT,
            shard=topics.shard_of(DEVICE),
            signing_keys=(),
            incarnation=b"hub-one.".hex(),
        )
        enrol.save(self.home, enrolment)

    def device(self, **options: Any) -> Device:
        return Device.open(
            self.home,
            hub="https://127.0.0.1:1",
            ca_file=self.pki.ca,
            serial="HP-1",
            model="heat-pump",
            firmware="1.0",
            **options,
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.hub.close()
    world.broker.stop()


@pytest.mark.hub
def test_measured_rows_are_receipted_over_tls(world: World) -> None:
    with world.device() as device:
        assert device.wait_connected(120)
        for value in range(100):
            device.measure("temp_c", value)
        assert device.flush(120)
        assert device.pending == 0
        assert sorted(world.hub.rows.values()) == [float(value) for value in range(100)]
        assert device.counters.rows_settled == 100
    assert world.hub.wait(lambda: world.hub.presence == [True, False])


@pytest.mark.hub
def test_rows_measured_while_the_broker_is_dead_arrive_when_it_is_back(world: World) -> None:
    with world.device() as device:
        assert device.wait_connected(120)
        device.measure("temp_c", 1)
        assert device.flush(120)
        world.broker.stop()
        device.measure("temp_c", 2)
        assert not device.flush(0.2)
        assert device.pending == 1
        world.hub.subscribed.clear()
        world.broker.start()
        assert world.hub.subscribed.wait(120)
        assert device.flush(120)
        assert sorted(world.hub.rows.values()) == [1.0, 2.0]


@pytest.mark.hub
def test_a_network_that_goes_away_cuts_the_connection_and_its_return_restores_it(
    world: World,
) -> None:
    with world.device() as device:
        assert device.wait_connected(120)
        assert world.hub.wait(lambda: world.hub.presence == [True])
        device.set_network(available=False)
        assert world.hub.wait(lambda: world.hub.presence == [True, False])  # the will, not a word
        device.measure("temp_c", 1)
        assert not device.flush(1.5)  # it does not try: the broker would take it at once
        assert not device.connected
        device.set_network(available=True)
        assert device.flush(120)
        assert world.hub.presence == [True, False, True]
        device.set_network(available=False)
    assert list(world.hub.rows.values()) == [1.0]


@pytest.mark.hub
def test_commands_reach_a_handler_that_measures_and_may_not_wait(world: World) -> None:
    refused: list[str] = []

    with world.device() as device:

        def identify(_: Any) -> dict[str, Any]:
            device.measure("temp_c", 5)
            with pytest.raises(DeviceError) as caught:
                device.flush(1)
            refused.append(str(caught.value))
            return {"seen": True}

        device.on_command("identify", identify)
        assert device.wait_connected(120)
        world.hub.say("command", Command(b"c" * 16, "identify", {}, 1 << 62).encode())
        assert world.hub.wait(lambda: world.hub.replies)
        assert world.hub.replies == [Reply(b"c" * 16, ReplyStatus.DONE, {"seen": True})]
        assert device.flush(120)
    assert refused == ["A handler must not wait for the device: it runs on its thread."]


@pytest.mark.hub
def test_many_threads_measure_and_history_is_recorded_meanwhile(world: World) -> None:
    with world.device() as device:
        assert device.wait_connected(120)

        def work(number: int) -> None:
            for i in range(200):
                device.measure("temp_c", number * 1000 + i)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        rows = ((10**18 + i, {"temp_c": 1e6 + i}) for i in range(20_000))
        assert device.record(rows) == 20_000
        for thread in threads:
            thread.join()
        assert device.flush(120)
    live = {float(n * 1000 + i) for n in range(4) for i in range(200)}
    past = {1e6 + i for i in range(20_000)}
    assert sorted(world.hub.rows.values()) == sorted(live | past)
    assert {seq for _, seq in world.hub.rows} == set(range(20_800))


@pytest.mark.hub
def test_a_closed_device_says_so_and_reopens_with_what_was_pending(world: World) -> None:
    world.broker.stop()
    device = world.device()
    device.measure("temp_c", 7)
    device.close()
    device.close()
    with pytest.raises(ClosedError):
        device.measure("temp_c", 8)
    world.hub.subscribed.clear()
    world.broker.start()
    assert world.hub.subscribed.wait(120)
    with world.device() as again:
        assert again.pending == 1
        assert again.flush(120)
    assert list(world.hub.rows.values()) == [7.0]


def test_without_enrolment_a_secret_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(EnrolmentError, match="Give its one-time enrolment secret"):
        Device.open(
            tmp_path / "device",
            hub="https://127.0.0.1:1",
            ca_file="none",
            serial="HP-1",
            model="heat-pump",
            firmware="1",
        )
