"""How the demo's products come to life: made, sold, switched on, their past lived, then the present.

1. Everything goes the way it goes in life: over the API and over the wire, past measurements as
   historical rows of the device. Nothing is written into the hub.
2. The first home is settled by the caller, so that there is something to look at; the others
   follow on two threads, one that sells and one that lives the past.
3. A product lives in the present only after its past is in its spool: rows stay in order of time.
4. Never here: what goes wrong in products, or words for people.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from device_sdk.wire.messages import Notice
from firmware_sim import onboarding
from firmware_sim.fleet import Fleet, SimulatedProduct
from firmware_sim.households import Household, Standing
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address
from firmware_sim.onboarding import Customer, Login, Made, OnboardingError
from firmware_sim.products.heat_pump import HeatPump

HISTORY_STEP_S: Final = 300.0
CHUNK_ROWS: Final = 512
STATE_TIMEOUT_S: Final = 30.0
DAY_NS: Final = 86_400_000_000_000
NS_PER_S: Final = 1_000_000_000


@dataclass(slots=True)
class Home:
    """A household of the demo with what it got.

    Args:
        household: who they are.
        made: their product.
        customer: how they sign in.
        members: how others of the household sign in.
        product: the product, once it is switched on.
    """

    household: Household
    made: Made
    customer: Customer
    members: list[Login] = field(default_factory=list)
    product: SimulatedProduct | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the settling has come.

    Args:
        homes: homes in all.
        sold: homes whose product is sold and switched on.
        living: products that live in the present.
        rows: rows of history in all.
        received: rows of history for which the hub has given a receipt.
    """

    homes: int
    sold: int
    living: int
    rows: int
    received: int

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return self.living == self.homes and self.received >= self.rows


class Settling:
    """Settles the demo's households.

    Args:
        address: the hub.
        folder: where the devices keep their memory.
        households: all of them, the first one first.
        seed: makes houses, weather and people what they are.
        hours: hours of history of each product.
        heard: told of each notice a product gets, at once and on any thread.
        clock: ns since 1970 UTC.
    """

    def __init__(
        self,
        address: Address,
        folder: Path,
        households: list[Household],
        *,
        seed: int,
        hours: float,
        heard: Callable[[SimulatedProduct, Notice], None],
        clock: Callable[[], int],
    ) -> None:
        self._address, self._folder, self._households = address, folder, households
        self._seed, self._hours, self._heard, self._clock = seed, hours, heard, clock
        self.homes: list[Home] = []
        self.fleet = Fleet([], clock)
        self.failure: Exception | None = None
        self._handed = 0
        self._opened: list[SimulatedProduct] = []
        self._sold: queue.Queue[Home] = queue.Queue()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def settle_first(self, vendor: HubClient) -> Home:
        """Settle the first home but for its past, which `start` begins with."""
        home = self._sell(vendor, 0)
        self._sold.put(home)
        return home

    def start(self) -> None:
        """Begin to settle all others, and to live."""
        self.fleet.start()
        for name, work in (("selling", self._sell_others), ("history", self._live_pasts)):
            thread = threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop selling and living, and close every device."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.fleet.stop()
        for product in self._opened:
            product.device.close()  # those that do not live yet; the others are closed already

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        opened, rows = list(self._opened), int(self._hours * 3600 / HISTORY_STEP_S)
        # Rows of the present wait for receipts too; they are the last in a spool, and few.
        waiting = sum(product.device.pending for product in opened)
        return Progress(
            homes=len(self._households),
            sold=len(opened),
            living=len(self.fleet.products),
            rows=rows * len(self._households),
            received=max(0, min(self._handed, self._handed - waiting + len(opened) * 2)),
        )

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  shown by whoever watches; a thread cannot raise
            if not self._stopped.is_set():
                self.failure = error

    def _sell_others(self) -> None:
        address = self._address
        with HubClient(address.api, address.ca_file, address.token) as vendor:
            for number in range(1, len(self._households)):
                if self._stopped.is_set():
                    return
                self._sold.put(self._sell(vendor, number))

    def _sell(self, vendor: HubClient, number: int) -> Home:
        household = self._households[number]
        standing, serial = household.standing, f"HP-{self._seed:03}-{number + 1:04}"
        made = onboarding.make(
            vendor,
            "heat-pump",
            serial,
            zone=household.zone,
            region=household.climate.name,
            hardware_lot="AB"[number % 2],
            order_reference=f"WEB-{10_000 + 37 * number}",
        )
        customer = onboarding.customer(vendor, household.email, household.name, household.zone)
        members = [
            onboarding.member(vendor, customer, email, name, household.zone)
            for name, email in household.members
        ]
        if standing.claimed:
            with onboarding.sign_in(self._address, customer.email, customer.password) as client:
                onboarding.claim(client, made)
        if standing.plan is not None:
            self._subscribe(vendor, customer, made, standing, standing.plan)
        home = Home(household, made, customer, members)
        home.product = self._switch_on(home, number)
        self.homes.append(home)
        return home

    def _subscribe(
        self, vendor: HubClient, customer: Customer, made: Made, standing: Standing, plan: str
    ) -> None:
        now = self._clock()
        starts = now + standing.starts_days * DAY_NS
        onboarding.subscribe(
            vendor,
            customer.owner_id,
            made.product_id,
            plan,
            starts,
            trial_end=_after(starts, standing.trial_days),
            paid_until=_after(now, standing.paid_days),
            cancelled_at=_after(now, standing.cancelled_days),
        )

    def _switch_on(self, home: Home, number: int) -> SimulatedProduct:
        device = onboarding.switch_on(
            home.made, self._folder / "devices" / home.made.serial, self._address
        )
        household = home.household
        pump = HeatPump(
            f"{self._seed}/{number}",
            climate=household.climate,
            loss_w_per_k=household.loss_w_per_k,
        )
        product = SimulatedProduct(home.made.serial, pump, device)
        self._opened.append(product)

        def hear(notice: Notice) -> None:
            product.notices.append(notice)
            self._heard(product, notice)

        device.on_notice(hear)
        return product

    def _live_pasts(self) -> None:
        for _ in range(len(self._households)):
            home = self._next_sold()
            if home is None:
                return
            product = home.product
            assert product is not None  # noqa: S101  it was switched on when it was sold
            # From its first signed state on a device knows whose rows it takes.
            if not product.informed.wait(STATE_TIMEOUT_S):
                raise OnboardingError(
                    f"{product.serial} is connected but got no signed state within "
                    f"{STATE_TIMEOUT_S:.0f} s. Look at {self._address.data_dir / 'run'}."
                )
            self._live_past(product)
            self.fleet.products.append(product)

    def _next_sold(self) -> Home | None:
        while not self._stopped.is_set() and self.failure is None:
            try:
                return self._sold.get(timeout=0.2)
            except queue.Empty:
                continue
        return None

    def _live_past(self, product: SimulatedProduct) -> None:
        step_ns = int(HISTORY_STEP_S * NS_PER_S)
        rows = int(self._hours * 3600 / HISTORY_STEP_S)
        end_ns = self._clock()
        past = product.history(end_ns - rows * step_ns, end_ns, HISTORY_STEP_S)
        while chunk := list(islice(past, CHUNK_ROWS)):
            if self._stopped.is_set():
                return
            product.device.record(chunk, historical=True)
            self._handed += len(chunk)
            time.sleep(0)  # let the devices' threads send


def _after(instant_ns: int, days: int | None) -> int | None:
    return None if days is None else instant_ns + days * DAY_NS
