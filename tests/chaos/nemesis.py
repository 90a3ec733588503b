"""The nemesis: one hub to hurt, its products, the waiting for recovery, and the check that follows.

1. Every choice is drawn from the seed; what a fault hits in its run is left to the machine.
2. A fleet lives for one scenario and ends with a check of all its rows through the API.
3. Recovery is the time until every product has a receipt for a row measured after the fault.
What must never live here: what is hurt and how; that is `scenarios`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from firmware_sim.hub_client import HubAnswerError
from tests.chaos.fleet import FAIR, Conditions, Fleet, Product
from tests.chaos.hub_under_test import HubUnderTest
from tests.chaos.ledger import Verdict
from tests.chaos.network import Weather
from tests.e2e.world import Home, Unit, World

PATIENCE_S = 120.0
PRODUCTS = 4

T = TypeVar("T")


@dataclass
class Outcome:
    """What a scenario did and found.

    Attributes:
        verdict: of the check at its end.
        recoveries: seconds, one a recovery.
        faults: by name.
        rejected: rows that the hub refused, by code.
        broken: what each product whose promises were not kept found, by device id.
        miscounted: what of metered usage does not add up, one sentence each.
    """

    verdict: Verdict = field(default_factory=Verdict)
    recoveries: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    broken: dict[str, Verdict] = field(default_factory=dict)
    miscounted: list[str] = field(default_factory=list)

    def add(self, other: Self) -> None:
        """Take in another outcome."""
        self.verdict += other.verdict
        self.recoveries += other.recoveries
        self.faults += other.faults
        self.rejected += other.rejected
        self.broken |= other.broken
        self.miscounted += other.miscounted

    def summary(self) -> dict[str, Any]:
        """Return plain numbers."""
        ordered = sorted(self.recoveries)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else 0.0
        return {
            **self.verdict.counts(),
            "miscounted": len(self.miscounted),
            "recovery_s_p95": round(p95, 2),
            "faults": self.faults.total(),
        }


class Nemesis:
    """One hub, to be hurt. Use it as a context.

    Args:
        folder: for the hub and the products.
        seed: of everything drawn.
        small_disk: put the journal on a small disk of its own, where that is allowed.
        settings: of the hub, by their names in the environment.
    """

    def __init__(
        self, folder: Path, seed: int, *, small_disk: bool = False, **settings: str
    ) -> None:
        self.hub = HubUnderTest(folder, seed, small_disk=small_disk, **settings)
        self.folder = folder
        self.random = random.Random(seed)  # noqa: S311  seeded, so that failures repeat
        self._world: World | None = None
        self._past: list[tuple[Fleet, Verdict]] = []

    def __enter__(self) -> Self:
        try:
            self.hub.start()
            homes = self.folder / "products"
            homes.mkdir()
            self._world = World(self.hub.data_dir, homes)
        except BaseException:
            self.hub.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._world is not None:
            self._world.close()
        self.hub.close()

    @property
    def world(self) -> World:
        """The hub and everybody around it."""
        assert self._world is not None
        return self._world

    @contextmanager
    def fleet(
        self,
        count: int = PRODUCTS,
        conditions: Conditions = FAIR,
        sell: Callable[[World, Home], Unit] = World.sold,
    ) -> Iterator[tuple[Fleet, Outcome]]:
        """Let products live for a block, and check them at its end; the outcome is complete then."""
        out = Outcome()
        fleet = Fleet(self.world, count, self.random.randrange(1 << 30), conditions, sell)
        with fleet:
            self.recover(fleet, time.monotonic())
            yield fleet, out
            self.hub.network.set(Weather())
            fleet.silence()
            for product in fleet.products:
                product.endure(Conditions(skew_ns=product.conditions.skew_ns))
                assert product.device is not None
                assert product.device.flush(PATIENCE_S), _standing(product)
                product.ledger.promise_all()
        out.verdict = self._check(fleet, out)
        for product in fleet.products:
            out.rejected += product.ledger.rejected
        self._past.append((fleet, out.verdict))

    def look_back(self) -> Verdict:
        """Check the products of all fleets so far once more; returns what got worse since."""
        worse = Verdict()
        for fleet, before in self._past:
            now, then = self._check(fleet, Outcome()).counts(), before.counts()
            worse += Verdict(**{name: now[name] - then[name] for name in now})
        return worse

    def recover(self, fleet: Fleet, since: float, out: Outcome | None = None) -> None:
        """Wait until every product has a receipt for a row measured after `since`; notes how long it took."""
        deadline = time.monotonic() + PATIENCE_S
        while not fleet.caught_up(since):
            assert time.monotonic() < deadline, [_standing(p) for p in fleet.products]
            time.sleep(0.01)
        if out is not None:
            out.recoveries.append(time.monotonic() - since)

    def hit(self, deed: Callable[[], bool]) -> None:
        """Do something to a role as soon as somebody plays it."""
        deadline = time.monotonic() + PATIENCE_S
        while not deed():
            assert time.monotonic() < deadline, self.hub.last_words()
            time.sleep(0.01)

    def wait(self, low: float, high: float) -> None:
        """Let some seconds pass."""
        time.sleep(self.random.uniform(low, high))

    def _check(self, fleet: Fleet, out: Outcome) -> Verdict:
        total = Verdict()
        for product in fleet.products:
            verdict = product.ledger.check(*_patiently(fleet.returned, product))
            if not verdict.kept:
                out.broken[product.unit.id] = verdict
            total += verdict
        return total


def _standing(product: Product) -> str:
    assert product.device is not None
    return f"{product.unit.id} does not get on: {product.device.counters}"


def _patiently(ask: Callable[[Product], T], product: Product) -> T:
    """Ask again while the API's process starts again."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask(product)
        except (httpx.TransportError, HubAnswerError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
