"""A million usage events told over the API, many of them replays: each is answered, and each id counts once.

1. The hub is `homeport serve`. A batch is what a gateway sends that cannot know what arrived: events that are new, some
   that were sent before, now and then one that is wrong or takes an id for something else, and whole batches again.
2. A plain model beside it knows every answer and every total. All answers are compared, and the usage over the API;
   one that differs fails the run.
3. Last, two senders tell the same new events at the same time: each id is accepted for one of them.
What must never live here: settings that the product does not use.
"""

import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from firmware_sim import onboarding
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address, LocalHub
from firmware_sim.onboarding import Made

SEED: Final = 20_262
EVENTS: Final = 1_000_000
BATCH: Final = 8_000
_MODEL: Final = "printer"
_PRODUCTS: Final = 12
_QUOTA: Final = 1_000_000
_REPLAYS: Final = 0.3
_BATCHES_AGAIN: Final = 0.1
_WRONG: Final = 0.02
_CATALOGUE: Final[dict[str, Any]] = {
    "models": {
        _MODEL: {
            "possession": "label",
            "metrics": [{"name": "pages", "kind": "counter"}],
            "meters": {"printed": {"metric": "pages", "aggregation": "increase", "decimals": 2}},
            "features": {"telemetry": {}, "printing": {"kind": "metered", "meter": "printed"}},
        }
    },
    "plans": {
        "office": {
            "versions": [
                {"version": 1, "features": {"telemetry": {}, "printing": {"value": _QUOTA}}}
            ]
        }
    },
}
_SPOILT: Final[tuple[dict[str, Any], ...]] = (
    {"quantity": "-1"},
    {"quantity": "1.005"},
    {"quantity": "1e999999999"},
    {"quantity": None},
    {"meter": "scanned"},
    {"id": "a b"},
    {"colour": "red"},
)

Event = dict[str, Any]


@dataclass
class Gateway:
    """Who tells the usage of one product, and what must come of it.

    Args:
        product_id: of the product.
        chance: draws everything.
    """

    product_id: str
    chance: random.Random
    known: dict[str, str] = field(default_factory=dict)
    fates: Counter[str] = field(default_factory=Counter)
    _batch: tuple[list[Event], list[str]] = field(default_factory=lambda: ([], []))

    def batch(self, size: int) -> tuple[list[Event], list[str]]:
        """Return events and the fate that each must have."""
        if self._batch[0] and self.chance.random() < _BATCHES_AGAIN:
            events, fates = self._batch
            again = ["duplicate" if fate == "accepted" else fate for fate in fates]
            return events[:size], again[:size]
        ids = list(self.known)
        pairs = [self._event(ids) for _ in range(size)]
        self._batch = [event for event, _ in pairs], [fate for _, fate in pairs]
        return self._batch

    def _event(self, ids: list[str]) -> tuple[Event, str]:
        chance = self.chance
        drawn = chance.random()
        if drawn < _REPLAYS and ids:
            old = chance.choice(ids)
            return _event(old, self.known[old]), "duplicate"
        fresh = f"{len(self.known)}-{chance.getrandbits(32):08x}"
        quantity = f"{chance.randrange(1, 100_000) / 100:.2f}"
        if drawn < _REPLAYS + _WRONG:
            if ids and chance.random() < 0.3:
                old = chance.choice(ids)
                other = f"{Decimal(self.known[old]) + 1}"
                return _event(old, other), "rejected"
            return _event(fresh, quantity) | chance.choice(_SPOILT), "rejected"
        self.known[fresh] = quantity
        return _event(fresh, quantity), "accepted"

    def total(self) -> Decimal:
        """Return what the product used."""
        return sum(map(Decimal, self.known.values()), Decimal(0))


def run(quick: bool, seed: int = SEED) -> dict[str, Any]:
    """Measure.

    Args:
        quick: a fiftieth of the events.
        seed: of everything drawn.

    Returns:
        Events per second, memory, and how many events met which fate.
    """
    count = EVENTS // 50 if quick else EVENTS
    batch = BATCH // 8 if quick else BATCH
    with tempfile.TemporaryDirectory(prefix="homeport-replay-") as folder:
        hub = LocalHub(Path(folder) / "data")
        try:
            return _told(hub.start(), seed, count, batch)
        finally:
            hub.stop()


