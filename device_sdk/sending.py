"""What to send when: window, gaps, timeouts, throttling, and streams that must be left.

1. Packs go in order of seq; no seq at or beyond watermark + window is sent (one pack always may).
   The window is the hub's at most; it grows by what receipts settle and halves when they fail to
   come.
2. Sent again from the watermark: after reconnecting, when a receipt shows a gap, when no receipt
   came for five cadences (with jitter, doubling), when the hub's incarnation changed, and after
   `retry_after`.
3. A stream is left for a new one when the hub asks for it, when it finds other rows under the same
   seqs, and when it knows rows that were never measured. None of this comes of a spool that is
   copied or put back: each opening has a stream of its own. Rows that will never come are declared
   lost.
4. Time comes in as an argument (monotonic seconds) and randomness as `jitter` (0 to 1). No threads,
   no network.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from device_sdk import sealing
from device_sdk.spool import Spool
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.receipt import Receipt, StreamReceipt
from device_sdk.wire.trace import trace_id

_log = logging.getLogger(__name__)

DEFAULT_WINDOW = 8_192
DEFAULT_CADENCE = 1.0
PATIENCE = 5
"""Cadences without a receipt after which packs are sent again."""
_MOST_PATIENT = 16
_LEAST_WINDOW = 1_000
_LONGEST_WAIT = 3600.0  # seconds; a mistake of the hub must not silence a device for ever

Ranges = list[tuple[int, int]]


@dataclass(slots=True)
class _Progress:
    """How far one stream is: what is settled beyond the watermark, and the next seq to send."""

    watermark: int | None = None
    settled: Ranges = field(default_factory=list)
    cursor: int = 0
    quiet_until: float = 0.0


class Sender:
    """Decides which packs to publish.

    Args:
        spool: where packs wait.
        publish: hands a pack to the connection; False if there is none.
        jitter: random numbers from 0 to 1.
        device_id: the device, for the log.
    """

    def __init__(
        self,
        spool: Spool,
        publish: Callable[[bytes], bool],
        jitter: Callable[[], float],
        device_id: str,
    ) -> None:
        self._spool = spool
        self._publish = publish
        self._jitter = jitter
        self._device_id = device_id
        self._progress: dict[bytes, _Progress] = {}
        self._online = False
        self._window = DEFAULT_WINDOW
        self._allowance = DEFAULT_WINDOW
        self._cadence = DEFAULT_CADENCE
        self._paused_until: float | None = None
        self._deadline: float | None = None
        self._timeouts = 0
        self._incarnation = spool.fact("incarnation")
        self.packs_sent = 0
        self.rows_settled = 0
        self.receipts = 0
        self.streams_left = 0
        self.rejected: Counter[int] = Counter()

    def connected(self, now: float) -> None:
        """Start over from the watermark on a fresh connection; a wait that the hub asked for goes on."""
        self._online = True
        self._timeouts = 0
        self._allowance = DEFAULT_WINDOW
        for progress in self._progress.values():
            # The hub may have gone back to a backup meanwhile; it tells anew how far it is.
            progress.watermark, progress.settled = None, []
        self._rewind()
        self.pump(now)

    def disconnected(self) -> None:
        """Stop sending."""
        self._online = False
        self._deadline = None

    def pump(self, now: float) -> None:
        """Send what may be sent now."""
        if not self._online:
            return
        if self._paused_until is not None:
            if now < self._paused_until:
                return
            self._paused_until = None
        if self._deadline is not None and now >= self._deadline:
            self._timeouts += 1
            self._allowance = max(_LEAST_WINDOW, self._allowance // 2)
            self._rewind()
        outstanding = False
        for stream, first, _ in self._spool.streams():
            outstanding |= self._pump_stream(stream, first)
        if not outstanding:
            self._deadline = None
        elif self._deadline is None:
            self._deadline = now + self._patience()

    def due(self) -> float | None:
        """Return when `pump` must be called again even if nothing happens."""
        if not self._online:
            return None
        return self._deadline if self._paused_until is None else self._paused_until

    def receipt(self, receipt: Receipt, now: float) -> None:
        """Take in a receipt: forget what is settled, and send what it shows to be missing."""
        self.receipts += 1
        self._timeouts = 0
        self._deadline = None
        self._window = max(1, receipt.window)
        self._cadence = min(max(receipt.cadence_ms / 1000, 0.05), 300.0)
        if receipt.incarnation != self._incarnation:
            if self._incarnation is not None:
                # The hub was restored: what it told us before no longer holds.
                self._progress.clear()
            self._incarnation = receipt.incarnation
            self._spool.keep_fact("incarnation", receipt.incarnation)
        abandon = {*receipt.abandon, *(e.stream for e in receipt.streams if _conflicts(e))}
        before = self.rows_settled
        for entry in receipt.streams:
            self._settle(entry, now, abandoned=entry.stream in abandon)
        self._allowance = min(self._window, self._allowance + self.rows_settled - before)
        for stream, first, _ in self._spool.streams():
            if stream in abandon:
                self._leave(stream, first)
        if receipt.retry_after_ms is not None:
            wait = min(receipt.retry_after_ms / 1000, _LONGEST_WAIT)
            self._paused_until = now + wait * (1 + 0.25 * self._jitter())
            self._rewind()
        self.pump(now)

    def _pump_stream(self, stream: bytes, first: int) -> bool:
        """Send packs of one stream up to the window; tell whether an answer is awaited."""
        progress = self._progress.setdefault(stream, _Progress())
        base = first if progress.watermark is None else progress.watermark
        progress.cursor = max(progress.cursor, first)
        window = min(self._window, self._allowance)
        while pack := self._spool.next_pack(stream, progress.cursor):
            data = pack.data
            if pack.first == first and (gone := self._gone(stream, first, progress)):
                data = sealing.declare_lost(data, gone)
                base = first
            if pack.end - base > window and pack.first > base:
                break
            if not self._send(data, stream, pack):
                break
            progress.cursor = pack.end
        return progress.cursor > first

    def _gone(self, stream: bytes, first: int, progress: _Progress) -> Ranges:
        """Return what will never come below the oldest row held: dropped, or lost by the hub.

        The hub must hear of it, or its watermark would wait for those rows for ever.
        """
        gone = [(start, end) for start, end in self._spool.lost(stream) if end <= first]
        if progress.watermark is not None:
            gone.append((progress.watermark, first))
        return without(gone, [(0, progress.watermark or 0), *progress.settled])

    def _send(self, data: bytes, stream: bytes, pack: sealing.SealedPack) -> bool:
        if not self._publish(data):
            return False
        self.packs_sent += 1
        self._tell("pack sent", stream, pack.first, pack.end)
        return True

    def _tell(self, what: str, stream: bytes, first: int, end: int) -> None:
        """Log something of the rows from `first` up to `end`; the name of the first is what the hub calls it."""
        if _log.isEnabledFor(logging.DEBUG):
            trace = trace_id(self._device_id, stream, first)
            rows = {"stream": stream.hex(), "first": first, "end": end}
            _log.debug("%s", what, extra={"trace": trace, **rows})

    def _settle(self, entry: StreamReceipt, now: float, *, abandoned: bool) -> None:
        rejections = [(start, end) for start, end, _ in entry.rejections]
        if entry.stream == self._spool.stream:
            highest = max([entry.watermark, *(end for _, end in [*entry.ranges, *rejections])])
            if highest > self._spool.next_seq:
                # Somebody else writes under this name (a copy of a running machine): which rows
                # the hub means cannot be told, so all go again under a name of their own.
                self._spool.move(entry.stream, 0, set())
                self.streams_left += 1
        if entry.stream not in {stream for stream, _, _ in self._spool.streams()}:
            self._progress.pop(entry.stream, None)
            return
        progress = self._progress.setdefault(entry.stream, _Progress())
        before = progress.watermark or 0
        progress.watermark = max(entry.watermark, before)
        settled = merge([(0, progress.watermark), *progress.settled, *entry.ranges, *rejections])
        if abandoned:
            # Rows in conflict are sound, only their identity is not: they move with the rest.
            settled = without(settled, _conflicts(entry))
            progress.watermark = 0
        self.rows_settled += self._spool.settle(entry.stream, settled)
        self._tell("receipt", entry.stream, before, progress.watermark)
        progress.settled = [(start, end) for start, end in settled if end > progress.watermark]
        for start, end, code in entry.rejections:
            self.rejected[code] += end - start
        if entry.ranges:
            self._fill_gap(entry.stream, entry.ranges[-1][0], progress, now)

    def _fill_gap(self, stream: bytes, top: int, progress: _Progress, now: float) -> None:
        """Send again what lies below settled rows and is not settled itself."""
        if now < progress.quiet_until or not self._online or self._paused_until is not None:
            return
        progress.quiet_until = now + 2 * self._cadence * (1 + self._jitter())
        seq = 0
        while (pack := self._spool.next_pack(stream, seq)) and pack.first < min(
            top, progress.cursor
        ):
            if not self._send(pack.data, stream, pack):
                return
            seq = pack.end

    def _leave(self, stream: bytes, first: int) -> None:
        """Move what is held of a stream, from seq `first` on, to a new one."""
        progress = self._progress.pop(stream, _Progress())
        settled: set[int] = set()
        for low, high in [(0, progress.watermark or 0), *progress.settled]:
            settled.update(range(max(low, first), high))
        self._spool.move(stream, first, settled)
        self.streams_left += 1

    def _rewind(self) -> None:
        for progress in self._progress.values():
            progress.cursor = 0
        self._deadline = None

    def _patience(self) -> float:
        factor = min(1 << self._timeouts, _MOST_PATIENT)
        return PATIENCE * self._cadence * factor * (1 + 0.5 * self._jitter())


def _conflicts(entry: StreamReceipt) -> Ranges:
    """Return the rows that the hub has under the same seqs with other content."""
    return [(start, end) for start, end, code in entry.rejections if code == RejectCode.CONFLICT]


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return ranges (end exclusive) rising, apart and without empty ones."""
    merged: Ranges = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def without(ranges: Iterable[tuple[int, int]], holes: Iterable[tuple[int, int]]) -> Ranges:
    """Return merged `ranges` less `holes`."""
    rest = merge(ranges)
    for low, high in merge(holes):
        rest = [
            piece
            for start, end in rest
            for piece in ((start, min(end, low)), (max(start, high), end))
            if piece[0] < piece[1]
        ]
    return rest
