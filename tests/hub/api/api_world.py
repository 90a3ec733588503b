"""A whole application over a real database, with devices and telemetry in memory."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from starlette.testclient import TestClient

from hub.api.context import Hub
from hub.app.http import create_app
from hub.metrics import Metrics
from hub.ports.database.engine import read_session, write_session
from hub.services import consent, people, sessions
from hub.services.caller import HUB, Caller, Role
from hub.services.events import Broadcaster
from hub.services.gate import GatePublisher
from hub.services.look_book import LookBook
from hub.services.passkeys import Site
from hub.services.pki import CertificateAuthority
from hub.services.signing_keys import SigningKeys
from hub.services.state import Place
from hub.services.tokens import Tokens, secret_hash
from tests.hub.api.memory_store import MemoryStore
from tests.hub.database.sqlite_template import open_migrated

START = 1_769_846_400_000_000_000  # 2026-01-31T08:00:00Z
SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
OPERATOR_TOKEN = "operator-token-of-the-tests"

CATALOGUE: dict[str, Any] = {
    "models": {
        "heat-pump": {
            "title": "Heat pump",
            "possession": "label",
            "metrics": [
                {"name": "temp_c", "unit": "Cel", "title": "Flow temperature"},
                {"name": "energy_kwh", "unit": "kW.h", "kind": "counter"},
            ],
            "features": {
                "telemetry": {},
                "holiday_mode": {},
                "frost_protection": {"safe": True, "default": True},
            },
        }
    },
    "plans": {"comfort": {"versions": [{"version": 1, "features": {"telemetry": {}}}]}},
}


class Source:
    """Random bytes that are the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(self._count.to_bytes(8)).digest(size)


@dataclass
class Clock:
    now: int = START

    def __call__(self) -> int:
        return self.now


@dataclass
class Devices:
    """What was sent down, and who was thrown out."""

    reachable: bool = True
    pushed: list[tuple[str, str, bytes]] = field(default_factory=list)
    kicked: list[str] = field(default_factory=list)

    def push(self, device_id: str, channel: str, payload: bytes) -> bool:
        self.pushed.append((device_id, channel, payload))
        return self.reachable

    def kick(self, device_id: str) -> None:
        self.kicked.append(device_id)


@dataclass
class Gate:
    """Compiles what changed at the moment when somebody waits for it."""

    publisher: GatePublisher

    def settled(self) -> bool:
        self.publisher.step()
        return True


@dataclass
class Unit:
    """A product in the tests."""

    product_id: str
    serial: str
    secret: str
    claim_code: str
    device_id: str = ""


