"""A small fleet as the pipeline sees it, and messages as its broker would deliver them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_sdk.wire.topics import ROOT, shard_of
from hub.pipeline.directory import Directory
from hub.pipeline.frames import Frames, Rows
from hub.pipeline.receive import scan_frames

NOW = 1_800_000_000_000_000_000
METRICS = ("temp_c", "flow_c", "power_w", "vibration_mm_s", "energy_kwh")
UNITS = ("Cel", "Cel", "W", "mm/s", "kW.h")
DEVICES = (
    "",
    "aaaabbbbccccdddd",
    "device0000000002",
    "zz9zz9zz9zz9zz9z",
    "lapsed0000000004",
    "revoked000000005",
)


def _padded(texts: Iterable[str], width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rows = list(texts)
    out = np.zeros((len(rows), width), np.uint8)
    for i, text in enumerate(rows):
        out[i, : len(text)] = np.frombuffer(text.encode(), np.uint8)
    return out


def gate_arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Slots 1-3 accepted, 4 quarantined as lapsed, 5 refused; two models, of which slot 3 has the second."""
    n = len(DEVICES)
    return {
        "device_id": _padded(DEVICES, 16),
        "model": np.array([0, 1, 1, 2, 1, 1], np.uint16),
        "epoch": np.array([0, 7, 1, 1, 2, 1], np.uint32),
        "cohort": np.array([0, 1, 1, 2, 1, 1], np.uint32),
        "span": np.stack((np.arange(n), np.arange(1, n + 1)), axis=1).astype(np.uint32),
        "span_from": np.zeros(n, np.int64),
        "span_verdict": np.array([3, 0, 0, 0, 1, 3], np.uint8),
        "span_reason": np.array([7, 0, 0, 0, 1, 7], np.uint8),
        "span_budget": np.zeros(n, np.uint16),
        "owner": np.array([0, 1, 1, 2, 2, 0], np.uint32),
        "budget": np.array([[0, 0, 0, 0, 1]], np.int64),
        "metric_model": np.array([1] * 5 + [2], np.uint16),
        "metric_index": np.array([0, 1, 2, 3, 4, 0], np.uint16),
        "metric_name": _padded([*METRICS, "power_w"], 48),
        "metric_low": np.full(6, np.nan),
        "metric_high": np.array([100.0] + [np.nan] * 5),
        "metric_kind": np.array([0, 0, 0, 0, 1, 0], np.uint8),
        "metric_unit": _padded([*UNITS, "W"], 16),
    }


def publish(topic: str, payload: bytes, qos: int = 0) -> bytes:
    """An MQTT PUBLISH packet."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + (b"\x00\x01" if qos else b"") + payload
    size, head = len(body), bytearray([0x30 | qos << 1])
    while True:
        size, digit = divmod(size, 128)
        head.append(digit | (128 if size else 0))
        if not size:
            return bytes(head) + body


def topic_of(slot: int, channel: str) -> str:
    device = DEVICES[slot]
    return f"{ROOT}/{shard_of(device)}/{device}/up/{channel}"


@dataclass(frozen=True)
class Bench:
    """Runs the first four stages over messages."""

    directory: Directory

    def frames(self, *messages: bytes) -> Frames:
        data = b"".join(messages)
        frames = Frames(np.frombuffer(bytearray(data), np.uint8), max(len(messages), 1))
        frames.count, position, broken, _ = scan_frames(
            frames.buffer, 0, len(data), frames.capacity, frames.topic, frames.topic_size, frames.payload,
            frames.payload_size,
        )  # fmt: skip
        assert (position, broken) == (len(data), 0)
        self.directory.authenticator.authenticate(frames)
        self.directory.gate.gate(frames, NOW)
        return frames

    def decode(
        self, *messages: bytes, rows: Rows | None = None
    ) -> tuple[Rows, list[Any], list[Any], Frames]:
        rows = rows or Rows(64, 256)
        frames = self.frames(*messages)
        rejections, lost = self.directory.decoder.decode(frames, rows, NOW)
        return rows, rejections, lost, frames
