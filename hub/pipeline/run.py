"""The way of one message, in the order in which it happens.

1. `receive` and `turn` read as the list of stages; each stage is a module that knows none of the others.
2. Nothing is receipted before it is journalled and synced; nothing is detected that was not journalled.
   A turn that ends in an error leaves state that must not be saved.
3. No clock here: both times are arguments. No SQL, no object per message.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from analytics.cohort import CohortWatch
from analytics.detector import Detector
from analytics.silence import TICK_NS as BEAT_NS
from analytics.silence import SilenceWatch
from device_sdk.wire.codes import RejectCode
from hub.pipeline.births import older_copies, read_births
from hub.pipeline.detect import DetectStage
from hub.pipeline.directory import Directory
from hub.pipeline.frames import NO_ROWS, THROTTLE, U8, Frames, Rows
from hub.pipeline.identity import StreamTable
from hub.pipeline.journal import JournalStage, replay
from hub.pipeline.outcome import NOTHING, FoundIn, Stored
from hub.pipeline.react import ReactStage
from hub.pipeline.receipt import ReceiptStage
from hub.pipeline.receive import Receiver
from hub.pipeline.share import FairShare
from hub.pipeline.store import StoreStage
from hub.ports.journal.beat import Beat
from hub.ports.journal.block import Block, Kind
from hub.ports.journal.telemetry import decode
from hub.services.replays import Replay

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did, for metrics.

    Attributes:
        messages, bytes: received.
        stored: what the journal took; None if nothing came.
        verdicts: frames by verdict. throttled: frames by the reason for which they were throttled.
        rejected: rejections by code.
        receipts: sent.
        findings: logged, by kind.
        found: what was found in the rows that were stored.
    """

    messages: int = 0
    bytes: int = 0
    stored: Stored | None = None
    verdicts: Counter[int] = field(default_factory=Counter)
    throttled: Counter[int] = field(default_factory=Counter)
    rejected: Counter[RejectCode] = field(default_factory=Counter)
    receipts: int = 0
    findings: Counter[int] = field(default_factory=Counter)
    found: FoundIn = NOTHING


