"""Handover: what it takes until another worker goes on when one is killed under load, and what two workers cost.

1. Takeover is from the kill until every product has a receipt for a row measured after it. What products were promised
   is then asked of the API: the suite is that of `tests/chaos`, with `SIGKILL` and `SIGSTOP` for workers.
2. The cost is CPU time of all worker processes for the same flood, with one worker as it runs alone, and with two under
   leases, each with half of the products; beats included.
"""

import itertools
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from benchmarks import brokers
from benchmarks.flood import START, Flood, flood_process
from benchmarks.ingest import CONNECTIONS, DEVICES, LINGER_S, device_ids, expect, gate_arrays, start
from hub.app.ingest import IngestConfig, run_worker
from hub.app.lane_worker import LaneWorker
from hub.pipeline.receive import LinkAddress
from hub.pipeline.store import newest_progress, read_progress
from hub.ports.database.engine import open_engine, write_session
from hub.ports.database.lane_tables import IngestLane
from hub.ports.store.embedded import EmbeddedStore
from hub.services.lane_leases import LaneLeases, deal
from hub.services.snapshot_file import publish_snapshot

SEED = 20_261
_TERM_S = 4.0
_PATIENCE_S = 120.0


def run(quick: bool, seed: int = SEED) -> dict[str, Any]:
    """Measure; see the module for what the figures mean."""
    folder = Path(tempfile.mkdtemp(prefix="homeport-handover-"))
    try:
        cost = _costs(folder, *((100, 1) if quick else (1500, 3)))
        (folder / "hub").mkdir()
        load = _Load(4, 1, 0) if quick else _Load(8, 20, 6)
        return _takeovers(folder / "hub", seed, load) | cost
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Load:
    """How much is done to a hub with how many products."""

    products: int
    kills: int
    pauses: int


def _takeovers(folder: Path, seed: int, load: _Load) -> dict[str, Any]:
    from tests.chaos.nemesis import Nemesis
    from tests.chaos.scenarios import worker_kill, worker_pause

    with Nemesis(folder, seed, INGEST__WORKERS="2") as nemesis:
        killed = worker_kill(nemesis, load.kills, load.products)
        paused = worker_pause(nemesis, load.pauses, load.products) if load.pauses else None
        worse = nemesis.look_back()
    found = {
        "takeover_s_p95": killed.summary()["recovery_s_p95"],
        "takeover_s_median": _middle(killed.recoveries),
        "kills": load.kills,
        "pauses": load.pauses,
        "takeover_of_paused_s_p95": paused.summary()["recovery_s_p95"] if paused else None,
        "lease_s": _TERM_S,
        "seed": seed,
    }
    verdict = killed.verdict + worse if paused is None else killed.verdict + paused.verdict + worse
    return found | verdict.counts()


