"""A fleet: simulated products that live in one process at a pace, and what happens to them.

1. History is lived before the present, row by row, by the same physics and the same seed.
2. One thread lives for the whole fleet. Reports are spread over the time between two of a product,
   as those of a real fleet are, so neither the hub nor this machine sees them all at once.
3. The clock is injected. An event changes every product that it means, or none.
4. Never here: what happens in a product (`simulated`), or what is asked of the hub.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Final

from firmware_sim.fleet_plan import Member
from firmware_sim.products.history import NS_PER_S
from firmware_sim.scenario import Event, Target
from firmware_sim.simulated import SimulatedProduct

HISTORY_CHUNK: Final = 8_192
TURNS: Final = 20  # groups of products that report one after the other
CLOSERS: Final = 8


class FleetError(Exception):
    """An event does not fit the fleet; the message says why."""


class Fleet:
    """Products that live in one process.

    Args:
        products: the products.
        clock: ns since 1970 UTC.
        hear: told what each product heard of the hub's time, as it lives (`HubTime.hear`).
    """

    def __init__(
        self,
        products: Sequence[SimulatedProduct],
        clock: Callable[[], int],
        hear: Callable[[tuple[int, int | None] | None], None] = lambda _heard: None,
    ) -> None:
        self.products = list(products)
        self._clock = clock
        self._hear = hear
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: Exception | None = None

    def matching(self, target: Target) -> list[SimulatedProduct]:
        """Products that a target means, in order of serial number."""
        found = [product for product in self.products if _means(target, product.member)]
        found.sort(key=lambda product: product.serial)
        return found[: target.count]

    def meant(self, event: Event) -> list[SimulatedProduct]:
        """Products to which an event would happen: those of its target that it can happen to.

        Args:
            event: the event.

        Returns:
            At least one product.

        Raises:
            FleetError: there is none.
        """
        matching = self.matching(event.target)
        if not matching:
            raise FleetError(f"'{event}' means no product: no {event.target} is in this fleet.")
        able = [product for product in matching if product.can(event) is None]
        if not able:
            raise FleetError(f"'{event}' cannot happen: {matching[0].can(event)}.")
        return able

    def apply(self, event: Event, now_ns: int) -> list[SimulatedProduct]:
        """Let an event happen now, whatever its own time says.

        Args:
            event: what happens, and to whom.
            now_ns: ns since 1970 UTC.

        Returns:
            The products to which it happened.

        Raises:
            FleetError: it can happen to none; nothing changed.
        """
        meant = self.meant(event)
        for product in meant:
            product.suffer(event, now_ns)
        return meant

    def seed_history(
        self,
        hours: float,
        step_s: float,
        progress: Callable[[int], None] = lambda _rows: None,
        *,
        recent_s: float = 0.0,
        recent_step_s: float = 1.0,
    ) -> int:
        """Let every product live the hours before now and hand its rows to its device as history.

        Args:
            hours: how much of the past.
            step_s: seconds between two rows.
            progress: told how many rows were handed over, now and then.
            recent_s: of these hours, the last so many seconds are lived at a pace of their own,
            recent_step_s: seconds between two of their rows. A quarter of an hour at the pace of
                what comes live lets a detector get used to that pace.

        Returns:
            Rows handed over.
        """
        end_ns = self._clock()
        start_ns = end_ns - int(hours * 3600 * NS_PER_S)
        recent_ns = max(start_ns, end_ns - int(recent_s * NS_PER_S))
        total = 0
        for product in self.products:
            for first, last, pace in (
                (start_ns, recent_ns, step_s),
                (recent_ns, end_ns, recent_step_s),
            ):
                rows = product.history(first, last, pace).rows()
                while chunk := list(islice(rows, HISTORY_CHUNK)):
                    product.device.record(chunk, historical=True)
                    total += len(chunk)
                    progress(len(chunk))
        return total

    def join(self, product: SimulatedProduct) -> None:
        """Take one more product in; from now on it lives with the others."""
        self.products.append(product)  # in one step, so the fleet's thread needs no lock

    def start(self, cadence_s: float = 1.0) -> None:
        """Begin to live in the present.

        Args:
            cadence_s: seconds between two rows of a product.
        """
        self._thread = threading.Thread(
            target=self._live, args=(cadence_s,), name="fleet", daemon=True
        )
        self._thread.start()

    def rest(self) -> None:
        """Stop living; the devices stay connected."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Stop living and close every device; what is not sent yet stays in its spool."""
        self.rest()
        # Each waits for a goodbye and a sync of its disk; together they need not wait in a row.
        with ThreadPoolExecutor(CLOSERS) as pool:
            list(pool.map(SimulatedProduct.close, self.products))

    def _live(self, cadence_s: float) -> None:
        try:
            due = time.monotonic()
            for turn in cycle(range(TURNS)):
                # Late by more than a whole round: the machine slept, or is too slow for the pace.
                due = max(due + cadence_s / TURNS, time.monotonic() - cadence_s)
                if self._stopped.wait(max(0.0, due - time.monotonic())):
                    return
                for product in self.products:
                    product.attend(self._clock())
                for product in self.products[turn::TURNS]:
                    self._hear(product.device.hub_time())
                    product.live(self._clock())
        except Exception as error:  # noqa: BLE001  shown by whoever watches; a thread cannot raise
            self.failure = error


def _means(target: Target, member: Member) -> bool:
    wanted = (target.serial, target.model, target.firmware, target.lot, target.region)
    given = (member.serial, member.model, member.firmware, member.lot, member.region.name)
    return all(name is None or name == has for name, has in zip(wanted, given, strict=True))
