"""What a worker counts: its turns, where their time went, and how it stands.

1. Once a turn, never once a row.
2. A stage's time is what passed since the stage before it ended.
What must never live here: anything that the pipeline decides by.
"""

import time
from collections.abc import Callable

import numpy as np

from device_sdk.wire.codes import QuarantineReason, RejectCode
from hub.metrics import Metrics
from hub.pipeline.run import Turn
from hub.ports.journal.telemetry import REASON_MASK, REASON_SHIFT, TelemetryBatch
from hub.services.alert_kinds import kind_word, kind_words

STAGES = ("authenticate", "gate", "decode", "journal", "receipt", "detect", "react")
_VERDICTS = ("accept", "quarantine", "throttle", "refuse")
_THROTTLED = ("gate", "product_budget", "owner_budget", "load")
LOAD = _THROTTLED.index("load")
_SHED_FOR_S = 5.0
"""The hub counts as overloaded until so long after it last told a device to wait for want of time."""


class Laps:
    """Takes the time of each stage.

    Args:
        metrics: of the worker.
        clock: seconds that only go forward.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._observe = metrics.stage_seconds
        self._clock = clock
        self._since = 0.0

    def begin(self) -> None:
        """A turn begins."""
        self._since = self._clock()

    def __call__(self, stage: str) -> None:
        """A stage has ended."""
        now = self._clock()
        self._observe.labels(stage).observe(now - self._since)
        self._since = now


class Tally:
    """Counts turns.

    Args:
        metrics: of the worker.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._shed_at = -_SHED_FOR_S
        for stage in STAGES:
            metrics.stage_seconds.labels(stage)
        for word in kind_words():
            metrics.findings.labels(kind=word)
        metrics.dropped_frames.labels("crashed_worker")
        # A counter that begins with its first event has no rate of it.
        for name in _VERDICTS:
            metrics.gated_frames.labels(verdict=name)
        for name in _THROTTLED:
            metrics.throttled_frames.labels(reason=name)
        for code in RejectCode:
            metrics.rejected_rows.labels(code=code.name.lower())
        for reason in QuarantineReason:
            metrics.quarantined_rows.labels(reason.name.lower())

    def shedding(self, monotonic_s: float) -> bool:
        """Whether devices were told to wait a moment ago because the worker cannot take all."""
        shedding = monotonic_s - self._shed_at < _SHED_FOR_S
        self._metrics.shedding.set(shedding)
        return shedding

    def turn(self, turn: Turn, monotonic_s: float) -> None:
        """Count one turn."""
        m, stored = self._metrics, turn.stored
        for kind, count in turn.findings.items():
            m.findings.labels(kind=kind_word(kind)).inc(count)
        if stored is None:
            return
        m.batch_frames.observe(turn.messages)
        m.received_frames.inc(turn.messages)
        m.received_bytes.inc(turn.bytes)
        m.duplicate_rows.inc(stored.duplicates)
        m.unverified_rows.inc(stored.unverified)
        m.beyond_rows.inc(stored.beyond)
        m.dead_letters.inc(stored.dead_letters)
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
        if turn.throttled.get(LOAD):
            self._shed_at = monotonic_s
        self._quarantined(stored.batch)

    def _quarantined(self, batch: TelemetryBatch) -> None:
        reasons = (batch.flags & np.uint32(REASON_MASK)) >> np.uint32(REASON_SHIFT)
        if not reasons.any():
            return
        for reason, count in enumerate(np.bincount(reasons).tolist()):
            if reason and count:
                name = QuarantineReason(reason).name.lower()
                self._metrics.quarantined_rows.labels(name).inc(count)
