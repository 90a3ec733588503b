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
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flood import METRICS, START, Flood, flood_process
from hub.app.ingest import FILTERS, IngestConfig, run_worker
from hub.pipeline.receive import LinkAddress, Receiver
from hub.pipeline.store import read_progress
from hub.ports.store.embedded import EmbeddedStore
from hub.services.snapshot_file import publish_snapshot

DEVICES = 1000
CONNECTIONS = 8
_SPAWN = multiprocessing.get_context("spawn")
_PATIENCE_S = 120.0


def run(quick: bool) -> dict[str, Any]:
    """Measure; see the module for what the figures mean."""
    rounds, pack_rounds = (600, 10) if quick else (3000, 40)
    folder = Path(tempfile.mkdtemp(prefix="homeport-ingest-"))
    devices = _device_ids(DEVICES)
    try:
        _publish_gate(folder / "gate", devices)
        with _nats(folder / "broker") as port:
            json = Flood(port, devices, CONNECTIONS, "json", rounds, run=1)
            # Every flood has client ids of its own: a broker may hold back one that comes again too soon.
            before = _no_op(port, replace(json, run=2))
            hub = _hub(folder / "json", folder / "gate", port, json, rows_of_message=1)
            after = _no_op(port, replace(json, run=3))
            packs = Flood(port, devices, CONNECTIONS, "pack", pack_rounds, run=4)
            packed = _hub(folder / "pack", folder / "gate", port, packs, rows_of_message=50)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    no_op = (before + after) / 2
    samples = packs.messages * 50 * len(METRICS)
    return {
        "messages_per_s": round(json.messages / hub["journalled_s"]),
        "noop_messages_per_s": round(no_op),
        "ratio_journalled": round(json.messages / hub["journalled_s"] / no_op, 3),
        "ratio_stored": round(json.messages / hub["stored_s"] / no_op, 3),
        "packed_samples_per_s": round(samples / packed["stored_s"]),
        "us_cpu_per_message": round(1e6 * hub["cpu_s"] / json.messages, 3),
        "us_cpu_per_packed_sample": round(1e6 * packed["cpu_s"] / samples, 4),
        "rss_mb": round(max(hub["rss_mb"], packed["rss_mb"])),
        "noop_messages_per_s_before_and_after": [round(before), round(after)],
        "rows_sent": json.messages + packs.messages * 50,
        "rows_stored": hub["rows"] + packed["rows"],
        "receipt_bytes_heard": hub["heard"] + packed["heard"],
        "workload": {
            "broker": "NATS server, MQTT listener without TLS",
            "devices": DEVICES,
            "connections": CONNECTIONS,
            "qos": 0,
            "json_messages": json.messages,
            "json_values": 4,
            "packs": packs.messages,
            "pack_rows": 50,
            "pack_metrics": len(METRICS),
            "receipts": True,
            "de_duplication": True,
            "detection": True,
            "cores": os.cpu_count(),
        },
    }


def _device_ids(count: int) -> tuple[str, ...]:
    rng = np.random.default_rng(7)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)
    return tuple(row.tobytes().decode() for row in letters[rng.integers(0, 36, (count, 16))])


def _publish_gate(folder: Path, devices: tuple[str, ...]) -> None:
    """One model, every device accepted from the beginning of time."""
    n = len(devices) + 1
    ids = np.zeros((n, 16), np.uint8)
    ids[1:] = np.frombuffer("".join(devices).encode(), np.uint8).reshape(-1, 16)
    names = np.zeros((len(METRICS), 48), np.uint8)
    for i, name in enumerate(METRICS):
        names[i, : len(name)] = np.frombuffer(name.encode(), np.uint8)
    verdict, reason = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    verdict[0], reason[0] = 3, 7
    publish_snapshot(
        folder,
        {
            "device_id": ids,
            "model": np.minimum(np.arange(n), 1).astype(np.uint16),
            "epoch": np.ones(n, np.uint32),
            "span": np.arange(n + 1, dtype=np.uint32),
            "span_from": np.full(n, np.iinfo(np.int64).min),
            "span_verdict": verdict,
            "span_reason": reason,
            "metric_model": np.ones(len(METRICS), np.uint16),
            "metric_index": np.arange(len(METRICS), dtype=np.uint16),
            "metric_name": names,
            "metric_low": np.full(len(METRICS), np.nan),
            "metric_high": np.full(len(METRICS), np.nan),
            "metric_kind": np.zeros(len(METRICS), np.uint8),
            "metric_unit": np.zeros((len(METRICS), 16), np.uint8),
        },
    )


