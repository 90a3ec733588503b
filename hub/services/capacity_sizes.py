"""Bytes on the wire and in the journal, found by encoding what would be sent or written.

What must never live here: what anything costs in time or memory.
"""

import math
from typing import Final

import numpy as np

from device_sdk.wire import topics
from device_sdk.wire.codes import ClockState
from device_sdk.wire.pack import Pack, encode_pack
from device_sdk.wire.receipt import Receipt, StreamReceipt
from hub.ports.journal.telemetry import TelemetryBatch, encode

_ROWS: Final = 1_000
_START: Final = 1_772_323_200_000_000_000
_DEVICE: Final = "a" * 16


def journal_bytes(metrics: int) -> tuple[float, float]:
    """Return what a row and a sample take in the journal, bytes, by encoding some."""
    rows = _block_bytes(_ROWS, 0) / _ROWS
    return rows, (_block_bytes(_ROWS, metrics) / _ROWS - rows) / metrics


def _block_bytes(rows: int, metrics: int) -> int:
    samples = rows * metrics
    batch = TelemetryBatch(
        slot=np.zeros(rows, np.uint32),
        epoch=np.zeros(rows, np.uint32),
        flags=np.zeros(rows, np.uint32),
        count=np.full(rows, metrics, np.uint32),
        stream=np.zeros(rows, np.uint64),
        seq=np.zeros(rows, np.uint64),
        raw_time=np.zeros(rows, np.int64),
        time=np.zeros(rows, np.int64),
        metric=np.zeros(samples, np.uint16),
        value=np.zeros(samples, np.float64),
    )
    return sum(memoryview(part).nbytes for part in encode(batch))


def message_bytes(rows: int, metrics: int) -> int:
    """Return the bytes of an MQTT message that holds a pack of a temperature-like series, a second apart."""
    times = [_START + row * 10**9 for row in range(rows)]
    values = {
        f"metric_{number:02}": [
            round(20 + 5 * math.sin((row + 7 * number) / 9), 1) for row in range(rows)
        ]
        for number in range(metrics)
    }
    pack = Pack(bytes(8), 1, 1, bytes(8), ClockState.SYNCED, False, times, values)
    topic = topics.up(topics.ROOT, _DEVICE, topics.Up.PACK)
    return _packet(len(encode_pack(pack)), topic)


def receipt_bytes() -> int:
    """Return the bytes of an MQTT message that holds a receipt for one stream without gaps."""
    receipt = Receipt(bytes(8), _START, (StreamReceipt(bytes(8), 1_000_000),), 65_536, 1_000)
    return _packet(len(receipt.encode()), topics.down(topics.ROOT, _DEVICE, topics.Down.RECEIPT))


def _packet(payload: int, topic: str) -> int:
    """Return the bytes of a PUBLISH of QoS 0: type, length in digits of 7 bits, topic, payload."""
    rest = 2 + len(topic) + payload
    return 1 + math.ceil(rest.bit_length() / 7) + rest
