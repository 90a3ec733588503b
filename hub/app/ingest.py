"""The ingest worker: opens its journals, brings its state up to date, and turns the pipeline until told to stop.

1. Start: newest checkpoint, then replay of the journal behind it, then subscribe. Kernels are compiled by then.
2. A broken link is connected again with growing pauses; a broken disk ends the process, which then replays.
3. A new gate snapshot is taken once a batch has come in and before its turn; a checkpoint between two turns.
Must never live here: what a stage does.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from analytics.detector import SnapshotError
from device_sdk.wire.topics import ROOT
from hub.errors import StorageError
from hub.metrics import Metrics
from hub.pipeline.checkpoint import load_checkpoint, oldest_checkpoint, save_checkpoint
from hub.pipeline.detect import DetectStage
from hub.pipeline.directory import Directory
from hub.pipeline.identity import StreamTable
from hub.pipeline.journal import JournalStage
from hub.pipeline.react import ReactStage
from hub.pipeline.receipt import ReceiptStage
from hub.pipeline.receive import LinkAddress, LinkError, Receiver
from hub.pipeline.run import Pipeline, Turn, fresh_detector, replay_block
from hub.pipeline.share import FairShare
from hub.pipeline.store import StoreStage
from hub.ports.journal.block import Kind as BlockKind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import decode
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.services.alert_kinds import kind_word
from hub.services.snapshot_file import current_version

log = logging.getLogger(__name__)

_VERDICTS = ("accept", "quarantine", "throttle", "refuse")
_THROTTLED = ("gate", "product_budget", "owner_budget", "load")

FILTERS = [f"{ROOT}/+/+/up/t", f"{ROOT}/+/+/up/json", f"{ROOT}/+/+/up/senml"]


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """What a worker needs to know.

    Attributes:
        worker: its number.
        address: of the broker, with the worker's certificate.
        incarnation: of the hub, 8 bytes.
        gate: folder of gate snapshots.
        journal, findings, dead_letters, checkpoints: folders of this worker alone.
        progress: file in which followers read how far the journal is synced.
        metrics: folder where this process publishes its metrics.
        window: rows of a stream that may be without receipt. cadence_ms: of receipts.
        max_messages_per_s: what the worker takes of what is offered; None: all that it can.
        messages: of a micro-batch, at most. linger_s: how long a small one gathers.
        segment_bytes: size at which a journal segment is sealed.
        checkpoint_s: pause between checkpoints.
        clock: ns since 1970 UTC.
    """

    worker: int
    address: LinkAddress
    incarnation: bytes
    gate: Path
    journal: Path
    findings: Path
    dead_letters: Path
    checkpoints: Path
    progress: Path
    metrics: Path
    window: int = 65_536
    cadence_ms: int = 1000
    max_messages_per_s: int | None = None
    messages: int = 32_768
    linger_s: float = 0.005
    segment_bytes: int = 128 << 20
    checkpoint_s: float = 30.0
    clock: Callable[[], int] = field(default=time.time_ns)


def run_worker(
    config: IngestConfig, stop: threading.Event, ready: Callable[[], None] = lambda: None
) -> None:
    """Run until `stop` is set; `ready` is called once, when the subscription is in force.

    Raises:
        StorageError: the disk failed or the journal is damaged; the process must end.
    """
    now = config.clock()
    rotation = Rotation(size=config.segment_bytes)
    with (
        JournalWriter.open(config.journal, now_ns=now, rotation=rotation) as journal,
        JournalWriter.open(config.findings, now_ns=now) as findings,
        JournalWriter.open(config.dead_letters, now_ns=now) as dead_letters,
    ):
        directory = _first_directory(config, stop)
        if directory is None:
            return
        worker = _Worker(config, journal, findings, dead_letters, directory)
        try:
            worker.run(stop, ready)
            # Only after a clean end: an error may have left rows settled that were never journalled, and a
            # checkpoint of that would have the hub receipt, after a restart, what it does not hold.
            worker.save_checkpoint()
        finally:
            worker.close()


def _first_directory(config: IngestConfig, stop: threading.Event) -> Directory | None:
    """Wait for the first gate snapshot; the control process compiles it at start."""
    while not stop.is_set():
        if current_version(config.gate) is not None:
            return Directory.read(config.gate, ROOT)
        stop.wait(0.05)
    return None


class _Worker:
    def __init__(
        self,
        config: IngestConfig,
        journal: JournalWriter,
        findings: JournalWriter,
        dead_letters: JournalWriter,
        directory: Directory,
    ) -> None:
        self._config = config
        self._journal = journal
        self._metrics = Metrics(f"ingest-{config.worker}")
        self._followers = StoreStage(config.progress)
        reactions = ReactStage(findings, config.worker)
        self._streams, self._detector, self._checkpoint = _restore(config, directory, reactions)
        self._keep_from(oldest_checkpoint(config.checkpoints))
        self._receipts = ReceiptStage(self._streams, config.incarnation, ROOT, config.cadence_ms)
        self._receiver = Receiver(config.address, FILTERS, messages=config.messages)
        self._pipeline = Pipeline(
            self._receiver,
            directory,
            JournalStage(journal, dead_letters, self._streams),
            self._receipts,
            self._detector,
            self._followers,
            reactions,
            FairShare(config.max_messages_per_s),
        )
        self._last_checkpoint = time.monotonic()
        self._last_publish = 0.0

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        self._connect(stop)
        ready()
        while not stop.is_set():
            try:
                frames = self._pipeline.receive(time.monotonic(), 0.05, self._config.linger_s)
                self._take_newest_gate()
                turn = self._pipeline.turn(frames, self._config.clock(), time.monotonic_ns())
            except LinkError as error:
                log.warning("%s Connecting again.", error.detail)
                self._connect(stop)
                continue
            self._count(turn)
            self._between_turns()

    def close(self) -> None:
        """Let go of the connection and say how far the journal is synced."""
        self._receiver.close()
        self._followers.store(self._journal.synced, self._config.clock())
        self._followers.close()

    def _connect(self, stop: threading.Event) -> None:
        pause = 0.1
        while not stop.is_set():
            try:
                self._receiver.connect()
            except LinkError as error:
                log.warning("%s Trying again in %.1f s.", error.detail, pause)
                stop.wait(pause)
                pause = min(2 * pause, 5.0)
            else:
                log.info("subscribed as %s", self._config.address.client_id)
                self._streams.tell_all()
                return

    def _take_newest_gate(self) -> None:
        """Use the gate as it is now; a device that enrolled a moment ago must pass it."""
        version = current_version(self._config.gate)
        if version is not None and version != self._pipeline.directory.version:
            directory = Directory.read(self._config.gate, ROOT, self._pipeline.directory)
            self._pipeline.use(directory)
            self._metrics.gate_version.set(directory.version)

    def _between_turns(self) -> None:
        now = time.monotonic()
        if now - self._last_checkpoint >= self._config.checkpoint_s:
            self._last_checkpoint = now
            self.save_checkpoint()
        if now - self._last_publish >= 1.0:
            self._last_publish = now
            self._journal.seal_if_due(self._config.clock())
            self._followers.store(self._journal.synced, self._config.clock())
            self._metrics.publish(self._config.metrics)

    def save_checkpoint(self) -> None:
        """Save the state as of the end of the journal; only between two turns, or it would not be that."""
        if self._journal.synced == self._checkpoint:
            return
        self._checkpoint = self._journal.synced
        oldest = save_checkpoint(
            self._config.checkpoints,
            self._checkpoint,
            {**self._streams.arrays(), **self._detector.arrays()},
        )
        self._keep_from(oldest)

    def _keep_from(self, checkpoint: int) -> None:
        """Say from where on a restart reads the journal.

        `checkpoint` may be the last good one, and rows just before it are compared with what comes again.
        """
        trail = self._streams.trail.start
        self._followers.checkpointed(checkpoint if trail is None else min(trail, checkpoint))

    def _count(self, turn: Turn) -> None:
        stored = turn.stored
        if stored is None:
            return
        m = self._metrics
        m.received_frames.inc(turn.messages)
        m.received_bytes.inc(turn.bytes)
        m.duplicate_rows.inc(stored.duplicates)
        m.journalled_rows.inc(stored.batch.rows)
        m.journalled_samples.inc(stored.batch.samples)
        m.journal_offset.set(stored.synced)
        for verdict, count in turn.verdicts.items():
            m.gated_frames.labels(verdict=_VERDICTS[verdict]).inc(count)
        for reason, count in turn.throttled.items():
            m.throttled_frames.labels(reason=_THROTTLED[reason]).inc(count)
        for code, count in turn.rejected.items():
            m.rejected_rows.labels(code=code.name.lower()).inc(count)
        m.receipts.inc(turn.receipts)
        for kind, count in turn.findings.items():
            m.findings.labels(kind=kind_word(kind)).inc(count)
        m.detector_series.set(self._detector.series)


def _detector(arrays: dict[str, NDArray[Any]]) -> DetectStage:
    """The detector of a checkpoint; a fresh one if another version wrote it (it learns again from here)."""
    try:
        return DetectStage.restore(arrays)
    except SnapshotError as error:
        log.warning("%s Detection starts afresh.", error)
        return fresh_detector()


def _restore(
    config: IngestConfig, directory: Directory, reactions: ReactStage
) -> tuple[StreamTable, DetectStage, int]:
    """State as of the end of the journal: the newest checkpoint and a replay of what lies behind it."""
    segments = list_segments(config.journal)
    first = segments[0].first if segments else 0
    loaded = load_checkpoint(config.checkpoints)
    if loaded is not None and loaded[0] >= first:
        offset, arrays = loaded
        streams, detector = StreamTable.restore(config.window, arrays), _detector(arrays)
    elif first == 0:
        offset = 0
        streams, detector = StreamTable(config.window), fresh_detector()
    else:
        raise StorageError(
            f"The journal of worker {config.worker} begins at {first} and no checkpoint reaches it, so what devices "
            "were told cannot be known. Restore the checkpoint folder from a backup."
        )
    detector.use(directory.model, directory.metrics)
    _remember(config.journal, streams, first, offset)
    blocks = 0
    for block in JournalReader(config.journal, offset).blocks():
        replay_block(block, streams, detector, reactions)
        blocks += 1
    log.info("replayed %d blocks from offset %d", blocks, offset)
    return streams, detector, offset


def _remember(folder: Path, streams: StreamTable, first: int, until: int) -> None:
    """Take the fingerprints of the rows journalled last before the checkpoint, as far as the journal reaches."""
    start = streams.trail.start
    if start is None or start >= until:
        return
    for block in JournalReader(folder, max(start, first)).blocks(until):
        if block.kind == BlockKind.TELEMETRY:
            streams.remember(decode(bytearray(block.payload)), block.received_ns)
