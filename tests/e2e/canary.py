"""Words and a number of a person, put wherever a person can put some, and the search for what is left of them.

1. The search reads every file of a hub's data folder byte by byte, whatever it is, in the encodings that data takes:
   plain, UTF-16, hexadecimal, Base64 at any offset; and what is inside of Parquet and of compressed files.
"""

import base64
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from device_sdk.client import Device
from firmware_sim.hub_client import HubAnswerError, HubClient
from tests.e2e.world import PATIENCE_S

WORD: Final = "xq9canary"
VALUE: Final = 1234.56789012345


def plant(vendor: HubClient, home: HubClient, owner_id: str, device: Device) -> None:
    """Put the word wherever a household, its product, or support writing about it can put one."""
    product = f"/products/{device.device_id}"
    friend = f"{WORD}.friend@example.org"
    home.call(
        "POST", f"/households/{owner_id}/invitations", {"relation": "viewer", "email": friend}
    )
    case = {"device_id": device.device_id, "subject": f"{WORD} drips", "message": f"{WORD} at home"}
    opened = home.call("POST", "/cases", case)
    vendor.call("POST", f"/cases/{opened['id']}/reply", {"message": f"Dear {WORD}"})
    home.call("POST", "/me/api-keys", {"name": f"key of {WORD}", "scopes": ["products:read"]})
    home.call("PATCH", f"{product}/configuration", {"values": {"greeting": f"Hello {WORD}"}})
    home.call("POST", f"{product}/offer", {"email": friend})
    vendor.call("POST", f"{product}/holds", {"kind": "fraud", "reason": f"{WORD} asked for it"})
    event = {"id": f"{WORD}-1", "meter": "water", "quantity": "1"}
    vendor.call("POST", f"{product}/usage-events", {"events": [event]})
    correction = {"meter": "water", "quantity": "-1", "reason": f"{WORD} was away"}
    vendor.call("POST", f"{product}/usage-corrections", correction)
    credit = {"meter": "water", "kind": "goodwill", "amount": "1", "reason": f"for {WORD}"}
    vendor.call("POST", f"{product}/credit-grants", credit)
    vendor.call("GET", "/products", query=friend)
    with HubClient(home.api, home.ca_file) as door:
        for body in ({"email": friend, "password": WORD}, {"email": WORD, "password": WORD}):
            _refused(lambda body=body: door.call("POST", "/sessions", body))  # type: ignore[misc]
    _refused(lambda: home.call("GET", f"/products/{WORD}"))
    device.event("said", {"text": f"{WORD} said"})
    device.measure("volume_l", VALUE)
    assert device.flush(PATIENCE_S)
    device.measure(WORD, VALUE)  # no such metric: the frame becomes a dead letter
    assert device.flush(PATIENCE_S)


def _refused(ask: Callable[[], Any]) -> None:
    try:
        ask()
    except HubAnswerError:
        return
    raise AssertionError("it should have been refused")


def left(folder: Path) -> list[str]:
    """Return the files of a data folder in which something of the person is left, and in which form."""
    needles = dict(_forms(WORD)) | {"a number": struct.pack("<d", VALUE)}
    return [
        f"{path.relative_to(folder)}: {form}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for octets in [b"".join(_contents(path))]
        for form, needle in needles.items()
        if needle in octets or needle in octets.lower()
    ]


def _forms(word: str) -> Iterator[tuple[str, bytes]]:
    yield "plain", word.encode()
    yield "UTF-16", word.encode("utf-16-le")
    yield "hexadecimal", word.encode().hex().encode()
    for name, written in (("", word), (", capital", word.capitalize())):
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + written.encode())
            # The first and last digits depend on what stands around.
            yield f"Base64{name} at {shift}", coded[4:-4]


def _contents(path: Path) -> Iterator[bytes]:
    octets = path.read_bytes()
    yield octets
    if octets[:4] == b"PAR1":
        for column in pq.read_table(path).columns:
            for chunk in column.chunks:
                yield from (bytes(part) for part in chunk.buffers() if part is not None)
    for magic in (b"\x1f\x8b", b"x\x9c", b"x\x01", b"x\xda"):
        at = octets.find(magic)
        while at >= 0:
            with suppress(zlib.error):
                yield zlib.decompressobj(47).decompress(octets[at:], 1 << 22)
            at = octets.find(magic, at + 1)
