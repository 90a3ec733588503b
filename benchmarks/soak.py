"""A day in ten minutes: 2,000 simulated products at a hub that is watched as an operator would watch it.

1. Physics, SDK, TLS, broker and hub are the real ones; each product reports every five minutes of its day. The day is
   the one before now: rows are late by up to a day, and none lies in the future. Every product is owned and pays.
2. `memory_growth` compares each process's memory in the last quarter of the day with that in the second one, when it
   has met all products; `memory_mb_per_hour` is the slope over the second half, in hours of the wall.
3. Warnings are lines of the hub's logs, from its start to the receipt of the last row.
4. Scrapes of `/metrics` go to a VictoriaMetrics, which then answers each query of the dashboard and the alert rules of
   `docs/operations`. A query that finds nothing is named: what never happened has no samples.
5. `lost` are rows with a receipt that the store does not have, and `waiting` those without a receipt after two minutes.
"""

import json
import multiprocessing
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from firmware_sim import catalogue, commissioning, fleet_plan, local_hub, onboarding
from firmware_sim.descriptors import allow_devices
from firmware_sim.fleet import Fleet
from firmware_sim.fleet_plan import FleetPlan
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address
from firmware_sim.simulated import SimulatedProduct
from hub.ports.store.embedded import EmbeddedStore

DAY_S: Final = 86_400.0
REPORT_S: Final = 300.0
OPERATIONS: Final = Path(__file__).parents[1] / "docs" / "operations"
_PLAN: Final = "care"
_START_S: Final = 600.0
_DRAIN_S: Final = 120.0
_PRESS_S: Final = 300.0  # the first press waits behind the births of all products
_SPAWN: Final = multiprocessing.get_context("spawn")
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """The products that live in one process.

    Args:
        number: which of the processes, from 0.
        products: how many.
        wall_s: how long their day takes.
        folder: what their devices remember.
        address: the hub.
    """

    number: int
    products: int
    wall_s: float
    folder: Path
    address: Address


@dataclass(slots=True)
class Seen:
    """What the scrapes said: times (s), memory (bytes) by process, and the greatest lag (s)."""

    times: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lag_s: float = 0.0


