"""Products under test: the real SDK, with everything that passes on the wire written down beside it.

1. A row has a value that no other row of its device has; every row is in the ledger before the SDK gets it.
2. What the link hears is in the ledger before the SDK hears it.
3. Messages may be lost and garbage added on the way, both drawn from a seed.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from device_sdk import enrol
from device_sdk.client import SYSTEM_CLOCKS, Device
from device_sdk.engine import Clocks, Engine, Settings
from device_sdk.errors import SpoolFullError
from device_sdk.keys import DeviceKey
from device_sdk.link import Link, Listener, MqttLink
from device_sdk.routes import routes
from device_sdk.spool import Spool
from device_sdk.trust import Trust
from device_sdk.wire.errors import WireError
from device_sdk.wire.pack import decode_pack
from tests.chaos.ledger import Ledger
from tests.e2e.world import Home, Unit, World

NAMING, SECOND = "temp_c", "power_w"
PAUSE_S = 0.02
_KEEPALIVE_S = 3


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a product has to put up with.

    Attributes:
        loss: probability that a message is lost, either way.
        poison: probability that a message is followed by garbage.
        skew_ns: how far its clock is off.
    """

    loss: float = 0.0
    poison: float = 0.0
    skew_ns: int = 0


FAIR = Conditions()


class WatchedLink:
    """A link with a witness, which also loses messages and adds garbage.

    Args:
        link: the real one.
        ledger: the witness's.
        conditions: how bad it is; may be changed at any time.
        seed: of chance.
    """

    def __init__(self, link: Link, ledger: Ledger, conditions: Conditions, seed: int) -> None:
        self._link = link
        self._ledger = ledger
        self.conditions = conditions
        self._random = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
        self._listener: Listener | None = None

    def start(self, listener: Listener) -> None:
        self._listener = listener
        self._link.start(self)

    def publish(self, channel: str, payload: bytes) -> bool:
        if channel == "t":
            self._ledger.sent(payload, NAMING)
        chance = self._random.random
        if chance() < self.conditions.poison:
            self._link.publish(self._random.choice(("t", "json", "senml")), self._garbage(payload))
        if channel == "t" and chance() < self.conditions.loss:
            return True
        return self._link.publish(channel, payload)

    def reload(self) -> None:
        self._link.reload()

    def set_network(self, *, available: bool) -> None:
        self._link.set_network(available=available)

    def close(self) -> None:
        self._link.close()

    def connected(self) -> None:
        assert self._listener is not None
        self._listener.connected()

    def disconnected(self) -> None:
        assert self._listener is not None
        self._listener.disconnected()

    def refused(self) -> None:
        assert self._listener is not None
        self._listener.refused()

    def received(self, channel: str, payload: bytes) -> None:
        assert self._listener is not None
        if channel == "receipt":
            if self._random.random() < self.conditions.loss:
                return
            self._ledger.told(payload, time.monotonic())
        self._listener.received(channel, payload)

    def _garbage(self, payload: bytes) -> bytes:
        """Bytes that no decoder may take for a row."""
        draw = self._random
        kind = draw.randrange(4)
        if kind == 0:
            return draw.randbytes(draw.randrange(1, 200))
        if kind == 1:
            return payload[: draw.randrange(len(payload))]
        if kind == 2:
            return payload + b"\x00"
        bent = bytearray(payload)
        bent[draw.randrange(min(12, len(bent)))] ^= 1 << draw.randrange(8)
        try:
            decode_pack(bytes(bent))
        except WireError:
            return bytes(bent)
        return b"\xff"


