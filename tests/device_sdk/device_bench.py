"""A device without threads, a hub that keeps its promises, and a link between them that need not.

1. Time and chance move only when told; chance is seeded.
2. The hub remembers the rows of each identity, and which came again with other content.
"""

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_sdk.engine import Clocks, Engine, Settings
from device_sdk.link import Listener
from device_sdk.marks import Marks, Place
from device_sdk.sending import merge
from device_sdk.spool import Spool
from device_sdk.trust import Trust
from device_sdk.wire import cose
from device_sdk.wire.messages import Presence
from device_sdk.wire.pack import Pack, decode_pack
from device_sdk.wire.receipt import Receipt, StreamReceipt
from device_sdk.wire.state import (
    Endpoint,
    EntitlementToken,
    FeatureGrant,
    SigningKey,
    State,
    encode_state,
    encode_token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from device_sdk.wire.codes import RejectCode

DEVICE = "abcdefgh01234567"
KEY_HASH = b"k" * 32
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


class ManualTime:
    """Clocks and chance that only move when told."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 1000.0
        self.shift = 0  # ns by which the product's own clock is wrong
        self.random = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
        self.clocks = Clocks(
            wall_ns=lambda: START + int(self.now * SECOND) + self.shift,
            monotonic=lambda: self.now,
            octets=self.random.randbytes,
            jitter=self.random.random,
            pause=self.pass_by,
        )

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class FakeHub:
    """De-duplicates on (stream, seq), gives receipts, and is the device's link at the same time."""

    def __init__(self) -> None:
        self.online = False
        self.lose: Callable[[], bool] = lambda: False
        self.rows: dict[tuple[bytes, int], tuple[int, Mapping[str, float]]] = {}
        self.repeats = 0
        self.lost: set[tuple[bytes, int]] = set()
        self.packs: list[Pack] = []
        self.raw: list[bytes] = []
        self.refuse: dict[int, RejectCode] = {}
        self.new_rejections: list[tuple[bytes, int, RejectCode]] = []
        self.rejected: set[tuple[bytes, int]] = set()
        self.conflicts: list[tuple[bytes, int]] = []
        self.heard: list[tuple[str, bytes]] = []
        self.window = 4_000
        self.incarnation = b"hub-one."
        self.time = START
        self.reloads = 0
        self.greets = True
        self.born: list[bytes] = []
        self.older = 0  # births of a device that knows less of its stream than the hub

    def start(self, listener: Listener) -> None: ...

    def reload(self) -> None:
        self.reloads += 1

    def set_network(self, *, available: bool) -> None: ...

    def close(self) -> None:
        self.online = False

    def publish(self, channel: str, payload: bytes) -> bool:
        if not self.online:
            return False
        if channel == "presence" and (birth := Presence.decode(payload).birth):
            self.born.append(birth.stream)
            settled = [q for s, q in [*self.rows, *self.rejected, *self.lost] if s == birth.stream]
            if birth.sent is not None and birth.sent <= max(settled, default=-1):
                self.older += 1
        if channel != "t":
            self.heard.append((channel, payload))
        elif not self.lose():
            self._take(payload)
        return True

    def _take(self, payload: bytes) -> None:
        pack = decode_pack(payload)
        self.raw.append(payload)
        self.packs.append(pack)
        for start, end in pack.lost:
            self.lost.update((pack.stream, seq) for seq in range(start, end))
        for i, time in enumerate(pack.times):
            key = (pack.stream, pack.first_seq + i)
            values = {n: v[i] for n, v in pack.metrics.items() if v[i] is not None}
            row = (time, {name: value for name, value in values.items() if value is not None})
            if key in self.rows:
                self.repeats += 1
                if self.rows[key] != row:
                    self.conflicts.append(key)
            elif key[1] in self.refuse:
                self.rejected.add(key)
                self.new_rejections.append((*key, self.refuse[key[1]]))
            else:
                self.rows[key] = row

    def receipt(
        self, *, retry_after_ms: int | None = None, abandon: tuple[bytes, ...] = ()
    ) -> Receipt:
        streams = {stream for stream, _ in [*self.rows, *self.rejected]}
        entries = []
        for stream in sorted(streams | set(abandon)):
            seqs = [(q, q + 1) for s, q in [*self.rows, *self.rejected, *self.lost] if s == stream]
            ranges = merge(seqs)
            watermark = ranges.pop(0)[1] if ranges and ranges[0][0] == 0 else 0
            bad = tuple((q, q + 1, int(c)) for s, q, c in self.new_rejections if s == stream)
            entries.append(StreamReceipt(stream, watermark, tuple(ranges), bad))
        self.new_rejections.clear()
        return Receipt(
            self.incarnation, self.time, tuple(entries), self.window, 1000, retry_after_ms, abandon
        )

    def greeting(self) -> Receipt | None:
        """What the hub says to a birth: how far it knows the stream."""
        if not self.born or not self.greets:
            return None
        stream = self.born.pop()
        known = replace(self.receipt(), abandon=())
        if stream in {entry.stream for entry in known.streams}:
            return known
        return replace(known, streams=(*known.streams, StreamReceipt(stream, 0)))

    def values(self, metric: str = "temp_c") -> list[float]:
        return sorted(row[metric] for _, row in self.rows.values() if metric in row)

    def last(self, channel: str) -> bytes:
        return next(payload for name, payload in reversed(self.heard) if name == channel)


class Bench:
    """One device with its hub; `settle` lets time pass and receipts flow."""

    def __init__(self, folder: Path, seed: int = 1, **options: object) -> None:
        self.folder = folder
        self.time = ManualTime(seed)
        self.hub = FakeHub()
        self.signer = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
        self.options = options
        self.engine = self.open()

    def open(self, name: str = "spool.db") -> Engine:
        bound = self.options.get("max_bytes", 64 << 20)
        assert isinstance(bound, int)
        path = self.folder / name
        spool = Spool(path, new_stream=lambda: self.time.random.randbytes(8), max_bytes=bound)
        public = self.signer.public_key()
        keys = {cose.key_id(public): public.public_bytes_raw()}
        place = Place(lambda: spool.fact("mark"), lambda data: spool.keep_fact("mark", data))
        marks = Marks(DEVICE, [place])
        trust = Trust(self.folder / "state.json", DEVICE, KEY_HASH, keys, marks)
        policy = "drop_oldest" if self.options.get("drop") else "refuse"
        behaviour = Settings("1.0", ("identify",), policy)  # type: ignore[arg-type]
        engine = Engine(spool, trust, self.hub, self.time.clocks, behaviour, lambda *_: False)
        self.engine = engine
        return engine

    def connect(self) -> None:
        self.hub.online = True
        self.engine.on_connected()
        self._greet()

    def disconnect(self) -> None:
        self.hub.online = False
        self.engine.on_disconnected()

    def restart(self) -> None:
        """End without a word, as a power cut after the last sync does."""
        self.engine.on_disconnected()
        self.engine.spool.close()
        self.hub.online = False
        self.open()

    def step(self, seconds: float = 0.5) -> None:
        self.time.now += seconds
        self.engine.step()
        self._greet()

    def _greet(self) -> None:
        greeting = self.hub.greeting()
        if greeting is not None and self.hub.online:
            self.deliver(greeting)

    def deliver(self, receipt: Receipt) -> None:
        self.engine.on_message("receipt", receipt.encode())

    def settle(self, rounds: int = 40) -> None:
        for _ in range(rounds):
            self.step()
            self.deliver(self.hub.receipt())
            if self.engine.pending == 0:
                break

    def measure(self, *values: float) -> None:
        for value in values:
            self.time.now += 0.001
            self.engine.measure({"temp_c": value}, None)

    def state(
        self,
        version: int,
        epoch: int = 1,
        *,
        until: int | None = None,
        time: int = START,
        **configuration: object,
    ) -> bytes:
        token = EntitlementToken(
            DEVICE,
            b"t" * 16,
            version,
            epoch,
            0,
            None,
            0,
            KEY_HASH,
            {
                "boost": FeatureGrant(True, "plan", until),
                "frost": FeatureGrant(True, "safe_function", None, True),
            },
        )
        public = self.signer.public_key()
        place = Endpoint("127.0.0.1", 8883, "hp/1", "00", "https://127.0.0.1")
        state = State(
            DEVICE,
            version,
            epoch,
            cose.sign1(self.signer, encode_token(token), cose.ENTITLEMENT_EXTERNAL),
            configuration,  # type: ignore[arg-type]
            None,
            (),
            place,
            time,
            (SigningKey(cose.key_id(public), public.public_bytes_raw()),),
        )
        return cose.sign1(self.signer, encode_state(state), cose.STATE_EXTERNAL)
