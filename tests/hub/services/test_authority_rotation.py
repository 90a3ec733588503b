"""The authority changes: for devices that are there, that sleep, and for the hub's own certificates."""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from device_sdk.enrol import _context
from hub.app.certificate_clock import CertificateClock, make_certificates
from hub.errors import ConflictError, ForbiddenError, NotFoundError, StorageError
from hub.ports.database.engine import read_session, write_session
from hub.services import audit, authority_rotation, enrolment
from hub.services.caller import HUB
from hub.services.generations import BUNDLE, FILE
from hub.services.pki import CertificateAuthority, IssuedPair, save_pair
from tests.hub.services.service_world import DAY, World, csr_of, new_world

NOW = time.time_ns()
"""Handshakes verify against the real clock, so the past is what moves."""
HOSTS = ("localhost", "127.0.0.1")


@dataclass
class Scene:
    """A hub that began long ago."""

    world: World
    began: int

    @property
    def ca(self) -> CertificateAuthority:
        return self.world.ca

    def rotate(self, at: int, lead_days: int = 30) -> str:
        return authority_rotation.rotate(self.ca, self.world.engine, HUB, at, lead_days).name

    def retire(self, name: str, at: int, *, force: bool = False) -> None:
        authority_rotation.retire(self.ca, self.world.engine, HUB, name, at, force=force)

    def depending(self, at: int) -> dict[str, int]:
        with read_session(self.world.engine) as session:
            return dict(authority_rotation.depending(session, self.ca.generations, at))

    def clock(self, at: int) -> CertificateClock:
        return CertificateClock(self.ca, self.world.engine, HOSTS, ["hub-control"], lambda: at)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    began = NOW - 400 * DAY
    world = new_world(tmp_path)
    world.ca = CertificateAuthority.load_or_create(tmp_path / "own", began)
    make_certificates(world.ca, HOSTS, ["hub-control"], began)
    return Scene(world, began)


def shakes_hands(server: IssuedPair, trusted: ssl.SSLContext, folder: Path) -> bool:
    """Let a client meet a server in memory; tells whether it believes the certificate."""
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(*save_pair(server, folder, "shown"))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusted.wrap_bio(down, up, server_hostname="localhost")
    host = there.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for end in (client, host):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True


def believing(*pem: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata="".join(pem))


def only(scene: Scene, name: str) -> str:
    return next(one.certificate for one in scene.ca.generations if one.name == name)


def test_a_new_authority_is_trusted_at_once_and_issues_after_its_lead(scene: Scene) -> None:
    (old,) = scene.ca.generations
    at = NOW - 100 * DAY
    new = scene.rotate(at)
    assert [one.name for one in scene.ca.trusted()] == [new, old.name]
    assert scene.ca.issuer(at + 30 * DAY - 1) == scene.ca.generations[0]
    assert scene.ca.issuer(at + 30 * DAY).name == new
    again = CertificateAuthority.load_or_create(scene.ca.folder, NOW)
    assert again.generations == scene.ca.generations
    assert len(x509.load_pem_x509_certificates(again.trust_bundle_pem.encode())) == 2


def test_who_knows_only_an_old_authority_verifies_what_any_newer_one_issued(
    scene: Scene, tmp_path: Path
) -> None:
    names = [scene.ca.generations[0].name]
    for n in range(3):
        at = scene.began + (n + 1) * 100 * DAY
        names.append(scene.rotate(at))
        scene.clock(at + 31 * DAY).step()
    server = scene.ca.issue_server(HOSTS, NOW)
    for name in names:
        assert shakes_hands(server, believing(only(scene, name)), tmp_path)
    # The way does not lead back: who was told of the newest alone takes nothing of an older one.
    lone = IssuedPair(server.issued, server.private_key_pem)
    assert not shakes_hands(lone, believing(only(scene, names[0])), tmp_path)
    stranger = CertificateAuthority.load_or_create(tmp_path / "stranger", NOW)
    assert not shakes_hands(
        stranger.issue_server(HOSTS, NOW), believing(only(scene, names[-1])), tmp_path
    )


