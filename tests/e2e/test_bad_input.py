"""Whatever is wrong with what comes in: a clear error, nothing lost, nothing written.

Each test looks at three things: what the sender and support are told, that a good row sent right
after is stored, and that nothing else is.
"""

import hashlib
import json
import os
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import cbor2
import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from device_sdk import enrol
from device_sdk.errors import EnrolmentError
from device_sdk.keys import DeviceKey
from device_sdk.wire import cbor, topics
from device_sdk.wire.codes import ClockState, RejectCode
from firmware_sim.hub_client import HubAnswerError
from hub.ports.journal.telemetry import TIME_CORRECTED
from tests.e2e.world import PATIENCE_S, Home, RawDevice, Unit, World, eventually, pack

pytestmark = pytest.mark.hub

INT64, FLOAT64 = 79, 86
S = 1_000_000_000
_streams = count(1)


def fresh_stream() -> bytes:
    return b"bad" + next(_streams).to_bytes(5, "big")


@pytest.fixture(scope="module")
def unit(world: World, anna: Home) -> Unit:
    """A product that has enrolled."""
    made = world.sold(anna)
    world.enrol(made)
    return made


@pytest.fixture(scope="module")
def device(unit: Unit) -> Iterator[RawDevice]:
    """One connection for all payloads: none of them may end it."""
    with RawDevice(unit) as raw:
        yield raw


def pack_fields(stream: bytes, rows: int, *, metrics: int = 1, base: int | None = None) -> bytes:
    """A pack that the encoder would not make: `rows` rows a ms apart, float64 columns."""
    names = ["temp_c", "flow_temp_c", "return_temp_c", "outdoor_temp_c", "indoor_temp_c"]
    offsets = struct.pack(f"<{rows}q", *(i * 1_000_000 for i in range(rows)))
    values = struct.pack(f"<{rows}d", *(20.0 + i % 7 for i in range(rows)))
    return cbor.encode(
        {
            0: 1,
            1: stream,
            2: 0,
            3: 0,
            4: b"bootboot",
            5: 2,
            6: False,
            7: time.time_ns() if base is None else base,
            8: cbor2.CBORTag(INT64, offsets),
            10: [[name, cbor2.CBORTag(FLOAT64, values), None] for name in names[:metrics]],
        }
    )


def garbage(_: bytes) -> bytes:
    return b"\xff\x00 this is no CBOR \xfe"


def truncated(stream: bytes) -> bytes:
    return pack(stream, 0, [1.0, 2.0, 3.0])[:-5]


def truncated_early(stream: bytes) -> bytes:
    return pack(stream, 0, [1.0, 2.0, 3.0])[:9]


def of_300_kb(stream: bytes) -> bytes:
    data = pack_fields(stream, 7_500, metrics=4)
    assert 300_000 < len(data) < 310_000
    return data


def a_late_end_of_time(stream: bytes) -> bytes:
    return pack_fields(stream, 3, base=2**63 - 1)


def unknown_metric(stream: bytes) -> bytes:
    return pack(stream, 0, [1.0, 2.0], metric="colour")


