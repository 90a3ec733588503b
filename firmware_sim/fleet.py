"""Simulated products that live at a pace: each a `Product` behind a real device of the SDK.

1. A product does what its hub says: pushed configuration changes the physics, commands are obeyed,
   notices are kept where a display would show them.
2. History is lived before the present, row by row, by the same physics and the same seed.
3. The clock is injected; one thread lives for the whole fleet.
4. Never here: what is asked of the hub as a manufacturer or a customer.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from device_sdk.client import Device
from firmware_sim.products.fault import Fault
from firmware_sim.products.product import Product

if TYPE_CHECKING:
    from device_sdk.wire.messages import Notice

NS_PER_S: Final = 1_000_000_000
HISTORY_CHUNK: Final = 512
SLOWEST_STEP_S: Final = 600.0


class SimulatedProduct:
    """One product and its device.

    Args:
        serial: serial number.
        product: its physics.
        device: its connection to the hub.
    """

    def __init__(self, serial: str, product: Product, device: Device) -> None:
        self.serial, self.product, self.device = serial, product, device
        self.configuration: dict[str, Any] = {}
        self.notices: list[Notice] = []
        # Set by the first signed state: from then on the device knows its owner's epoch.
        self.informed = threading.Event()
        self.latest: dict[str, float] = {}
        self._lived_ns = 0
        # Handlers are called by the device's thread while the fleet's thread lives.
        self._lock = threading.Lock()
        device.on_configuration(self._configure)
        for name in product.commands:
            device.on_command(name, partial(self._command, name))
        device.on_notice(self.notices.append)

    def inject(self, fault: Fault) -> None:
        """Let something go wrong in the product."""
        with self._lock:
            self.product.inject(fault)

    def history(
        self, start_ns: int, end_ns: int, step_s: float
    ) -> Iterator[tuple[int, dict[str, float]]]:
        """Live from one instant to another without waiting.

        Args:
            start_ns: ns since 1970 UTC.
            end_ns: the last instant is not after it.
            step_s: seconds between two rows.

        Yields:
            Instant and readings of each row.
        """
        step_ns = int(step_s * NS_PER_S)
        for now_ns in range(start_ns + step_ns, end_ns + 1, step_ns):
            with self._lock:
                readings = self.product.step(step_s, now_ns)
            self._lived_ns, self.latest = now_ns, readings
            yield now_ns, readings

    def live(self, now_ns: int) -> None:
        """Live until now and measure.

        Args:
            now_ns: ns since 1970 UTC.
        """
        elapsed_s = (now_ns - self._lived_ns) / NS_PER_S if self._lived_ns else 1.0
        if elapsed_s <= 0.0:  # the clock stepped back: nothing has happened yet
            return
        with self._lock:
            self.latest = self.product.step(min(elapsed_s, SLOWEST_STEP_S), now_ns)
        self._lived_ns = now_ns
        self.device.measure_many(self.latest, at_ns=now_ns)

    def _configure(self, settings: Mapping[str, Any]) -> dict[str, str]:
        with self._lock:
            errors = self.product.configure(settings)
        self.configuration = {name: value for name, value in settings.items() if name not in errors}
        self.informed.set()
        return errors

    def _command(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            return self.product.perform(name, arguments)


class Fleet:
    """Products that live in one process.

    Args:
        products: the products.
        clock: ns since 1970 UTC.
    """

    def __init__(self, products: Sequence[SimulatedProduct], clock: Callable[[], int]) -> None:
        self.products = list(products)
        self._clock = clock
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: Exception | None = None

    def seed_history(
        self, hours: float, step_s: float, progress: Callable[[int], None] = lambda _rows: None
    ) -> int:
        """Let every product live the hours before now and hand its rows to its device as history.

        Args:
            hours: how much of the past.
            step_s: seconds between two rows.
            progress: told how many rows were handed over, now and then.

        Returns:
            Rows handed over.
        """
        end_ns = self._clock()
        start_ns = end_ns - int(hours * 3600 * NS_PER_S)
        total = 0
        for product in self.products:
            chunk: list[tuple[int, dict[str, float]]] = []
            for row in product.history(start_ns, end_ns, step_s):
                chunk.append(row)
                if len(chunk) == HISTORY_CHUNK:
                    total += self._record(product, chunk, progress)
            total += self._record(product, chunk, progress)
        return total

    @staticmethod
    def _record(
        product: SimulatedProduct,
        chunk: list[tuple[int, dict[str, float]]],
        progress: Callable[[int], None],
    ) -> int:
        rows = len(chunk)
        if rows:
            product.device.record(chunk, historical=True)
            progress(rows)
            chunk.clear()
        return rows

    def start(self, cadence_s: float = 1.0) -> None:
        """Begin to live in the present.

        Args:
            cadence_s: seconds between two rows of a product.
        """
        self._thread = threading.Thread(
            target=self._live, args=(cadence_s,), name="fleet", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop living and close every device; what is not sent yet stays in its spool."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        for product in self.products:
            product.device.close()

    def _live(self, cadence_s: float) -> None:
        try:
            while not self._stopped.wait(cadence_s):
                for product in self.products:
                    product.live(self._clock())
        except Exception as error:  # noqa: BLE001  shown by whoever watches; a thread cannot raise
            self.failure = error
