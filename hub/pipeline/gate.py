"""Stage 3, gate: may this device's data come in, and how, at this instant.

1. Decisions were compiled to spans of time (docs/architecture.md, "Gate snapshot"); the gate only looks up.
2. One kernel call decides the whole batch. No SQL, no clock: the instant is an argument.
3. A frame that did not authenticate is refused here, so that later stages need one test only.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hub.pipeline.frames import I64, U8, U16, U32, Frames


@njit(
    "void(i8, i8, u4[::1], u1[::1], u4[::1], u4[:, ::1], i8[::1], u1[::1], u1[::1], u2[::1], u1[::1], u1[::1],"
    " u4[::1], u2[::1])",
    cache=True,
    nogil=True,
)
def gate_frames(  # type: ignore[no-untyped-def]
    count,
    now,
    slot,
    auth,
    device_epoch,
    span,
    span_from,
    span_verdict,
    span_reason,
    span_budget,
    verdict,
    reason,
    epoch,
    budget,
):
    """Look up the span in force for each frame's device; refuse (3) where there is none."""
    for i in range(count):
        verdict[i] = 3
        reason[i] = 7
        epoch[i] = 0
        budget[i] = 0
        if auth[i] != 0:
            continue
        s = slot[i]
        epoch[i] = device_epoch[s]
        # Devices have a handful of spans: a backward scan beats bisection.
        for k in range(np.int64(span[s, 1]) - 1, np.int64(span[s, 0]) - 1, -1):
            if span_from[k] <= now:
                verdict[i] = span_verdict[k]
                reason[i] = span_reason[k]
                budget[i] = span_budget[k]
                break


class Gate:
    """The compiled decisions of one gate snapshot.

    Args:
        epoch: u32[N], present owner epoch by slot.
        span: u32[N, 2], spans of slot i are `[span[i, 0], span[i, 1])`.
        span_from, span_verdict, span_reason, span_budget: i64[K], u8[K], u8[K], u16[K].
    """

    def __init__(
        self,
        epoch: NDArray[np.uint32],
        span: NDArray[np.uint32],
        span_from: NDArray[np.int64],
        span_verdict: NDArray[np.uint8],
        span_reason: NDArray[np.uint8],
        span_budget: NDArray[np.uint16],
    ) -> None:
        self._epoch: U32 = epoch
        self._span: U32 = span
        self._from: I64 = span_from
        self._verdict: U8 = span_verdict
        self._reason: U8 = span_reason
        self._budget: U16 = span_budget

    def gate(self, frames: Frames, now: int) -> None:
        """Fill `verdict`, `reason`, `epoch` and `budget` of every frame for the instant `now` (ns)."""
        f = frames
        gate_frames(
            f.count,
            now,
            f.slot,
            f.auth,
            self._epoch,
            self._span,
            self._from,
            self._verdict,
            self._reason,
            self._budget,
            f.verdict,
            f.reason,
            f.epoch,
            f.budget,
        )