BAD = {
    "garbage": ("t", garbage, RejectCode.MALFORMED, 0),
    "empty": ("t", lambda _: b"", RejectCode.MALFORMED, 0),
    "truncated": ("t", truncated, RejectCode.MALFORMED, 0),
    "truncated early": ("t", truncated_early, RejectCode.MALFORMED, 0),
    "300 KB": ("t", of_300_kb, RejectCode.TOO_LARGE, 7_500),
    "time": ("t", a_late_end_of_time, RejectCode.BAD_TIME, 3),
    "unknown metric": ("t", unknown_metric, RejectCode.UNKNOWN_METRIC, 2),
    "json garbage": ("json", lambda _: b'{"temp_c": 21', RejectCode.MALFORMED, 0),
    "json NaN": ("json", lambda _: b'{"temp_c": NaN}', RejectCode.MALFORMED, 0),
    "json infinity": ("json", lambda _: b'{"temp_c": -Infinity}', RejectCode.MALFORMED, 0),
    "json 1e999": ("json", lambda _: b'{"temp_c": 1e999}', RejectCode.MALFORMED, 0),
    "json time": ("json", lambda _: b'{"temp_c": 1, "t": 1e300}', RejectCode.BAD_TIME, 0),
    "json year": (
        "json",
        lambda _: b'{"temp_c": 1, "t": "2500-01-01T00:00:00Z"}',
        RejectCode.BAD_TIME,
        0,
    ),
    "json unknown metric": ("json", lambda _: b'{"colour": 1}', RejectCode.UNKNOWN_METRIC, 0),
    "json of 9 KB": (
        "json",
        lambda _: b'{"temp_c": 1' + b" " * 9_000 + b"}",
        RejectCode.TOO_LARGE,
        0,
    ),
    "senml garbage": ("senml", lambda _: b'[{"n": "temp_c"', RejectCode.MALFORMED, 0),
    "senml NaN": ("senml", lambda _: b'[{"n": "temp_c", "v": NaN}]', RejectCode.MALFORMED, 0),
    "senml time": (
        "senml",
        lambda _: b'[{"n": "temp_c", "v": 1, "t": 1e30}]',
        RejectCode.BAD_TIME,
        0,
    ),
    "senml unknown metric": (
        "senml",
        lambda _: b'[{"n": "colour", "v": 1}]',
        RejectCode.UNKNOWN_METRIC,
        0,
    ),
    "senml wrong unit": (
        "senml",
        lambda _: b'[{"n": "temp_c", "v": 294, "u": "K"}]',
        RejectCode.WRONG_UNIT,
        0,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_payload(world: World, device: RawDevice, case: str) -> None:
    channel, make, code, rows = BAD[case]
    stream, before, all_before = fresh_stream(), world.disk.count(device.id), world.disk.count()
    data = make(stream)
    device.send(channel, data)
    good = fresh_stream()
    device.send("t", pack(good, 0, [21.5]))
    eventually(lambda: device.watermark(good) == 1, "the receipt of the good row")
    letter = eventually(lambda: _letter(world, device.id, data), "the dead letter")
    assert (letter["reason"], letter["channel"]) == (code.name.lower(), channel)
    assert letter["size"] == len(data)
    if rows:  # who it was can still be read, so the sender is told, and need not send it again
        assert device.rejections(stream) == [(0, rows, code)]
        assert device.watermark(stream) == rows
    else:
        assert device.rejections(stream) == []
    assert world.disk.count(device.id) == before + 1
    assert world.disk.count() == all_before + 1
    assert device.connected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_takes_no_neighbour_along(
    world: World, device: RawDevice, value: float
) -> None:
    stream, before = fresh_stream(), world.disk.count(device.id)
    start = time.time_ns()
    data = pack(stream, 0, [11.0, 12.0, value, 14.0], times=[start + i for i in range(4)])
    device.send("t", data)
    eventually(lambda: device.watermark(stream) == 4, "the receipt")
    assert device.rejections(stream) == [(2, 3, RejectCode.NOT_FINITE)]
    letter = eventually(lambda: _letter(world, device.id, data), "the dead letter")
    assert letter["reason"] == "not_finite"
    stored = list(world.vendor.rows(device.id, "temp_c", start, start + 4))
    assert [(row.time_ns - start, row.value) for row in stored] == [(0, 11.0), (1, 12.0), (3, 14.0)]
    assert world.disk.count(device.id) == before + 3


@pytest.mark.parametrize("clock", [ClockState.UNSET, ClockState.SYNCED])
def test_a_clock_in_1970_is_corrected_and_kept(
    world: World, device: RawDevice, clock: ClockState
) -> None:
    stream, earlier = fresh_stream(), time.time_ns()
    device.send("t", pack(stream, 0, [31.0, 32.0, 33.0], times=[5 * S, 6 * S, 8 * S], clock=clock))
    eventually(lambda: device.watermark(stream) == 3, "the receipt")
    assert device.rejections(stream) == []
    rows = [row for row in world.disk.journalled(device.id) if row.stream == stream]
    assert [row.raw_time for row in rows] == [5 * S, 6 * S, 8 * S]
    assert all(row.flags & TIME_CORRECTED for row in rows)
    last = rows[-1].time
    assert earlier <= last <= time.time_ns()
    assert [row.time for row in rows] == [last - 3 * S, last - 2 * S, last]
    shown = list(world.vendor.rows(device.id, "temp_c", last - 3 * S, last + 1))
    assert {31.0, 32.0, 33.0} <= {row.value for row in shown}
    assert list(world.vendor.rows(device.id, "temp_c", 0, 10 * S)) == []


def test_json_from_1970_is_corrected_and_kept(world: World, device: RawDevice) -> None:
    stream = fresh_stream()
    device.send("json", b'{"temp_c": 34.5, "t": 7, "s": "%s", "q": 0}' % stream.hex().encode())
    eventually(lambda: device.watermark(stream) == 1, "the receipt")
    (row,) = [row for row in world.disk.journalled(device.id) if row.stream == stream]
    assert row.raw_time == 7 * S
    assert row.flags & TIME_CORRECTED
    assert [r.value for r in world.vendor.rows(device.id, "temp_c", row.time, row.time + 1)] == [
        34.5
    ]


def test_the_sdk_refuses_what_the_wire_cannot_carry(world: World, anna: Home) -> None:
    unit = world.sold(anna)
    with world.open(unit) as device:
        for values in ({"temp_c": float("nan")}, {"temp_c": float("inf")}, {"Temp C": 1.0}, {}):
            with pytest.raises(ValueError, match=r"\w"):
                device.measure_many(values)
        for at in (2**63, -(2**63) - 1):
            with pytest.raises(ValueError, match=r"\w"):
                device.measure("temp_c", 1.0, at)
        device.measure("colour", 1.0)  # fits the wire; only the hub knows that it does not exist
        device.measure("temp_c", 21.5)
        assert device.flush(PATIENCE_S)
        eventually(lambda: device.counters.rejected, "the rejection")
        assert device.pending == 0
    stored = [row.value for row in world.vendor.rows(unit.id, "temp_c")]
    rejected = device.counters.rejected
    assert set(rejected) == {RejectCode.UNKNOWN_METRIC}
    assert world.disk.count(unit.id) == len(stored) == 2 - sum(rejected.values())


@pytest.fixture(scope="module")
def victim(world: World, bert: Home) -> Unit:
    """Somebody else's product."""
    made = world.sold(bert)
    world.enrol(made)
    return made


@pytest.fixture(scope="module")
def liar(world: World, anna: Home) -> Iterator[RawDevice]:
    """A device that speaks where it may not."""
    made = world.sold(anna)
    world.enrol(made)
    with RawDevice(made) as raw:
        yield raw


@pytest.mark.parametrize("place", ["another device", "wrong shard", "down", "another root"])
def test_a_topic_that_is_not_ones_own(
    world: World, liar: RawDevice, victim: Unit, place: str
) -> None:
    own, shard = liar.id, topics.shard_of(liar.id)
    topic = {
        "another device": topics.up(topics.ROOT, victim.id, "t"),
        "wrong shard": f"{topics.ROOT}/{int(shard, 16) ^ 1:02x}/{own}/up/t",
        "down": topics.down(topics.ROOT, own, "receipt"),
        "another root": f"hp/2/{shard}/{own}/up/t",
    }[place]
    before, everything = world.disk.count(own), world.disk.count()
    untouched = world.disk.count(victim.id)
    forged, good = fresh_stream(), fresh_stream()
    liar.publish(topic, pack(forged, 0, [1.0, 2.0]))
    liar.send("t", pack(good, 0, [21.5]))
    eventually(lambda: liar.watermark(good) == 1, "the receipt of the good row")
    assert liar.connected
    assert liar.watermark(forged) == 0
    assert world.disk.count(victim.id) == untouched
    assert world.disk.count(own) == before + 1
    assert world.disk.count() == everything + 1
    assert world.dead_letters(victim.id) == []  # it never got in
    # MQTT 3.1.1 has no answer for this; the operator finds who tried what.
    said = (world.data_dir / "broker" / "nats.log").read_text()
    subject = topic.replace("/", ".")
    assert f'"{own}" - Publish Violation - Subject "{subject}"' in said


def test_a_wrong_client_id_is_refused_and_pushes_nobody_off(
    world: World, anna: Home, victim: Unit
) -> None:
    unit = world.sold(anna)
    world.enrol(unit)
    with RawDevice(victim) as honest:
        for client_id in (victim.id, "", "somebody"):
            intruder = RawDevice(unit, client_id)
            assert intruder.wait_ended()
            assert (intruder.refused, intruder.connected) == (True, False)
            intruder.client.loop_stop()
        assert honest.connected
        stream = fresh_stream()
        honest.send("t", pack(stream, 0, [21.5]))
        eventually(lambda: honest.watermark(stream) == 1, "the receipt")
    assert [row.value for row in world.vendor.rows(victim.id, "temp_c")] == [21.5]
    refusals = (world.data_dir / "run" / "authd.log").read_text().splitlines()
    assert any("wrong_client_id" in line and unit.id in line for line in refusals)


def test_without_a_certificate_nobody_gets_to_the_broker(world: World) -> None:
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id="nobody", reconnect_on_failure=False
    )
    context = ssl.create_default_context(cafile=str(world.address.ca_file))
    client.tls_set_context(context)
    facts = world.address.facts

    def come_in() -> None:
        client.connect(facts["mqtt_host"], facts["mqtt_port"])
        # With TLS 1.3 the client learns only by reading that its certificate was missed.
        while client.loop(1.0) == mqtt.MQTT_ERR_SUCCESS:
            assert not client.is_connected()
        raise ConnectionError("the broker ended the connection")

    with pytest.raises(OSError, match=r"\w"):
        come_in()
    assert not client.is_connected()


def test_a_revoked_certificate_ends_the_live_connection_and_opens_no_other(
    world: World, anna: Home
) -> None:
    unit = world.sold(anna)
    device = world.open(unit)
    assert device.wait_connected(PATIENCE_S)
    device.measure("temp_c", 21.5)
    assert device.flush(PATIENCE_S)
    world.vendor.call("POST", f"/products/{unit.id}/revoke", {"reason": "reported stolen"})
    eventually(lambda: not device.connected, "the end of the connection")
    device.measure("temp_c", 99.0)
    device.sync()
    again = RawDevice(unit)
    assert again.wait_ended()
    assert (again.refused, again.connected) == (True, False)
    again.client.loop_stop()
    assert device.pending == 1  # not lost: it waits in the product
    device.close()
    assert device.counters.connects == 1
    assert world.disk.count(unit.id) == 1
    found = world.detail(unit)
    assert found["revoked_at"] is not None
    assert found["online"] is False
    enrolment = enrol.load(unit.folder)
    assert enrolment is not None
    key = DeviceKey.load_or_create(unit.folder / "device.key")
    api = enrol.HubApi(world.address.api, world.address.ca_file)
    with pytest.raises(EnrolmentError, match="revoked") as caught:
        api.renew(enrolment, key, int(time.time()))
    assert caught.value.status == 403
    trail = world.vendor.call("GET", "/audit", object=f"product:{unit.made.product_id}")["items"]
    assert any(
        entry["action"].endswith("revoke") and entry["details"]["reason"] == "reported stolen"
        for entry in trail
    )


def test_a_claim_code_tried_eleven_times(world: World, bert: Home) -> None:
    unit, thief = world.make(), world.home("mallory")
    with httpx.Client(
        base_url=world.address.api,
        verify=ssl.create_default_context(cafile=str(world.address.ca_file)),
        headers=thief.api._http.headers,
        trust_env=False,
    ) as client:

        def claim(code: str) -> httpx.Response:
            body = {"claim_code": code, "serial": unit.made.serial}
            return client.post("/api/v1/claims", json=body)

        for number in range(10):
            answer = claim(f"AAAA-BBBB-{number:04}")
            assert answer.status_code == 404
            assert answer.headers["Content-Type"] == "application/problem+json"
        for code in ("AAAA-BBBB-0011", unit.made.claim_code):  # the right one does not help now
            answer = claim(code)
            problem = answer.json()
            assert (answer.status_code, problem["status"]) == (429, 429)
            assert 0 < int(answer.headers["Retry-After"]) <= 3_600
            assert "10 wrong claim codes" in problem["detail"]
    found = world.vendor.call("GET", f"/products/{unit.made.product_id}")
    assert (found["owner_id"], found["epoch"]) == (None, 0)
    refused = world.vendor.call("GET", "/audit", object=f"product:{unit.made.product_id}")["items"]
    assert "product.claim.refused" in {entry["action"] for entry in refused}
    body = {"claim_code": unit.made.claim_code, "serial": unit.made.serial}
    with pytest.raises(HubAnswerError, match="wrong claim codes") as caught:  # guarded for all
        bert.api.call("POST", "/claims", body)
    assert caught.value.status == 429
    thief.api.close()


def test_a_second_enrolment_of_a_serial_changes_nothing(world: World, anna: Home) -> None:
    unit = world.sold(anna)
    with world.open(unit) as device:
        assert device.wait_connected(PATIENCE_S)
        first = enrol.load(unit.folder)
        twin = Unit(unit.made, unit.folder.with_name(f"{unit.folder.name}-twin"))
        with pytest.raises(EnrolmentError, match="enrolled") as caught:
            world.enrol(twin)
        assert caught.value.status == 409
        wrong = Unit(
            type(unit.made)(unit.made.product_id, unit.made.model, unit.made.serial, "guess", ""),
            unit.folder.with_name(f"{unit.folder.name}-thief"),
        )
        with pytest.raises(EnrolmentError) as caught:
            world.enrol(wrong)
        assert caught.value.status == 403
        assert enrol.load(unit.folder) == first
        device.measure("temp_c", 21.5)
        assert device.flush(PATIENCE_S)
        assert device.counters.connects == 1
    assert [row.value for row in anna.api.rows(unit.id, "temp_c")] == [21.5]
    assert world.disk.count(unit.id) == 1


def test_the_first_row_right_after_enrolment_is_not_lost(world: World, anna: Home) -> None:
    """Everything at once, as a product does that is switched on: no pause for the hub to notice."""
    for _ in range(3):
        unit = world.sold(anna)
        world.enrol(unit)
        with RawDevice(unit) as device:
            device.send("json", b'{"temp_c": 21.5}')
            eventually(partial(_has_a_row, world, unit.id), "the first row")
        assert world.dead_letters(unit.id) == []


def _has_a_row(world: World, device_id: str) -> bool:
    return world.disk.knows(device_id) and world.disk.count(device_id) == 1


def _letter(world: World, device_id: str, data: bytes) -> dict[str, object] | None:
    digest = hashlib.sha256(data).hexdigest()
    letters = [item for item in world.dead_letters(device_id) if item["sha256"] == digest]
    return letters[0] if letters else None


def test_a_dead_letter_is_shown_and_replayed_once_from_the_command_line(
    world: World, device: RawDevice
) -> None:
    stream = fresh_stream()
    device.send("t", pack(stream, 0, [1.0, 2.0], metric="colour"))
    eventually(lambda: device.rejections(stream), "the rejection")
    digest = eventually(
        lambda: next(
            (x for x in world.dead_letters(device.id) if stream.hex() in x["sample"]), None
        ),
        "the dead letter",
    )["sha256"]

    def letters() -> list[dict[str, Any]]:
        return [x for x in world.dead_letters(device.id) if x["sha256"] == digest]

    (letter,) = letters()

    def homeport(*words: str) -> str:
        command = (sys.executable, "-m", "hub", "deadletter", *words)
        environment = os.environ | {"HOMEPORT_DATA_DIR": str(world.data_dir)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else done.stderr

    listed = homeport("list", "--device", device.id, "--reason", "unknown_metric")
    assert letter["id"] in [json.loads(line)["id"] for line in listed.splitlines()]
    shown = json.loads(homeport("show", letter["id"]))
    assert (shown["content"]["1"], shown["detail"]) == (stream.hex(), letter["detail"])
    assert "was handed to its worker" in homeport("replay", letter["id"])
    # The model has no such metric yet, so it is rejected again: by the whole pipeline, and once.
    eventually(lambda: len(letters()) == 2, "the second rejection")
    assert "it was before" in homeport("replay", letter["id"])
    assert device.watermark(stream) == 2