def run(quick: bool) -> dict[str, Any]:
    """Measure; see the module for what the figures mean."""
    products, processes, wall_s = (24, 1, 12.0) if quick else (2_000, 4, 600.0)
    folder = Path(tempfile.mkdtemp(prefix="homeport-soak-"))
    try:
        with ExitStack() as stack:
            address = stack.enter_context(local_hub.started(folder / "data"))
            prometheus = stack.enter_context(_victoria(folder))
            with HubClient(address.api, address.ca_file, address.token) as vendor:
                onboarding.apply_catalogue(vendor)
            parts = [
                Part(number, products // processes, wall_s, folder / f"fleet{number}", address)
                for number in range(processes)
            ]
            pipes = stack.enter_context(_living(parts))
            seen = _watch(address, prometheus, wall_s)
            fared = [pipe.recv() for pipe in pipes]
            warnings = _warnings(address.data_dir / "run")
            stored = _stored(address)
            asked = _asked(prometheus)
        measured, settled, waiting, fleet_mb = (sum(column) for column in zip(*fared, strict=True))
        return {
            **_memory(seen),
            "log_warnings": sum(warnings.values()),
            "warnings": dict(warnings.most_common(5)),
            **asked,
            "rows": measured,
            "settled": settled,
            "waiting": waiting,
            "lost": settled - stored,
            "lag_s_max": round(seen.lag_s, 3),
            "fleet_mb": fleet_mb,
            "workload": f"{products} products, a report every {REPORT_S:.0f} s of a day lived in {wall_s:.0f} s",
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plan(part: Part) -> FleetPlan:
    """Return a fleet mixed like the demo's, whose serial numbers are its own."""
    demo = fleet_plan.demo()
    counts = Counter(member.model for member in demo.members)
    share = part.products / len(demo.members)
    models = "\n".join(f"{model} = {round(count * share)}" for model, count in counts.items())
    regions = {member.region.name: member.region for member in demo.members}.values()
    lines = [f"seed = {part.number + 2}", f"report_s = {REPORT_S}", "[models]", models]
    lines += ["[firmware]", '"2.4.0" = 2', '"2.4.1" = 1', "[lots]", "A = 1", "B = 1"]
    for region in regions:
        lines += [
            f"[regions.{region.name}]",
            f'climate = "{region.climate}"',
            f'zone = "{region.zone}"',
        ]
    return fleet_plan.parse("\n".join(lines), "soak")


def _life(part: Part, pipe: Connection) -> None:
    """Bring products up, say "ready", live the day from "go" on, and answer how they fared."""
    plan = _plan(part)
    allow_devices(len(plan.members))
    part.folder.mkdir()
    with HubClient(part.address.api, part.address.ca_file, part.address.token) as vendor:
        made = commissioning.make(vendor, plan.members, part.folder)
        products = commissioning.switch_on(
            plan.members, made, part.folder, part.address, time.time_ns, report_s=REPORT_S
        )
        _sell(vendor, part, made, products)
    pipe.send("ready")
    pipe.recv()
    speed = DAY_S / part.wall_s
    morning, began = time.time_ns() - round(DAY_S * _NS), time.monotonic()

    def clock() -> int:
        return morning + round((time.monotonic() - began) * speed * _NS)

    fleet = Fleet(products, clock)
    fleet.start(REPORT_S / speed)
    time.sleep(part.wall_s)
    if fleet.failure is not None:
        raise fleet.failure
    deadline = time.monotonic() + _DRAIN_S
    fleet.rest()
    for product in products:
        product.device.flush(max(0.0, deadline - time.monotonic()))
    counters = [product.device.counters for product in products]
    settled = sum(each.rows_settled for each in counters)
    waiting = sum(each.rows_pending for each in counters)
    pipe.send((settled + waiting, settled, waiting, _own_mb()))
    pipe.recv()
    fleet.stop()


def _sell(
    vendor: HubClient, part: Part, made: list[onboarding.Made], products: list[SimulatedProduct]
) -> None:
    """Let one customer claim all products of a process and pay for the largest plan."""
    email = f"soak{part.number}@example.org"
    customer = onboarding.customer(vendor, email, "Sofia")
    with onboarding.sign_in(part.address, email, customer.password) as home:
        for entry, product in zip(made, products, strict=True):
            if catalogue.has_button(entry.model):
                onboarding.claim_pressing(home, entry, product.press, _PRESS_S)
            else:
                onboarding.claim(home, entry)
    now = time.time_ns()
    for entry in made:
        onboarding.subscribe(vendor, customer.owner_id, entry.product_id, _PLAN, now)


def _own_mb() -> int:
    """Return the memory of this process (Linux)."""
    status = Path("/proc/self/status").read_text("utf-8")
    return (
        next(int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmRSS:") // 1000
    )


@contextmanager
def _living(parts: list[Part]) -> Iterator[list[Connection]]:
    """Run the products for the length of a block, which begins with their day."""
    pipes, processes = [], []
    try:
        for part in parts:
            here, there = _SPAWN.Pipe()
            process = _SPAWN.Process(target=_life, args=(part, there))
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
        for pipe in pipes:
            if not pipe.poll(_START_S):
                raise TimeoutError("The products did not come up.")
            pipe.recv()
        for pipe in pipes:
            pipe.send("go")
        yield pipes
        for pipe in pipes:
            pipe.send("end")
        for process in processes:
            process.join(_DRAIN_S)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _watch(address: Address, prometheus: "Prometheus | None", wall_s: float) -> Seen:
    """Scrape the hub for as long as the day takes."""
    seen, began = Seen(), time.monotonic()
    every_s = min(5.0, wall_s / 12)
    with HubClient(address.api, address.ca_file, address.token) as operator:
        while (elapsed := time.monotonic() - began) < wall_s:
            text = operator.text("/metrics")
            seen.times.append(elapsed)
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == "homeport_role_resident_memory_bytes":
                        seen.memory[sample.labels["role"]].append(sample.value)
                    elif sample.name == "homeport_ingest_lag_seconds":
                        seen.lag_s = max(seen.lag_s, sample.value)
            if prometheus is not None:
                prometheus.take(text, time.time())
            time.sleep(max(0.0, every_s - (time.monotonic() - began - elapsed)))
    return seen


def _memory(seen: Seen) -> dict[str, Any]:
    """Say how much memory each process has at the end, and how it grew."""
    count = len(seen.times)
    growth, slope, now = {}, {}, {}
    for role, values in seen.memory.items():
        held = np.array(values[-count:])
        quarter = len(held) // 4
        growth[role] = float(np.median(held[-quarter:]) / np.median(held[quarter : 2 * quarter]))
        half = len(held) // 2
        times = np.array(seen.times[-len(held) :])[half:]
        slope[role] = float(np.polyfit(times, held[half:], 1)[0]) * 3_600 / 1e6
        now[role] = round(float(held[-1]) / 1e6)
    return {
        "memory_growth_max": round(max(growth.values()), 3),
        "memory_growth": {role: round(ratio, 3) for role, ratio in growth.items()},
        "memory_mb_per_hour": {role: round(rise, 1) for role, rise in slope.items()},
        "memory_mb": now,
    }


def _warnings(folder: Path) -> Counter[str]:
    """Count the lines of the hub's logs that are warnings or worse, by what they say."""
    found: Counter[str] = Counter()
    for path in folder.glob("*.log*"):
        for line in path.read_text("utf-8").splitlines():
            said = json.loads(line)
            if said["level"] in {"warning", "error", "critical"}:
                found[f"{said['process']}: {said['message']}"] += 1
    return found


def _stored(address: Address) -> int:
    folder = address.data_dir
    return EmbeddedStore(folder / "store", {"0": folder / "journal" / "0"}).count()


class Prometheus:
    """A VictoriaMetrics that takes scrapes and answers queries.

    Args:
        url: its address.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=60.0)

    def take(self, text: str, at: float) -> None:
        """Take in a scrape, with the label and the metric that a scraper adds."""
        samples = f"{text}up 1\n"
        parameters = {"timestamp": str(round(at * 1000)), "extra_label": "job=homeport"}
        self._http.post(
            "/api/v1/import/prometheus", params=parameters, content=samples
        ).raise_for_status()

    def ask(self, query: str) -> list[Any] | None:
        """Return the series that a query finds; None if it cannot be answered."""
        answer = self._http.get("/prometheus/api/v1/query", params={"query": query})
        return answer.json()["data"]["result"] if answer.is_success else None

    def flush(self) -> None:
        """Let all that was taken in be found."""
        self._http.get("/internal/force_flush").raise_for_status()


@contextmanager
def _victoria(folder: Path) -> Iterator[Prometheus | None]:
    """Run a VictoriaMetrics for the length of a block, if there is one on this machine."""
    program = shutil.which("victoria-metrics")
    if program is None:
        yield None
        return
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
    command = [program, f"-storageDataPath={folder / 'victoria'}", f"-httpListenAddr={address}"]
    command += ["-search.latencyOffset=0s", "-memory.allowedBytes=256MB"]
    with (folder / "victoria.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _until(lambda: _well(f"http://{address}/health"), "VictoriaMetrics")
        yield Prometheus(f"http://{address}")
    finally:
        process.kill()
        process.wait()


def _well(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30.0
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come up.")
        time.sleep(0.05)


def _asked(prometheus: Prometheus | None) -> dict[str, Any]:
    """Ask each query of dashboard and alert rules."""
    if prometheus is None:
        return {"queries": "not asked: no VictoriaMetrics on this machine"}
    prometheus.flush()
    shown = _queries((OPERATIONS / "grafana-dashboard.json").read_text("utf-8"))
    rules = _rules((OPERATIONS / "alert-rules.yaml").read_text("utf-8"))
    answers = {query: prometheus.ask(query) for query in [*shown, *rules]}
    return {
        "queries": len(answers),
        "queries_failed": sum(found is None for found in answers.values()),
        "dashboard_empty": [query for query in shown if answers[query] == []],
        "alerts_firing": [query for query in rules if answers[query]],
    }


def _queries(dashboard: str) -> list[str]:
    panels = json.loads(dashboard)["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [query.replace("$__rate_interval", "1m") for query in found]


def _rules(text: str) -> list[str]:
    """Return the expressions of a file of alert rules: on the key's line, or indented below it."""
    blocks = re.findall(r"^ +expr: (?:>-\n((?: {10,}.*\n)+)|(.*)\n)", text, re.MULTILINE)
    return [" ".join((block or line).split()) for block, line in blocks]
