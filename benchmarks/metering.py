"""Counting usage: how fast from the journal, how soon when late, how soon a limit reaches its product.

1. The product's own meter runs over a real journal of 100,000 products and, for what is late, the real archive.
2. Before anything is reported, totals of a sample of products must equal the plain definition's.
What must never live here: settings that the product does not use.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import limits
from entitlements.billing.meters import Aggregation, Meter
from hub.app.usage_meter import MeterPlaces, UsageMeter
from hub.ports.journal.block import Kind
from hub.ports.journal.telemetry import TelemetryBatch, encode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.compaction import Compactor
from hub.ports.store.embedded import EmbeddedStore
from hub.services.meter_terms import AccountTerms
from hub.services.meter_terms_table import compile_terms
from hub.services.snapshot_file import publish_snapshot, read_snapshot
from hub.services.usage_accounts import accounts_of
from hub.services.usage_archive import count

_S: Final = 1_000_000_000
_DAY: Final = 86_400 * _S
_START: Final = 20_500 * _DAY
_EDGES: Final = tuple(_START + month * 30 * _DAY for month in range(-12, 14))
_METERS: Final = (
    Meter("energy", 0, Aggregation.INCREASE, 3),
    Meter("runs", 1, Aggregation.COUNT),
    Meter("volume", 2, Aggregation.SUM, 2),
)
_MARKS: Final = (100, 10_000, 20_000)
_METRICS: Final = 4
_ROWS: Final = 3_072  # of a block, as the ingest worker writes them when busy
_CHECKED: Final = 50


def run(quick: bool, seed: int = 7_001) -> dict[str, Any]:
    """Measure.

    Args:
        quick: 20,000 products, fewer rows, and fewer that are late.
        seed: of the rows.
    """
    products, blocks, late = (20_000, 200, 100) if quick else (100_000, 1_000, 300)
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as temporary:
        counted = _measure(Path(temporary), products, blocks, late, seed)
    return counted | limits.measure(quick)


def _measure(folder: Path, products: int, blocks: int, rows_late: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    journals = {"0": folder / "journal"}
    places = MeterPlaces(folder / "terms", folder / "accounts", journals)
    publish_snapshot(places.terms, _terms(products))
    store = EmbeddedStore(folder / "store", journals)
    with (
        JournalWriter.open(journals["0"], now_ns=_START) as writer,
        JournalWriter.open(folder / "usage", now_ns=_START) as log,
        Compactor(folder / "store", journals) as compactor,
    ):
        for batch in _batches(products, blocks, rng):
            writer.append(Kind.TELEMETRY, encode(batch), _START)
        writer.sync()
        meter = UsageMeter(places, log, store, lambda: _START + _DAY)
        begin, cpu = time.perf_counter(), time.process_time()
        _settle(meter, writer)
        spent, cpu = time.perf_counter() - begin, time.process_time() - cpu
        _check(store, places, products, rng)
        compactor.run(time.time_ns(), {"0": writer.synced})
        late = [_late(meter, writer, products, rng) for _ in range(rows_late)]
        _check(store, places, products, rng)
    rows = blocks * _ROWS
    return {
        "events_per_s": round(rows / spent),
        "samples_counted_per_s": round(rows * len(_METERS) / spent),
        "us_cpu_per_event": round(cpu / rows * 1e6, 3),
        "late_recompute_ms_p50": round(float(np.percentile(late, 50)), 2),
        "late_recompute_ms_p95": round(float(np.percentile(late, 95)), 2),
        "products": products,
        "accounts": products * len(_METERS),
        "events": rows,
        "seed": seed,
    }


def _terms(products: int) -> dict[str, Any]:
    accounts = (
        AccountTerms(slot, number, _EDGES, _MARKS)
        for slot in range(1, products + 1)
        for number in range(len(_METERS))
    )
    return compile_terms(_METERS, accounts).arrays()


def _batches(products: int, blocks: int, rng: np.random.Generator) -> Iterator[TelemetryBatch]:
    """Rows of products in turn, each with four samples, two minutes apart."""
    energy = rng.uniform(0, 1_000, products + 1)
    seq = np.zeros(products + 1, np.uint64)
    for block in range(blocks):
        slot = ((block * _ROWS + np.arange(_ROWS)) % products + 1).astype(np.uint32)
        energy[slot] += rng.uniform(0, 0.5, _ROWS)
        value = np.stack([energy[slot], *rng.uniform(0, 10, (_METRICS - 1, _ROWS))], axis=1)
        yield _batch(slot, seq[slot], _START + seq[slot].astype(np.int64) * 120 * _S, value)
        seq[slot] += np.uint64(1)


def _batch(slot: Any, seq: Any, at: Any, value: Any) -> TelemetryBatch:
    rows = slot.size
    return TelemetryBatch(
        slot=slot,
        epoch=np.ones(rows, np.uint32),
        flags=np.zeros(rows, np.uint32),
        count=np.full(rows, _METRICS, np.uint32),
        stream=np.ones(rows, np.uint64),
        seq=seq,
        raw_time=at,
        time=at,
        metric=np.tile(np.arange(_METRICS, dtype=np.uint16), rows),
        value=value.ravel(),
    )


def _settle(meter: UsageMeter, writer: JournalWriter) -> None:
    while meter.step({"0": writer.synced}):
        pass


def _late(
    meter: UsageMeter, writer: JournalWriter, products: int, rng: np.random.Generator
) -> float:
    """Let a row of half a day ago arrive; return the ms until its product's accounts are right again."""
    slot = rng.integers(1, products + 1, 1, np.uint32)
    seq = rng.integers(1 << 40, 1 << 62, 1, np.uint64)
    at = np.array([_START + int(rng.integers(0, 3_000)) * _S + 7], np.int64)
    writer.append(
        Kind.TELEMETRY, encode(_batch(slot, seq, at, rng.uniform(0, 10, (1, _METRICS)))), _START
    )
    writer.sync()
    begin = time.perf_counter()
    _settle(meter, writer)
    return (time.perf_counter() - begin) * 1e3


def _check(
    store: EmbeddedStore, places: MeterPlaces, products: int, rng: np.random.Generator
) -> None:
    """Compare the accounts of some products with the archive's own count."""
    accounts = accounts_of(read_snapshot(places.accounts))
    for slot in rng.integers(1, products + 1, _CHECKED).tolist():
        for number, meter in enumerate(_METERS):
            row = accounts[(slot - 1) * len(_METERS) + number]
            if row["last_time"] == np.iinfo(np.int64).min:
                continue
            total = count(store, slot, meter, int(row["start"]), int(row["end"])).total
            if total != row["total"]:
                raise SystemExit(
                    f"Meter {meter.code} of slot {slot} counted {row['total']}, the archive {total}."
                )