def _told(address: Address, seed: int, count: int, size: int) -> dict[str, Any]:
    chance = random.Random(seed)
    with HubClient(address.api, address.ca_file, address.token) as vendor:
        gateways = [
            Gateway(made.product_id, random.Random(chance.random()))
            for made in _sold(address, vendor)
        ]
        pid = int((address.data_dir / "run" / "control.pid").read_text())
        before = _rss_mb(pid)
        took: list[float] = []
        for gateway, events, fates in _batches(gateways, chance, count, size):
            began = time.perf_counter()
            answer = _tell(vendor, gateway.product_id, events)
            took.append(time.perf_counter() - began)
            found = [one["fate"] for one in answer["events"]]
            if found != fates:
                wrong = next(
                    i for i, pair in enumerate(zip(found, fates, strict=True)) if len(set(pair)) > 1
                )
                raise SystemExit(f"{events[wrong]}: {answer['events'][wrong]}, not {fates[wrong]}.")
            gateway.fates.update(found)
            if len(took) % 20 == 0:
                print(f"{len(took) * size} events in {sum(took):.0f} s", file=sys.stderr)
        peak = _rss_mb(pid, "VmHWM")
        raced = _race(address, gateways[0], min(size, 1_000))
        reading = [_check(vendor, gateway) for gateway in gateways]
    took.sort()
    fates_of_all = sum((gateway.fates for gateway in gateways), Counter[str]())
    return {
        "api_events_per_s": round(count / sum(took)),
        "batch_ms_p95": round(1e3 * took[int(0.95 * len(took))], 1),
        **{fate: fates_of_all[fate] for fate in ("accepted", "duplicate", "rejected")},
        "wrongly_answered": 0,
        "raced_by_two": raced,
        "rss_mb_before": before,
        "rss_mb_peak": peak,
        "usage_read_ms_max": round(1e3 * max(reading), 1),
        "events": count,
        "batch": size,
        "products": len(gateways),
        "seed": seed,
    }


def _batches(
    gateways: list[Gateway], chance: random.Random, count: int, size: int
) -> Iterator[tuple[Gateway, list[Event], list[str]]]:
    """Half of all is of one product, the rest of the others."""
    while count:
        gateway = gateways[0] if chance.random() < 0.5 else chance.choice(gateways[1:])
        events, fates = gateway.batch(min(size, count))
        count -= len(events)
        yield gateway, events, fates


def _sold(address: Address, vendor: HubClient) -> list[Made]:
    vendor.call("POST", "/catalogue", _CATALOGUE)
    who = onboarding.customer(vendor, "office@example.org", "Olga")
    sold = []
    with onboarding.sign_in(address, who.email, who.password) as home:
        for number in range(_PRODUCTS):
            made = onboarding.make(vendor, _MODEL, f"PRINTER-{number:02}")
            onboarding.claim(home, made)
            terms = {"product_id": made.product_id, "plan": "office"}
            vendor.call("POST", f"/owners/{who.owner_id}/subscriptions", terms)
            sold.append(made)
    return sold


def _tell(vendor: HubClient, product_id: str, events: list[Event]) -> Any:
    return vendor.call("POST", f"/products/{product_id}/usage-events", {"events": events})


def _event(id_: str, quantity: str) -> Event:
    return {"id": id_, "meter": "printed", "quantity": quantity}


def _race(address: Address, gateway: Gateway, count: int) -> int:
    """Two tell the same new events at the same time; returns how many were accepted, each once."""
    events = [_event(f"raced-{n}", "1") for n in range(count)]
    answers: list[list[str]] = []
    start = threading.Barrier(2)

    def tell() -> None:
        with HubClient(address.api, address.ca_file, address.token) as vendor:
            start.wait()
            answer = _tell(vendor, gateway.product_id, events)
            answers.append([one["fate"] for one in answer["events"]])

    threads = [threading.Thread(target=tell) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(sorted(pair) != ["accepted", "duplicate"] for pair in zip(*answers, strict=True)):
        raise SystemExit("Two senders of the same events were not answered once each.")
    gateway.known |= {event["id"]: event["quantity"] for event in events}
    return count


def _check(vendor: HubClient, gateway: Gateway) -> float:
    """Compare a product's usage with the model; returns the seconds that reading took."""
    began = time.perf_counter()
    usage = vendor.call("GET", f"/products/{gateway.product_id}/usage")["usage"]
    took = time.perf_counter() - began
    if Decimal(usage[0]["total"]) != gateway.total():
        raise SystemExit(f"{gateway.product_id}: {usage[0]['total']}, not {gateway.total()}.")
    return took


def _rss_mb(pid: int, line: str = "VmRSS") -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(row.split()[1]) // 1024 for row in status.splitlines() if row.startswith(line))
