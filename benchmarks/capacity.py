"""What the capacity page computes with: the costs of one message, sample, product and connection, all measured here.

1. Other benchmarks are run, each in a process of its own, and distilled; what none of them measures is measured here:
   memory of a worker for a product, and of the broker for a connection over TLS.
2. `python -m benchmarks capacity --json | tail -1 > hub/services/capacity_figures.json` makes the figures that the hub
   is shipped with. Nobody writes into that file.
3. Each figure says which result of which benchmark it comes from.
"""

import datetime as dt
import json
import os
import platform
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import brokers
from benchmarks.flood import METRICS, START, Flood, chunks_of
from benchmarks.ingest import LINGER_S, PACK_ROWS, device_ids, expect, start
from benchmarks.stages import Line
from benchmarks.store import day
from hub.pipeline.frames import Frames
from hub.ports.journal.block import Kind
from hub.ports.journal.telemetry import encode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.compaction import Compactor
from hub.ports.store.levels import LEVELS
from hub.ports.store.upkeep import roll

_OTHERS: Final = ("stages", "detect", "store", "metering", "overload", "lookup")
_JSON_VALUES: Final = 4
_FRAMES: Final = 8_000
_MB: Final = 1e6


def run(quick: bool) -> dict[str, Any]:
    """Measure; see the module for what the figures mean.

    Args:
        quick: the others' quick workloads, and fewer products and connections.
    """
    results = {name: _other(name, quick=quick) for name in _OTHERS}
    folder = Path(tempfile.mkdtemp(prefix="homeport-capacity-"))
    try:
        products = (2_000, 16_000) if quick else (8_000, 64_000)
        memory = [_worker_bytes(folder / str(count), count) for count in products]
        connection = _connection_bytes(folder / "nats", 200 if quick else 1_000)
        aggregates = _aggregate_bytes(folder / "levels", 200 if quick else 2_000)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    product = (memory[1] - memory[0]) / (products[1] - products[0])
    return {
        "made": _made(quick=quick),
        "figures": _distilled(results, product, connection, aggregates),
    }


def _other(name: str, *, quick: bool) -> dict[str, Any]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks", name, "--json", *["--quick"] * quick]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _made(*, quick: bool) -> dict[str, Any]:
    """Say when and on what machine."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "on": dt.datetime.now(dt.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages * size / 1e9, 1),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "quick": quick,
    }


def _distilled(
    results: dict[str, dict[str, Any]],
    product: float,
    connection: float,
    aggregates: dict[str, float],
) -> dict[str, dict[str, Any]]:
    """Turn results into the cost of one of each thing."""
    stages, store, overload, lookup = (
        results[name] for name in ("stages", "store", "overload", "lookup")
    )
    # Two workloads, two unknowns: a message of 4 samples, and one of 50 rows with five metrics each.
    packed, plain = PACK_ROWS * len(METRICS), stages["json_ns_a_message"]["all"]
    sample = (stages["pack_ns_a_sample"]["all"] * packed - plain) / (packed - _JSON_VALUES) / 1e3
    message = max(0.0, plain / 1e3 - _JSON_VALUES * sample)
    accepted, offered = overload["accepted_per_s"], overload["offered_per_s"]
    busy, memory = overload["cores_busy"], overload["rss_mb"]
    turns = 1 / LINGER_S
    turn = max(0.0, busy["ingest-0"] - accepted * (message + _JSON_VALUES * sample) / 1e6) / turns
    series = results["detect"]["bytes_per_series"]
    grown = max(0.0, lookup["control_mb"] - memory["control"]) * _MB
    found = {
        "worker_us_per_message": (message, "stages", "json_ns_a_message, pack_ns_a_sample"),
        "worker_us_per_sample": (sample, "stages", "json_ns_a_message, pack_ns_a_sample"),
        "worker_us_per_turn": (turn * 1e6, "overload", "cores_busy, accepted_per_s"),
        "worker_turns_per_s": (turns, "ingest", "the linger of a micro-batch"),
        "broker_us_per_message": (busy["broker"] / offered * 1e6, "overload", "cores_busy, offered_per_s"),
        "compactor_us_per_sample": (store["us_cpu_per_compacted_sample"], "store", "us_cpu_per_compacted_sample"),
        "meter_us_per_row": (results["metering"]["us_cpu_per_event"], "metering", "us_cpu_per_event"),
        "bytes_per_series": (series, "detect", "bytes_per_series"),
        "worker_bytes_per_product": (
            max(0.0, product - _JSON_VALUES * series), "capacity", "memory of a worker by products, without series",
        ),
        "control_bytes_per_product": (grown / lookup["products"], "lookup", "control_mb, products"),
        "broker_bytes_per_connection": (connection, "capacity", "memory of the broker by connections over TLS"),
        "database_bytes_per_product": (
            lookup["database_mb"] * _MB / lookup["products"], "lookup", "database_mb, products",
        ),
        "raw_bytes_per_sample": (store["stored_bytes_per_sample"], "store", "stored_bytes_per_sample"),
        **{
            f"{level}_bytes_per_aggregate": (size, "capacity", "files of aggregates of rows 10 s apart")
            for level, size in aggregates.items()
        },
        **{
            f"base_bytes_{role.partition('-')[0]}": (size * _MB, "overload", "rss_mb")
            for role, size in memory.items()
        },
    }  # fmt: skip
    return {
        name: {"value": float(f"{value:.4g}"), "benchmark": benchmark, "results": names}
        for name, (value, benchmark, names) in found.items()
    }


def _worker_bytes(folder: Path, products: int) -> int:
    """Return the memory of a worker's stages, in a process of their own, that have met so many products."""
    process, pipe = start(_meet, folder, products)
    found: int = expect(pipe, "worker")
    process.join()
    return found


