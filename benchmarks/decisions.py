"""Entitlement decisions on twenty features of a whole fleet: compiled, looked up, changed in a hub that runs.

1. The fleet is a vendor's database; it is compiled from there as the process `control` does at its start.
2. `vector_ns` asks about every feature of every product, `vector_scattered_ns` about pairs in no order; `scalar_us_*`
   is one full decision in Python, scattered too. `explained_us_p50` is what one decision costs without the arrays: the
   product's facts by SQL, then the ladder; `sql_us_p50` one SQL round trip for the subscription alone.
3. Arrays must equal explanations: on random facts (`equal_cases`), and on the fleet's own.
4. `change_to_gate_ms` and `change_to_device_ms` begin before a hold is placed or lifted over the HTTPS API of the hub
   that carries the fleet, and end when the published gate, and a real device over MQTT, have it.
"""

import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from sqlalchemy import Engine, insert, select

from benchmarks import random_facts
from benchmarks.population import DAY, Population, populate
from device_sdk.client import Device
from entitlements.decision import decide
from entitlements.decision_arrays import Decisions
from entitlements.decision_table import DecisionTable
from entitlements.gate import Verdict, gate_table
from entitlements.gate_fleet import GateFleet
from firmware_sim.local_hub import Address, LocalHub
from hub.config import Settings
from hub.ports.database.engine import migrate, read_session, write_session
from hub.ports.database.ownership_tables import Grant, Hold, Subscription
from hub.services.catalogue_facts import load_catalogue
from hub.services.fact_columns import load_part
from hub.services.facts import last_slot, load_one
from hub.services.people import HASHER
from hub.services.snapshot_file import Snapshot, current_version, read_snapshot
from hub.wiring import compose

FEATURES: Final = tuple(f"feature_{number:02d}" for number in range(19))
_CATALOGUE: Final = "\n".join(
    [
        "[models.heat-pump]",
        'possession = "label"',
        'metrics = [{ name = "flow_temp_c", unit = "Cel" }]',
        "[models.heat-pump.features]",
        "telemetry = {}",
        *(
            f"{name} = {{ safe = {str(at == 0).lower()}, default = {str(at < 4).lower()} }}"
            for at, name in enumerate(FEATURES)
        ),
        "[plans.comfort]",
        "versions = [{ version = 1, grace_days = 7, features = { telemetry = {}, "
        + ", ".join(f"{name} = {{}}" for name in FEATURES[2:16])
        + " } }]",
    ]
)
_PART: Final = 10_000
_AT_ONCE: Final = 50_000
_START_S: Final = 600.0
_WAIT_S: Final = 20.0
_PASSWORD: Final = "a lighthouse at noon"  # noqa: S105  of a database that lives for minutes


