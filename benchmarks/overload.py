"""Overload: a whole hub whose worker may take 10,000 messages a second and is offered five times that.

1. The hub is `homeport serve` with its real broker, admission, control and worker. Crowd and hub share the machine.
2. "Accepted" counts rows that a query over the store returned, over the time between two such queries.
3. Neighbours are devices with the SDK as it is delivered: from `measure` to receipt, in quiet and under overload.
4. Control is a command by HTTPS, its way to a device, the reply and the event that says so to the caller.
5. Who sends ten times its budget beside all this is told to wait by its budget, not by the load.
"""

import json
import multiprocessing
import os
import shutil
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.crowd import Crowd, Member, crowd_process
from benchmarks.flood import METRICS
from device_sdk import enrol
from device_sdk.client import Device
from firmware_sim import local_hub, onboarding
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address
from hub.ports.store.embedded import EmbeddedStore

CAP = 10_000
TIMES = 5
NOISY = 8
NEIGHBOURS = 10
METER_BUDGET = 100
_METER_RATE = 10 * METER_BUDGET
_MEASURE_EVERY_S = 1.25  # longer than a cadence: each row gets a receipt at once
_CONTROL_EVERY_S = 0.2
_SETTLE_S = 2.0
_PATIENCE_S = 60.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_SPAWN = multiprocessing.get_context("spawn")


def run(quick: bool) -> dict[str, Any]:
    """Measure; see the module for what the figures mean."""
    calm_s, load_s = (5.0, 8.0) if quick else (30.0, 60.0)
    folder = Path(tempfile.mkdtemp(prefix="homeport-overload-"))
    try:
        with _town(folder) as town:
            town.watch(1.0)  # what is slow only the first time
            calm = town.watch(calm_s / 2)
            with _shouting(town.crowd) as pipe:
                time.sleep(_SETTLE_S)
                before = town.look(pipe)
                loaded = town.watch(load_s)
                after = town.look(pipe)
            time.sleep(_SETTLE_S)
            calm += town.watch(calm_s / 2)  # before and after: the machine has other moods as well
            return _figures(town, calm, loaded, before, after)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Look:
    """The state at one instant (monotonic seconds): rows stored, messages offered, frames by fate.

    `busy` is the processor time (s) that each process of the hub has used, and that all of the machine have.
    """

    stored_at: float
    stored: int
    offered_at: float
    offered: int
    fates: dict[str, float]
    busy: dict[str, float]


@dataclass(slots=True)
class Watched:
    """What was seen of neighbours and of control; seconds."""

    neighbours: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)

    def __add__(self, other: "Watched") -> "Watched":
        return Watched(self.neighbours + other.neighbours, self.control + other.control)


def _figures(
    town: "Town", calm: Watched, loaded: Watched, before: Look, after: Look
) -> dict[str, Any]:
    accepted = (after.stored - before.stored) / (after.stored_at - before.stored_at)
    offered = (after.offered - before.offered) / (after.offered_at - before.offered_at)
    fates = {name: round(after.fates[name] - before.fates[name]) for name in after.fates}
    memory = town.memory_mb()
    seconds = after.stored_at - before.stored_at
    return {
        "goodput_ratio": round(accepted / CAP, 3),
        "rss_mb_max": memory["ingest-0"],
        "control_p99_ms": _ms(loaded.control, 99),
        "neighbour_p99_ratio": round(
            _percentile(loaded.neighbours, 99) / _percentile(calm.neighbours, 99), 3
        ),
        "accepted_per_s": round(accepted),
        "offered_per_s": round(offered),
        "shed": fates["load"],
        "throttled": fates["product_budget"] + fates["owner_budget"],
        "neighbour_ms": {
            "calm": {"p50": _ms(calm.neighbours, 50), "p99": _ms(calm.neighbours, 99)},
            "overload": {"p50": _ms(loaded.neighbours, 50), "p99": _ms(loaded.neighbours, 99)},
            "rows": len(loaded.neighbours),
        },
        "control_ms": {
            "calm": {"p50": _ms(calm.control, 50), "p99": _ms(calm.control, 99)},
            "overload": {"p50": _ms(loaded.control, 50), "p99": _ms(loaded.control, 99)},
            "commands": len(loaded.control),
        },
        "rss_mb": memory,
        "cores_busy": {
            name: round((after.busy[name] - before.busy[name]) / seconds, 2) for name in after.busy
        },
        "workload": {
            "cap_per_s": CAP,
            "noisy_devices": NOISY,
            "device_over_its_budget": {"budget_per_s": METER_BUDGET, "sends_per_s": _METER_RATE},
            "neighbours": NEIGHBOURS,
            "seconds": round(seconds),
            "cores": os.cpu_count(),
        },
    }


