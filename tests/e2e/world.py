"""What the end-to-end tests work with: people, products, and what the hub keeps of them.

1. Everything goes over the real wire; only what the hub has on its disk is read from its disk.
2. Nothing waits for a time to pass: `eventually` waits for a state.
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from device_sdk import enrol, files
from device_sdk.client import Device
from device_sdk.keys import DeviceKey
from device_sdk.wire import topics
from device_sdk.wire.codes import ClockState
from device_sdk.wire.pack import Pack, encode_pack
from device_sdk.wire.receipt import Receipt
from firmware_sim import catalogue, local_hub, onboarding
from firmware_sim.hub_client import HubClient
from firmware_sim.onboarding import Customer, Made
from hub.ports.journal.block import Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import decode
from hub.ports.store.embedded import EmbeddedStore
from hub.services.snapshot_file import read_snapshot

PATIENCE_S: Final = 120.0
MODEL: Final = "heat-pump"
DAY_NS: Final = 86_400_000_000_000

T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, patience_s: float = PATIENCE_S) -> T:
    """Look again and again until the answer is true, and return it."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row as it stands in the journal; times are ns."""

    stream: bytes
    seq: int
    time: int
    raw_time: int
    flags: int


class Disk:
    """What the hub keeps in its data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._journal = data_dir / "journal" / "0"
        self._store = EmbeddedStore(data_dir / "store", {"0": self._journal})

    def slot(self, device_id: str) -> int:
        """Slot of a device, as the gate knows it."""
        ids = read_snapshot(self._data_dir / "gate").arrays["device_id"]
        (found,) = np.flatnonzero((ids == np.frombuffer(device_id.encode(), np.uint8)).all(axis=1))
        return int(found)

    def knows(self, device_id: str) -> bool:
        """Whether the gate knows a device."""
        ids = read_snapshot(self._data_dir / "gate").arrays["device_id"]
        return bool((ids == np.frombuffer(device_id.encode(), np.uint8)).all(axis=1).any())

    def count(self, *device_ids: str) -> int:
        """Rows that are stored of devices; of all of them if none is named."""
        return self._store.count([self.slot(device_id) for device_id in device_ids] or None)

    def journalled(self, device_id: str) -> list[KeptRow]:
        """Rows of a device in the journal, in its order; old segments may be gone."""
        slot = self.slot(device_id)
        rows: list[KeptRow] = []
        for block in JournalReader(self._journal, list_segments(self._journal)[0].first).blocks():
            if block.kind != Kind.TELEMETRY:
                continue
            batch = decode(block.payload)
            rows.extend(
                KeptRow(
                    int(batch.stream[i]).to_bytes(8, "big"),
                    int(batch.seq[i]),
                    int(batch.time[i]),
                    int(batch.raw_time[i]),
                    int(batch.flags[i]),
                )
                for i in np.flatnonzero(batch.slot == slot).tolist()
            )
        return rows


@dataclass(frozen=True)
class Home:
    """A customer who has signed in."""

    who: Customer
    api: HubClient


@dataclass(frozen=True)
class Unit:
    """A product, and where its own memory is."""

    made: Made
    folder: Path

    @cached_property
    def id(self) -> str:
        """Device id; the product must have enrolled."""
        found = enrol.load(self.folder)
        assert found is not None
        return found.device_id


def catalogue_document() -> dict[str, Any]:
    """The demo's catalogue, but the products here have no button: most are claimed before they are
    switched on, or are never switched on at all. `test_ownership_walk` is about buttons."""
    document = dict(catalogue.document())
    models = {name: {**model, "possession": "label"} for name, model in document["models"].items()}
    return document | {"models": models}


class World:
    """A running hub and everybody around it."""

    def __init__(self, data_dir: Path, folder: Path) -> None:
        self.address = local_hub.find(data_dir)
        self.data_dir = data_dir
        self.disk = Disk(data_dir)
        self.vendor = HubClient(self.address.api, self.address.ca_file, self.address.token)
        self._folder = folder
        self._numbers = count(1)
        self.vendor.call("POST", "/catalogue", catalogue_document())
        made = onboarding.staff(self.vendor, f"sam@{folder.name}.example", "Sam")
        self.support = onboarding.sign_in(self.address, made.email, made.password)

    def home(self, name: str) -> Home:
        """Let a new customer sign in."""
        email = f"{name}-{next(self._numbers)}@{self._folder.name}.example"
        who = onboarding.customer(self.vendor, email, name.title())
        api = onboarding.sign_in(self.address, who.email, who.password)
        onboarding.consent(api, who, time.time_ns() + 86_400_000_000_000)
        return Home(who, api)

    def make(self) -> Unit:
        """Make a product; nobody owns it and it has not enrolled."""
        number = next(self._numbers)
        made = onboarding.make(self.vendor, MODEL, f"{self._folder.name}-{number:04}")
        return Unit(made, self._folder / f"unit-{number:04}")

    def sold(self, home: Home, plan: str = "comfort") -> Unit:
        """Make a product that a customer has claimed and subscribed to a plan."""
        unit = self.make()
        onboarding.claim(home.api, unit.made)
        self.subscribe(home, unit, plan, -DAY_NS, 365 * DAY_NS)
        return unit

    def subscribe(self, home: Home, unit: Unit, plan: str, start: int, paid: int) -> None:
        """Subscribe a product; `start` and `paid` are ns from now."""
        now = time.time_ns()
        onboarding.subscribe(
            self.vendor,
            home.who.owner_id,
            unit.made.product_id,
            plan,
            now + start,
            paid_until=now + paid,
        )

    def open(self, unit: Unit, **options: Any) -> Device:
        """Switch a product on: the real SDK, enrolled and connecting."""
        made = unit.made
        return Device.open(
            unit.folder,
            hub=self.address.api,
            ca_file=self.address.ca_file,
            serial=made.serial,
            model=made.model,
            secret=made.secret,
            firmware="2.4.0",
            **options,
        )

    def enrol(self, unit: Unit) -> str:
        """Enrol a product without connecting it; returns its device id."""
        files.private_folder(unit.folder)
        key = DeviceKey.load_or_create(unit.folder / "device.key")
        api = enrol.HubApi(self.address.api, self.address.ca_file)
        made = unit.made
        enrol.save(unit.folder, api.enrol(made.serial, made.model, made.secret, key))
        return unit.id

    def detail(self, unit: Unit, caller: HubClient | None = None) -> dict[str, Any]:
        """All that is known of a product."""
        found = (caller or self.vendor).call("GET", f"/products/{unit.id}")
        assert isinstance(found, dict)
        return found

    def dead_letters(self, device_id: str) -> list[dict[str, Any]]:
        """Dead letters of a device as support sees them, the newest first."""
        return list(self.support.pages("/deadletters", device_id=device_id))

    def role_pid(self, role: str) -> int | None:
        """Process that plays a role now."""
        try:
            return int((self.data_dir / "run" / f"{role}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def close(self) -> None:
        """Close the connections."""
        self.vendor.close()
        self.support.close()


@dataclass
class RawDevice:
    """An MQTT client with a device's certificate, which says whatever it is told to.

    Args:
        unit: an enrolled product.
        client_id: MQTT client id; None: the device's.
    """

    unit: Unit
    client_id: str | None = None
    receipts: list[Receipt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = self.unit.id
        self.connected = self.refused = False
        self._subscribed = threading.Event()
        self._over = threading.Event()
        enrolment = enrol.load(self.unit.folder)
        assert enrolment is not None
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.id if self.client_id is None else self.client_id,
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        context = ssl.create_default_context(cadata=enrolment.trust_bundle)
        context.load_cert_chain(
            self.unit.folder / "certificate.pem", self.unit.folder / "device.key"
        )
        self.client.tls_set_context(context)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.on_disconnect = self._on_disconnect
        self.client.connect(enrolment.broker_host, enrolment.broker_port)
        self.client.loop_start()

    def __enter__(self) -> Self:
        assert self._subscribed.wait(PATIENCE_S), "the broker did not let the device in"
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a payload on any topic."""
        self.client.publish(topic, payload, qos=0)

    def send(self, channel: str, payload: bytes) -> None:
        """Send a payload on a channel of the device's own."""
        self.publish(topics.up(topics.ROOT, self.id, channel), payload)

    def rejections(self, stream: bytes) -> list[tuple[int, int, int]]:
        """`(start, end, code)` of all rejections that receipts told of a stream."""
        return [r for entry in self._entries(stream) for r in entry.rejections]

    def watermark(self, stream: bytes) -> int:
        """The newest watermark that receipts told of a stream; 0 if none did."""
        return max((entry.watermark for entry in self._entries(stream)), default=0)

    def wait_ended(self) -> bool:
        """Wait until the connection is refused or ends."""
        return self._over.wait(PATIENCE_S)

    def _entries(self, stream: bytes) -> list[Any]:
        return [e for receipt in list(self.receipts) for e in receipt.streams if e.stream == stream]

    def _on_connect(self, client: mqtt.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            self.refused = True
            self._over.set()
        else:
            self.connected = True
            client.subscribe(topics.down(topics.ROOT, self.id, "receipt"), qos=0)

    def _on_message(self, _: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
        self.receipts.append(Receipt.decode(bytes(message.payload)))

    def _on_disconnect(self, *_: Any) -> None:
        self.connected = False
        self._over.set()


def pack(
    stream: bytes,
    first_seq: int,
    values: list[float],
    *,
    metric: str = "temp_c",
    times: list[int] | None = None,
    clock: ClockState = ClockState.SYNCED,
) -> bytes:
    """A pack of one metric, a row a millisecond up to now unless `times` says otherwise."""
    now = time.time_ns()
    return encode_pack(
        Pack(
            stream=stream,
            first_seq=first_seq,
            owner_epoch=0,
            boot=b"bootboot",
            clock=clock,
            historical=False,
            times=times or [now - (len(values) - i) * 1_000_000 for i in range(len(values))],
            metrics={metric: values},
        )
    )


class Events:
    """What a caller hears on the stream of live events."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.listening = threading.Event()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Data of the events of one kind so far."""
        return [data for name, data in list(self.heard) if name == kind]

    def read(self, response: httpx.Response) -> None:
        """Take in lines until the connection ends."""
        kind = ""
        for line in response.iter_lines():
            if line.startswith("retry:"):
                self.listening.set()
            elif line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                self.heard.append((kind, json.loads(line.removeprefix("data: "))))


@contextmanager
def hearing(caller: HubClient) -> Iterator[Events]:
    """Listen to live events for the length of a block."""
    events = Events()
    connection: list[socket.socket] = []

    def run() -> None:
        with (
            suppress(httpx.TransportError),
            caller._http.stream("GET", "/api/v1/events", timeout=None) as response,
        ):
            connection.append(response.extensions["network_stream"].get_extra_info("socket"))
            events.read(response)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert events.listening.wait(PATIENCE_S), "the stream of events did not begin"
    try:
        yield events
    finally:
        connection[0].shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)
