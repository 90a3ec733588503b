"""How the demo's products come to life: made, switched on, sold, their past lived, then the present.

1. Everything goes the way it goes in life: over the API and over the wire, past measurements as
   historical rows of the device. Nothing is written into the hub.
2. The first home is settled by the caller, so that there is something to look at; the others
   follow on two threads, one that sells and one that lives the past.
3. A product lives in the present only after its past is in its spool: rows stay in order of time.
   Of its past it remembers the less the older it is, as devices with little memory do.
4. Never here: what goes wrong in products, or words for people.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firmware_sim import catalogue, commissioning, onboarding
from firmware_sim.fleet import HISTORY_CHUNK, Fleet
from firmware_sim.fleet_plan import FleetPlan, Member
from firmware_sim.households import Household, households
from firmware_sim.hub_client import HubClient
from firmware_sim.hub_time import HubTime
from firmware_sim.local_hub import Address
from firmware_sim.onboarding import Customer, Login, Made, OnboardingError
from firmware_sim.products.history import NS_PER_S
from firmware_sim.simulated import SimulatedProduct

if TYPE_CHECKING:
    from device_sdk.wire.messages import Notice

REPORT_S: Final = 5.0
THINNED: Final = ((0.5, REPORT_S), (6.5, 30.0), (float("inf"), 300.0))
"""Until how many hours ago a product remembers which step, in seconds: the older, the thinner. What
is usual at the pace of the present the detector learns from the newest part."""
STATE_TIMEOUT_S: Final = 30.0
AT_ONCE: Final = 8  # products switched on together
DAY_NS: Final = 86_400_000_000_000
CONSENT_NS: Final = 30 * DAY_NS  # the households of the demo let support look for a month


@dataclass(slots=True)
class Home:
    """A household of the demo and what it owns.

    Args:
        household: who they are.
        units: what they own, as planned.
        customer: how they sign in, once they have an account.
        members: how others of the household sign in.
        products: what they own, once it is switched on, in the order of `units`.
        labels: what is printed on them, in the same order.
    """

    household: Household
    units: list[Member]
    customer: Customer | None = None
    members: list[Login] = field(default_factory=list)
    products: list[SimulatedProduct] = field(default_factory=list)
    labels: list[Made] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settled:
    """How far the settling has come.

    Args:
        products: products in all.
        opened: those switched on.
        living: those that live in the present.
        rows: rows of history in all.
        received: rows of history for which the hub has given a receipt.
    """

    products: int
    opened: int
    living: int
    rows: int
    received: int

    @property
    def complete(self) -> bool:
        """Whether everything is there."""
        return self.living == self.products and self.received >= self.rows


def place(plan: FleetPlan, count: int) -> list[Home]:
    """Give the products of a fleet to households: one of each model to the first, one to each other.

    Args:
        plan: the fleet.
        count: how many of its products there shall be.

    Returns:
        The homes, products of different models next to one another.
    """
    by_model: dict[str, list[Member]] = {}
    for member in plan.members:
        by_model.setdefault(member.model, []).append(member)
    # Scenarios happen to the first serial numbers; the first home has the second ones, as the demo's
    # own story happens there.
    kinds = [members[1:] + members[:1] for members in by_model.values()]
    kinds.sort(key=lambda members: -len(members))
    mixed = [one for row in zip_longest(*kinds) for one in row if one is not None][:count]
    first, others = mixed[: len(kinds)], mixed[len(kinds) :]
    owners = households(1 + len(others))
    return [Home(owners[0], first)] + [
        Home(owner, [member]) for owner, member in zip(owners[1:], others, strict=True)
    ]


class Settling:
    """Settles the demo's households.

    Args:
        address: the hub.
        folder: where the devices keep their memory.
        homes: all of them, the first one first.
        hours: hours of history of each product.
        heard: told of each notice a product gets, at once and on any thread.
        clock: ns since 1970 UTC; follows the hub's.
    """

    def __init__(
        self,
        address: Address,
        folder: Path,
        homes: Sequence[Home],
        *,
        hours: float,
        heard: Callable[[SimulatedProduct, "Notice"], None],
        clock: HubTime,
    ) -> None:
        self._address, self._folder, self.homes = address, folder / "devices", homes
        self._heard, self._clock = heard, clock
        self._past = _parts(hours)
        self.fleet = Fleet([], clock, clock.hear)
        self.failure: Exception | None = None
        self._handed = 0
        self._opened: list[SimulatedProduct] = []
        self._switched_on: queue.Queue[tuple[SimulatedProduct, bool]] = queue.Queue()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def settle_first(self, vendor: HubClient) -> Home:
        """Settle the first home but for its past, which `start` begins with."""
        self._settle(vendor, self.homes[:1])
        return self.homes[0]

    def start(self) -> None:
        """Begin to settle all others, and to live."""
        self.fleet.start(REPORT_S)
        for name, work in (("selling", self._settle_others), ("history", self._live_pasts)):
            thread = threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop selling and living, and close every device."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        living = {product.serial for product in self.fleet.products}
        for product in self._opened:
            if product.serial not in living:
                self.fleet.join(product)
        self.fleet.stop()

    @property
    def api(self) -> str:
        """Base address of the hub."""
        return self._address.api

    @property
    def switched_on(self) -> list[SimulatedProduct]:
        """The products that are switched on so far."""
        return list(self._opened)

    @property
    def progress(self) -> Settled:
        """How far it has come."""
        opened, total = list(self._opened), sum(len(home.units) for home in self.homes)
        # A few rows of the present wait for receipts too, at the end of each spool.
        waiting = sum(max(0, product.device.pending - 2) for product in opened)
        return Settled(
            products=total,
            opened=len(opened),
            living=len(self.fleet.products),
            rows=sum(rows for rows, _ in self._past) * total,
            received=max(0, self._handed - waiting),
        )

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  shown by whoever watches; a thread cannot raise
            if not self._stopped.is_set():
                self.failure = error

    def _settle_others(self) -> None:
        address, rest = self._address, iter(self.homes[1:])
        with HubClient(address.api, address.ca_file, address.token) as vendor:
            while (some := list(islice(rest, AT_ONCE))) and not self._stopped.is_set():
                self._settle(vendor, some)

    def _settle(self, vendor: HubClient, homes: Sequence[Home]) -> None:
        """Make, switch on and sell what some households own."""
        units = [unit for home in homes for unit in home.units]
        now = self._clock()
        made_ns = {
            unit.serial: now - home.household.standing.made_days * DAY_NS
            for home in homes
            for unit in home.units
        }
        made = commissioning.make(vendor, units, self._folder, made_ns)
        label = {entry.serial: entry for entry in made}
        products = commissioning.switch_on(
            units, made, self._folder, self._address, self._clock, report_s=REPORT_S
        )
        of_serial = {product.serial: product for product in products}
        for product in products:
            self._listen(product)
            self._opened.append(product)
        claimed = [unit for home in homes if home.household.standing.claimed for unit in home.units]
        for unit in claimed:  # all before anybody claims: the hub hears of it meanwhile
            if catalogue.has_button(unit.model):
                of_serial[unit.serial].press()
        for home in homes:
            home.labels = [label[unit.serial] for unit in home.units]
            own = [of_serial[unit.serial] for unit in home.units]
            self._sell(vendor, home, own)
            home.products = own
            for product in own:
                self._switched_on.put((product, home.household.standing.claimed))

    def _sell(self, vendor: HubClient, home: Home, products: Sequence[SimulatedProduct]) -> None:
        household, standing, made = home.household, home.household.standing, home.labels
        zone = home.units[0].region.zone
        customer = onboarding.customer(vendor, household.email, household.name, zone)
        home.members = [
            onboarding.member(vendor, customer, email, name, zone)
            for name, email in household.members
        ]
        if standing.claimed:
            with onboarding.sign_in(self._address, customer.email, customer.password) as client:
                for entry, product in zip(made, products, strict=True):
                    onboarding.claim_pressing(client, entry, product.press)
                onboarding.consent(client, customer, self._clock() + CONSENT_NS)
        now = self._clock()
        starts = now + standing.starts_days * DAY_NS
        for entry in made if standing.plan is not None else ():
            onboarding.subscribe(
                vendor,
                customer.owner_id,
                entry.product_id,
                str(standing.plan),
                starts,
                trial_end=_after(starts, standing.trial_days),
                paid_until=_after(now, standing.paid_days),
                cancelled_at=_after(now, standing.cancelled_days),
            )
        if standing.buys is not None:
            onboarding.pay_by(vendor, customer.owner_id, standing.pays_by)
            with onboarding.sign_in(self._address, customer.email, customer.password) as client:
                for entry in made:
                    onboarding.buy(client, entry.product_id, standing.buys)
        if standing.hold is not None:
            for entry in made:
                onboarding.hold(
                    vendor,
                    entry.product_id,
                    standing.hold.kind,
                    standing.hold.reason,
                    _after(now, standing.hold.days),
                )
        home.customer = customer

    def _listen(self, product: SimulatedProduct) -> None:
        def hear(notice: "Notice") -> None:
            product.notices.append(notice)
            self._heard(product, notice)

        product.device.on_notice(hear)

    def _live_pasts(self) -> None:
        while len(self.fleet.products) < sum(len(home.units) for home in self.homes):
            try:
                product, claimed = self._switched_on.get(timeout=0.2)
            except queue.Empty:
                if self._stopped.is_set() or self.failure is not None:
                    return
                continue
            # From that signed state on a device knows whose rows it takes.
            if not (product.owned if claimed else product.informed).wait(STATE_TIMEOUT_S):
                raise OnboardingError(
                    f"{product.serial} is connected but got no signed state of its owner within "
                    f"{STATE_TIMEOUT_S:.0f} s. Look at {self._address.data_dir / 'run'}."
                )
            self._live_past(product)
            if self._stopped.is_set():
                return
            self.fleet.join(product)

    def _live_past(self, product: SimulatedProduct) -> None:
        end_ns = self._clock()
        start_ns = end_ns - sum(int(rows * step_s * NS_PER_S) for rows, step_s in self._past)
        for count, step_s in self._past:
            stop_ns = start_ns + int(count * step_s * NS_PER_S)
            rows = product.history(start_ns, stop_ns, step_s).rows()
            while (chunk := list(islice(rows, HISTORY_CHUNK))) and not self._stopped.is_set():
                product.device.record(chunk, historical=True)
                self._handed += len(chunk)
            start_ns = stop_ns


def _parts(hours: float) -> list[tuple[int, float]]:
    """Return rows and step in seconds of each part of a past, the oldest first."""
    parts, newer = [], 0.0
    for until, step_s in THINNED:
        older = min(hours, until)
        parts.append((int((older - newer) * 3600 / step_s), step_s))
        newer = older
    return parts[::-1]


def _after(instant_ns: int, days: int | None) -> int | None:
    return None if days is None else instant_ns + days * DAY_NS
