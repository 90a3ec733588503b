"""What every broker promises the hub, asked of NATS with its callout and of Mosquitto alike.

A broker may refuse what is not allowed or swallow it: what counts is that it never arrives.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_sdk.wire.topics import shard_of
from hub.config import BrokerSettings
from hub.services.pki import CertificateAuthority
from hub.wiring import compose
from tests.hub.broker.conftest import BrokerRig, DeviceRig, MqttClient
from tests.hub.broker.mosquitto_rig import MosquittoRig

pytestmark = pytest.mark.hub
BROKERS: dict[str, Callable[[Path], DeviceRig]] = {"nats": BrokerRig, "mosquitto": MosquittoRig}


@pytest.fixture(scope="module", params=sorted(BROKERS))
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeviceRig]:
    made = BROKERS[request.param](tmp_path_factory.mktemp(request.param))
    try:
        yield made
    finally:
        made.close()  # type: ignore[attr-defined]


@pytest.fixture
def rig(started: DeviceRig) -> Iterator[DeviceRig]:
    """The broker, without connections of the test before."""
    yield started
    started.close_clients()


def topic(device_id: str, rest: str) -> str:
    return f"hp/1/{shard_of(device_id)}/{device_id}/{rest}"


def received(client: MqttClient, count: int) -> list[tuple[str, bytes]]:
    return [client.messages.get(timeout=60) for _ in range(count)]


def ingest_of(rig: DeviceRig) -> MqttClient:
    part = rig.part("hub-ingest-0")
    assert part.connect()
    assert part.subscribe("hp/1/+/+/up/t")
    return part


def control_of(rig: DeviceRig) -> MqttClient:
    part = rig.part("hub-control")
    assert part.connect()
    for channel in ("presence", "get"):
        assert part.subscribe(f"hp/1/+/+/up/{channel}")
    return part


def device_of(rig: DeviceRig, device_id: str) -> MqttClient:
    device = rig.device(rig.enrol(device_id))
    assert device.connect()
    assert device.subscribe(topic(device_id, "down/+"))
    return device


def break_off(device: MqttClient) -> None:
    """End a connection as a power cut does: without DISCONNECT."""
    sock = device.client.socket()
    assert sock is not None
    device.client.loop_stop()
    sock.close()


def shut_out(rig: DeviceRig, device: MqttClient, witness: MqttClient) -> bool:
    """Whether a device that tries to come in can neither say nor hear anything."""
    control = rig.part("hub-control")
    assert control.connect()
    if device.connect() and not device.disconnected.is_set():
        device.subscribe(topic(device.client_id, "down/+"))
        device.publish(topic(device.client_id, "up/t"), b"from outside")
        control.publish(topic(device.client_id, "down/state"), b"secret")
    mark = device_of(rig, "mark000000000001")
    mark.publish(topic("mark000000000001", "up/t"), b"mark")
    control.publish(topic("mark000000000001", "down/state"), b"mark")
    assert received(mark, 1)[0][1] == b"mark"  # so the secret would have arrived by now
    assert received(witness, 1)[0][1] == b"mark"
    mark.close()
    control.close()
    return device.messages.empty()


def test_a_device_uses_its_own_topics_and_no_others(rig: DeviceRig) -> None:
    one, two = "deviceone0000001", "devicetwo0000002"
    ingest, control = ingest_of(rig), control_of(rig)
    device, other = device_of(rig, one), device_of(rig, two)
    for foreign in (topic(two, "down/+"), "hp/1/#", "#", "$SYS/#", "$CONTROL/#"):
        device.subscribe(foreign)
    device.publish(topic(two, "up/t"), b"forged")
    device.publish(topic(one, "down/state"), b"forged")
    device.publish(topic(two, "down/state"), b"forged")
    device.publish("$CONTROL/dynamic-security/v1", b'{"commands":[{"command":"listClients"}]}')
    device.publish(topic(one, "up/t"), b"own")
    assert received(ingest, 1) == [(topic(one, "up/t"), b"own")]
    control.publish(topic(two, "down/state"), b"for two")
    assert received(other, 1) == [(topic(two, "down/state"), b"for two")]
    ingest.publish(topic(one, "down/receipt"), b"receipt")
    assert received(device, 1) == [(topic(one, "down/receipt"), b"receipt")]
    assert all(c.messages.empty() for c in (device, other, ingest, control))


def test_parts_of_the_hub_get_and_say_only_what_they_need(rig: DeviceRig) -> None:
    device_id = "devicethree00003"
    device, ingest, control = device_of(rig, device_id), ingest_of(rig), control_of(rig)
    assert not control.subscribe("hp/1/+/+/up/t")
    assert not ingest.subscribe("hp/1/+/+/up/get")
    assert not ingest.subscribe("$CONTROL/dynamic-security/v1/response")
    ingest.publish(topic(device_id, "down/state"), b"not ingest's")
    control.publish(topic(device_id, "down/receipt"), b"not control's")
    control.publish(topic(device_id, "down/state"), b"state")
    assert received(device, 1) == [(topic(device_id, "down/state"), b"state")]
    device.publish(topic(device_id, "up/get"), b"get")
    assert received(control, 1) == [(topic(device_id, "up/get"), b"get")]
    assert ingest.messages.empty()


def test_a_part_that_does_not_exist_can_do_nothing(rig: DeviceRig) -> None:
    ingest = ingest_of(rig)
    stranger = rig.part("hub-stranger")
    if stranger.connect():
        stranger.subscribe("hp/1/+/+/up/t")
        stranger.publish(topic("deviceone0000001", "down/state"), b"forged")
    device = device_of(rig, "deviceone0000001")
    device.publish(topic("deviceone0000001", "up/t"), b"x")
    assert received(ingest, 1)
    assert stranger.messages.empty()


def test_a_forged_client_id_pushes_nobody_off_and_gains_nothing(rig: DeviceRig) -> None:
    ingest = ingest_of(rig)
    victim = device_of(rig, "victim0000000001")
    thief = rig.device(rig.enrol("thief00000000001"), client_id="victim0000000001")
    if thief.connect():
        thief.subscribe(topic("victim0000000001", "down/+"))
        thief.publish(topic("victim0000000001", "up/t"), b"forged")
    for name in ("hub-control", "hub-ingest-0"):
        rig.device("thief00000000001", client_id=name).connect()
    victim.publish(topic("victim0000000001", "up/t"), b"own")
    assert received(ingest, 1) == [(topic("victim0000000001", "up/t"), b"own")]
    ingest.publish(topic("victim0000000001", "down/receipt"), b"receipt")
    assert received(victim, 1)
    assert thief.messages.empty()
    assert not victim.disconnected.is_set()
    assert not ingest.disconnected.is_set()


def test_only_certificates_of_the_hubs_authority_come_in(rig: DeviceRig, tmp_path: Path) -> None:
    foreign = CertificateAuthority.load_or_create(tmp_path, compose.now())
    assert not rig.device(rig.enrol("foreign000000001", foreign)).connect()
    bare = rig.device(rig.enrol("nocert0000000001"))
    bare.client._ssl_context = None
    bare.client.tls_set(str(rig.settings.pki_dir / "ca.pem"))
    assert not bare.connect()
    pki = rig.settings.pki_dir
    assert not rig._client(pki / "server.pem", pki / "server.key", "127.0.0.1").connect()


def test_a_revoked_device_is_disconnected_and_cannot_come_back(rig: DeviceRig) -> None:
    ingest = ingest_of(rig)
    device, other = device_of(rig, "revoked000000001"), device_of(rig, "welcome000000001")
    rig.records.revoked.add("revoked000000001")
    assert rig.broker.disconnect("revoked000000001")
    assert device.disconnected.wait(120)
    assert shut_out(rig, rig.device("revoked000000001"), ingest)
    assert rig.broker.disconnect("revoked000000001")  # twice is no error
    assert not other.disconnected.is_set()


def test_the_will_of_a_revoked_device_is_never_said(rig: DeviceRig) -> None:
    control = control_of(rig)
    rig.enrol("revoked000000003")
    rig.records.revoked.add("revoked000000003")
    assert rig.broker.disconnect("revoked000000003")
    device = rig.device("revoked000000003")
    device.client.will_set(topic("revoked000000003", "up/presence"), b"gone")
    if device.connect():
        break_off(device)
    other = device_of(rig, "revokednot000003")
    other.publish(topic("revokednot000003", "up/get"), b"mark")
    assert received(control, 1) == [(topic("revokednot000003", "up/get"), b"mark")]


def test_a_device_that_is_not_connected_can_be_revoked(rig: DeviceRig) -> None:
    assert rig.broker.disconnect("absent0000000001")


def test_a_presence_will_reaches_control_when_the_connection_breaks(rig: DeviceRig) -> None:
    device_id = "wills00000000001"
    control = control_of(rig)
    device = rig.device(rig.enrol(device_id))
    device.client.will_set(topic(device_id, "up/presence"), b"gone")
    assert device.connect()
    break_off(device)
    assert received(control, 1) == [(topic(device_id, "up/presence"), b"gone")]


def test_a_will_on_a_foreign_topic_is_never_said(rig: DeviceRig) -> None:
    control = control_of(rig)
    device = rig.device(rig.enrol("wills00000000002"))
    device.client.will_set(topic("wills00000000001", "up/presence"), b"forged")
    if device.connect():
        break_off(device)
    other = device_of(rig, "wills00000000003")
    other.publish(topic("wills00000000003", "up/get"), b"mark")
    assert received(control, 1) == [(topic("wills00000000003", "up/get"), b"mark")]


def test_the_largest_pack_passes_and_a_packet_above_the_limit_ends_its_connection(
    rig: DeviceRig,
) -> None:
    device_id = "large00000000001"
    ingest, device = ingest_of(rig), device_of(rig, device_id)
    for size in (262_144, 307_200):  # an oversized pack must reach the hub, which rejects it
        device.publish(topic(device_id, "up/t"), bytes(size))
    assert [len(payload) for _, payload in received(ingest, 2)] == [262_144, 307_200]
    device.client.publish(topic(device_id, "up/t"), bytes(BrokerSettings().max_payload + 1_000))
    assert device.disconnected.wait(120)
    assert not ingest.disconnected.is_set()
    assert ingest.messages.empty()
    assert rig.device(device_id).connect()


def test_nothing_is_remembered_and_state_comes_to_who_asks(rig: DeviceRig) -> None:
    device_id = "asks000000000001"
    control = control_of(rig)
    rig.enrol(device_id)
    control.publish(topic(device_id, "down/state"), b"said to nobody")
    device = device_of(rig, device_id)
    device.publish(topic(device_id, "up/get"), b"get")
    assert received(control, 1) == [(topic(device_id, "up/get"), b"get")]
    control.publish(topic(device_id, "down/state"), b"state")
    assert received(device, 1) == [(topic(device_id, "down/state"), b"state")]
