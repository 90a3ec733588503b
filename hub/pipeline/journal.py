"""Stage 5, journal: keep what is new, synced, before anybody is told.

1. Dead letters are synced before the receipt that rejects them, rows and settlements before the one that stores them.
2. A row that was settled before is dropped here (exactly once); a row that cannot be remembered is dropped unreceipted.
3. A row that was settled with other content is a conflict: its message becomes a dead letter, the row is rejected.
4. An error of the disk is not handled: the worker ends, opens the journal again and replays.
"""

import hashlib

import numpy as np
from numba import njit

from device_sdk.wire import cbor
from device_sdk.wire.codes import RejectCode
from hub.pipeline.frames import U8, Frames, Rows
from hub.pipeline.identity import BEYOND, CONFLICT, DUPLICATE, FORGOTTEN, NEW, StreamTable
from hub.pipeline.outcome import Conflict, Journal, Lost, Rejection, Stored
from hub.ports.journal.beat import Beat
from hub.ports.journal.block import Block, Kind
from hub.ports.journal.telemetry import TelemetryBatch, encode
from hub.services.replays import Replay

MAX_DEAD_LETTERS = 256  # of one micro-batch; what is beyond is counted, not kept
MAX_DEAD_BYTES = 262_144  # of one message: the largest pack, so that any can be replayed
MAX_DEAD_BYTES_OF_BATCH = 4 << 20  # then of each message only
SHORT_DEAD_BYTES = 1024


@njit(
    "i8(i8, u1[::1], u4[::1], u4[::1], u4[::1], u4[::1], u8[::1], u8[::1], i8[::1], i8[::1], u2[::1], f8[::1])",
    cache=True,
    nogil=True,
)
def _compact(  # type: ignore[no-untyped-def]
    rows,
    status,
    slot,
    epoch,
    flags,
    width,
    stream,
    seq,
    raw_time,
    time,
    metric,
    value,
):
    """Move the rows with status NEW to the front, in order; returns how many (samples follow `width`)."""
    kept = 0
    read = np.int64(0)
    write = np.int64(0)
    for i in range(rows):
        n = np.int64(width[i])
        if status[i] == 0:
            if kept != i:
                slot[kept] = slot[i]
                epoch[kept] = epoch[i]
                flags[kept] = flags[i]
                width[kept] = width[i]
                stream[kept] = stream[i]
                seq[kept] = seq[i]
                raw_time[kept] = raw_time[i]
                time[kept] = time[i]
                for k in range(n):
                    metric[write + k] = metric[read + k]
                    value[write + k] = value[read + k]
            kept += 1
            write += n
        read += n
    return kept


class JournalStage:
    """Appends and syncs one micro-batch.

    Args:
        telemetry: journal of this worker; it is the truth for rows and for which streams are settled.
        dead_letters: log of what was rejected.
        streams: which rows are settled.
    """

    def __init__(self, telemetry: Journal, dead_letters: Journal, streams: StreamTable) -> None:
        self._telemetry = telemetry
        self._dead_letters = dead_letters
        self._streams = streams

    def write(
        self,
        frames: Frames,
        rows: Rows,
        rejections: list[Rejection],
        lost: list[Lost],
        received: int,
        again: Replay | None = None,
    ) -> Stored:
        """Drop what is settled already, append the rest, sync.

        Args:
            frames: of this batch.
            rows: decoded from them; keeps only what is new.
            rejections: of this batch.
            lost: likewise.
            received: time of receipt, ns.
            again: the dead letter that this batch is, if it is one: its rows were settled without being stored.

        Raises:
            StorageError: the disk failed; nothing of this batch may be receipted.
        """
        before = rows.batch()
        status = self._streams.admit(before, received)
        if again is not None:
            _admit_again(before, status, again)
        counts = np.bincount(status, minlength=FORGOTTEN + 1).tolist()
        conflicts: list[Conflict] = []
        if counts[CONFLICT]:
            clashes, conflicts = _clashes(frames, rows, status)
            rejections = rejections + clashes
        kept = self._bury(rejections, received)
        rejected = self._settle(rejections, lost, received)
        if counts[NEW] < before.rows:
            self._keep_new(rows, status)
        batch = rows.batch()
        offset = -1
        if rows.rows:
            offset = self._telemetry.append(Kind.TELEMETRY, encode(batch), received)
            self._streams.trail.journalled(offset, rows.rows)
            if again is not None:
                self._streams.remember(batch, received)
        synced = self._telemetry.sync()
        unverified = int((status == FORGOTTEN).sum())  # now that those beside a conflict are one
        duplicates = counts[DUPLICATE] + unverified
        beyond = counts[BEYOND]
        return Stored(
            batch, offset, synced, rejected, duplicates, unverified, beyond, kept, conflicts
        )

    @staticmethod
    def _keep_new(rows: Rows, status: U8) -> None:
        r = rows
        rows.rows = int(
            _compact(
                r.rows,
                status,
                r.slot,
                r.epoch,
                r.flags,
                r.width,
                r.stream,
                r.seq,
                r.raw_time,
                r.time,
                r.metric,
                r.value,
            )
        )
        rows.samples = int(r.width[: rows.rows].sum(dtype=np.int64))

    def beat(self, beat: Beat, received: int) -> int:
        """Note that somebody listens, whether something came or not; returns the offset.

        Args:
            beat: the machine's time.
            received: the hub's, ns.

        Raises:
            StorageError: the disk failed.
        """
        offset = self._telemetry.append(Kind.BEAT, [beat.encode()], received)
        self._telemetry.sync()
        return offset

    def _bury(self, rejections: list[Rejection], received: int) -> int:
        # One letter a message, however many of its rows were rejected.
        messages: dict[int, list[Rejection]] = {}
        for rejection in rejections:
            messages.setdefault(id(rejection.payload), []).append(rejection)
        kept = list(messages.values())[:MAX_DEAD_LETTERS]
        if kept:
            room = MAX_DEAD_BYTES_OF_BATCH
            letters = []
            for of_message in kept:
                most = MAX_DEAD_BYTES if room > 0 else SHORT_DEAD_BYTES
                letters.append(_dead_letter(of_message, received, most))
                room -= min(most, len(of_message[0].payload))
            self._dead_letters.append(Kind.DEAD_LETTERS, [cbor.encode(letters)], received)
            self._dead_letters.sync()
        return len(kept)

    def _settle(
        self, rejections: list[Rejection], lost: list[Lost], received: int
    ) -> list[tuple[int, int, int, int]]:
        """Settle rejected and lost rows, journalled so that a restart remembers them."""
        settled: list[list[int]] = []
        told: list[tuple[int, int, int, int]] = []
        for r in rejections:
            if r.stream is not None and self._streams.settle(
                r.slot, r.stream, r.start, r.end, received
            ):
                if r.code != RejectCode.CONFLICT:  # those are settled by what is stored
                    settled.append([r.slot, r.stream, r.start, r.end])
                entry = self._streams.find(r.slot, r.stream)
                if entry is not None:
                    told.append((entry, r.start, r.end, int(r.code)))
        settled.extend(
            [gone.slot, gone.stream, gone.start, gone.end]
            for gone in lost
            if self._streams.settle(gone.slot, gone.stream, gone.start, gone.end, received)
        )
        if settled:
            self._telemetry.append(Kind.SETTLEMENTS, [cbor.encode(settled)], received)
        return told


