"""The golden vectors: readers give exactly what the files say, and the bytes never change."""

import hashlib
import json
import runpy
import struct
from pathlib import Path

import cbor2
import pytest

from device_sdk.wire.errors import WireError
from device_sdk.wire.messages import Event, Presence
from device_sdk.wire.pack import encode_pack
from device_sdk.wire.receipt import Receipt

FOLDER = Path(__file__).parent / "vectors"
MAKER = runpy.run_path(str(FOLDER.parent / "make_vectors.py"))
READERS, plain = MAKER["READERS"], MAKER["plain"]
NOTES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
GOOD = sorted(name for name, note in NOTES.items() if "value" in note)
BAD = sorted(name for name, note in NOTES.items() if "code" in note)


def data(name: str) -> bytes:
    return (FOLDER / f"{name}.bin").read_bytes()


def test_every_reader_and_reject_is_covered() -> None:
    assert {NOTES[name]["reader"] for name in GOOD} == set(READERS)
    assert {NOTES[name]["code"] for name in BAD} == {1, 2, 3, 4, 5, 7}
    assert len(list(FOLDER.glob("*.bin"))) == len(NOTES)


@pytest.mark.parametrize("name", GOOD)
def test_good_vectors_are_read(name: str) -> None:
    value = plain(READERS[NOTES[name]["reader"]](data(name)))
    # Compared as text, so that NaN equals itself.
    assert json.dumps(value, sort_keys=True) == json.dumps(NOTES[name]["value"], sort_keys=True)


@pytest.mark.parametrize("name", BAD)
def test_bad_vectors_are_refused_with_their_code(name: str) -> None:
    with pytest.raises(WireError) as caught:
        READERS[NOTES[name]["reader"]](data(name))
    assert caught.value.code == NOTES[name]["code"]


@pytest.mark.parametrize(
    "name", ["pack_two_metrics", "pack_history", "pack_clock_unset", "pack_lost"]
)
def test_the_encoder_gives_the_golden_bytes_again(name: str) -> None:
    assert encode_pack(READERS["pack"](data(name))) == data(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("receipt", Receipt),
        ("presence_birth", Presence),
        ("presence_birth_sent", Presence),
        ("presence_gone", Presence),
        ("event", Event),
    ],
)
def test_messages_are_written_byte_for_byte(name: str, message: type[Receipt]) -> None:
    assert message.decode(data(name)).encode() == data(name)


def test_a_pack_read_by_another_cbor_library_says_the_same() -> None:
    fields = cbor2.loads(data("pack_two_metrics"))
    assert list(fields) == sorted(fields)
    assert fields[0] == 1
    assert fields[1].hex() == "0123456789abcdef"
    assert fields[8] == cbor2.CBORTag(78, struct.pack("<3i", 0, 1, 3))
    assert fields[9] == 1_000_000_000
    (temperature, power) = fields[10]
    assert temperature[0] == "temp_c"
    assert temperature[1] == cbor2.CBORTag(86, struct.pack("<3d", 21.4, 21.5, 21.6))
    assert temperature[2] is None
    assert power[1].tag == 85
    assert power[2] == b"\x05"


def test_the_frozen_bytes_are_frozen() -> None:
    """If this fails, someone changed the wire: products in the field speak the old bytes."""
    digest = hashlib.sha256()
    for name in ("pack_two_metrics", "flat_full", "receipt", "state", "entitlement", "command"):
        digest.update(data(name))
    assert digest.hexdigest() == "0a39b39d76f3817368c3e806b622a4afc93f1b13ab770b90f32b89a6d3b0f138"
