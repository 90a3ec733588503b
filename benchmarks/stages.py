"""Where a microsecond goes: each stage of the pipeline alone, on one micro-batch after the other, without a broker.

1. The stages are those of the worker, in their order; the journal is on a real disk and is synced for each batch.
2. Figures are processor time of this process, nanoseconds a message (or a sample, for packs); the best batch of several
   counts, since other programs only ever make one slower. `wait` is what a sync takes besides.
3. Every batch holds rows that are new.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flood import METRICS, START, Flood, chunks_of
from benchmarks.ingest import PACK_ROWS, device_ids, gate_arrays
from device_sdk.wire.topics import ROOT
from hub.pipeline.directory import Directory
from hub.pipeline.frames import Frames, Rows
from hub.pipeline.identity import StreamTable
from hub.pipeline.journal import JournalStage
from hub.pipeline.receipt import ReceiptStage
from hub.pipeline.receive import scan_frames
from hub.pipeline.run import fresh_detector
from hub.ports.journal.writer import JournalWriter

DEVICES = 1000
_S = 1_000_000_000
_MESSAGES = 8_192


def run(quick: bool) -> dict[str, Any]:
    """Measure; see the module for what the figures mean."""
    folder = Path(tempfile.mkdtemp(prefix="homeport-stages-"))
    batches = 10 if quick else 60
    try:
        return {
            "json_ns_a_message": _measure(folder / "json", "json", batches, DEVICES * 8, 1),
            "pack_ns_a_sample": _measure(
                folder / "pack", "pack", max(4, batches // 5), DEVICES, PACK_ROWS * len(METRICS)
            ),
            "workload": {
                "devices": DEVICES,
                "messages_a_batch": {"json": DEVICES * 8, "pack": DEVICES},
                "values_a_message": {"json": 4, "pack": PACK_ROWS * len(METRICS)},
                "batches": batches,
            },
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Clock:
    """Processor and elapsed time of named steps; keeps the best of each."""

    def __init__(self) -> None:
        self.best: dict[str, tuple[int, int]] = {}

    def time(self, name: str, step: Callable[[], Any]) -> Any:
        """Do a step and take its time."""
        began, worked = time.perf_counter_ns(), time.process_time_ns()
        result = step()
        took = time.process_time_ns() - worked, time.perf_counter_ns() - began
        self.best[name] = min(took, self.best.get(name, took))
        return result


class Line:
    """The stages of a worker, one micro-batch at a time.

    Args:
        folder: for the journal.
        journal: opened there.
        dead_letters: likewise.
    """

    def __init__(
        self, journal: JournalWriter, dead_letters: JournalWriter, ids: tuple[str, ...]
    ) -> None:
        self.directory = Directory.build(1, gate_arrays(ids), ROOT)
        streams = StreamTable(65_536)
        self.journal = JournalStage(journal, dead_letters, streams)
        self.receipts = ReceiptStage(streams, b"benchrun", ROOT)
        self.receipts.use(self.directory.device_id, self.directory.shard)
        self.detector = fresh_detector()
        self.detector.use(self.directory.model, self.directory.metrics, self.directory.cohort)
        self.rows = Rows(1 << 16, 1 << 19)
        self.now = START + 86_400 * _S
        self.clock = Clock()

    def turn(self, data: bytes, frames: Frames) -> None:
        """Take one micro-batch all the way."""
        directory, rows, clock = self.directory, self.rows, self.clock
        self.now += _S  # a cadence: every device gets its receipt
        now = self.now

        def scan() -> None:
            frames.count, *_ = scan_frames(
                frames.buffer, 0, len(data), frames.capacity,
                frames.topic, frames.topic_size, frames.payload, frames.payload_size,
            )  # fmt: skip

        clock.time("receive (scan)", scan)
        clock.time("authenticate", lambda: directory.authenticator.authenticate(frames))
        clock.time("gate", lambda: directory.gate.gate(frames, now))
        clock.time("budget", lambda: directory.budgets.charge(frames, now))
        rejections, lost = clock.time("decode", lambda: directory.decoder.decode(frames, rows, now))
        stored = clock.time(
            "journal", lambda: self.journal.write(frames, rows, rejections, lost, now)
        )
        if stored.duplicates or stored.beyond or rejections:
            raise RuntimeError("The batch was not new.")
        clock.time("receipt", lambda: self.receipts.receipts(now))
        clock.time("detect", lambda: self.detector.detect(stored.batch, now))


def _measure(folder: Path, kind: str, batches: int, messages: int, samples: int) -> dict[str, Any]:
    ids = device_ids(DEVICES)
    rounds = messages // DEVICES
    chunks = chunks_of(Flood(0, ids, 1, kind, rounds * batches, run=1), range(DEVICES))
    with (
        JournalWriter.open(folder / "journal", now_ns=START) as journal,
        JournalWriter.open(folder / "deadletters", now_ns=START) as dead_letters,
    ):
        line = Line(journal, dead_letters, ids)
        for _ in range(batches):
            data = b"".join(bytes(next(chunks)) for _ in range(rounds))
            line.turn(data, Frames(np.frombuffer(bytearray(data), np.uint8), _MESSAGES))
    best = line.clock.best
    each = messages * samples
    figures = {name: round(worked / each, 2) for name, (worked, _) in best.items()}
    worked, elapsed = best["journal"]
    return {
        **figures,
        "all": round(sum(worked for worked, _ in best.values()) / each, 2),
        "wait for the disk": round(max(0, elapsed - worked) / each, 2),
    }
