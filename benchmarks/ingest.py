"""Ingest: what the worker takes from a real broker, beside a subscriber that does nothing, in the same run.

1. Broker, flood and worker are processes of their own; every figure comes from the same broker in one run.
2. "Journalled" means synced; "stored" means that a query over the store returned all rows.
3. Receipts, de-duplication and detection are on. The listener is plain TCP for both subscribers, since the flood
   stands for many devices on few connections; TLS and per-device grants are measured by no figure here.
"""

import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import brokers
from benchmarks.flood import METRICS, START, Flood, flood_process
from hub.app.ingest import FILTERS, IngestConfig, run_worker
from hub.pipeline.receive import LinkAddress, Receiver
from hub.pipeline.store import read_progress
from hub.ports.store.embedded import EmbeddedStore
from hub.services.snapshot_file import publish_snapshot

DEVICES = 1000
CONNECTIONS = 8
PACK_ROWS = 50
LINGER_S = 0.005
_SPAWN = multiprocessing.get_context("spawn")
_PATIENCE_S = 120.0


def run(quick: bool) -> dict[str, Any]:
    """Measure; see the module for what the figures mean."""
    folder = Path(tempfile.mkdtemp(prefix="homeport-ingest-"))
    devices = device_ids(DEVICES)
    gate = folder / "gate"
    try:
        publish_snapshot(gate, gate_arrays(devices))
        with brokers.nats(folder / "nats") as port:
            json = _compare(
                Flood(port, devices, CONNECTIONS, "json", 600 if quick else 3000, run=1),
                folder,
                gate,
            )
            rounds = 200 if quick else 1000
            plain = _compare(
                Flood(port, devices, CONNECTIONS, "anonymous", rounds, run=11), folder, gate
            )
            packs = Flood(port, devices, CONNECTIONS, "pack", 10 if quick else 40, run=21)
            packed = _hub(folder / "packed", gate, packs, rows_of_message=PACK_ROWS)
        mosquitto = None
        if brokers.has_mosquitto():
            with brokers.mosquitto(folder / "mosquitto") as port:
                flood = Flood(port, devices, CONNECTIONS, "json", 60 if quick else 300, run=31)
                mosquitto = _compare(flood, folder, gate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    samples = packs.messages * PACK_ROWS * len(METRICS)
    result = {
        "messages_per_s": round(json.rate(json.hub.journalled_s)),
        "noop_messages_per_s": round(json.no_op),
        "ratio_journalled": round(json.rate(json.hub.journalled_s) / json.no_op, 3),
        "ratio_stored": round(json.rate(json.hub.stored_s) / json.no_op, 3),
        "packed_samples_per_s": round(samples / packed.stored_s),
        "us_cpu_per_message": round(1e6 * json.hub.cpu_s / json.messages, 3),
        "us_cpu_per_packed_sample": round(1e6 * packed.cpu_s / samples, 4),
        "rss_mb": round(max(json.hub.rss_mb, packed.rss_mb)),
        "anonymous_json": {
            "messages_per_s": round(plain.rate(plain.hub.journalled_s)),
            "ratio_stored": round(plain.rate(plain.hub.stored_s) / plain.no_op, 3),
        },
        "noop_messages_per_s_before_and_after": [round(rate) for rate in json.no_ops],
        "rows_sent": json.messages + packs.messages * PACK_ROWS,
        "rows_stored": json.hub.rows + packed.rows,
        "receipt_bytes_heard": json.hub.heard + packed.heard,
    }
    if mosquitto is not None:
        result["ratio_stored_mosquitto"] = round(
            mosquitto.rate(mosquitto.hub.stored_s) / mosquitto.no_op, 3
        )
        result["noop_messages_per_s_mosquitto"] = round(mosquitto.no_op)
        result["messages_per_s_mosquitto"] = round(mosquitto.rate(mosquitto.hub.journalled_s))
    result["workload"] = _workload(json, packs)
    return result


@dataclass(frozen=True, slots=True)
class HubFigures:
    """What a worker did with a flood: seconds from its first byte, rows a query returned, cost."""

    journalled_s: float
    stored_s: float
    rows: int
    heard: int
    cpu_s: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A worker and, before and after it, a subscriber that does nothing (messages/s)."""

    messages: int
    hub: HubFigures
    no_ops: tuple[float, float]

    @property
    def no_op(self) -> float:
        """Mean rate of the subscriber that does nothing."""
        return sum(self.no_ops) / 2

    def rate(self, seconds: float) -> float:
        """Messages a second if all took so long."""
        return self.messages / seconds


def _compare(flood: Flood, folder: Path, gate: Path) -> Comparison:
    # Every flood has client ids of its own: a broker may hold back one that comes again too soon.
    before = _no_op(replace(flood, run=flood.run + 1))
    hub = _hub(folder / f"hub-{flood.run}", gate, flood, rows_of_message=1)
    after = _no_op(replace(flood, run=flood.run + 2))
    return Comparison(flood.messages, hub, (before, after))


def _workload(json: Comparison, packs: Flood) -> dict[str, Any]:
    return {
        "broker": "NATS server and Mosquitto, MQTT listeners without TLS",
        "devices": DEVICES,
        "connections": CONNECTIONS,
        "qos": 0,
        "json_messages": json.messages,
        "json_values": 4,
        "json_fields": "4 values, t, s, q",
        "packs": packs.messages,
        "pack_rows": PACK_ROWS,
        "pack_metrics": len(METRICS),
        "receipts": True,
        "de_duplication": True,
        "detection": True,
        "cores": os.cpu_count(),
    }


def device_ids(count: int) -> tuple[str, ...]:
    """Make device ids, the same ones each time."""
    rng = np.random.default_rng(7)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)
    return tuple(row.tobytes().decode() for row in letters[rng.integers(0, 36, (count, 16))])


def gate_arrays(devices: tuple[str, ...]) -> dict[str, Any]:
    """A gate snapshot: one model, every device accepted from the beginning of time."""
    n = len(devices) + 1
    ids = np.zeros((n, 16), np.uint8)
    ids[1:] = np.frombuffer("".join(devices).encode(), np.uint8).reshape(-1, 16)
    names = np.zeros((len(METRICS), 48), np.uint8)
    for i, name in enumerate(METRICS):
        names[i, : len(name)] = np.frombuffer(name.encode(), np.uint8)
    verdict, reason = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    verdict[0], reason[0] = 3, 7
    return {
        "device_id": ids,
        "model": np.minimum(np.arange(n), 1).astype(np.uint16),
        "epoch": np.ones(n, np.uint32),
        "cohort": np.ones(n, np.uint32),
        "span": np.stack((np.arange(n), np.arange(1, n + 1)), axis=1).astype(np.uint32),
        "span_from": np.full(n, np.iinfo(np.int64).min),
        "span_verdict": verdict,
        "span_reason": reason,
        # Budgets that nobody meets, so that they are counted.
        "owner": np.arange(n, dtype=np.uint32) // 4,
        "span_budget": np.zeros(n, np.uint16),
        "budget": np.array([[100_000, 100_000_000, 1_000_000, 1_000_000_000, 10]]),
        "metric_model": np.ones(len(METRICS), np.uint16),
        "metric_index": np.arange(len(METRICS), dtype=np.uint16),
        "metric_name": names,
        "metric_low": np.full(len(METRICS), np.nan),
        "metric_high": np.full(len(METRICS), np.nan),
        "metric_kind": np.zeros(len(METRICS), np.uint8),
        "metric_unit": np.zeros((len(METRICS), 16), np.uint8),
    }


def start(target: Any, *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Start a process that gets the other end of a pipe as its last argument."""
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(*arguments, there), daemon=True)
    process.start()
    there.close()
    return process, here


