"""Enrolment and renewal against a small HTTPS server with a CA of its own."""

import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from device_sdk import enrol
from device_sdk.client import Device
from device_sdk.errors import EnrolmentError
from device_sdk.keys import DeviceKey
from device_sdk.routes import routes
from device_sdk.wire.state import Endpoint, SigningKey, State
from device_sdk.wire.topics import shard_of
from tests.device_sdk.device_bench import ManualTime

DEVICE = "abcdefgh01234567"
SECRET = "correct-horse"
SIGNING = hashlib.sha256(b"\x11" * 32).hexdigest()


class Authority:
    """A certificate authority for one test."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self.certificate = self.issue(self.key.public_key(), self.name, ca=True)
        self.pem = self.certificate.public_bytes(Encoding.PEM).decode()

    def issue(
        self, public: Any, name: x509.Name, *, ca: bool = False, days: int = 30
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(address, critical=False)
            .sign(self.key, hashes.SHA256())
        )


class Hub:
    """Answers `/api/v1/enroll` and `/api/v1/renew`; `change` may spoil an answer."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.change: Callable[[dict[str, Any]], tuple[int, Any]] = lambda answer: (201, answer)
        self.days = 30
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
        certificate = self.authority.issue(key.public_key(), name)
        pem = folder / "server.pem"
        pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(self.authority.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"https://127.0.0.1:{self.server.server_port}"

    def handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the inner class has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hub.requests.append((self.path, body))
                status, answer = hub.change(hub.answer(body["csr"]))
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Tests are quiet."""

        return Handler

    def answer(self, csr: str) -> dict[str, Any]:
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DEVICE)])
        certificate = self.authority.issue(request.public_key(), name, days=self.days)
        return {
            "device_id": DEVICE,
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
            "trust_bundle": self.authority.pem,
            "broker": {"host": "127.0.0.1", "port": 8883},
            "topic_root": "hp/1",
            "shard": shard_of(DEVICE),
            "signing_keys": [{"kid": SIGNING[:16], "key": "11" * 32}],
            "incarnation": "22" * 8,
        }


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
    thread.join()


@pytest.fixture
def key(tmp_path: Path) -> DeviceKey:
    return DeviceKey.load_or_create(tmp_path / "device.key")


def test_enrolment_is_remembered_and_the_secret_is_not(
    hub: Hub, key: DeviceKey, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    api = enrol.HubApi(hub.address, hub.ca_file)
    enrolment = api.enrol("HP-1", "heat-pump", SECRET, key)
    enrol.save(home, enrolment)
    assert enrol.load(home) == enrolment
    assert hub.requests[0][0] == "/api/v1/enroll"
    assert hub.requests[0][1].keys() == {"serial", "model", "secret", "csr"}
    assert not any(SECRET in path.read_text() for path in home.iterdir())
    assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o600}


def test_renewal_is_proved_by_the_enrolled_key(hub: Hub, key: DeviceKey, tmp_path: Path) -> None:
    api = enrol.HubApi(hub.address, hub.ca_file)
    renewal = enrol.Renewal(tmp_path, api, key, api.enrol("HP-1", "heat-pump", SECRET, key))
    due = renewal.enrolment.renewal_due_s()
    before = renewal.enrolment
    assert not renewal.renew_if_due(int(due - 10) * 10**9)
    now = int(due) + 1
    hub.days = 60
    assert renewal.renew_if_due(now * 10**9)
    assert renewal.enrolment.certificate != before.certificate
    assert enrol.load(tmp_path) == renewal.enrolment
    path, body = hub.requests[-1]
    assert path == "/api/v1/renew"
    digest = hashlib.sha256(body["csr"].encode()).hexdigest()
    proof = f"homeport/renew/1\n{DEVICE}\n{body['time']}\n{digest}".encode()
    assert body["time"] == str(now)
    public = key.private.public_key()
    public.verify(bytes.fromhex(body["signature"]), proof, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "secret"), (409, "enrolled already"), (429, "Wait"), (500, "Try again later")],
)
def test_a_refusal_says_what_to_do(hub: Hub, key: DeviceKey, status: int, advice: str) -> None:
    hub.change = lambda _: (status, {"detail": "No such thing."})
    with pytest.raises(EnrolmentError, match=advice) as caught:
        enrol.HubApi(hub.address, hub.ca_file).enrol("HP-1", "heat-pump", SECRET, key)
    assert caught.value.status == status
    assert caught.value.retry_after_s is None
    assert "No such thing." in str(caught.value)
    assert SECRET not in str(caught.value)


def test_whoever_comes_too_often_is_told_when_to_come_back(hub: Hub, key: DeviceKey) -> None:
    hub.change = lambda _: (429, {"detail": "Too many.", "retry_after_s": 7})
    with pytest.raises(EnrolmentError) as caught:
        enrol.HubApi(hub.address, hub.ca_file).enrol("HP-1", "heat-pump", SECRET, key)
    assert caught.value.retry_after_s == 7


class Waits(ManualTime):
    """Time that passes when it is waited for, and how long each wait was."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def pass_by(self, seconds: float) -> None:
        self.waits.append(seconds)
        super().pass_by(seconds)


def opened(hub: Hub, home: Path, waits: Waits, within_s: float) -> None:
    Device.open(
        home,
        hub=hub.address,
        ca_file=hub.ca_file,
        serial="HP-1",
        model="heat-pump",
        firmware="1",
        secret=SECRET,
        enrol_within_s=within_s,
        clocks=waits.clocks,
    ).close()


def test_a_device_waits_as_it_is_told_and_enrols(hub: Hub, tmp_path: Path) -> None:
    answers = [(429, {"retry_after_s": 40}), (503, {}), (500, {}), (429, {"retry_after_s": 5})]
    nowhere = {"broker": {"host": "127.0.0.1", "port": 1}}
    hub.change = lambda answer: answers.pop(0) if answers else (201, answer | nowhere)
    waits = Waits()
    opened(hub, tmp_path / "home", waits, 120)
    assert enrol.load(tmp_path / "home") is not None
    assert len(hub.requests) == 5
    # Never before its time, and not all devices at once.
    for wait, least in zip(waits.waits, (40, 2, 4, 5), strict=True):
        assert least < wait <= 1.25 * least


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422])
def test_a_device_does_not_wait_where_that_is_of_no_use(
    hub: Hub, tmp_path: Path, status: int
) -> None:
    hub.change = lambda _: (status, {"detail": "No."})
    waits = Waits()
    with pytest.raises(EnrolmentError) as caught:
        opened(hub, tmp_path / "home", waits, 120)
    assert (caught.value.temporary, waits.waits, len(hub.requests)) == (False, [], 1)


