"""A real hub with a past: a device that slept through the end of its certificate and of the authority.

TLS verifies against the real clock, so the hub's history lies in the past: the authority is 400 days old,
was changed, and the old one has been retired; the device has been in a drawer all that time.
"""

import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509

from device_sdk import enrol, files
from device_sdk.client import SYSTEM_CLOCKS, Device
from device_sdk.keys import DeviceKey
from device_sdk.wire.topics import ROOT, shard_of
from firmware_sim import local_hub
from firmware_sim.hub_client import HubClient
from hub.app.certificate_clock import CertificateClock, make_certificates
from hub.app.formats import mark
from hub.config import Settings
from hub.ports.database.engine import migrate, open_engine, read_session, write_session
from hub.services import authority_rotation, catalogue, enrolment, products
from hub.services.caller import HUB
from hub.services.pki import CertificateAuthority
from hub.services.signing_keys import SigningKeys, load_pepper
from hub.services.tokens import Tokens
from tests.e2e.world import eventually
from tests.hub.services.service_world import CATALOGUE, DAY

NOW = time.time_ns()
LONG_AGO = NOW - 400 * DAY
HOSTS = ("localhost", "127.0.0.1")


@dataclass
class Past:
    """What happened until today."""

    settings: Settings
    device: Path
    old_bundle: Path
    serial: str


@pytest.fixture
def past(tmp_path: Path) -> Past:
    settings = Settings(data_dir=tmp_path / "data")
    engine = open_engine(settings.database_url.get_secret_value())
    ca = CertificateAuthority.load_or_create(settings.pki_dir, LONG_AGO)
    make_certificates(ca, HOSTS, [], LONG_AGO)
    keys = SigningKeys.load_or_create(settings.keys_dir)
    tokens = Tokens(load_pepper(settings.keys_dir))
    migrate(engine)
    mark(settings, "0.0.0")
    home = tmp_path / "device"
    files.private_folder(home)
    key = DeviceKey.load_or_create(home / "device.key")
    with write_session(engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(CATALOGUE), LONG_AGO)
    with write_session(engine) as session:
        made = products.register(
            session, HUB, model="heat-pump", serial="HP-1", at=LONG_AGO, tokens=tokens
        )
    with write_session(engine) as session:
        done = enrolment.enrol(
            session,
            ca,
            serial="HP-1",
            model="heat-pump",
            secret=made.enrolment_secret,
            csr=key.signing_request("HP-1"),
            at=LONG_AGO,
            tokens=tokens,
        )
    public = keys.public(LONG_AGO)
    enrolled = enrol.Enrolment(
        device_id=done.device_id,
        certificate=done.certificate_pem,
        trust_bundle=done.trust_bundle_pem,
        broker_host="127.0.0.1",
        broker_port=1,  # the hub's ports are others by now
        topic_root=ROOT,
        shard=shard_of(done.device_id),
        signing_keys=tuple((one.kid.hex(), one.key.hex()) for one in public),
        incarnation="00" * 8,
    )
    enrol.save(home, enrolled)
    old_bundle = tmp_path / "factory.pem"
    shutil.copy(settings.pki_dir / "ca.pem", old_bundle)
    # 300 days ago the authority was changed; when its time had come the old one was retired.
    authority_rotation.rotate(ca, engine, HUB, NOW - 300 * DAY)
    CertificateClock(ca, engine, HOSTS, [], lambda: NOW - 100 * DAY).step()
    assert len(ca.trusted()) == 1
    engine.dispose()
    return Past(settings, home, old_bundle, "HP-1")


@pytest.fixture
def running(past: Past) -> Iterator[local_hub.Address]:
    with local_hub.started(past.settings.data_dir, {"LOG_LEVEL": "info"}) as address:
        yield address


def opened(past: Past, address: local_hub.Address) -> Device:
    return Device.open(
        past.device,
        hub=address.api,
        ca_file=past.old_bundle,
        serial=past.serial,
        model="heat-pump",
        firmware="2.4.0",
        clocks=replace(SYSTEM_CLOCKS, jitter=lambda: 0.0),
    )


def issuer_shown(port: int, trust: Path) -> bytes | None:
    """Return which authority key issued what a server shows; None if it is not to be trusted."""
    context = ssl.create_default_context(cafile=str(trust))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            der = secure.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError:
        return None
    assert der is not None
    shown = x509.load_der_x509_certificate(der).extensions
    return shown.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def trusted(device: Device) -> tuple[bytes, ...]:
    state = device._engine.trust.state
    return () if state is None else state.trust


@pytest.mark.hub
def test_a_device_comes_back_after_its_certificate_and_the_authority_have_ended(
    past: Past, running: local_hub.Address
) -> None:
    ports = [int(running.api.rpartition(":")[2]), int(running.facts["mqtt_port"])]
    with (
        opened(past, running) as device,
        HubClient(running.api, running.ca_file, running.token) as hub,
    ):
        # Its certificate ended 310 days ago, and it knows only the authority that was retired.
        assert device.wait_connected(120)
        device.measure("temp_c", 20.0)
        assert device.flush(120)
        learned = eventually(lambda: device._engine.trust.state, "a signed state")
        assert len(learned.trust) == 1

        # Now the keys of the present authority are known to others: it is replaced while running.
        before = {issuer_shown(port, past.old_bundle) for port in ports}
        hub.call("POST", "/authorities/rotate", {"lead_days": 0})
        eventually(
            lambda: {issuer_shown(port, past.old_bundle) for port in ports}.isdisjoint(
                before | {None}
            ),
            "API and broker show a certificate of the new authority, also to who knows only the first",
        )
        # The broker ends all connections, and lets nobody in by a certificate of the old authority:
        # the device is refused, gets one of the new authority by its key, and comes back.
        eventually(
            lambda: trusted(device) not in {(), learned.trust}, "it learned the new authority"
        )
        assert device.wait_connected(120)
        device.measure("temp_c", 21.0)
        assert device.flush(120)
        shown = hub.call("GET", "/authorities")["authorities"]
        assert [one["depending"] for one in shown] == [0, 0, 1]
        assert [one["trusted"] for one in shown] == [False, False, True]
    with read_session(open_engine(past.settings.database_url.get_secret_value())) as session:
        from hub.services import audit

        assert audit.verify(session) is None
