"""How soon a used-up quota closes its feature: a hub that runs, real devices, a fleet counted beside them.

1. The hub is `homeport serve` on a database of thousands of products that all have a metered quota; a crowd of
   devices sends measurements that are counted, over its real broker, all the while.
2. A crossing begins when a product with the SDK measures what uses its quota up, before it is sent. It ends when the
   product says no itself. Only then the hub's compiled decisions are asked, over the API: to ask all the while would be
   a load of its own. So the figure of the gate is an upper bound.
3. Then the product is given credit over the API, and uses it up again: both directions go the whole way.
What must never live here: settings that the product does not use.
"""

import multiprocessing
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from benchmarks.crowd import Crowd, Member, crowd_process
from benchmarks.flood import METRICS
from benchmarks.population import populate
from device_sdk.client import Device
from firmware_sim import onboarding
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address, LocalHub
from hub.config import Settings
from hub.ports.database.engine import migrate
from hub.services.people import HASHER
from hub.wiring import compose

_MODEL: Final = "heat-pump"
_QUOTA: Final = 10
_CATALOGUE: Final = "\n".join(
    [
        f"[models.{_MODEL}]",
        'possession = "label"',
        "metrics = [",
        *(f'{{ name = "{name}" }},' for name in METRICS),
        '{ name = "water_l", unit = "L", kind = "counter" } ]',
        f"[models.{_MODEL}.meters]",
        'water = { metric = "water_l", aggregation = "increase" }',
        f'readings = {{ metric = "{METRICS[0]}", aggregation = "count" }}',
        f"[models.{_MODEL}.features]",
        "telemetry = {}",
        'hot_water = { kind = "metered", unit = "L", meter = "water" }',
        "[plans.comfort]",
        f"versions = [{{ version = 1, features = {{ telemetry = {{}}, hot_water = {{ value = {_QUOTA} }} }} }}]",
    ]
)
_CROWD: Final = 4
_CROWD_RATE: Final = 250
_UNITS: Final = 6
_WAIT_S: Final = 20.0
_START_S: Final = 300.0
_REST_S: Final = 1.25  # longer than a cadence: what is measured then is sent at once
_SPAWN: Final = multiprocessing.get_context("spawn")
_PASSWORD: Final = "a lighthouse at noon"  # noqa: S105  of a database that lives for minutes