def test_a_device_gives_up_in_time(hub: Hub, tmp_path: Path) -> None:
    waits = Waits()
    hub.change = lambda _: (429, {"retry_after_s": 600})
    with pytest.raises(EnrolmentError) as caught:
        opened(hub, tmp_path / "home", waits, 120)
    assert (caught.value.retry_after_s, waits.waits) == (600, [])  # the caller may know better
    hub.server.server_close()
    with pytest.raises(EnrolmentError, match="cannot be reached") as caught:
        opened(hub, tmp_path / "home", waits, 120)
    assert caught.value.temporary
    assert len(waits.waits) > 3
    assert sum(waits.waits) <= 120


@pytest.mark.parametrize(
    "change",
    [
        {"device_id": "../../etc/passwd"},
        {"shard": "zz"},
        {"signing_keys": []},
        {"certificate": "not a certificate"},
        {"broker": None},
        {"incarnation": 5},
    ],
)
def test_an_answer_that_is_no_enrolment_is_refused(
    hub: Hub, key: DeviceKey, change: dict[str, Any]
) -> None:
    hub.change = lambda answer: (201, answer | change)
    with pytest.raises(EnrolmentError, match=r"hub's (answer|certificate)"):
        enrol.HubApi(hub.address, hub.ca_file).enrol("HP-1", "heat-pump", SECRET, key)