def _meet(folder: Path, products: int, pipe: Connection) -> None:
    ids = device_ids(products)
    with (
        JournalWriter.open(folder / "journal", now_ns=START) as journal,
        JournalWriter.open(folder / "deadletters", now_ns=START) as dead_letters,
    ):
        line = Line(journal, dead_letters, ids)
        for first in range(0, products, _FRAMES):
            part = range(first, min(first + _FRAMES, products))
            data = bytes(next(chunks_of(Flood(0, ids, 1, "json", 1, run=1), part)))
            line.turn(data, Frames(np.frombuffer(bytearray(data), np.uint8), _FRAMES))
        pipe.send(_resident("self"))


def _aggregate_bytes(folder: Path, devices: int) -> dict[str, float]:
    """Return what an aggregate of each level takes on disk, with rows ten seconds apart."""
    journals = {"0": folder / "journal"}
    with (
        JournalWriter.open(journals["0"], now_ns=START) as writer,
        Compactor(folder / "store", journals) as compactor,
    ):
        for batch in day(devices):
            denser = (batch.time - START) // 6 + START
            writer.append(Kind.TELEMETRY, encode(replace(batch, time=denser)), START)
        writer.sync()
        writer.seal_if_due(START + 30 * 86_400 * 10**9)
        compactor.run(START + 30 * 86_400 * 10**9, {"0": writer.synced})
        manifest = compactor.manifest
    every = sum(level.bit for level in LEVELS)
    while (further := roll(folder / "store", manifest, every)) is not None:
        manifest = further  # minutes are made only where they are to outlive the rows
    found = {}
    for level in LEVELS:
        own = [file for file in manifest.rollups if file.level == level.name]
        found[level.name] = sum(file.size for file in own) / sum(file.entries for file in own)
    return found


def _resident(process: int | str) -> int:
    """Return the resident memory of a process, bytes (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024


def _connection_bytes(folder: Path, count: int) -> float:
    """Return what a connection over TLS takes of the broker's memory."""
    with brokers.nats_over_tls(folder) as (port, pid, authority):
        trust = ssl.create_default_context(cafile=str(authority))
        trust.check_hostname = False
        few = [_connected(port, trust, number) for number in range(count // 10)]
        before = _resident(pid)
        many = [_connected(port, trust, number) for number in range(count // 10, count)]
        grown = _resident(pid) - before
        for sock in (*few, *many):
            sock.close()
    return grown / len(many)


def _connected(port: int, trust: ssl.SSLContext, number: int) -> ssl.SSLSocket:
    """Connect one client, which listens to what is for it."""
    sock = trust.wrap_socket(socket.create_connection(("127.0.0.1", port), 30))
    name = f"device{number:010}".encode()
    rest = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
    sock.sendall(bytes((0x10, len(rest))) + rest)
    sock.recv(64)
    topic = b"hp/1/00/" + name + b"/down/+"
    rest = b"\x00\x01" + len(topic).to_bytes(2, "big") + topic + b"\x00"
    sock.sendall(bytes((0x82, len(rest))) + rest)
    sock.recv(64)
    return sock