def _percentile(values: list[float], q: float) -> float:
    return float(np.percentile(values, q))


def _ms(values: list[float], q: float) -> float:
    return round(1000 * _percentile(values, q), 1)


class Town:
    """A hub, neighbours with the SDK, somebody who sends commands, and a crowd that waits.

    Args:
        address: of the hub.
        folder: where the devices keep their files.
        stack: closes what is opened here.
    """

    def __init__(self, address: Address, folder: Path, stack: ExitStack) -> None:
        self._data = address.data_dir
        self._address = address
        self._store = EmbeddedStore(self._data / "store", {"0": self._data / "journal" / "0"})
        vendor = stack.enter_context(HubClient(address.api, address.ca_file, address.token))
        vendor.call("POST", "/catalogue", _catalogue())
        self._vendor = vendor
        loud = (CAP * TIMES - _METER_RATE) // NOISY
        homes = [self._home(vendor, stack, name) for name in ("loud", "louder", "quiet")]
        members = [
            self._member(homes[n % 2], "press", folder / f"press-{n}", loud) for n in range(NOISY)
        ]
        members.append(self._member(homes[0], "meter", folder / "meter", _METER_RATE))
        self.neighbours = [
            stack.enter_context(self._device(homes[2], "pump", folder / f"pump-{n}"))
            for n in range(NEIGHBOURS)
        ]
        self._ordered = stack.enter_context(self._device(homes[2], "pump", folder / "ordered"))
        self._ordered.on_command("ping", lambda _: {})
        self._ordered_id = _id(folder / "ordered")
        facts = address.facts
        self.crowd = Crowd(
            str(facts["mqtt_host"]), int(facts["mqtt_port"]), address.ca_file, tuple(members)
        )
        self._replies = stack.enter_context(_replies(address))

    def _home(self, vendor: HubClient, stack: ExitStack, name: str) -> HubClient:
        who = onboarding.customer(vendor, f"{name}@town.example", name.title())
        home = onboarding.sign_in(self._address, who.email, who.password)
        return stack.enter_context(home)

    def _device(self, home: HubClient, model: str, folder: Path) -> Device:
        made = onboarding.make(self._vendor, model, folder.name)
        onboarding.claim(home, made)
        return onboarding.switch_on(made, folder, self._address)

    def _member(self, home: HubClient, model: str, folder: Path, rate: int) -> Member:
        self._device(home, model, folder).close()  # its identity is all that is needed
        return Member(_id(folder), folder, rate)

    def watch(self, seconds: float) -> Watched:
        """Let neighbours measure and commands be sent for so long."""
        watched = Watched()
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._measure, args=(n, until, watched.neighbours))
            for n in range(NEIGHBOURS)
        ]
        threads.append(threading.Thread(target=self._command, args=(until, watched.control)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return watched

    def _measure(self, number: int, until: float, took: list[float]) -> None:
        device = self.neighbours[number]
        rng = np.random.default_rng(number)
        time.sleep(rng.uniform(0, 1))
        while (began := time.monotonic()) < until:
            device.measure(METRICS[0], float(rng.normal(20, 1)))
            while device.pending:
                time.sleep(0.002)
                if time.monotonic() - began > _PATIENCE_S:
                    raise TimeoutError("A neighbour's row got no receipt.")
            took.append(time.monotonic() - began)
            time.sleep(max(0.0, began + _MEASURE_EVERY_S - time.monotonic()))

    def _command(self, until: float, took: list[float]) -> None:
        while (began := time.monotonic()) < until:
            path = f"/products/{self._ordered_id}/commands"
            sent = self._vendor.call("POST", path, {"name": "ping", "arguments": {}})
            took.append(self._replies.wait(sent["command_id"]) - began)
            time.sleep(max(0.0, began + _CONTROL_EVERY_S - time.monotonic()))

    def look(self, pipe: Connection) -> Look:
        """Count what is stored, offered and turned away."""
        stored = self._store.count()
        stored_at = time.monotonic()
        pipe.send("count")
        offered_at, offered = pipe.recv()
        text = (self._data / "run" / "metrics" / "ingest-0.prom").read_text("utf-8")
        fates = {"load": 0.0, "product_budget": 0.0, "owner_budget": 0.0}
        for family in text_string_to_metric_families(text):
            if family.name == "homeport_throttled_frames":
                fates |= {
                    sample.labels["reason"]: sample.value
                    for sample in family.samples
                    if sample.name.endswith("_total")
                }
        return Look(stored_at, stored, offered_at, offered, fates, self._busy_s())

    def _busy_s(self) -> dict[str, float]:
        busy = {}
        for role, files in self._processes().items():
            ticks = [
                (file / "stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
                for file in files
            ]
            busy[role] = sum(int(user) + int(system) for user, system in ticks) / _TICKS_A_SECOND
        machine = Path("/proc/stat").read_text("utf-8").splitlines()[0].split()[1:]
        idle = int(machine[3]) + int(machine[4])
        busy["machine"] = (sum(map(int, machine[:8])) - idle) / _TICKS_A_SECOND
        return busy

    def memory_mb(self) -> dict[str, int]:
        """The most memory that each process of the hub ever had."""
        peaks = {}
        for role, files in self._processes().items():
            kilobytes = [
                int(line.split()[1])
                for file in files
                for line in (file / "status").read_text("utf-8").splitlines()
                if line.startswith("VmHWM")
            ]
            peaks[role] = round(max(kilobytes) / 1024)
        return peaks

    def _processes(self) -> dict[str, list[Path]]:
        """What the system says of each role's process and its children (Linux)."""
        found = {}
        for role in ("ingest-0", "control", "authd", "compactor", "meter", "broker"):
            own = Path("/proc", (self._data / "run" / f"{role}.pid").read_text().strip())
            children = (own / "task" / own.name / "children").read_text("utf-8").split()
            found[role] = [own, *(Path("/proc", child) for child in children)]
        return found


class Replies:
    """When the reply to a command was heard of, by its id."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._news = threading.Condition()
        self.listening = threading.Event()

    def hear(self, line: str) -> None:
        """Take in a line of the event stream."""
        if line.startswith("retry:"):
            self.listening.set()
        elif line.startswith("data: ") and "command_id" in line:
            with self._news:
                self._heard[json.loads(line[6:])["command_id"]] = time.monotonic()
                self._news.notify_all()

    def wait(self, command: str) -> float:
        """Return when the reply came (monotonic seconds)."""
        with self._news:
            if not self._news.wait_for(lambda: command in self._heard, _PATIENCE_S):
                raise TimeoutError("A command got no reply.")
            return self._heard[command]


@contextmanager
def _replies(address: Address) -> Iterator[Replies]:
    """Listen to live events for the length of a block."""
    replies = Replies()
    client = httpx.Client(
        base_url=address.api,
        verify=ssl.create_default_context(cafile=str(address.ca_file)),
        headers={"Authorization": f"Bearer {address.token}"},
        timeout=None,  # noqa: S113  a stream of events is silent for as long as nothing happens
        trust_env=False,
    )
    with client, client.stream("GET", "/api/v1/events") as stream:

        def listen() -> None:
            with suppress(httpx.TransportError, httpx.StreamError):  # until this end closes it
                for line in stream.iter_lines():
                    replies.hear(line)

        threading.Thread(target=listen, daemon=True).start()
        if not replies.listening.wait(_PATIENCE_S):
            raise TimeoutError("The stream of live events did not begin.")
        yield replies


@contextmanager
def _town(folder: Path) -> Iterator[Town]:
    settings = {"INGEST__MAX_MESSAGES_PER_S": str(CAP)}
    with local_hub.started(folder / "data", settings) as address, ExitStack() as stack:
        yield Town(address, folder, stack)


@contextmanager
def _shouting(crowd: Crowd) -> Iterator[Connection]:
    """Let the crowd send for the length of a block."""
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=crowd_process, args=(crowd, there), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(_PATIENCE_S):
            raise TimeoutError("The crowd did not connect.")
        here.recv()
        here.send("go")
        yield here
        here.send("end")
        process.join(_PATIENCE_S)
    finally:
        process.kill()
        process.join()


def _id(folder: Path) -> str:
    enrolment = enrol.load(folder)
    if enrolment is None:
        raise RuntimeError(f"The device in {folder} has not enrolled.")
    return enrolment.device_id


def _catalogue() -> dict[str, Any]:
    """Models whose telemetry needs no plan: one for neighbours, one that may shout, one that may not."""
    metrics = [{"name": name, "unit": "1"} for name in METRICS]
    common = {
        "possession": "label",
        "metrics": metrics,
        "features": {"telemetry": {"default": True}},
    }
    shouting = {
        "messages_per_s": CAP * TIMES,
        "bytes_per_s": 100_000_000,
        "owner_messages_per_s": CAP * TIMES,
        "owner_bytes_per_s": 100_000_000,
    }
    return {
        "models": {
            "pump": common,
            "press": {**common, "budget": shouting},
            "meter": {**common, "budget": {**shouting, "messages_per_s": METER_BUDGET}},
        }
    }