def test_a_certificate_for_another_key_is_refused(hub: Hub, key: DeviceKey, tmp_path: Path) -> None:
    other = DeviceKey.load_or_create(tmp_path / "other.key")
    hub.change = lambda _: (201, hub.answer(other.signing_request("x")))
    with pytest.raises(EnrolmentError, match="not for this device"):
        enrol.HubApi(hub.address, hub.ca_file).enrol("HP-1", "heat-pump", SECRET, key)


def test_a_server_of_another_ca_never_sees_the_secret(
    hub: Hub, key: DeviceKey, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.pem"
    strange.write_text(Authority().pem)
    with pytest.raises(EnrolmentError, match="not a hub of the CA"):
        enrol.HubApi(hub.address, strange).enrol("HP-1", "heat-pump", SECRET, key)
    assert hub.requests == []


def test_plain_http_is_refused(hub: Hub, key: DeviceKey) -> None:
    address = hub.address.replace("https", "http")
    with pytest.raises(EnrolmentError, match="https"):
        enrol.HubApi(address, hub.ca_file).enrol("HP-1", "heat-pump", SECRET, key)


def test_a_hub_that_is_not_there_is_named(key: DeviceKey, hub: Hub) -> None:
    hub.server.server_close()
    with pytest.raises(EnrolmentError, match="cannot be reached"):
        enrol.HubApi(hub.address, hub.ca_file).enrol("HP-1", "heat-pump", SECRET, key)


def test_a_damaged_enrolment_is_an_error_and_a_missing_one_is_not(tmp_path: Path) -> None:
    assert enrol.load(tmp_path) is None
    (tmp_path / "enrolment.json").write_text("{")
    with pytest.raises(EnrolmentError, match="damaged"):
        enrol.load(tmp_path)


def test_a_new_address_is_tried_first_and_the_enrolled_one_stays(hub: Hub, key: DeviceKey) -> None:
    enrolment = enrol.HubApi(hub.address, hub.ca_file).enrol("HP-1", "heat-pump", SECRET, key)
    assert [route.host for route in routes(enrolment, None)] == ["127.0.0.1"]
    place = Endpoint("moved.example", 8884, "hp/1", "47", "https://moved.example")
    signing = (SigningKey(b"k" * 8, b"k" * 32),)
    der = hub.authority.certificate.public_bytes(Encoding.DER)
    state = State(DEVICE, 1, 0, b"", {}, None, (der,), place, 0, signing)
    ways = routes(enrolment, state)
    assert [(way.host, way.port) for way in ways] == [("moved.example", 8884), ("127.0.0.1", 8883)]
    assert ways[0].trust.strip() == hub.authority.pem.strip()


def test_a_broker_of_several_addresses_is_remembered_and_tried_in_order(
    hub: Hub, key: DeviceKey, tmp_path: Path
) -> None:
    brokers = [{"host": f"{n}.example", "port": 8883} for n in ("one", "two", "six")]
    hub.change = lambda answer: (201, answer | {"broker": brokers[0], "brokers": brokers})
    enrol.save(tmp_path, enrol.HubApi(hub.address, hub.ca_file).enrol("HP-1", "m", SECRET, key))
    enrolment = enrol.load(tmp_path)
    assert enrolment is not None
    assert [way.host for way in routes(enrolment, None)] == [
        "one.example",
        "two.example",
        "six.example",
    ]
    place = Endpoint("two.example", 8883, "hp/1", "47", "https://x", (("new.example", 8884),))
    der = hub.authority.certificate.public_bytes(Encoding.DER)
    signing = (SigningKey(b"k" * 8, b"k" * 32),)
    ways = routes(enrolment, State(DEVICE, 1, 0, b"", {}, None, (der,), place, 0, signing))
    assert [way.host for way in ways][:3] == ["two.example", "new.example", "one.example"]