@contextmanager
def _nats(folder: Path) -> Iterator[int]:
    """A NATS server with a plain MQTT listener on a free port of the loopback."""
    import socket

    folder.mkdir(parents=True)
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ports.append(listener.getsockname()[1])
    (folder / "nats.conf").write_text(
        f'server_name: bench\nlisten: "127.0.0.1:{ports[0]}"\njetstream {{ store_dir: "{folder / "js"}" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{ports[1]}" }}\nmax_payload: 524288\nmax_pending: 1073741824\n'
    )
    binary = Path(sys.executable).with_name("nats-server")
    with (folder / "nats.log").open("wb") as log:
        server = subprocess.Popen([binary, "-c", folder / "nats.conf"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while b"Server is ready" not in (folder / "nats.log").read_bytes():
            if time.monotonic() > deadline:
                raise RuntimeError((folder / "nats.log").read_text())
            time.sleep(0.05)
        yield ports[1]
    finally:
        server.terminate()
        server.wait(10)


def _start(target: Any, *arguments: Any) -> tuple[BaseProcess, Connection]:
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(*arguments, there), daemon=True)
    process.start()
    there.close()
    return process, here


def _expect(pipe: Connection, what: str) -> Any:
    if not pipe.poll(_PATIENCE_S):
        raise TimeoutError(f"No word from the {what} within {_PATIENCE_S:.0f} s.")
    return pipe.recv()


def _no_op(port: int, flood: Flood) -> float:
    """Messages a second that a bulk-reading subscriber counts and drops."""
    sender, flood_pipe = _start(flood_process, flood)
    subscriber, pipe = _start(_count_messages, port, f"no-op-{flood.run}", flood.messages)
    _expect(flood_pipe, "flood")
    _expect(pipe, "no-op subscriber")
    flood_pipe.send("go")
    began, _ = _expect(flood_pipe, "flood")
    ended = _expect(pipe, "no-op subscriber")
    flood_pipe.send("end")
    _expect(flood_pipe, "flood")
    sender.join()
    subscriber.join()
    return float(flood.messages / (ended - began))


def _count_messages(port: int, name: str, wanted: int, pipe: Connection) -> None:
    receiver = Receiver(LinkAddress("127.0.0.1", port, name), FILTERS)
    receiver.connect()
    pipe.send("ready")
    count = 0
    while count < wanted:
        count += receiver.receive(time.monotonic(), 1.0, 0.0).count
    pipe.send(time.monotonic())
    receiver.close()


def _hub(
    folder: Path, gate: Path, port: int, flood: Flood, *, rows_of_message: int
) -> dict[str, Any]:
    """Seconds from the first message until all rows were journalled, and until a query returned them."""
    rows = flood.messages * rows_of_message
    sender, flood_pipe = _start(flood_process, flood)
    worker, pipe = _start(_work, folder, gate, port, f"hub-ingest-{flood.run}")
    _expect(flood_pipe, "flood")
    _expect(pipe, "worker")
    flood_pipe.send("go")
    began, sent = _expect(flood_pipe, "flood")
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
    heard = _expect(flood_pipe, "flood")
    pipe.send("stop")
    cpu_s, rss_mb = _expect(pipe, "worker")
    sender.join()
    worker.join()
    if stored != rows:
        raise RuntimeError(f"{rows} rows were sent and {stored} stored.")
    return {
        "journalled_s": changed - began,
        "stored_s": ended - began,
        "rows": stored,
        "heard": heard,
        "cpu_s": cpu_s,
        "rss_mb": rss_mb,
    }


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