def test_an_old_authority_stays_while_a_device_depends_on_it(scene: Scene) -> None:
    old = scene.ca.generations[0].name
    made = scene.world.product()
    start = NOW - 200 * DAY
    scene.world.enrol(made, start)
    new = scene.rotate(start)
    with pytest.raises(ConflictError, match="still issues"):
        scene.retire(old, start + 29 * DAY)
    switched = start + 30 * DAY
    assert scene.depending(switched) == {old: 1}
    with pytest.raises(ConflictError, match="1 devices still have"):
        scene.retire(old, switched)
    other = scene.world.product()
    scene.world.enrol(other, switched)
    assert scene.depending(switched) == {old: 1, new: 1}
    assert scene.depending(start + 91 * DAY) == {new: 1}  # one that has ended needs another anyway
    scene.retire(old, start + 91 * DAY)
    assert [one.name for one in scene.ca.trusted()] == [new]
    assert not (scene.ca.folder / "ca.key").exists()
    CertificateAuthority.load_or_create(scene.ca.folder, NOW)
    with read_session(scene.world.engine) as session:
        assert audit.verify(session) is None
        actions = [row.action for row in audit.trail(session, HUB, object_="hub")]
    assert actions == ["authority.retire", "authority.rotate"]


def test_force_retires_it_and_the_device_comes_back_by_its_key(scene: Scene) -> None:
    old = scene.ca.generations[0].name
    start = NOW - 40 * DAY
    key = ec.generate_private_key(ec.SECP256R1())
    made = scene.world.product()
    with write_session(scene.world.engine) as session:
        enrolled = enrolment.enrol(
            session,
            scene.ca,
            serial=made.serial,
            model=made.model,
            secret=made.enrolment_secret,
            csr=csr_of(key),
            at=start,
            tokens=scene.world.tokens,
        )
    new = scene.rotate(start)
    scene.retire(old, NOW, force=True)
    assert scene.depending(NOW) == {old: 1}
    back = renewed(scene, enrolled.device_id, key, NOW)
    assert scene.depending(NOW) == {new: 1}
    issuer = x509.load_pem_x509_certificate(only(scene, new).encode())
    x509.load_pem_x509_certificate(back.certificate_pem.encode()).verify_directly_issued_by(issuer)
    assert back.trust_bundle_pem == only(scene, new)