@dataclass
class Product:
    """One product: its ledger survives its restarts, as its folder does."""

    unit: Unit
    seed: int
    conditions: Conditions = field(default_factory=Conditions)
    ledger: Ledger = field(default_factory=Ledger)
    rows: int = 0
    last_ns: int = 0
    device: Device | None = None
    link: WatchedLink | None = None

    def open(self) -> None:
        """Switch it on, as `Device.open` does, with a witness on the link."""
        folder, clocks = self.unit.folder, self._clocks()
        enrolment = enrol.load(folder)
        assert enrolment is not None
        key = DeviceKey.load_or_create(folder / "device.key")
        keys = {bytes.fromhex(kid): bytes.fromhex(raw) for kid, raw in enrolment.signing_keys}
        trust = Trust(folder / "state.json", enrolment.device_id, key.hash(), keys)
        spool = Spool(folder / "spool.db", new_stream=lambda: clocks.octets(8))
        real = MqttLink(
            enrolment.device_id,
            certificate=folder / "certificate.pem",
            key=key.path,
            routes=lambda: routes(enrolment, trust.state),
            monotonic=clocks.monotonic,
            jitter=clocks.jitter,
            keepalive_s=_KEEPALIVE_S,
        )
        self.link = WatchedLink(real, self.ledger, self.conditions, self.seed)
        behaviour = Settings("2.4.0", linger_s=0.05)
        engine = Engine(spool, trust, self.link, clocks, behaviour, lambda *_: False)
        self.device = Device(enrolment.device_id, engine, self.link, clocks)

    def close(self) -> None:
        """Switch it off."""
        if self.device is not None:
            self.device.close()
            self.device = None

    def endure(self, conditions: Conditions) -> None:
        """Change the conditions."""
        self.conditions = conditions
        if self.link is not None:
            self.link.conditions = conditions

    def measure(self) -> None:
        """Take one row."""
        assert self.device is not None
        self.rows += 1
        value = 20.0 + self.rows * 1e-7
        true_ns = max(time.time_ns(), self.last_ns + 1)
        self.last_ns = true_ns
        skew = self.conditions.skew_ns
        # A clock that is off is corrected by the hub: to no earlier than the truth, no later than the receipt.
        latest = true_ns if skew == 0 else 1 << 62
        self.ledger.measured(value, true_ns, latest, time.monotonic())
        try:
            self.device.measure_many({NAMING: value, SECOND: 2 * value}, true_ns + skew)
        except SpoolFullError:
            self.ledger.unmeasured(value)

    def _clocks(self) -> Clocks:
        return replace(SYSTEM_CLOCKS, wall_ns=lambda: time.time_ns() + self.conditions.skew_ns)


class Fleet:
    """Products that measure until told to stop; use it as a context.

    Args:
        world: where they live.
        count: of products.
        seed: of chance.
        conditions: of all of them.
        sell: makes and sells one to the household.

    Attributes:
        home: the household that has all of them.
    """

    def __init__(
        self,
        world: World,
        count: int,
        seed: int,
        conditions: Conditions = FAIR,
        sell: Callable[[World, Home], Unit] = World.sold,
    ) -> None:
        self.home = home = world.home("street")
        self.products: list[Product] = []
        for i in range(count):
            unit = sell(world, home)
            world.enrol(unit)
            self.products.append(Product(unit, seed + i, conditions))
        self._stop = threading.Event()
        self._quiet = threading.Lock()
        self._thread = threading.Thread(target=self._measure, name="measuring")

    def __enter__(self) -> Self:
        for product in self.products:
            product.open()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.silence()
        for product in self.products:
            product.close()

    def silence(self) -> None:
        """End measuring."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def still(self) -> threading.Lock:
        """Hold this lock to keep products from measuring, as while one is switched off."""
        return self._quiet

    def caught_up(self, since: float) -> bool:
        """Whether every product has a receipt for a row measured after `since` (monotonic)."""
        return all(product.ledger.newest_acked > since for product in self.products)

    def returned(self, product: Product) -> tuple[Iterable[tuple[int, float]], Iterable[float]]:
        """Ask the hub's API, as the owner, for all rows of a product: by name, and what accompanies them."""
        rows = self.home.api.rows
        named = [(row.time_ns, row.value) for row in rows(product.unit.id, NAMING)]
        return named, [row.value for row in rows(product.unit.id, SECOND)]

    def _measure(self) -> None:
        while not self._stop.wait(PAUSE_S):
            with self._quiet:
                for product in self.products:
                    if product.device is not None:
                        product.measure()
