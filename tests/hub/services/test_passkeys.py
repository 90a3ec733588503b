"""Passkeys with an authenticator in software: what fits lets in, anything else does not."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hub.errors import ConflictError, ForbiddenError, NotAuthenticatedError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.people_tables import Person
from hub.services import audit, passkeys, sessions
from hub.services.caller import HUB, Role
from hub.services.passkeys import RECENT_NS, Site
from hub.services.sessions import SignedIn
from tests.hub.services.service_world import T0, S, World
from tests.hub.services.test_people_sessions import person

SITE = Site("hub.example", ("https://hub.example:8443", "https://hub.example"))


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """A phone. Its attributes may be changed to make it lie."""

    origin: str = "https://hub.example:8443"
    site: str = "hub.example"
    flags: int = 0x05  # user present and verified
    count: int = 0
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def client(self, kind: str, options: str) -> bytes:
        said = {"type": kind, "challenge": json.loads(options)["challenge"], "origin": self.origin}
        return json.dumps(said).encode()

    def data(self, extra: bytes = b"", flags: int = 0) -> bytes:
        head = hashlib.sha256(self.site.encode()).digest()
        return head + bytes([self.flags | flags]) + self.count.to_bytes(4, "big") + extra

    def make(self, options: str) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        x, y = (n.to_bytes(32, "big") for n in (numbers.x, numbers.y))
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        extra = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public
        made = {"fmt": "none", "attStmt": {}, "authData": self.data(extra, 0x40)}
        return self._credential(
            clientDataJSON=text(self.client("webauthn.create", options)),
            attestationObject=text(cbor2.dumps(made)),
        )

    def show(self, options: str) -> dict[str, Any]:
        client, data = self.client("webauthn.get", options), self.data()
        signed = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._credential(
            clientDataJSON=text(client), authenticatorData=text(data), signature=text(signed)
        )

    def _credential(self, **response: str) -> dict[str, Any]:
        name = text(self.id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response}


@dataclass
class Scene:
    world: World
    ada: SignedIn
    person_id: str

    def add(self, phone: Authenticator, at: int = T0, name: str = "Phone") -> str:
        world = self.world
        with write_session(world.engine) as session:
            begun = passkeys.begin_new(
                session, self.ada.caller, SITE, self.ada.token, at, world.tokens
            )
        made = phone.make(begun.options)
        with write_session(world.engine) as session:
            return passkeys.end_new(
                session, self.ada.caller, SITE, begun.flow, made, name, at, world.tokens
            )

    def enter(self, phone: Authenticator, at: int = T0) -> SignedIn:
        phone.count += 1
        with write_session(self.world.engine) as session:
            begun = passkeys.begin_sign_in(session, SITE, at, self.world.tokens)
        shown = phone.show(begun.options)
        with write_session(self.world.engine) as session:
            return passkeys.sign_in(session, SITE, begun.flow, shown, at, self.world.tokens)


@pytest.fixture
def scene(world: World) -> Scene:
    new = person(world, Role.CUSTOMER)
    opened = sessions.sign_in(world.engine, new.email, new.one_time_password, T0, world.tokens)
    return Scene(world, opened, new.person_id)


def test_several_passkeys_each_lets_its_person_in(scene: Scene) -> None:
    phone, laptop = Authenticator(), Authenticator(origin="https://hub.example")
    scene.add(phone)
    gone = scene.add(laptop, name="  My \n laptop ")
    for one in (phone, laptop):
        opened = scene.enter(one)
        assert opened.caller.person_id == scene.person_id
        assert not opened.must_change_password
    with write_session(scene.world.engine) as session:
        names = [one.name for one in passkeys.listed(session, scene.ada.caller)]
        passkeys.remove(session, scene.ada.caller, gone, T0)
    assert sorted(names) == ["My laptop", "Phone"]
    with pytest.raises(NotAuthenticatedError):
        scene.enter(laptop)
    scene.enter(phone)


@pytest.mark.parametrize(
    "lie",
    [
        {"origin": "https://evil.example"},
        {"site": "evil.example"},
        {"flags": 0x01},  # present, but nobody was verified
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"id": b"unknown" * 4},
    ],
)
def test_what_does_not_fit_lets_nobody_in(scene: Scene, lie: dict[str, Any]) -> None:
    phone = Authenticator()
    scene.add(phone)
    for name, value in lie.items():
        setattr(phone, name, value)
    with pytest.raises(NotAuthenticatedError):
        scene.enter(phone)


def test_a_copied_authenticator_is_refused_and_audited(scene: Scene) -> None:
    phone = Authenticator()
    scene.add(phone)
    scene.enter(phone)
    scene.enter(phone)
    phone.count = 0
    with pytest.raises(NotAuthenticatedError):
        scene.enter(phone)
    with read_session(scene.world.engine) as session:
        told = audit.trail(session, HUB, object_=f"person:{scene.person_id}")
    assert told[0].action == "passkey.copied"


def test_an_answer_works_once_and_within_minutes(scene: Scene) -> None:
    phone, tokens = Authenticator(), scene.world.tokens
    scene.add(phone)
    with write_session(scene.world.engine) as session:
        begun = passkeys.begin_sign_in(session, SITE, T0, tokens)
        other = passkeys.begin_sign_in(session, SITE, T0, tokens)
    shown = phone.show(begun.options)
    for flow, at in ((other.flow, T0), (begun.flow, T0 + 600 * S)):
        with write_session(scene.world.engine) as session, pytest.raises(NotAuthenticatedError):
            passkeys.sign_in(session, SITE, flow, shown, at, tokens)
    with write_session(scene.world.engine) as session:
        passkeys.sign_in(session, SITE, begun.flow, shown, T0, tokens)
    with write_session(scene.world.engine) as session, pytest.raises(NotAuthenticatedError):
        passkeys.sign_in(session, SITE, begun.flow, shown, T0, tokens)


def test_only_who_has_just_signed_in_makes_one(scene: Scene) -> None:
    with pytest.raises(ForbiddenError, match="Sign in again"):
        scene.add(Authenticator(), T0 + RECENT_NS + 1)
    with write_session(scene.world.engine) as session, pytest.raises(ForbiddenError):
        passkeys.begin_new(session, HUB, SITE, "", T0, scene.world.tokens)


def test_one_that_is_known_somebody_elses_and_nonsense(scene: Scene) -> None:
    world, phone = scene.world, Authenticator()
    made = scene.add(phone)
    with pytest.raises(ConflictError):
        scene.add(phone)
    other = person(world, Role.CUSTOMER, "bob@example.org")
    bob = sessions.sign_in(world.engine, other.email, other.one_time_password, T0, world.tokens)
    with write_session(world.engine) as session:
        with pytest.raises(NotFoundError):
            passkeys.remove(session, bob.caller, made, T0)
        begun = passkeys.begin_new(
            session, scene.ada.caller, SITE, scene.ada.token, T0, world.tokens
        )
    with write_session(world.engine) as session, pytest.raises(NotAuthenticatedError):
        passkeys.end_new(session, bob.caller, SITE, begun.flow, {}, "x", T0, world.tokens)
    for nonsense in ({}, {"id": 7}, {"id": "AAAA", "response": {}}, {"id": "ä"}):
        with write_session(world.engine) as session:
            flow = passkeys.begin_sign_in(session, SITE, T0, world.tokens).flow
        with write_session(world.engine) as session, pytest.raises(NotAuthenticatedError):
            passkeys.sign_in(session, SITE, flow, nonsense, T0, world.tokens)


def test_a_disabled_account_stays_out(scene: Scene) -> None:
    phone = Authenticator()
    scene.add(phone)
    with write_session(scene.world.engine) as session:
        session.get_one(Person, scene.person_id).disabled_at = T0
    with pytest.raises(NotAuthenticatedError):
        scene.enter(phone)