def measure(quick: bool) -> dict[str, Any]:
    """Measure.

    Args:
        quick: 5,000 products beside and 36 crossings, instead of 50,000 and 240.
    """
    products, rounds = (5_000, 6) if quick else (50_000, 40)
    with tempfile.TemporaryDirectory(prefix="homeport-limits-") as temporary:
        folder = Path(temporary)
        settings = Settings(data_dir=folder / "data")
        settings.data_dir.mkdir(mode=0o700, parents=True)
        engine = compose.engine(settings)
        migrate(engine)
        populate(engine, products * 5 // 4, time.time_ns(), HASHER.hash(_PASSWORD), _CATALOGUE)
        engine.dispose()
        hub = LocalHub(settings.data_dir)
        try:
            crossings = _live(hub.start(_START_S), folder, rounds)
        finally:
            hub.stop()
    closed = [one.device for one in crossings]
    return {
        "limit_to_device_ms_p99": _ms(closed, 99),
        "limit_to_device_ms_p50": _ms(closed, 50),
        "limit_to_gate_ms_p99": _ms([one.gate for one in crossings], 99),
        "limit_to_gate_ms_p50": _ms([one.gate for one in crossings], 50),
        "credit_to_device_ms_p99": _ms([one.opened for one in crossings], 99),
        "crossings": len(crossings),
        "products_beside": products,
        "counted_rows_per_s_beside": _CROWD * _CROWD_RATE,
    }


@dataclass(frozen=True, slots=True)
class Crossing:
    """Seconds from using up to the gate's no and to the product's; from credit to the product's yes."""

    gate: float
    device: float
    opened: float


@dataclass(slots=True)
class Unit:
    """A product that uses its quota up again and again."""

    device: Device
    product_id: str
    litres: float = 0.0

    def use(self, litres: float) -> None:
        """Use so much from now on."""
        self.litres += litres
        self.device.measure("water_l", self.litres)


def _live(address: Address, folder: Path, rounds: int) -> list[Crossing]:
    crossings: list[Crossing] = []
    with ExitStack() as stack:
        vendor = stack.enter_context(HubClient(address.api, address.ca_file, address.token))
        who = onboarding.customer(vendor, "limits@example.org", "Lia")
        home = stack.enter_context(onboarding.sign_in(address, who.email, who.password))

        def sold(name: str) -> tuple[Device, str]:
            made = onboarding.make(vendor, _MODEL, name)
            onboarding.claim(home, made)
            terms = {"product_id": made.product_id, "plan": "comfort"}
            vendor.call("POST", f"/owners/{who.owner_id}/subscriptions", terms)
            return onboarding.switch_on(made, folder / name, address), made.product_id

        units = [Unit(*sold(f"unit-{n}")) for n in range(_UNITS)]
        for unit in units:
            stack.callback(unit.device.close)
        members = []
        for n in range(_CROWD):
            device, _ = sold(f"crowd-{n}")
            members.append(Member(device.device_id, folder / f"crowd-{n}", _CROWD_RATE))
            device.close()
        facts = address.facts
        host, port = str(facts["mqtt_host"]), int(facts["mqtt_port"])
        for unit in units:
            _await(lambda unit=unit: unit.device.entitled("hot_water"), "the first state")  # type: ignore[misc]
            unit.use(0.0)
        # Of the present period: what is older would be corrections of earlier ones.
        crowd = Crowd(host, port, address.ca_file, tuple(members), past_s=0)
        with _sending(crowd):
            time.sleep(2.0)  # what is slow only the first time
            threads = [
                threading.Thread(target=_cross, args=(address, unit, rounds, n, crossings))
                for n, unit in enumerate(units)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    if len(crossings) != rounds * _UNITS:
        raise SystemExit(f"Only {len(crossings)} of {rounds * _UNITS} crossings were seen.")
    return crossings


def _cross(
    address: Address, unit: Unit, rounds: int, number: int, crossings: list[Crossing]
) -> None:
    trust = ssl.create_default_context(cafile=str(address.ca_file))
    with httpx.Client(
        base_url=f"{address.api}/api/v1", verify=trust, trust_env=False, timeout=60.0
    ) as api:
        api.headers["Authorization"] = f"Bearer {address.token}"
        time.sleep(_REST_S * number / _UNITS)
        for _ in range(rounds):
            began = time.monotonic()
            unit.use(float(_QUOTA))
            gate, device = _closed(api, unit)
            credit = {"meter": "water", "kind": "topup", "amount": str(_QUOTA), "reason": "bought"}
            asked = time.monotonic()
            api.post(f"/products/{unit.product_id}/credit-grants", json=credit).raise_for_status()
            _await(lambda: unit.device.entitled("hot_water"), "the opened feature")
            crossings.append(Crossing(gate - began, device - began, time.monotonic() - asked))
            time.sleep(max(0.0, began + _REST_S - time.monotonic()))


def _closed(api: httpx.Client, unit: Unit) -> tuple[float, float]:
    """Return when the hub's compiled decisions and when the product said no."""
    asked = {"products": [unit.product_id], "features": ["hot_water"]}
    _await(lambda: not unit.device.entitled("hot_water"), "the product's no")
    device = time.monotonic()
    while True:
        answer = api.post("/decisions", json=asked).raise_for_status().json()
        gate = time.monotonic()
        if not answer["products"][0]["decisions"][0]["allowed"]:
            break
        if gate > device + _WAIT_S:
            raise TimeoutError(f"{unit.product_id} used its quota up, and the hub says yes.")
    return gate, device


@contextmanager
def _sending(crowd: Crowd) -> Iterator[None]:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=crowd_process, args=(crowd, theirs))
    process.start()
    try:
        ours.recv()
        ours.send("go")
        yield
    finally:
        ours.send("end")
        process.join()


def _await(ready: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {_WAIT_S:.0f} s in vain for {what}.")
        time.sleep(0.002)


def _ms(seconds: list[float], percent: int) -> float:
    return round(float(np.percentile(seconds, percent)) * 1e3, 1)