def replay(streams: StreamTable, block: Block, batch: TelemetryBatch | None) -> None:
    """Take a journalled block into the stream table again, on start."""
    if batch is not None:
        status = streams.admit(batch, block.received_ns, window=1 << 62)
        if (status == FORGOTTEN).any():  # rows of a dead letter that was replayed
            streams.remember(batch, block.received_ns)
        streams.trail.journalled(block.offset, batch.rows)
    elif block.kind == Kind.SETTLEMENTS:
        for slot, stream, start, end in cbor.decode(bytes(block.payload), max_bytes=1 << 28):
            streams.settle(slot, stream, start, end, block.received_ns)


def _clashes(frames: Frames, rows: Rows, status: U8) -> tuple[list[Rejection], list[Conflict]]:
    """What to reject of the messages that hold a row in conflict, and for which streams to raise the alarm.

    A row of such a message whose stored content is forgotten is taken to be in conflict too: the device then sends it
    again under a new identity, where it would else be told that it was stored.
    """
    n = rows.rows
    frame, slot, stream, seq = rows.frame[:n], rows.slot[:n], rows.stream[:n], rows.seq[:n]
    hit = np.isin(frame, frame[status == CONFLICT])
    status[hit & (status == FORGOTTEN)] = CONFLICT
    at = np.flatnonzero(status == CONFLICT)
    # A run: one message, one stream (a message has only one), seqs without a gap.
    breaks = np.flatnonzero((np.diff(frame[at]) != 0) | (np.diff(seq[at]) != 1)) + 1
    payloads: dict[int, tuple[str, bytes]] = {}
    rejections = []
    conflicts: dict[tuple[int, int], Conflict] = {}
    for run in np.split(at, breaks):
        i, start, end = int(frame[run[0]]), int(seq[run[0]]), int(seq[run[-1]]) + 1
        who, where = int(slot[run[0]]), int(stream[run[0]])
        topic, payload = payloads.setdefault(i, (frames.topic_text(i), frames.payload_bytes(i)))
        detail = f"rows {start} to {end - 1} of stream {where:016x} are stored with other content"
        rejections.append(
            Rejection(who, topic, RejectCode.CONFLICT, detail, payload, where, start, end)
        )
        seen = conflicts.get((who, where), Conflict(who, where, start, end, 0))
        conflicts[who, where] = Conflict(
            who, where, min(seen.start, start), max(seen.end, end), seen.rows + run.size
        )
    return rejections, list(conflicts.values())


def _admit_again(batch: TelemetryBatch, status: U8, again: Replay) -> None:
    """Take the rows of a dead letter as new that were rejected then and are not stored since."""
    if again.stream is None:
        return
    own = (status == FORGOTTEN) & (batch.stream == np.uint64(again.stream))
    for start, end in again.rows:
        status[own & (batch.seq >= start) & (batch.seq < end)] = NEW


def _dead_letter(rejections: list[Rejection], received: int, most: int) -> dict[str, object]:
    """The record of one message; `rejections` are all about it."""
    one = rejections[0]
    digest = hashlib.sha256(one.payload).digest()
    identity = hashlib.sha256(one.topic.encode() + b"\n" + received.to_bytes(8, "big") + digest)
    rows = [r for r in rejections if r.stream is not None]
    return {
        "id": identity.digest()[:16],
        "slot": one.slot,
        "topic": one.topic,
        "code": int(RejectCode(one.code)),
        "detail": one.detail,
        "sha256": digest,
        "size": len(one.payload),
        "bytes": one.payload[:most],
        "time": received,
        "stream": rows[0].stream.to_bytes(8, "big") if rows and rows[0].stream is not None else b"",
        "rows": [[r.start, r.end] for r in rows],
    }
