"""The ingest worker: opens its journals, brings its state up to date, and turns the pipeline until told to stop.

1. Start: newest checkpoint, then replay of the journal behind it, then subscribe. Kernels are compiled by then.
2. A broken link is connected again with growing pauses; a broken disk ends the process, which then replays.
3. A new gate snapshot is taken once a batch has come in and before its turn; a checkpoint between two turns.
4. A full disk is waited for without a subscription: nothing is receipted, so devices keep what they have. Some bytes
   are left free for findings, dead letters, checkpoints and the database. After a write that found no room, state is
   read again from what is on disk.
5. A worker with a lease on its lane does nothing while it cannot trust it, and shuts its predecessor out first; see
   `hub.app.lane_hold` and decision 50.
6. What kills the process is tried more and more carefully, then set aside; see `hub.pipeline.attempts`.
Must never live here: what a stage does.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from device_sdk.wire.topics import ROOT, Up
from hub.app import uptime
from hub.app.lane_hold import Hold
from hub.app.lane_state import restored
from hub.app.tally import Laps, Tally
from hub.app.tracing import NotedLaps, TurnTracer
from hub.errors import DiskFullError, StorageError
from hub.metrics import Metrics
from hub.pipeline.attempts import DEATHS, Attempts
from hub.pipeline.checkpoint import oldest_checkpoint, save_checkpoint
from hub.pipeline.directory import Directory
from hub.pipeline.frames import Frames
from hub.pipeline.journal import JournalStage
from hub.pipeline.react import ReactStage
from hub.pipeline.receipt import ReceiptStage
from hub.pipeline.receive import LinkAddress, LinkError, Receiver, supersede
from hub.pipeline.run import Pipeline, Turn
from hub.pipeline.share import FairShare
from hub.pipeline.store import StoreStage, newest_progress, read_progress
from hub.ports.collector.port import Collector
from hub.ports.journal.beat import Beat
from hub.ports.journal.durability import NO_ROOM, free_bytes
from hub.ports.journal.writer import JournalWriter, Rotation
from hub.services.replays import Replay, replays_in
from hub.services.snapshot_file import current_version

log = logging.getLogger(__name__)

_UNSURE_S = 0.02
_LOOK_S = 0.25  # between two looks at the free space
_BACK = 1.25  # times the reserve must be free again, so that the worker does not come and go
_STABLE_S = 60.0
_LOG_ROTATION = Rotation(
    size=8 << 20
)  # of findings and dead letters: small, as only whole segments are deleted
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.5, 10.0

SHARDS = 256
"""Of the wire: the first byte of a hash of the device id."""
_CHANNELS = (Up.PACK, Up.JSON, Up.SENML, Up.PRESENCE)
FILTERS = tuple(f"{ROOT}/+/+/up/{channel}" for channel in _CHANNELS)


def filters_of(lane: int, lanes: int) -> tuple[str, ...]:
    """Return the topic filters of a lane: of all products, or of its shards."""
    if lanes == 1:
        return FILTERS
    shards = range(lane, SHARDS, lanes)
    return tuple(f"{ROOT}/{shard:02x}/+/up/{channel}" for shard in shards for channel in _CHANNELS)


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """What a worker needs to know.

    Attributes:
        worker: number of its lane. lanes: among how many the products are dealt, by their shards.
        address: of the broker, with the worker's certificate.
        incarnation: of the hub, 8 bytes.
        gate: folder of gate snapshots.
        journal, findings, dead_letters, checkpoints: folders of this worker alone.
        progress: file in which followers read how far the journal is synced.
        metrics: folder where this process publishes its metrics.
        window: rows of a stream that may be without receipt. cadence_ms: of receipts.
        max_messages_per_s: what the worker takes of what is offered; None: all that it can.
        most_lag_s: how far it may fall behind the broker before it sheds.
        messages: of a micro-batch, at most. linger_s: how long a small one gathers.
        segment_bytes: size at which a journal segment is sealed.
        checkpoint_s: pause between checkpoints.
        reserve_bytes: bytes of the disk that telemetry leaves free.
        clock: ns since 1970 UTC.
        beat: the machine's time, which no clock that is set changes.
        hold: its lease on the lane; None where nobody else could have it.
        collector: takes the ways of some rows, at most so many a second beside those with findings; None: nobody does.
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
    most_lag_s: float = math.inf
    messages: int = 32_768
    linger_s: float = 0.005
    segment_bytes: int = 128 << 20
    checkpoint_s: float = 30.0
    reserve_bytes: int = 0
    clock: Callable[[], int] = field(default=time.time_ns)
    beat: Callable[[], Beat] = field(default=uptime.beat)
    hold: Hold | None = None
    lanes: int = 1
    collector: Collector | None = None
    traces_per_s: float = 0.0

    @property
    def token(self) -> int:
        """Fencing token; 0 without a lease."""
        return 0 if self.hold is None else self.hold.token

    def held(self) -> bool:
        """Whether the lane may be written and spoken for now."""
        return self.hold is None or self.hold.good()