def expect(pipe: Connection, what: str) -> Any:
    """Return the next word of a process; `what` names it in the error if there is none."""
    if not pipe.poll(_PATIENCE_S):
        raise TimeoutError(f"No word from the {what} within {_PATIENCE_S:.0f} s.")
    return pipe.recv()


def _no_op(flood: Flood) -> float:
    """Messages a second that a bulk-reading subscriber counts and drops."""
    sender, flood_pipe = start(flood_process, flood)
    subscriber, pipe = start(_count_messages, flood.port, f"no-op-{flood.run}", flood.messages)
    expect(flood_pipe, "flood")
    expect(pipe, "no-op subscriber")
    flood_pipe.send("go")
    began, _ = expect(flood_pipe, "flood")
    ended = expect(pipe, "no-op subscriber")
    flood_pipe.send("end")
    expect(flood_pipe, "flood")
    sender.join()
    subscriber.join()
    return float(flood.messages / (ended - began))


def _count_messages(port: int, name: str, wanted: int, pipe: Connection) -> None:
    receiver = Receiver(LinkAddress("127.0.0.1", port, name), FILTERS)
    receiver.connect()
    pipe.send("ready")
    count = 0
    while count < wanted:
        # It lets small reads gather as the worker does: woken by each segment it would be the slower one.
        count += receiver.receive(time.monotonic(), 1.0, LINGER_S).count
    pipe.send(time.monotonic())
    receiver.close()


