"""Storing a day of telemetry and asking for it: journal, sync, compaction, then point queries.

1. Writing is timed from a batch as the ingest worker holds it to synced Parquet under a published
   manifest, replaced journal segments deleted; making the batches is not timed.
2. Compaction runs by the default policy meanwhile, and at the end until nothing is left.
3. Before anything is reported, the store must return every row that was written.
What must never live here: settings that the product does not use.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from hub.ports.journal.block import Kind
from hub.ports.journal.telemetry import TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.compaction import CompactionPolicy, Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.ports.store.port import Visibility, Window

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND
START: Final = 20_500 * DAY  # a midnight UTC in 2026
ROWS: Final = 1440  # of each device: one a minute
METRICS: Final = 5
PACK: Final = 48  # rows of one device in a pack
PACKS: Final = 64  # in a micro-batch, so 3,072 rows and 15,360 samples in a block
QUERIES: Final = 300


@dataclass
class _Spent:
    """Seconds spent in each part of writing."""

    append: float = 0.0
    sync: float = 0.0
    compact: float = 0.0
    compact_cpu: float = 0.0
    syncs: list[float] = field(default_factory=list)


def run(quick: bool) -> dict[str, Any]:
    """Measure.

    Args:
        quick: 2,000 devices instead of 10,000.

    Returns:
        `write_samples_per_s` and `query_ms_p95` first, then parts, sizes and the workload.
    """
    devices = 2_000 if quick else 10_000
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as temporary:
        return _measure(Path(temporary), devices)


def _measure(folder: Path, devices: int) -> dict[str, Any]:
    journals = {"0": folder / "journal"}
    store = EmbeddedStore(folder / "store", journals)
    spent = _Spent()
    rows = devices * ROWS
    samples = rows * METRICS
    with (
        JournalWriter.open(journals["0"], now_ns=time.time_ns()) as writer,
        Compactor(folder / "store", journals) as compactor,
    ):
        journal_bytes = _write(writer, compactor, devices, spent)
        files = compactor.manifest.files
    if store.count() != rows:
        raise SystemExit(f"{store.count()} rows of {rows} are in the store: measured nothing.")
    tail = sum(path.stat().st_size for path in journals["0"].glob("*.hpj"))
    total = spent.append + spent.sync + spent.compact
    result: dict[str, Any] = {
        "write_samples_per_s": round(samples / total),
        "query_ms_p95": 0.0,
        "append_samples_per_s": round(samples / spent.append),
        "journalled_samples_per_s": round(samples / (spent.append + spent.sync)),
        "compacted_samples_per_s": round(samples / spent.compact),
        "us_cpu_per_compacted_sample": round(spent.compact_cpu / samples * 1e6, 4),
        "sync_ms_p95": _percentile(spent.syncs, 95),
        **_queries(store, devices),
        "samples": samples,
        "rows": rows,
        "parquet_files": len(files),
        "journal_bytes_per_sample": round(journal_bytes / samples, 2),
        "stored_bytes_per_sample": round(sum(file.size for file in files) / samples, 2),
        "journal_left_bytes": tail,
        "peak_rss_mb": _peak_rss_mb(),
        "workload": (
            f"{devices} devices x {ROWS} rows (one a minute) x {METRICS} metrics, packs of {PACK} "
            f"rows, blocks of {PACKS} packs, each block synced; queries: {QUERIES} random series, "
            "24 h at one minute"
        ),
    }
    return result


def _write(writer: JournalWriter, compactor: Compactor, devices: int, spent: _Spent) -> int:
    """Write the day; returns the bytes that went through the journal."""
    for batch in day(devices):
        now = time.time_ns()
        began = time.perf_counter()
        writer.append(Kind.TELEMETRY, encode(batch), now)
        appended = time.perf_counter()
        writer.sync()
        synced = time.perf_counter()
        worked = time.process_time()
        compactor.run(now, {"0": writer.synced})
        spent.compact_cpu += time.process_time() - worked
        spent.compact += time.perf_counter() - synced
        spent.append += appended - began
        spent.sync += synced - appended
        spent.syncs.append((synced - appended) * 1000)
    # What a quiet hub does some minutes later: seal by age, compact, delete what was replaced.
    policy = CompactionPolicy()
    later = time.time_ns() + 3600 * SECOND
    began, worked = time.perf_counter(), time.process_time()
    writer.seal_if_due(later)
    compactor.run(later + policy.wait_ns, {"0": writer.synced})
    compactor.run(later + policy.wait_ns + policy.grace_ns, {"0": writer.synced})
    spent.compact_cpu += time.process_time() - worked
    spent.compact += time.perf_counter() - began
    return writer.end


def day(devices: int) -> Iterator[TelemetryBatch]:
    """Make micro-batches: packs in the order of time, devices in an order of chance.

    Values have a level, a daily rhythm and noise, and two decimals, as sensors give them. Times
    have a phase for each device and jitter of milliseconds.
    """
    rng = np.random.default_rng(20260216)
    stream = rng.integers(1, 1 << 63, devices + 1, np.uint64)
    phase = rng.integers(0, 50_000, devices + 1) * 1_000_000
    level = rng.normal(40, 15, (devices + 1, METRICS))
    for first in range(0, ROWS, PACK):
        order = rng.permutation(np.arange(1, devices + 1, dtype=np.uint32))
        for start in range(0, devices, PACKS):
            slot = np.repeat(order[start : start + PACKS], PACK)
            count = slot.size
            seq = np.tile(np.arange(first, first + PACK), count // PACK)
            jitter = rng.integers(0, 2_000, count) * 1_000_000
            moment = START + seq * MINUTE + phase[slot] + jitter
            rhythm = 4 * np.sin(seq * (2 * np.pi / ROWS))
            value = level[slot] + rhythm[:, None] + rng.normal(0, 0.5, (count, METRICS))
            yield TelemetryBatch(
                slot=slot,
                epoch=np.ones(count, np.uint32),
                flags=np.full(count, 2, np.uint32),
                count=np.full(count, METRICS, np.uint32),
                stream=stream[slot],
                seq=seq.astype(np.uint64),
                raw_time=moment,
                time=moment,
                metric=np.tile(np.arange(METRICS, dtype=np.uint16), count),
                value=np.round(value, 2).ravel(),
            )


def _queries(store: EmbeddedStore, devices: int) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    slots = rng.choice(np.arange(1, devices + 1), QUERIES + 5, replace=False).tolist()
    metrics = rng.integers(0, METRICS, QUERIES + 5).tolist()
    visible = Visibility((Window(first_epoch=1),))

    def one(number: int) -> None:
        answer = store.buckets(
            slots[number], metrics[number], START, START + DAY, MINUTE, visible=visible
        )
        if int(answer.count.sum()) != ROWS:
            raise SystemExit(f"A query returned {int(answer.count.sum())} rows, not {ROWS}.")

    for number in range(QUERIES, QUERIES + 5):
        one(number)  # warm the process, with devices that are not asked for again
    took = [_milliseconds(partial(one, number)) for number in range(QUERIES)]
    latest = [_milliseconds(partial(store.latest, s, visible=visible)) for s in slots[:QUERIES]]
    fleet = _milliseconds(
        lambda: store.fleet(range(1, 1001), 2, START, START + DAY, 60 * MINUTE, visible=visible)
    )
    return {
        "query_ms_p95": _percentile(took, 95),
        "query_ms_p50": _percentile(took, 50),
        "latest_ms_p95": _percentile(latest, 95),
        "fleet_1000_devices_ms": round(fleet, 1),
    }


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _percentile(values: list[float], percent: int) -> float:
    return round(float(np.percentile(values, percent)), 3)


def _peak_rss_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10
