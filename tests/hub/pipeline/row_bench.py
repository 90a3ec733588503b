"""Batches of rows with one sample each, as the stages behind decoding see them."""

import numpy as np

from hub.ports.journal.telemetry import TelemetryBatch


def rows_of(
    rows: list[tuple[int, int, int]], *, flags: int = 0, value: float = 0.0
) -> TelemetryBatch:
    slot, stream, seq = (list(c) for c in zip(*rows, strict=True)) if rows else ([], [], [])
    n = len(rows)
    return TelemetryBatch(
        slot=np.array(slot, np.uint32),
        epoch=np.ones(n, np.uint32),
        flags=np.full(n, flags, np.uint32),
        count=np.ones(n, np.uint32),
        stream=np.array(stream, np.uint64),
        seq=np.array(seq, np.uint64),
        raw_time=np.array([7 * (s % 10**9) for s in seq], np.int64),
        time=np.zeros(n, np.int64),
        metric=np.zeros(n, np.uint16),
        value=np.full(n, value),
    )
