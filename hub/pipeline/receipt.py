"""Stage 6, receipt: tell devices what is settled, so that they may forget it.

1. Nothing is told before the journal is synced: this stage runs behind it and reads only settled streams.
2. One message a device, all its streams in it; at most one each cadence unless half a stream's window is spent.
3. Receipts are encoded in bulk by a kernel, byte for byte as `device_sdk.wire.receipt` would; the rare ones with
   rejections, or that tell a device to wait, go through that encoder itself.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from device_sdk.wire.codes import RejectCode
from device_sdk.wire.messages import Birth
from device_sdk.wire.receipt import Receipt, StreamReceipt
from hub.pipeline import packets
from hub.pipeline.frames import U8, Frames
from hub.pipeline.identity import MAX_RANGES, StreamTable

_SECOND = 1_000_000_000
_FRAME_ROOM = 160  # MQTT and receipt heads, topic
_STREAM_ROOM = 32 + MAX_RANGES * 18


@njit("i8(u1[::1], i8, i8, u8)", cache=True, nogil=True)
def _put_head(out, at, major, argument):  # type: ignore[no-untyped-def]
    """Write a CBOR head in its shortest form (RFC 8949, 4.2.1)."""
    first = major << 5
    if argument < 24:
        out[at] = first | np.int64(argument)
        return at + 1
    if argument < 0x100:
        size, code = 1, 24
    elif argument < 0x10000:
        size, code = 2, 25
    elif argument < 0x100000000:
        size, code = 4, 26
    else:
        size, code = 8, 27
    out[at] = first | code
    for i in range(size):
        out[at + 1 + i] = (argument >> np.uint64(8 * (size - 1 - i))) & np.uint64(255)
    return at + 1 + size


@njit("i8(u1[::1], i8, u8)", cache=True, nogil=True)
def _put_stream(out, at, stream):  # type: ignore[no-untyped-def]
    out[at] = 0x48
    for i in range(8):
        out[at + 1 + i] = (stream >> np.uint64(56 - 8 * i)) & np.uint64(255)
    return at + 9


@njit(
    "i8(u1[::1], i8[::1], i8, u4[::1], u8[::1], i8[::1], i8[::1], i8[:, :, ::1], u1[:, ::1], u1[:, ::1], u1[::1],"
    " u8, i8, i8, i8, u1[::1])",
    cache=True,
    nogil=True,
)
def encode_receipts(  # type: ignore[no-untyped-def]
    out,
    entries,
    first,
    slot,
    stream,
    watermark,
    count,
    ranges,
    ids,
    shards,
    root,
    incarnation,
    now,
    window,
    cadence,
    scratch,
):
    """One MQTT PUBLISH a device for `entries`, which are sorted by slot; returns the bytes written to `out`."""
    at = np.int64(0)
    i = first
    while i < entries.size:
        s = slot[entries[i]]
        stop = i
        while stop < entries.size and slot[entries[stop]] == s:
            stop += 1
        p = np.int64(0)
        scratch[0] = 0xA6
        scratch[1] = 0
        scratch[2] = 1
        scratch[3] = 1
        p = _put_stream(scratch, 4, incarnation)
        scratch[p] = 2
        p = _put_head(scratch, p + 1, 0, np.uint64(now))
        scratch[p] = 3
        p = _put_head(scratch, p + 1, 4, np.uint64(stop - i))
        for k in range(i, stop):
            e = entries[k]
            scratch[p] = 0x84
            p = _put_stream(scratch, p + 1, stream[e])
            p = _put_head(scratch, p, 0, np.uint64(watermark[e]))
            p = _put_head(scratch, p, 4, np.uint64(2 * count[e]))
            for r in range(count[e]):
                p = _put_head(scratch, p, 0, np.uint64(ranges[e, r, 0]))
                p = _put_head(scratch, p, 0, np.uint64(ranges[e, r, 1]))
            scratch[p] = 0x80
            p += 1
        scratch[p] = 4
        p = _put_head(scratch, p + 1, 0, np.uint64(window))
        scratch[p] = 5
        p = _put_head(scratch, p + 1, 0, np.uint64(cadence))
        topic = root.size + 33  # "/" ss "/" id "/down/receipt" = 1 + 2 + 1 + 16 + 13
        size = 2 + topic + p
        out[at] = 0x30
        at += 1
        while True:
            digit = size & 127
            size >>= 7
            out[at] = digit | (128 if size else 0)
            at += 1
            if size == 0:
                break
        out[at] = topic >> 8
        out[at + 1] = topic & 255
        at += 2
        for k in range(root.size):
            out[at + k] = root[k]
        at += root.size
        out[at] = 47
        out[at + 1] = shards[s, 0]
        out[at + 2] = shards[s, 1]
        out[at + 3] = 47
        for k in range(16):
            out[at + 4 + k] = ids[s, k]
        at += 20
        for c in (47, 100, 111, 119, 110, 47, 114, 101, 99, 101, 105, 112, 116):
            out[at] = c
            at += 1
        for k in range(p):
            out[at + k] = scratch[k]
        at += p
        i = stop
    return at


class ReceiptStage:
    """Builds the receipts that are due.

    Args:
        streams: what is settled.
        incarnation: of this hub, 8 bytes.
        root: topic root.
        cadence_ms: at most one receipt a device in so many ms, unless half its window is spent.
    """

    def __init__(
        self, streams: StreamTable, incarnation: bytes, root: str, cadence_ms: int = 1000
    ) -> None:
        self._streams = streams
        self._incarnation = incarnation
        self._cadence_ms = cadence_ms
        self._root: U8 = np.frombuffer(bytearray(root.encode()), np.uint8)
        self._ids: NDArray[np.uint8] = np.zeros((1, 16), np.uint8)
        self._shards: NDArray[np.uint8] = np.zeros((1, 2), np.uint8)
        self._pending: dict[int, list[tuple[int, int, int]]] = {}

    def use(self, device_id: NDArray[np.uint8], shard: NDArray[np.uint8]) -> None:
        """Take the device ids (u8[N, 16]) and shards (u8[N, 2]) of a new gate snapshot."""
        self._ids, self._shards = np.ascontiguousarray(device_id), np.ascontiguousarray(shard)

    def reject(self, rejected: list[tuple[int, int, int, int]]) -> None:
        """Remember rejections (entry, start, end, code) until they are told, at once."""
        for entry, start, end, code in rejected:
            self._pending.setdefault(entry, []).append((start, end, code))

    def receipts(self, now: int) -> tuple[bytes, int]:
        """MQTT PUBLISH packets with all receipts that are due at `now` (ns), and how many."""
        t = self._streams
        n = t.used
        due = np.flatnonzero(
            (t.dirty[:n] != 0)
            & (
                (now - t.receipted[:n] >= self._cadence_ms * 1_000_000)
                | (t.spent[:n] >= t.window // 2)
            )
        )
        if self._pending:
            due = np.union1d(due, np.fromiter(self._pending, np.int64))
        if due.size == 0:
            return b"", 0
        t.dirty[due] = 0
        t.spent[due] = 0
        t.receipted[due] = now
        plain = due
        told = b""
        if self._pending:
            slots = np.unique(t.slot[np.fromiter(self._pending, np.int64)])
            rare = np.isin(t.slot[due], slots)
            told = self._by_reference(due[rare], now)
            plain = due[~rare]
            self._pending.clear()
        return told + self._in_bulk(plain, now), int(np.unique(t.slot[due]).size)

    def greet(self, births: list[tuple[int, Birth]], now: int) -> bytes:
        """Tell devices that have just connected how far the stream they are at is settled.

        A stream that is known gets a receipt by `receipts`, at once; the answer for others is returned. A device in
        doubt whether its spool is an older copy of itself waits for this before it sends new rows (docs/wire.md; the
        SDK here never is).

        Args:
            births: slots and what their devices said.
            now: ns since 1970 UTC.
        """
        out = b""
        for slot, birth in births:
            entry = self._streams.find(slot, int.from_bytes(birth.stream, "big"))
            if entry is not None:
                self._streams.dirty[entry] = 1
                self._streams.receipted[entry] = 0
                continue
            told = (StreamReceipt(birth.stream, 0),)
            receipt = Receipt(self._incarnation, now, told, self._streams.window, self._cadence_ms)
            out += self._publish(slot, receipt)
        return out

    def waits(self, frames: Frames, now: int) -> bytes:
        """MQTT PUBLISH packets that tell throttled devices how long to wait, where the gate has set that."""
        told = np.flatnonzero(frames.wait[: frames.count])
        waits_ms = -(-frames.wait[told] // 1_000_000)
        return b"".join(
            self._publish(
                slot,
                Receipt(self._incarnation, now, (), self._streams.window, self._cadence_ms, wait),
            )
            for slot, wait in zip(frames.slot[told].tolist(), waits_ms.tolist(), strict=True)
        )

    def _in_bulk(self, entries: NDArray[np.int64], now: int) -> bytes:
        if entries.size == 0:
            return b""
        t = self._streams
        entries = entries[np.argsort(t.slot[entries], kind="stable")]
        out: U8 = np.empty(entries.size * (_FRAME_ROOM + _STREAM_ROOM), np.uint8)
        scratch: U8 = np.empty(_FRAME_ROOM + entries.size * _STREAM_ROOM, np.uint8)
        size = encode_receipts(
            out,
            entries,
            0,
            t.slot,
            t.stream,
            t.watermark,
            t.count,
            t.ranges,
            self._ids,
            self._shards,
            self._root,
            np.uint64(int.from_bytes(self._incarnation, "big")),
            now,
            t.window,
            self._cadence_ms,
            scratch,
        )
        return out[:size].tobytes()

    def _by_reference(self, entries: NDArray[np.int64], now: int) -> bytes:
        t = self._streams
        out = b""
        for slot in np.unique(t.slot[entries]).tolist():
            own = entries[t.slot[entries] == slot]
            streams = tuple(
                StreamReceipt(
                    stream=int(t.stream[e]).to_bytes(8, "big"),
                    watermark=int(t.watermark[e]),
                    ranges=tuple((int(a), int(b)) for a, b in t.ranges[e, : t.count[e]]),
                    rejections=tuple(self._pending.get(int(e), ())),
                )
                for e in own
            )
            receipt = Receipt(
                self._incarnation,
                now,
                streams,
                t.window,
                self._cadence_ms,
                abandon=tuple(
                    s.stream
                    for s in streams
                    if any(code == RejectCode.CONFLICT for _, _, code in s.rejections)
                ),
            )
            out += self._publish(slot, receipt)
        return out

    def _publish(self, slot: int, receipt: Receipt) -> bytes:
        ident, shard = self._ids[slot].tobytes(), self._shards[slot].tobytes()
        topic = self._root.tobytes() + b"/" + shard + b"/" + ident + b"/down/receipt"
        return packets.publish(topic, receipt.encode())