def run_worker(
    config: IngestConfig, stop: threading.Event, ready: Callable[[], None] = lambda: None
) -> None:
    """Run until `stop` is set; `ready` is called once: when the subscription is in force, or waits for a full disk.

    Raises:
        StorageError: the disk failed or the journal is damaged; the process must end.
        LostLeaseError: another worker has the lane.
    """
    once = _Once(ready)
    pause = _FIRST_PAUSE_S
    if config.hold is not None and not _shut_out(config, config.hold, stop):
        return
    while not stop.is_set():
        began = time.monotonic()
        try:
            _run_until_full(config, stop, once)
        except DiskFullError as error:
            log.error(  # noqa: TRY400  expected, and the sentence says it all
                "%s The worker takes nothing until there is room.", error.detail
            )
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            log.error(  # noqa: TRY400  as above
                "No room on the disk: %s. The worker takes nothing until there is.", error
            )
        else:
            return
        once()
        _say_paused(config)
        pause = (
            _FIRST_PAUSE_S
            if time.monotonic() - began > _STABLE_S
            else min(2 * pause, _LAST_PAUSE_S)
        )
        stop.wait(pause)
        while not stop.is_set() and _spare_bytes(config, _BACK) < 0:
            stop.wait(_LOOK_S)


def _shut_out(config: IngestConfig, hold: Hold, stop: threading.Event) -> bool:
    """Make sure that no worker before this one is heard any more, by devices or by followers; False if told to stop."""
    pause = 0.1
    while not stop.is_set():
        try:
            supersede(config.address)
        except LinkError as error:
            log.warning("%s Trying again in %.1f s.", error.detail, pause)
            stop.wait(pause)
            pause = min(2 * pause, 5.0)
            continue
        hold.confirm()
        # Before the end of the journal is looked for: no follower may be told of more than that.
        StoreStage(config.progress, hold.token).close()
        return True
    return False


class _Once:
    """Calls something the first time only."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


def _spare_bytes(config: IngestConfig, share: float = 1.0) -> int:
    """Bytes that are free beyond the reserve, or beyond more of it: `share` times; negative if there are too few."""
    config.journal.mkdir(parents=True, exist_ok=True, mode=0o700)
    return free_bytes(config.journal) - int(config.reserve_bytes * share)


def _say_paused(config: IngestConfig) -> None:
    """Tell whoever asks for the worker's progress that it waits; what it says else stays."""
    with (
        contextlib.suppress(OSError),
        contextlib.closing(StoreStage(config.progress, config.token)) as followers,
    ):
        past = read_progress(newest_progress(config.progress))
        followers.checkpointed(past.checkpoint)
        followers.paused(full=True)
        followers.store(past.synced, config.clock())