def _hub(folder: Path, gate: Path, flood: Flood, *, rows_of_message: int) -> HubFigures:
    """Seconds from the first message until all rows were journalled, and until a query returned them."""
    rows = flood.messages * rows_of_message
    sender, flood_pipe = start(flood_process, flood)
    worker, pipe = start(_work, folder, gate, flood.port, f"hub-ingest-{flood.run}")
    expect(flood_pipe, "flood")
    expect(pipe, "worker")
    flood_pipe.send("go")
    began, sent = expect(flood_pipe, "flood")
    store = EmbeddedStore(folder / "store", {"0": folder / "journal"})
    last, changed = 0, sent
    deadline = time.monotonic() + _PATIENCE_S
    stored = 0
    while True:
        synced = read_progress(folder / "progress").synced
        now = time.monotonic()
        if synced != last:
            last, changed = synced, now
        elif now - changed > 0.05:
            stored = store.count()
            if stored >= rows or time.monotonic() > deadline:
                break
        time.sleep(0.002)
    ended = time.monotonic()
    flood_pipe.send("end")
    heard = expect(flood_pipe, "flood")
    pipe.send("stop")
    cpu_s, rss_mb = expect(pipe, "worker")
    sender.join()
    worker.join()
    if stored != rows:
        raise RuntimeError(f"{rows} rows were sent and {stored} stored.")
    return HubFigures(changed - began, ended - began, stored, heard, cpu_s, rss_mb)


def _work(folder: Path, gate: Path, port: int, name: str, pipe: Connection) -> None:
    stop = threading.Event()
    config = IngestConfig(
        worker=0,
        address=LinkAddress("127.0.0.1", port, name),
        incarnation=b"benchrun",
        gate=gate,
        journal=folder / "journal",
        findings=folder / "findings",
        dead_letters=folder / "deadletters",
        checkpoints=folder / "detector",
        progress=folder / "progress",
        metrics=folder / "metrics",
        linger_s=LINGER_S,
        clock=lambda: START + time.monotonic_ns(),
    )
    began: list[float] = []

    def ready() -> None:
        began.append(time.process_time())
        pipe.send("ready")

    def wait_for_stop() -> None:
        pipe.recv()
        stop.set()

    threading.Thread(target=wait_for_stop, daemon=True).start()
    run_worker(config, stop, ready)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send(
        (time.process_time() - began[0], peak / (1024 if sys.platform == "linux" else 1024**2))
    )
