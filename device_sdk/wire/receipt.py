"""Receipts: what the hub has settled, so that a device may forget it.

1. Every seq below the watermark is settled; ranges (end exclusive) are settled beyond it, rising
   and apart.
2. Rejections settle their rows and are reported once.
3. Reject codes unknown to this version are kept as plain integers.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from device_sdk.wire import cbor
from device_sdk.wire.fields import Fields


@dataclass(frozen=True, slots=True)
class StreamReceipt:
    """What is settled of one stream.

    Attributes:
        stream: 8 bytes.
        watermark: every seq below it is settled.
        ranges: `(start, end)` settled beyond the watermark, end exclusive, rising.
        rejections: `(start, end, code)`, end exclusive; see `RejectCode`.
    """

    stream: bytes
    watermark: int
    ranges: tuple[tuple[int, int], ...] = ()
    rejections: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt message.

    Attributes:
        incarnation: 8 bytes; changes when the hub was restored from an older backup.
        time: hub time, ns since 1970.
        streams: one entry for each stream that has news.
        window: rows of a stream that may be without receipt, counted from the watermark.
        cadence_ms: the hub sends receipts about this often.
        retry_after_ms: send nothing for so long; None: no limit.
        abandon: streams that the device must abandon for a new one.
    """

    incarnation: bytes
    time: int
    streams: tuple[StreamReceipt, ...]
    window: int
    cadence_ms: int
    retry_after_ms: int | None = None
    abandon: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the bytes for channel `receipt`."""
        fields: dict[int, Any] = {
            0: cbor.VERSION,
            1: self.incarnation,
            2: self.time,
            3: [_entry(stream) for stream in self.streams],
            4: self.window,
            5: self.cadence_ms,
        }
        if self.retry_after_ms is not None:
            fields[6] = self.retry_after_ms
        if self.abandon:
            fields[7] = list(self.abandon)
        return cbor.encode(fields)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a receipt.

        Raises:
            WireError: the bytes break a rule of the page.
        """
        fields = Fields("receipt", cbor.decode_map(data))
        abandon = Fields("receipt field 7", fields.array(7) if fields.has(7) else [])
        return cls(
            incarnation=fields.octets(1, 8),
            time=fields.int64(2),
            streams=tuple(_stream(entry) for entry in fields.rows(3, 4)),
            window=fields.uint(4),
            cadence_ms=fields.uint(5, 32),
            retry_after_ms=fields.uint(6, 32) if fields.has(6) else None,
            abandon=tuple(abandon.octets(i, 8) for i in range(len(abandon.values))),
        )


def _entry(receipt: StreamReceipt) -> list[Any]:
    flat = [bound for pair in receipt.ranges for bound in pair]
    return [receipt.stream, receipt.watermark, flat, [list(item) for item in receipt.rejections]]


def _stream(entry: Fields) -> StreamReceipt:
    watermark = entry.uint(1)
    bounds = Fields(entry.what, entry.array(2))
    flat = [bounds.uint(i) for i in range(len(bounds.values))]
    if len(flat) % 2 or any(a >= b for a, b in pairwise(flat)):
        raise entry.wrong(2, "an even number of rising bounds")
    if flat and flat[0] < watermark:
        raise entry.wrong(2, "ranges beyond the watermark")
    rejections = []
    for item in entry.rows(3, 3):
        start, end = item.uint(0), item.uint(1)
        if start >= end:
            raise entry.wrong(3, "rejections whose start is below their end")
        rejections.append((start, end, item.uint(2, 32)))
    ranges = tuple(zip(flat[::2], flat[1::2], strict=True))
    return StreamReceipt(entry.octets(0, 8), watermark, ranges, tuple(rejections))
