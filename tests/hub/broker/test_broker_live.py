"""Who gets into the real broker, what they may do there, and how they are put out."""

from pathlib import Path
from typing import Any

import pytest

from device_sdk.wire.topics import shard_of
from hub.services.pki import CertificateAuthority
from hub.wiring import compose

pytestmark = pytest.mark.hub


def topic(device_id: str, rest: str) -> str:
    return f"hp/1/{shard_of(device_id)}/{device_id}/{rest}"


def received(client: Any, count: int) -> list[tuple[str, bytes]]:
    return [client.messages.get(timeout=60) for _ in range(count)]


def test_a_device_uses_its_own_topics_and_no_others(rig: Any) -> None:
    one, two = rig.enrol("deviceone0000001"), rig.enrol("devicetwo0000002")
    ingest = rig.part("hub-ingest-0")
    assert ingest.connect()
    assert ingest.subscribe("hp/1/+/+/up/t")
    device = rig.device(one)
    assert device.connect()
    assert device.subscribe(topic(one, "down/+"))
    assert not device.subscribe(topic(two, "down/+"))
    assert not device.subscribe("hp/1/#")
    assert not device.subscribe("$SYS/#")
    device.publish(topic(two, "up/t"), b"forged")
    device.publish(topic(one, "down/state"), b"forged")
    device.publish("homeport/revoke", b"forged")
    device.publish(topic(one, "up/t"), b"own")
    assert received(ingest, 1) == [(topic(one, "up/t"), b"own")]
    ingest.publish(topic(one, "down/receipt"), b"receipt")
    assert received(device, 1) == [(topic(one, "down/receipt"), b"receipt")]


def test_parts_of_the_hub_get_only_what_they_need(rig: Any) -> None:
    device_id = rig.enrol("devicethree00003")
    device = rig.device(device_id)
    assert device.connect()
    assert device.subscribe(topic(device_id, "down/+"))
    control, ingest = rig.part("hub-control"), rig.part("hub-ingest-0")
    assert control.connect()
    assert ingest.connect()
    assert all(control.subscribe(f"hp/1/+/+/up/{c}") for c in ("presence", "get", "reply"))
    assert not control.subscribe("hp/1/+/+/up/t")
    assert not ingest.subscribe("hp/1/+/+/up/get")
    ingest.publish(topic(device_id, "down/state"), b"not ingest's")
    control.publish(topic(device_id, "down/receipt"), b"not control's")
    control.publish(topic(device_id, "down/state"), b"state")
    assert received(device, 1) == [(topic(device_id, "down/state"), b"state")]


def test_a_part_that_does_not_exist_stays_out(rig: Any) -> None:
    assert not rig.part("hub-stranger").connect()


def test_another_client_id_stays_out_and_pushes_nobody_off(rig: Any) -> None:
    victim, thief = rig.enrol("victim0000000001"), rig.enrol("thief00000000001")
    device = rig.device(victim)
    assert device.connect()
    assert not rig.device(thief, client_id=victim).connect()
    assert not rig.device(thief, client_id="hub-control").connect()
    assert not device.disconnected.is_set()


def test_an_unknown_device_stays_out(rig: Any) -> None:
    device_id = rig.enrol("unknown000000001")
    del rig.records.fingerprints[device_id]
    assert not rig.device(device_id).connect()


def test_a_certificate_of_a_foreign_authority_stays_out(rig: Any, tmp_path: Path) -> None:
    foreign = CertificateAuthority.load_or_create(tmp_path, compose.now())
    device_id = rig.enrol("foreign000000001", foreign)
    assert not rig.device(device_id).connect()


def test_no_certificate_stays_out(rig: Any) -> None:
    device = rig.device(rig.enrol("nocert0000000001"))
    device.client._ssl_context = None
    device.client.tls_set(str(rig.settings.pki_dir / "ca.pem"))
    assert not device.connect()


def test_the_servers_own_certificate_is_no_client(rig: Any) -> None:
    pki = rig.settings.pki_dir
    assert not rig._client(pki / "server.pem", pki / "server.key", "127.0.0.1").connect()


