"""A stock MQTT client, `mosquitto_pub`, with an enrolled device's certificate and standard payloads."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from device_sdk.wire import topics
from tests.e2e.world import PATIENCE_S, Home, RawDevice, Unit, World, eventually, pack

pytestmark = [pytest.mark.hub, pytest.mark.mosquitto]

S = 1_000_000_000
PROGRAM = "mosquitto_pub"


@pytest.fixture(scope="module")
def program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        what = f"{PROGRAM} is not installed, so nothing is known of stock clients: apt-get install mosquitto-clients"
        if os.environ.get("CI") == "true":
            pytest.fail(what)
        pytest.skip(what)
    return found


@pytest.fixture(scope="module")
def units(world: World, anna: Home, bert: Home) -> tuple[Unit, Unit]:
    """A product of each of two customers, enrolled but not connected."""
    made = (world.sold(anna), world.sold(bert))
    for unit in made:
        world.enrol(unit)
    return made


class Publisher:
    """`mosquitto_pub` as one device."""

    def __init__(self, program: str, world: World, unit: Unit, folder: Path) -> None:
        facts = world.address.facts
        self._folder = folder
        self.command = [
            *(program, "-V", "mqttv311", "-i", unit.id),
            *("-h", str(facts["mqtt_host"]), "-p", str(facts["mqtt_port"])),
            *("--cafile", str(world.address.ca_file)),
            *("--cert", str(unit.folder / "certificate.pem")),
            *("--key", str(unit.folder / "device.key")),
        ]

    def say(self, topic: str, payload: bytes) -> subprocess.CompletedProcess[bytes]:
        """Publish once."""
        file = self._folder / "payload"
        file.write_bytes(payload)
        return subprocess.run(
            [*self.command, "-t", topic, "-f", str(file)],
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )


@pytest.fixture
def publisher(program: str, world: World, units: tuple[Unit, Unit], tmp_path: Path) -> Publisher:
    return Publisher(program, world, units[0], tmp_path)


def test_flat_json_lands_in_the_store(
    world: World, anna: Home, units: tuple[Unit, Unit], publisher: Publisher
) -> None:
    unit, at, before = units[0], time.time_ns() // S - 600, world.disk.count(units[0].id)
    topic = topics.up(topics.ROOT, unit.id, "json")
    for number in range(3):
        payload = json.dumps({"t": at + number, "temp_c": 20 + number, "power_w": 900.5})
        done = publisher.say(topic, payload.encode())
        assert done.returncode == 0, done.stderr.decode()
    eventually(lambda: world.disk.count(unit.id) == before + 3, "the rows")
    rows = list(anna.api.rows(unit.id, "temp_c", at * S, (at + 3) * S))
    assert [(row.time_ns, row.value) for row in rows] == [
        ((at + n) * S, 20.0 + n) for n in range(3)
    ]
    assert [row.value for row in anna.api.rows(unit.id, "power_w")] == [900.5] * 3


def test_senml_lands_in_the_store(
    world: World, anna: Home, units: tuple[Unit, Unit], publisher: Publisher
) -> None:
    unit, at, before = units[0], time.time_ns() // S - 60, world.disk.count(units[0].id)
    records = [
        {
            "bn": "urn:dev:ow:10e2073a01080063:",
            "bt": at,
            "bu": "Cel",
            "n": "outdoor_temp_c",
            "v": 4.5,
        },
        {"n": "flow_temp_c", "v": 35.25},
        {"n": "outdoor_temp_c", "t": 10, "v": 4.75},
        {"n": "compressor_hz", "t": 10, "u": "Hz", "v": 62},
    ]
    done = publisher.say(topics.up(topics.ROOT, unit.id, "senml"), json.dumps(records).encode())
    assert done.returncode == 0, done.stderr.decode()
    eventually(lambda: world.disk.count(unit.id) == before + 2, "the rows")
    for metric, expected in {
        "outdoor_temp_c": [(at * S, 4.5), ((at + 10) * S, 4.75)],
        "flow_temp_c": [(at * S, 35.25)],
        "compressor_hz": [((at + 10) * S, 62.0)],
    }.items():
        rows = [(row.time_ns, row.value) for row in anna.api.rows(unit.id, metric)]
        assert rows == expected, metric


@pytest.mark.parametrize("channel", ["json", "senml"])
def test_on_another_devices_topic_it_does_not(
    world: World, units: tuple[Unit, Unit], publisher: Publisher, channel: str
) -> None:
    unit, victim = units
    payload = b'{"temp_c": 99}' if channel == "json" else b'[{"n": "temp_c", "v": 99}]'
    everything = world.disk.count()
    publisher.say(topics.up(topics.ROOT, victim.id, channel), payload)
    # What comes after it through the same broker has arrived, so it would have too.
    own = publisher.say(topics.up(topics.ROOT, unit.id, channel), payload)
    assert own.returncode == 0, own.stderr.decode()
    stream = b"victim" + channel.encode()[:2]
    with RawDevice(victim) as honest:
        honest.send("t", pack(stream, 0, [21.5]))
        eventually(lambda: honest.watermark(stream) == 1, "the receipt")
    eventually(lambda: world.disk.count() >= everything + 2, "both own rows")
    assert world.disk.count() == everything + 2
    assert 99.0 not in [row.value for row in world.vendor.rows(victim.id, "temp_c")]
    assert world.dead_letters(victim.id) == []


def test_with_another_devices_client_id_it_is_not_let_in(
    world: World, units: tuple[Unit, Unit], publisher: Publisher
) -> None:
    unit, victim = units
    everything = world.disk.count()
    publisher.command[publisher.command.index(unit.id)] = victim.id
    done = publisher.say(topics.up(topics.ROOT, victim.id, "json"), b'{"temp_c": 99}')
    assert done.returncode != 0
    assert b"refused" in done.stderr.lower() or b"not authori" in done.stderr.lower()
    assert world.disk.count() == everything