def _run_until_full(config: IngestConfig, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Run from what is on disk until `stop` is set.

    Raises:
        DiskFullError: a write found no room; what is in memory is not to be trusted any more.
        OSError: likewise, or the disk failed.
        StorageError: the disk failed or the journal is damaged.
    """
    now = config.clock()
    begin = partial(JournalWriter.open, now_ns=now, token=config.token or None)
    with (
        begin(config.journal, rotation=Rotation(size=config.segment_bytes)) as journal,
        begin(config.findings, rotation=_LOG_ROTATION) as findings,
        begin(config.dead_letters, rotation=_LOG_ROTATION) as dead_letters,
        contextlib.closing(Attempts(config.checkpoints)) as attempts,
    ):
        directory = _first_directory(config, stop)
        if directory is None:
            return
        worker = _Worker(config, journal, findings, dead_letters, directory, attempts)
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
        attempts: Attempts,
    ) -> None:
        self._config = config
        self._attempts = attempts
        self._journal = journal
        self._logs = (journal, findings, dead_letters)
        self._metrics = Metrics(f"ingest-{config.worker}")
        self._tally, self._laps = Tally(self._metrics), Laps(self._metrics)
        self._tracer: TurnTracer | None = None
        if config.collector is not None:
            self._laps = noted = NotedLaps(self._metrics)
            self._tracer = TurnTracer(config.collector, noted, config.traces_per_s)
        self._followers = StoreStage(config.progress, config.token)
        reactions = ReactStage(findings, config.worker)
        self._streams, self._detector, self._checkpoint = restored(
            config, directory, reactions, attempts
        )
        self._keep_from(oldest_checkpoint(config.checkpoints))
        self._receipts = ReceiptStage(self._streams, config.incarnation, ROOT, config.cadence_ms)
        self._receiver = Receiver(
            config.address,
            filters_of(config.worker, config.lanes),
            messages=config.messages,
            may_speak=config.held,
        )
        self._pipeline = Pipeline(
            self._receiver,
            directory,
            self._streams,
            JournalStage(journal, dead_letters, self._streams),
            self._receipts,
            self._detector,
            self._followers,
            reactions,
            FairShare(config.max_messages_per_s, config.most_lag_s),
            config.beat,
            self._laps,
        )
        self._last_checkpoint = time.monotonic()
        self._last_publish = self._last_look = self._last_replay = 0.0
        self._written = self._spare = 0
        self._started = time.monotonic()
        self._changed = False  # by more than beats, which are quickly replayed

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        if not self._room():
            ready()
            self._wait_for_room(stop)
        self._connect(stop)
        ready()
        while not stop.is_set():
            if not self._config.held():
                stop.wait(_UNSURE_S)  # until it is known whose the lane is
                continue
            try:
                frames = self._pipeline.receive(time.monotonic(), 0.05, self._config.linger_s)
            except LinkError as error:
                log.warning("%s Connecting again.", error.detail)
                self._connect(stop)
                continue
            self._take_newest_gate()
            for part, deaths in self._attempts.parts(frames):
                self._count(self._turn(part, deaths))
            self._replay_letters()
            self._between_turns()
            if not self._room():
                self._wait_for_room(stop)
                self._connect(stop)

    def _replay_letters(self) -> None:
        """Take the dead letters that an operator has handed back."""
        now = time.monotonic()
        if now - self._last_replay < _LOOK_S:
            return
        self._last_replay = now
        for path in replays_in(self._config.dead_letters / "replay"):
            try:
                letter = Replay.read(path)
            except ValueError as error:
                log.error("a replay is passed over: %s", error)  # noqa: TRY400  the sentence says it all
                path.unlink(missing_ok=True)
                continue
            if letter.stream is None:
                # Without identity nothing else could keep it from being taken twice.
                path.unlink(missing_ok=True)
            for part, deaths in self._attempts.parts(Frames.of(letter.topic, letter.payload)):
                turn = self._turn(part, deaths, letter)
                self._count(turn)
            path.unlink(missing_ok=True)
            rows = 0 if turn.stored is None else turn.stored.batch.rows
            log.info("dead letter replayed", extra={"letter": path.stem, "rows": rows})

    def _turn(self, frames: Frames, deaths: int, again: Replay | None = None) -> Turn:
        """Take a batch through the pipeline, marked as tried; what killed the worker too often is set aside."""
        now = self._config.clock()
        self._attempts.begin(frames)
        self._laps.begin()
        try:
            if deaths >= DEATHS:
                log.error("a message that killed the worker is set aside", extra={"deaths": deaths})
                self._metrics.dropped_frames.labels("crashed_worker").inc(frames.count)
                turn = self._pipeline.set_aside(
                    frames,
                    now,
                    detail=f"crashed the worker {deaths} times",
                    salvage=deaths == DEATHS,  # that it can kill as well
                )
            else:
                turn = self._pipeline.turn(frames, now, time.monotonic_ns(), again)
        except (StorageError, OSError):
            self._attempts.done()  # the disk's fault, not the messages'
            raise
        self._attempts.done()
        return turn

    def _room(self) -> bool:
        """Whether the disk has room for telemetry.

        Looked at a few times a second, and as soon as this worker alone may have used up what was free beyond the
        reserve: of that itself no more than the writes of one turn are taken.
        """
        now, written = time.monotonic(), sum(log.end for log in self._logs)
        if now - self._last_look < _LOOK_S and written - self._written < self._spare:
            return True
        self._last_look, self._written = now, written
        self._spare = _spare_bytes(self._config)
        return self._spare >= 0

    def _wait_for_room(self, stop: threading.Event) -> None:
        """Unsubscribe, and wait until more than the reserve is free; what is in memory stays good."""
        self._receiver.close()
        log.error(
            "the disk is nearly full: nothing is taken until there is room",
            extra={
                "free_bytes": free_bytes(self._config.journal),
                "reserve": self._config.reserve_bytes,
            },
        )
        self._paused(full=True)
        while not stop.is_set() and _spare_bytes(self._config, _BACK) < 0:
            stop.wait(_LOOK_S)
            self._between_turns()
        self._paused(full=False)
        log.info("there is room again")

    def _paused(self, *, full: bool) -> None:
        self._metrics.ingest_paused.set(full)
        self._followers.paused(full=full)
        self._followers.store(self._journal.synced, self._config.clock())

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
                if self._config.hold is not None:
                    self._config.hold.confirm()
                log.info("subscribed as %s", self._config.address.client_id)
                self._streams.tell_all()
                return

    def _take_newest_gate(self) -> None:
        """Use the gate as it is now; a device that enrolled a moment ago must pass it."""
        version = current_version(self._config.gate)
        if version is not None and version != self._pipeline.directory.version:
            directory = Directory.read(self._config.gate, ROOT, self._pipeline.directory)
            self._pipeline.use(directory)

    def _between_turns(self) -> None:
        if not self._config.held():
            return
        now = time.monotonic()
        if self._changed and now - self._last_checkpoint >= self._config.checkpoint_s:
            self._last_checkpoint, self._changed = now, False
            self.save_checkpoint()
        if now - self._last_publish >= 1.0:
            self._last_publish = now
            # What is read is deleted with its segment, also where little comes.
            for log_file in self._logs:
                log_file.seal_if_due(self._config.clock())
            self._followers.overloaded(shedding=self._tally.shedding(now))
            self._followers.store(self._journal.synced, self._config.clock())
            self._metrics.lag.set(self._receiver.lag_s(now))
            self._metrics.detector_series.set(self._detector.series)
            self._metrics.gate_version.set(self._pipeline.directory.version)
            try:
                self._metrics.publish(self._config.metrics)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
        if now - self._started >= _STABLE_S:
            self._attempts.survived()

    def save_checkpoint(self) -> None:
        """Save the state as of the end of the journal; only between two turns, or it would not be that."""
        offset = self._journal.synced
        if offset == self._checkpoint or not self._config.held():
            return
        arrays = {**self._streams.arrays(), **self._detector.arrays()}
        try:
            oldest = save_checkpoint(self._config.checkpoints, offset, arrays, self._config.token)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            log.warning("no room for a checkpoint; the next start replays more of the journal")
            return
        self._checkpoint = offset
        self._keep_from(oldest)

    def _keep_from(self, checkpoint: int) -> None:
        """Say from where on a restart reads the journal.

        `checkpoint` may be the last good one, and rows just before it are compared with what comes again.
        """
        trail = self._streams.trail.start
        start = checkpoint if trail is None else min(trail, checkpoint)
        self._followers.checkpointed(start)
        self._metrics.checkpoint_offset.set(start)

    def _count(self, turn: Turn) -> None:
        self._tally.turn(turn, time.monotonic())
        if self._tracer is not None:
            self._tracer.turn(turn, self._pipeline.directory.device_id)
        self._changed |= turn.stored is not None