class Pipeline:
    """The stages of one worker.

    Args:
        receiver: connected (or about to be) to the broker.
        directory: the gate snapshot to start with.
        streams: which rows are settled; the stages have the same table.
        journal, receipts, detector, followers, reactions: the stages that hold state.
        share: what the worker can take.
        beat: tells the machine's time, for the beats.
        lap: told the name of each stage of a turn when it has ended, so that somebody can take its time.
    """

    def __init__(
        self,
        receiver: Receiver,
        directory: Directory,
        streams: StreamTable,
        journal: JournalStage,
        receipts: ReceiptStage,
        detector: DetectStage,
        followers: StoreStage,
        reactions: ReactStage,
        share: FairShare,
        beat: Callable[[], Beat],
        lap: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._receiver = receiver
        self._streams = streams
        self._journal = journal
        self._receipts = receipts
        self._detector = detector
        self._followers = followers
        self._reactions = reactions
        self._share = share
        self._beat = beat
        self._lap = lap
        self._rows = Rows(1 << 16, 1 << 19)
        self._journalled_at = 0
        self._beat_at = -BEAT_NS  # on the clock that is never set
        self.use(directory)

    def use(self, directory: Directory) -> None:
        """Swap to another gate snapshot, between two turns."""
        self.directory = directory
        self._receipts.use(directory.device_id, directory.shard)
        self._detector.use(directory.model, directory.metrics, directory.cohort)

    def receive(self, monotonic_s: float, wait_s: float, linger_s: float) -> Frames:
        """Wait for the next micro-batch, which `turn` takes all the way.

        Time of receipt and gate are looked at after this, never before: the wait may be long, and a
        device may have enrolled during it.

        Args:
            monotonic_s: monotonic seconds, for the connection's keep-alive.
            wait_s: how long to wait for data.
            linger_s: how long a small batch may gather.

        Raises:
            LinkError: the broker is gone; connect again.
        """
        return self._receiver.receive(monotonic_s, wait_s, linger_s)

    def turn(
        self, frames: Frames, now_ns: int, monotonic_ns: int, again: Replay | None = None
    ) -> Turn:
        """Take one micro-batch all the way.

        Args:
            frames: as received.
            now_ns: time of receipt, ns since 1970 UTC.
            monotonic_ns: the same instant on a clock that is never set.
            again: the dead letter that `frames` is, when an operator has it taken again; no budget holds it up.

        Raises:
            StorageError: the disk failed; end the process, without a checkpoint.
        """
        lag_s = self._receiver.lag_s(monotonic_ns / _SECOND)
        self._share.adjust(self.directory.budgets, monotonic_ns, lag_s)
        if frames.count == 0:
            return Turn(receipts=self._receipt(now_ns), findings=self._listen(now_ns, monotonic_ns))
        directory, rows = self.directory, self._rows
        lap = self._lap
        directory.authenticator.authenticate(frames)
        lap("authenticate")
        directory.gate.gate(frames, now_ns)
        births = read_births(frames, frames.pass_over_presence())
        older = older_copies(births, self._streams, now_ns) if births else []
        if again is None:
            directory.budgets.charge(frames, monotonic_ns)
        lap("gate")
        received = now_ns if again is None else again.received
        rejections, lost = directory.decoder.decode(frames, rows, received)
        lap("decode")
        stored = self._journal.write(frames, rows, rejections, lost, now_ns, again)
        lap("journal")
        # Before the receipt: a device that was told does not send the rows again, so this is the only chance.
        self._reactions.raise_conflicts(stored.conflicts, now_ns)
        self._reactions.raise_older_copies(older, now_ns)
        self._receipts.reject(stored.rejected)
        self._receiver.send(self._receipts.greet(births, now_ns))
        sent = self._receipt(now_ns)
        self._receiver.send(self._receipts.waits(frames, now_ns))
        lap("receipt")
        found = self._detector.detect(stored.batch, now_ns) if stored.offset >= 0 else NOTHING
        lap("detect")
        self._followers.store(stored.synced, now_ns)
        if stored.offset >= 0:
            self._journalled_at = now_ns
            findings = self._reactions.react(found, stored.offset, now_ns)
            if monotonic_ns - self._beat_at >= BEAT_NS:  # also while much comes
                findings += self._say_listening(now_ns, monotonic_ns)
        else:
            findings = self._listen(now_ns, monotonic_ns)
        lap("react")
        size = int(frames.payload_size[: frames.count].sum())
        rejected = Counter(r.code for r in rejections)
        if stored.conflicts:
            rejected[RejectCode.CONFLICT] += sum(c.rows for c in stored.conflicts)
        verdicts, throttled = _counted(frames)
        return Turn(
            frames.count, size, stored, verdicts, throttled, rejected, sent, findings, found
        )

    def set_aside(self, frames: Frames, now_ns: int, *, detail: str, salvage: bool) -> Turn:
        """Reject messages without looking into them, because they have killed the worker.

        Args:
            frames: as received.
            now_ns: time of receipt, ns since 1970 UTC.
            detail: what stands in the dead letters.
            salvage: try to read the identity of their rows, so that devices are told and stop sending them.

        Raises:
            StorageError: the disk failed.
        """
        self.directory.authenticator.authenticate(frames)
        decoder, rows = self.directory.decoder, self._rows
        rejections = [
            decoder.set_aside(frames, i, detail, salvage=salvage) for i in range(frames.count)
        ]
        rows.clear()
        stored = self._journal.write(frames, rows, rejections, [], now_ns)
        self._receipts.reject(stored.rejected)
        sent = self._receipt(now_ns)
        rejected = Counter(r.code for r in rejections)
        return Turn(frames.count, stored=stored, rejected=rejected, receipts=sent)

    def _listen(self, now_ns: int, monotonic_ns: int) -> Counter[int]:
        """Journal now and then that somebody listens: only then is a device that says nothing silent."""
        if 0 <= now_ns - self._journalled_at < BEAT_NS and monotonic_ns - self._beat_at < BEAT_NS:
            return Counter()
        return self._say_listening(now_ns, monotonic_ns)

    def _say_listening(self, now_ns: int, monotonic_ns: int) -> Counter[int]:
        self._journalled_at, self._beat_at = now_ns, monotonic_ns
        offset = self._journal.beat(self._beat(), now_ns)
        return self._reactions.react(self._detector.beat(now_ns), offset, now_ns)

    def _receipt(self, now_ns: int) -> int:
        data, count = self._receipts.receipts(now_ns)
        if count:
            self._receiver.send(data)
        return count


def _counted(frames: Frames) -> tuple[Counter[int], Counter[int]]:
    """Frames by verdict, and throttled ones by reason."""
    verdict, reason = frames.verdict[: frames.count], frames.reason[: frames.count]
    return _tally(verdict[verdict != NO_ROWS]), _tally(reason[verdict == THROTTLE])


def _tally(values: U8) -> Counter[int]:
    counts = np.bincount(values).tolist()
    return Counter({value: count for value, count in enumerate(counts) if count})


def replay_block(
    block: Block,
    streams: StreamTable,
    detector: DetectStage,
    reactions: ReactStage,
    *,
    detect: bool = True,
) -> None:
    """Take a journalled block into the state again, on start; its findings are logged again under the same ids.

    Without `detect`, only into the stream table: its rows stay stored and settled.
    """
    if block.kind == Kind.BEAT:
        found = detector.beat(block.received_ns)
        reactions.react(found, block.offset, block.received_ns)
        return
    if block.kind != Kind.TELEMETRY:
        replay(streams, block, None)
        return
    batch = decode(bytearray(block.payload))  # kernels are compiled for writable columns
    replay(streams, block, batch)
    if not detect:
        return
    reactions.react(detector.detect(batch, block.received_ns), block.offset, block.received_ns)


def fresh_detector() -> DetectStage:
    """A detector that has seen nothing."""
    return DetectStage(Detector(4096), CohortWatch(), SilenceWatch())