class World:
    """An application and the people who use it.

    `operator` has the operator token; `support`, `ada` and `bob` sign in.
    """

    def __init__(self, hub: Hub, app: FastAPI, clock: Clock, devices: Devices) -> None:
        self.hub = hub
        self.app = app
        self.clock = clock
        self.devices = devices
        assert isinstance(hub.store, MemoryStore)
        self.store = hub.store
        self.anonymous = self.client()
        self.operator = self.client(OPERATOR_TOKEN)
        self.owners: dict[str, str] = {}
        self.people: dict[str, str] = {}
        self._count = 0

    def client(self, token: str | None = None, **headers: str) -> TestClient:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return TestClient(
            self.app,
            base_url="https://testserver",
            headers=headers,
            raise_server_exceptions=False,
            client=("127.0.0.1", 50_000),
        )

    def person(self, name: str, role: Role, partner_id: str | None = None) -> TestClient:
        """Create somebody, sign them in, and return their client."""
        password = people.OneTimePassword.new(self.hub.tokens)
        with write_session(self.hub.engine) as session:
            made = people.create_person(
                session,
                HUB,
                email=f"{name}@example.org",
                name=name,
                role=role,
                at=self.clock.now,
                tokens=self.hub.tokens,
                password=password,
                partner_id=partner_id,
            )
        self.people[name] = made.person_id
        if made.owner_id:
            self.owners[name] = made.owner_id
        answer = self.anonymous.post(
            "/api/v1/sessions", json={"email": made.email, "password": made.one_time_password}
        )
        self.anonymous.cookies.clear()
        reason = {"X-Homeport-Reason": "a test"} if role is Role.SUPPORT else {}
        return self.client(ok(answer, 201)["token"], **reason)

    def unit(self, owner: TestClient | None = None, *, enrolled: bool = True) -> Unit:
        """Make a product; enrol it and have it claimed if wanted."""
        self._count += 1
        serial = f"HP-{self._count:04d}"
        body = {"products": [{"model": "heat-pump", "serial": serial}]}
        made = ok(self.operator.post("/api/v1/products", json=body), 201)["products"][0]
        unit = Unit(made["product_id"], serial, made["enrolment_secret"], made["claim_code"])
        if enrolled:
            answer = self.anonymous.post("/api/v1/enroll", json=enrolment_body(unit))
            unit.device_id = ok(answer, 201)["device_id"]
        if owner is not None:
            ok(owner.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
        return unit

    def caller(self, client: TestClient) -> Caller:
        """Return who a client is, as the services know them."""
        token = client.headers["Authorization"].removeprefix("Bearer ")
        with read_session(self.hub.engine) as session:
            return sessions.authenticate(session, token, self.clock.now)

    def subscribe(self, owner: str, unit: Unit, **dates: str) -> dict[str, Any]:
        body = {"product_id": unit.product_id, "plan": "comfort", **dates}
        path = f"/api/v1/owners/{self.owners[owner]}/subscriptions"
        made: dict[str, Any] = ok(self.operator.post(path, json=body), 201)
        return made


@contextmanager
def new_world(folder: Path, url: str, authority: CertificateAuthority) -> Iterator[World]:
    """Put an application together over a database that has its schema."""
    engine = open_migrated(url)
    clock, devices, source = Clock(), Devices(), Source()
    gate = Gate(GatePublisher(engine, folder / "gate", clock))
    hub = Hub(
        engine=engine,
        store=MemoryStore(),
        ca=authority,
        tokens=Tokens(b"pepper of the tests", source),
        devices=devices,
        settle=gate.settled,
        decisions=lambda: gate.publisher.decisions,
        live=Broadcaster(),
        place=Place((("broker.example.org", 8883),), "https://hub.example.org"),
        signing_keys=SigningKeys.load_or_create(folder / "keys"),
        site=Site("testserver", ("https://testserver",)),
        incarnation=bytes(range(8)),
        operator_token_hash=secret_hash(OPERATOR_TOKEN),
        metrics=Metrics("control"),
        metrics_dir=folder / "metrics",
        looks=LookBook(engine),
        clock=clock,
        monotonic=lambda: 0.0,
        random_bytes=source,
    )
    world = World(hub, create_app(hub), clock, devices)
    with write_session(engine) as session:  # tests of consent ask for it
        consent.set_policy(session, consent.Policy.NOTICE)
    ok(world.operator.post("/api/v1/catalogue", json=CATALOGUE))
    yield world
    engine.dispose()


def ok(answer: httpx.Response, status: int = 200) -> Any:
    """Return the JSON of an answer that must have a status."""
    assert answer.status_code == status, answer.text
    return answer.json()


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem of an answer that must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["code"] == code
    assert found["type"].endswith(f":{code}")
    assert found["title"]
    assert found["detail"]
    assert found["instance"].endswith(answer.headers["x-request-id"])
    return found


KEY = ec.generate_private_key(ec.SECP256R1())


def csr(key: ec.EllipticCurvePrivateKey = KEY) -> str:
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM).decode()


def enrolment_body(unit: Unit) -> dict[str, str]:
    return {
        "serial": unit.serial,
        "model": "heat-pump",
        "secret": unit.secret,
        "csr": csr(),
    }