def run(quick: bool) -> dict[str, Any]:
    """Measure.

    Args:
        quick: 20,000 devices instead of a million, and fewer of everything else.
    """
    devices, changes, cases = (20_000, 40, 20_000) if quick else (1_000_000, 200, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="homeport-decisions-") as temporary:
        settings = Settings(data_dir=Path(temporary) / "data")
        settings.data_dir.mkdir(mode=0o700, parents=True)
        engine, now = compose.engine(settings), time.time_ns()
        migrate(engine)
        began = time.monotonic()
        fleet = _fill(engine, devices * 5 // 4, now)
        print(f"{devices} devices after {time.monotonic() - began:.0f} s", file=sys.stderr)
        built, decisions = _built(engine, now)
        figures = {
            **built,
            **_vector(decisions, now, repeats=3),
            **_scalar(engine, decisions, fleet, now, tries=20_000 if quick else 200_000),
            "equal_cases": _equal(engine, decisions, fleet, now, cases),
        }
        engine.dispose()
        del decisions
        hub = LocalHub(settings.data_dir)
        try:
            address = hub.start(_START_S)
            lived = _changes(address, settings, Path(temporary) / "device", changes)
        finally:
            hub.stop()
    return {
        **figures,
        **lived,
        "devices": devices,
        "features": len(FEATURES) + 1,
        "workload": f"{devices} devices of {devices * 5 // 4} products, {len(FEATURES) + 1} features, one plan, a "
        f"tenth lapsed or in grace, 1 % held, 2 % with a grant; {changes} changes in a running hub",
    }


def _fill(engine: Engine, products: int, now: int) -> Population:
    fleet = populate(engine, products, now, HASHER.hash(_PASSWORD), _CATALOGUE)
    rng = np.random.default_rng(17)
    held = rng.choice(fleet.enrolled, fleet.enrolled // 100, replace=False).tolist()
    given = rng.choice(fleet.enrolled, fleet.enrolled // 50, replace=False).tolist()
    common = {"reason": "measured", "author": "hub"}
    with write_session(engine) as session:
        session.execute(
            insert(Hold),
            [
                {
                    "id": f"hold{at:012d}",
                    "product_id": fleet.product_ids[at],
                    "kind": ("payment", "theft", "recall")[at % 3],
                    "starts_at": now - (at % 30) * DAY,
                    "ends_at": now + DAY if at % 2 else None,
                    "features": [FEATURES[at % 16]] if at % 5 == 0 else None,
                    **common,
                }
                for at in held
            ],
        )
        session.execute(
            insert(Grant),
            [
                {
                    "id": f"gift{at:012d}",
                    "product_id": fleet.product_ids[at],
                    "feature": FEATURES[16 + at % 3],
                    "starts_at": now - (at % 30) * DAY,
                    "ends_at": now + 30 * DAY,
                    **common,
                }
                for at in given
            ],
        )
    return fleet


def _built(engine: Engine, now: int) -> tuple[dict[str, Any], Decisions]:
    """Compile decisions and gate of the fleet as `control` does when it starts."""
    with read_session(engine) as session:
        catalogue, last = load_catalogue(session), last_slot(session)
    began, read = time.perf_counter(), 0.0
    table, gate = DecisionTable(catalogue.models, catalogue.plans), gate_table()
    fleet = GateFleet(table, gate, now)
    for first in range(1, last + 1, _PART):
        asked = time.perf_counter()
        with read_session(engine) as session:
            part = load_part(session, table.vocabulary, first, min(first + _PART, last + 1))
        read += time.perf_counter() - asked
        if part is not None:
            table.put(part.columns)
            fleet.put(part.columns, part.device_id, part.cohort)
    decisions = table.decisions()
    took = time.perf_counter() - began
    size = sum(array.nbytes for array in decisions.arrays.values())
    return {
        "snapshot_build_s": round(took, 2),
        "snapshot_build_sql_s": round(read, 2),
        "snapshot_mb": round(size / 1e6, 1),
        "patterns": len(decisions.arrays["head"]) - 1,
    }, decisions


def _vector(decisions: Decisions, now: int, repeats: int) -> dict[str, Any]:
    """Decide on all features of all products in order, and on as many pairs in none."""
    slots = decisions.slots
    columns = decisions.columns([*FEATURES, "telemetry"])
    rng = np.random.default_rng(3)
    pairs = min(4_000_000, slots.size * columns.size)
    scattered = rng.choice(slots, pairs), rng.choice(columns, pairs)

    def in_order() -> int:
        for first in range(0, slots.size, _AT_ONCE):
            decisions.decide_all(slots[first : first + _AT_ONCE], columns, now)
        return slots.size * columns.size

    def in_no_order() -> int:
        for first in range(0, pairs, 20 * _AT_ONCE):
            last = first + 20 * _AT_ONCE
            decisions.decide_many(scattered[0][first:last], scattered[1][first:last], now)
        return pairs

    return {
        "vector_ns": _best_ns(in_order, repeats),
        "vector_scattered_ns": _best_ns(in_no_order, repeats),
    }


def _best_ns(work: Callable[[], int], repeats: int) -> float:
    work()
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        count = work()
        best = min(best, (time.perf_counter() - began) / count * 1e9)
    return round(best, 2)


def _scalar(
    engine: Engine, decisions: Decisions, fleet: Population, now: int, tries: int
) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    names = (*FEATURES, "telemetry")
    asked = zip(
        rng.integers(1, fleet.enrolled + 1, tries).tolist(),
        rng.integers(0, len(names), tries).tolist(),
        strict=True,
    )
    took = []
    for slot, feature in asked:
        began = time.perf_counter_ns()
        decisions.decide(slot, names[feature], now)
        took.append(time.perf_counter_ns() - began)
    explained, one_query = [], []
    for product in rng.integers(0, fleet.enrolled, 300).tolist():
        began = time.perf_counter_ns()
        with read_session(engine) as session:
            decide(load_one(session, fleet.product_ids[product]), "telemetry", now)
        explained.append(time.perf_counter_ns() - began)
        wanted = select(Subscription.paid_until).where(
            Subscription.product_id == fleet.product_ids[product]
        )
        with read_session(engine) as session:
            began = time.perf_counter_ns()
            session.execute(wanted).all()
            one_query.append(time.perf_counter_ns() - began)
    return {
        "scalar_us_p50": _percentile(took, 50, 1e3),
        "scalar_us_p99": _percentile(took, 99, 1e3),
        "explained_us_p50": _percentile(explained, 50, 1e3),
        "sql_us_p50": _percentile(one_query, 50, 1e3),
    }


def _equal(engine: Engine, decisions: Decisions, fleet: Population, now: int, cases: int) -> int:
    """Compare both forms on random facts and on products of the fleet; return how many cases."""
    compared = 0
    per_seed = 120 * 8 * len(random_facts.ASKED)
    for seed in range(-(-cases // per_seed)):
        compared += random_facts.compare(seed, 120, 8)
    rng = np.random.default_rng(11)
    with read_session(engine) as session:
        for product in rng.integers(0, fleet.enrolled, 200).tolist():
            facts = load_one(session, fleet.product_ids[product])
            at = now + int(rng.integers(-60, 60)) * DAY
            for name in (*FEATURES, "telemetry", "no_such_feature"):
                if decisions.decide(product + 1, name, at) != decide(facts, name, at):
                    raise SystemExit(f"The arrays differ on {name} of slot {product + 1} at {at}.")
                compared += 1
    return compared


def _changes(address: Address, settings: Settings, folder: Path, count: int) -> dict[str, Any]:
    """Hold a product and lift it again, and see when its gate and its device have heard."""
    trust = ssl.create_default_context(cafile=str(address.ca_file))
    with httpx.Client(
        base_url=f"{address.api}/api/v1", verify=trust, trust_env=False, timeout=60.0
    ) as api:
        api.headers["Authorization"] = f"Bearer {address.token}"
        product, secret = _sold(api)
        with Device.open(
            folder,
            hub=address.api,
            ca_file=address.ca_file,
            serial="HP-MEASURED",
            model="heat-pump",
            firmware="1.0.0",
            secret=secret,
        ) as device:
            slot = _slot_of(settings, device.device_id)
            _await(lambda: device.entitled(FEATURES[5]), "the device's first state")
            to_gate, to_device, answered = [], [], []
            for number in range(count):
                began = time.perf_counter_ns()
                if number % 2 == 0:
                    answer = api.post(
                        f"/products/{product}/holds", json={"kind": "theft", "reason": "measured"}
                    )
                    hold = answer.raise_for_status().json()["id"]
                else:
                    api.post(f"/holds/{hold}/lift").raise_for_status()
                answered.append(time.perf_counter_ns() - began)
                gate, told = _heard(settings, device, slot, held=number % 2 == 0)
                to_gate.append(gate - began)
                to_device.append(told - began)
    return {
        "change_to_gate_ms_p50": _percentile(to_gate, 50, 1e6),
        "change_to_gate_ms_p99": _percentile(to_gate, 99, 1e6),
        "change_to_device_ms_p50": _percentile(to_device, 50, 1e6),
        "change_to_device_ms_p99": _percentile(to_device, 99, 1e6),
        "change_answered_ms_p50": _percentile(answered, 50, 1e6),
    }


def _sold(api: httpx.Client) -> tuple[str, str]:
    """Make a product and a household that owns it and pays; return product id and secret."""

    def ask(path: str, body: Any, **headers: str) -> Any:
        return api.post(path, json=body, headers=headers).raise_for_status().json()

    made = ask("/products", {"products": [{"model": "heat-pump", "serial": "HP-MEASURED"}]})[
        "products"
    ][0]
    email = "measured@example.org"
    person = ask("/people", {"email": email, "name": "Mia", "role": "customer"})
    password = person["one_time_password"]
    session = ask("/sessions", {"email": email, "password": password})
    bearer = {"Authorization": f"Bearer {session['token']}"}
    ask("/claims", {"claim_code": made["claim_code"]}, **bearer)
    terms = {"product_id": made["product_id"], "plan": "comfort"}
    ask(f"/owners/{person['owner_id']}/subscriptions", terms)
    return made["product_id"], made["enrolment_secret"]


def _slot_of(settings: Settings, device_id: str) -> int:
    wanted = np.frombuffer(device_id.encode(), np.uint8)

    def found() -> int:
        ids = read_snapshot(settings.gate_dir).arrays["device_id"]
        places = np.flatnonzero((ids == wanted).all(axis=1))
        return int(places[0]) if places.size else 0

    _await(found, "the device in the gate")
    return found()


def _heard(settings: Settings, device: Device, slot: int, *, held: bool) -> tuple[int, int]:
    """Return when the gate and when the device had the change."""
    gate = told = 0
    version, deadline = None, time.monotonic() + _WAIT_S
    expected = Verdict.QUARANTINE if held else Verdict.ACCEPT
    snapshot = read_snapshot(settings.gate_dir)
    while not (gate and told):
        if not told and device.entitled(FEATURES[5]) != held:
            told = time.perf_counter_ns()
        newest = current_version(settings.gate_dir)
        if not gate and newest != version:
            version = newest
            seen = time.perf_counter_ns()
            snapshot = read_snapshot(settings.gate_dir, snapshot)
            if _verdict(snapshot, slot, time.time_ns()) == expected:
                gate = seen
        if time.monotonic() > deadline:
            raise SystemExit("A change did not arrive at the gate or the device.")
        time.sleep(0.0005)
    return gate, told


def _verdict(snapshot: Snapshot, slot: int, now: int) -> int:
    """Return what the gate does with a product, as the pipeline's kernel looks it up."""
    arrays = snapshot.arrays
    first, end = arrays["span"][slot].tolist()
    begun = int(np.searchsorted(arrays["span_from"][first:end], now, "right"))
    return int(arrays["span_verdict"][first + begun - 1])


def _await(ready: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"Waited {_WAIT_S:.0f} s in vain for {what}.")
        time.sleep(0.02)


def _percentile(values: list[int], percent: int, unit: float) -> float:
    return round(float(np.percentile(values, percent)) / unit, 2)