def renewed(
    scene: Scene, device_id: str, key: ec.EllipticCurvePrivateKey, at: int
) -> enrolment.Enrolment:
    from cryptography.hazmat.primitives import hashes

    csr, seconds = csr_of(key), str(at // 1_000_000_000)
    message = enrolment.renewal_message(device_id, seconds, csr)
    with write_session(scene.world.engine) as session:
        return enrolment.renew(
            session,
            scene.ca,
            device_id=device_id,
            csr=csr,
            time=seconds,
            signature=key.sign(message, ec.ECDSA(hashes.SHA256())).hex(),
            at=at,
        )


def test_the_hub_retires_by_itself_when_the_time_has_come(scene: Scene) -> None:
    old = scene.ca.generations[0].name
    start = NOW - 300 * DAY
    new = scene.rotate(start)
    scene.world.enrol(scene.world.product(), start + 29 * DAY)
    planned = start + 30 * DAY + (90 + 30) * DAY
    assert authority_rotation.due(scene.ca, planned - 1) == []
    assert authority_rotation.due(scene.ca, planned) == [old]
    scene.clock(planned).step()
    assert [one.name for one in scene.ca.trusted()] == [new]


def test_keys_that_others_may_know_are_retired_at_once(scene: Scene, tmp_path: Path) -> None:
    old = scene.ca.generations[0].name
    waiting = scene.rotate(NOW - 10 * DAY)
    with pytest.raises(ConflictError, match="does not issue yet"):
        scene.rotate(NOW - 5 * DAY)
    scene.world.enrol(scene.world.product(), NOW - 9 * DAY)
    new = scene.rotate(NOW, 0)
    assert [one.name for one in scene.ca.trusted()] == [new]
    assert [path.name for path in scene.ca.folder.glob("ca*.key")] == [f"ca-{new}.key"]
    assert scene.depending(NOW + DAY) == {old: 1}
    server = scene.ca.issue_server(HOSTS, NOW)
    for name in (old, waiting, new):
        assert shakes_hands(server, believing(only(scene, name)), tmp_path)


def test_the_hubs_own_certificates_are_renewed_in_time_and_by_the_new_authority(
    scene: Scene,
) -> None:
    assert scene.clock(scene.began + 200 * DAY).step() == []
    assert scene.clock(scene.began + 270 * DAY).step() == ["server", "hub-control"]
    assert scene.clock(scene.began + 270 * DAY).step() == []
    scene.rotate(scene.began + 280 * DAY)
    assert scene.clock(scene.began + 281 * DAY).step() == [BUNDLE]
    assert scene.clock(scene.began + 310 * DAY).step() == ["server", "hub-control"]
    shown = x509.load_pem_x509_certificates((scene.ca.folder / "server.pem").read_bytes())
    assert len(shown) == 2  # itself, and the way from the old authority to the new one


def test_a_device_that_learned_a_bundle_takes_nothing_of_an_authority_that_is_not_in_it(
    scene: Scene, tmp_path: Path
) -> None:
    file = tmp_path / "factory.pem"
    file.write_text(scene.ca.trust_bundle_pem)
    thief = scene.ca.issue_server(HOSTS, NOW)
    scene.rotate(NOW, 0)
    honest = scene.ca.issue_server(HOSTS, NOW)
    assert shakes_hands(thief, _context(file, ""), tmp_path)
    assert shakes_hands(honest, _context(file, ""), tmp_path)
    learned = _context(file, scene.ca.trust_bundle_pem)
    assert shakes_hands(honest, learned, tmp_path)
    assert not shakes_hands(thief, learned, tmp_path)


def test_a_file_of_other_authorities_counts_beside_what_was_learned(
    scene: Scene, tmp_path: Path
) -> None:
    """The API may stand behind a proxy with a certificate of a public authority."""
    from tests.device_sdk.test_enrolment_https import Authority

    file = tmp_path / "public.pem"
    file.write_text(Authority().pem)
    context = _context(file, scene.ca.trust_bundle_pem)
    assert len(context.get_ca_certs()) == 2


def test_damaged_missing_and_foreign_files_are_refused(scene: Scene) -> None:
    new = scene.rotate(NOW - DAY)
    path = scene.ca.folder / FILE
    text = path.read_text()
    for spoiled in ("{", '{"authorities": []}', text.replace(new, "0" * 16)):
        path.write_text(spoiled)
        with pytest.raises(StorageError):
            CertificateAuthority.load_or_create(scene.ca.folder, NOW)
    path.write_text(text)
    key = scene.ca.folder / f"ca-{new}.key"
    key.write_bytes((scene.ca.folder / "ca.key").read_bytes())
    with pytest.raises(StorageError, match="another authority's key"):
        CertificateAuthority.load_or_create(scene.ca.folder, NOW)


def test_only_operators_and_only_what_is_there(scene: Scene) -> None:
    customer = scene.world.customer()
    with pytest.raises(ForbiddenError):
        authority_rotation.rotate(scene.ca, scene.world.engine, customer, NOW)
    with pytest.raises(ForbiddenError):
        authority_rotation.retire(scene.ca, scene.world.engine, customer, "x", NOW)
    with pytest.raises(NotFoundError):
        scene.retire("0" * 16, NOW)
    assert len(scene.ca.generations) == 1