def test_a_device_revoked_before_connecting_stays_out(rig: Any) -> None:
    device_id = rig.enrol("revoked000000001")
    rig.records.revoked.add(device_id)
    assert not rig.device(device_id).connect()


def test_a_revocation_ends_the_live_connection_and_no_other(rig: Any) -> None:
    gone, stays = rig.enrol("revoked000000002"), rig.enrol("welcome000000002")
    device, other = rig.device(gone), rig.device(stays)
    assert device.connect()
    assert other.connect()
    rig.records.revoked.add(gone)
    assert rig.broker.disconnect(gone)
    assert device.disconnected.wait(120)
    assert not other.disconnected.is_set()
    assert not rig.device(gone).connect()


def test_disconnecting_a_device_that_is_not_connected_succeeds(rig: Any) -> None:
    assert rig.broker.disconnect("absent0000000001")


def test_a_restarted_callout_serves_and_ends_connections_made_before(rig: Any) -> None:
    before, revoked_meanwhile = rig.enrol("before0000000001"), rig.enrol("before0000000002")
    first, second = rig.device(before), rig.device(revoked_meanwhile)
    assert first.connect()
    assert second.connect()
    rig.callout.end()
    rig.records.revoked.add(revoked_meanwhile)
    assert not rig.broker.disconnect(revoked_meanwhile)
    assert not second.disconnected.is_set()
    rig.callout.start()
    assert second.disconnected.wait(120)  # by the sweep at start
    assert rig.device(rig.enrol("after00000000001")).connect()
    rig.records.revoked.add(before)
    assert rig.broker.disconnect(before)
    assert first.disconnected.wait(120)


def test_a_certificate_revoked_alone_ends_the_connection_that_came_in_with_it(rig: Any) -> None:
    one, two = rig.enrol("onecert000000001"), rig.enrol("twocerts00000001")
    device, renewed = rig.device(one), rig.device(two)
    assert device.connect()
    assert renewed.connect()
    stale = rig.records.fingerprints[one]
    rig.enrol(one)  # the device goes on with its next certificate
    assert rig.records.fingerprints[one] != stale
    rig.callout.end()
    rig.callout.start()
    assert device.disconnected.wait(120)
    assert not renewed.disconnected.is_set()
    assert rig.device(one).connect()


def test_a_client_that_connects_while_the_callout_restarts_gets_in(rig: Any) -> None:
    import threading

    device = rig.device(rig.enrol("patient000000001"))
    rig.callout.end()
    outcome: list[bool] = []
    waiting = threading.Thread(target=lambda: outcome.append(device.connect()))
    waiting.start()
    rig.callout.start()
    waiting.join(120)
    if outcome != [True]:  # refused at once: the device's own retry is what brings it in
        assert rig.device("patient000000001").connect()


def test_a_largest_pack_passes_and_an_oversized_one_still_reaches_the_hub(rig: Any) -> None:
    device_id = rig.enrol("large00000000001")
    ingest, device = rig.part("hub-ingest-0"), rig.device(device_id)
    assert ingest.connect()
    assert ingest.subscribe(f"hp/1/+/{device_id}/up/t")
    assert device.connect()
    for size in (262_144, 307_200):
        device.publish(topic(device_id, "up/t"), bytes(size))
    assert [len(payload) for _, payload in received(ingest, 2)] == [262_144, 307_200]


def test_a_packet_above_the_brokers_limit_ends_only_that_connection(rig: Any) -> None:
    device_id = rig.enrol("large00000000002")
    ingest, device = rig.part("hub-ingest-0"), rig.device(device_id)
    assert ingest.connect()
    assert device.connect()
    device.client.publish(topic(device_id, "up/t"), bytes(600_000))
    assert device.disconnected.wait(120)
    assert not ingest.disconnected.is_set()
    assert rig.device(device_id).connect()


def test_secret_files_are_private(rig: Any) -> None:
    folder = rig.settings.data_dir
    secrets = [
        *folder.rglob("pki/*.key"),
        folder / "keys" / "callout.key",
        folder / "broker" / "nats.conf",
        folder / "broker" / "access.json",
    ]
    assert len(secrets) >= 7
    assert {oct(path.stat().st_mode & 0o777) for path in secrets} == {"0o600"}