def _middle(seconds: list[float]) -> float:
    return round(sorted(seconds)[len(seconds) // 2], 2)


@dataclass(frozen=True, slots=True)
class _Setting:
    """A hub's workers without the hub: their folder, gate and broker."""

    folder: Path
    gate: Path
    port: int
    run: int

    def config(self, lanes: int, lane: int) -> IngestConfig:
        own = self.folder / str(lane)
        return IngestConfig(
            worker=lane,
            address=LinkAddress("127.0.0.1", self.port, f"hub-ingest-{self.run}-{lane}"),
            incarnation=b"benchrun",
            gate=self.gate,
            journal=own / "journal",
            findings=own / "findings",
            dead_letters=own / "deadletters",
            checkpoints=own / "detector",
            progress=own / "progress",
            metrics=self.folder / "metrics",
            linger_s=LINGER_S,
            clock=lambda: START + time.monotonic_ns(),
            lanes=lanes,
        )

    @property
    def database(self) -> str:
        return f"sqlite:///{self.folder / 'leases.db'}"


def _costs(folder: Path, rounds: int, times: int) -> dict[str, Any]:
    """CPU time per message with one worker and with two, in turns: other load of the machine meets both."""
    devices = device_ids(DEVICES)
    publish_snapshot(folder / "gate", gate_arrays(devices))
    costs: dict[int, list[float]] = {1: [], 2: []}
    number = itertools.count(1, 10)
    with brokers.nats(folder / "nats") as port:
        for _ in range(times):
            for workers, seen in costs.items():
                flood = Flood(port, devices, CONNECTIONS, "json", rounds, run=next(number))
                place = folder / f"flood-{flood.run}"
                place.mkdir()
                cpu_s = _flooded(_Setting(place, folder / "gate", port, flood.run), flood, workers)
                seen.append(1e6 * cpu_s / flood.messages)
    one, two = (min(costs[workers]) for workers in (1, 2))
    return {
        "us_per_message_1": round(one, 3),
        "us_per_message_2": round(two, 3),
        "cost_ratio": round(two / one, 3),
        "messages": DEVICES * rounds,
    }


def _flooded(setting: _Setting, flood: Flood, workers: int) -> float:
    """CPU seconds that the workers took for a flood, all of it stored."""
    sender, flood_pipe = start(flood_process, flood)
    if workers > 1:
        _deal(setting.database, workers)
    running = [start(_work, setting, workers, number) for number in range(workers)]
    expect(flood_pipe, "flood")
    for _, pipe in running:
        expect(pipe, "worker")
    before = [_ask(pipe, "cpu") for _, pipe in running]
    flood_pipe.send("go")
    expect(flood_pipe, "flood")
    _await_rows(setting, flood.messages, workers)
    after = [_ask(pipe, "cpu") for _, pipe in running]
    for process, pipe in running:
        pipe.send("stop")
        process.join()
    flood_pipe.send("end")
    expect(flood_pipe, "flood")
    sender.join()
    return sum(after) - sum(before)


def _ask(pipe: Connection, what: str) -> float:
    pipe.send(what)
    return float(expect(pipe, "worker"))


def _deal(url: str, lanes: int) -> None:
    engine = open_engine(url)
    table = IngestLane.__table__
    assert isinstance(table, Table)  # noqa: S101  for the type checker
    with write_session(engine) as session:
        table.create(session.connection())
        deal(session, lanes)
    engine.dispose()


def _await_rows(setting: _Setting, rows: int, workers: int) -> None:
    """Wait until a query returns all rows, asking only when the journals stand still."""
    places = [setting.folder / str(lane) for lane in range(workers)]
    store = EmbeddedStore(
        setting.folder / "store", {place.name: place / "journal" for place in places}
    )
    last, changed = -1, time.monotonic()
    deadline = changed + _PATIENCE_S
    while time.monotonic() < deadline:
        synced = sum(read_progress(newest_progress(place / "progress")).synced for place in places)
        if synced != last:
            last, changed = synced, time.monotonic()
        elif time.monotonic() - changed > 0.5 and store.count() >= rows:
            break
        time.sleep(0.02)
    if store.count() != rows:
        raise RuntimeError(f"{rows} rows were sent and {store.count()} stored.")


def _work(setting: _Setting, workers: int, number: int, pipe: Connection) -> None:
    stop = threading.Event()

    def answer() -> None:
        while pipe.recv() == "cpu":
            pipe.send(time.process_time())
        stop.set()

    def ready() -> None:
        pipe.send("ready")
        threading.Thread(target=answer, daemon=True).start()

    _worker(setting, workers, number)(stop, ready)


def _worker(
    setting: _Setting, workers: int, number: int
) -> Callable[[threading.Event, Callable[[], None]], None]:
    if workers == 1:
        return partial(run_worker, setting.config(1, 0))
    leases = LaneLeases(open_engine(setting.database))
    config = partial(setting.config, workers)
    return LaneWorker(f"worker-{number}", frozenset({number}), leases, _TERM_S, config).run
