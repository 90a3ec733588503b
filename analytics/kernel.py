"""One call that takes a batch of samples in journal order and updates every series in it.

1. Strictly online: what is said of a sample depends on it and on those before it, in journal order.
2. Where a batch begins and ends changes nothing: all state is in the records.
3. A late sample, or one not newer than the newest, gets limit checks only; it never touches what
   was learned.
4. No fast math: results are the same to the bit on every run and after every restart.
numba keys its cache by this file: after editing another module of `analytics`, clear the cache.
"""

from typing import Any, Final

import numba as nb
import numpy as np

from analytics import calibration, evidence, lasting, rhythm, score, verdicts
from analytics.findings import FINDING, Kind, SeriesKind, Severity
from analytics.parameters import PARAMETERS
from analytics.records import (
    DOWN,
    FAULTS,
    LOUDER,
    QUIETER,
    RECORD,
    STEP,
    TAIL_INNOVATION,
    TAIL_LOUDER,
    TAIL_QUIETER,
    TAIL_SHIFT,
    UP,
)
from analytics.report import report

FINDINGS_PER_SAMPLE: Final = 8
"""No sample causes more findings than this."""

_OUT_OF_LIMITS: Final = int(Kind.OUT_OF_LIMITS)
_COUNTER_RESET: Final = int(Kind.COUNTER_RESET)
_COUNTER: Final = int(SeriesKind.COUNTER)
_STATE: Final = int(SeriesKind.STATE)
_NOTICE: Final = int(Severity.NOTICE)
_CRITICAL: Final = int(Severity.CRITICAL)
_SQUARE_FLOOR: Final = 0.5  # quantile of the squared innovation never falls below


@nb.njit(nogil=True)
def _check_limits(
    r: Any,
    p: Any,
    s: Any,
    v: float,
    behind: bool,  # noqa: FBT001  compiled functions take no keyword-only arguments
    found: Any,
) -> None:
    """Report a value outside its limits: when it leaves them, and again each `limit_rearm_s`."""
    rearm = p.limit_rearm_s * 1e9
    if r.low <= v <= r.high:
        if not behind:
            r.outside = 0
        return
    if behind:
        due = r.late_outside == 0 or abs(s.time - r.late_limit_time) >= rearm
        r.late_outside = 1
    else:
        due = r.outside == 0 or s.time - r.limit_time >= rearm
        r.outside = 1
    if not due:
        return
    if behind:
        r.late_limit_time = s.time
    else:
        r.limit_time = s.time
    report(found, s, _OUT_OF_LIMITS, _CRITICAL, s.time, 0.0, v, r.low, r.high)


@nb.njit(nogil=True)
def _begin(r: Any, t: int, x: float) -> None:
    """Take the first value that the model sees."""
    rhythm.begin(r, t, x)
    calibration.begin(r.tail, TAIL_INNOVATION, 6.0)
    calibration.begin(r.tail, TAIL_SHIFT, 2.5)
    calibration.begin(r.tail, TAIL_LOUDER, 2.5)
    calibration.begin(r.tail, TAIL_QUIETER, 2.5)


@nb.njit(nogil=True)
def _weigh(r: Any, p: Any, s: Any) -> None:
    """Work out how surprising this sample is, in every respect, and learn what is usual."""
    n = r.learned
    s.step = max(p.tail_step, 1.0 / (5.0 + 0.1 * n))
    s.rate = max(1.0 / p.tail_memory, 1.0 / (20.0 + 0.05 * n))
    square = s.z * s.z
    s.surprise[TAIL_INNOVATION] = calibration.surprise(r.tail, TAIL_INNOVATION, square, 0.0)
    s.spike = calibration.surprise(r.tail, TAIL_INNOVATION, square, p.spike_lean)
    calibration.learn(r.tail, TAIL_INNOVATION, square, _SQUARE_FLOOR, s.step, s.rate, p.tail_cap)
    evidence.weigh(r, p, s)
    shift = max(r.evidence[UP], r.evidence[DOWN])
    s.surprise[TAIL_SHIFT] = calibration.surprise(r.tail, TAIL_SHIFT, shift, 0.0)
    s.surprise[TAIL_LOUDER] = calibration.surprise(
        r.tail, TAIL_LOUDER, r.evidence[LOUDER], p.variance_lean
    )
    s.surprise[TAIL_QUIETER] = calibration.surprise(r.tail, TAIL_QUIETER, r.evidence[QUIETER], 0.0)
    s.beyond = score.beyond(r, p, s)


@nb.njit(nogil=True)
def _end_block(r: Any, p: Any, s: Any, found: Any) -> None:
    """Count this sample in the present block, and judge the block if it is over."""
    if not rhythm.resting(r, p, s):
        r.block_sum += s.value - s.seasonal - r.reference
        r.block_count += 1.0
    if rhythm.settle(r, s):
        evidence.open_block(r, s.time)
        r.evidence[UP] = 0.0
        r.evidence[DOWN] = 0.0
        for slot in range(FAULTS):
            lasting.end(r, slot)  # bands from before the profile mean nothing after
        return
    if not r.ready or s.time - r.block_start < 1e9 * evidence.block_length(r, p):
        return
    if r.block_count == 0.0:
        evidence.open_block(r, s.time)
        return
    mean = r.block_sum / r.block_count
    evidence.weigh_block(r, p, s, mean)
    if verdicts.drift(r, p, s, found):
        r.reference += mean
        mean = 0.0
    evidence.learn_block(r, p, s, mean)
    evidence.open_block(r, s.time)


@nb.njit(nogil=True)
def _observe(r: Any, p: Any, s: Any, t: int, x: float, found: Any) -> float:
    """Judge one sample, then learn from it; returns its score."""
    rhythm.pace(r, p, s, t, x)
    rhythm.expect(r, s)
    if r.kind == _COUNTER and rhythm.resting(r, p, s):
        verdicts.stuck(r, p, s, found)
        lasting.judge(r, p, s, found)
        return 0.0
    _weigh(r, p, s)
    result = score.score(r, p, s)
    verdicts.spike(r, p, s, found)
    verdicts.variance_change(r, p, s, found)
    verdicts.stuck(r, p, s, found)
    lasting.judge(r, p, s, found)
    evidence.remember_jump(r, s)
    rhythm.learn(r, p, s)
    _end_block(r, p, s, found)
    verdicts.level_shift(r, p, s, found)
    return result


@nb.njit(nogil=True)
def _take(r: Any, p: Any, s: Any, t: int, v: float, found: Any) -> float:
    """Take one sample that is in order; returns its score."""
    x = v
    usable = True
    if r.kind == _COUNTER:
        usable = r.samples > 0 and v >= r.value
        if usable:
            x = (v - r.value) / ((t - r.time) * 1e-9)
        elif r.samples > 0:
            report(found, s, _COUNTER_RESET, _NOTICE, t, 0.0, v, r.value, np.inf)
    elif r.kind == _STATE:
        usable = False
    result = 0.0
    if usable:
        if r.learned == 0:
            _begin(r, t, x)
            r.modelled = 0.0
        else:
            result = _observe(r, p, s, t, x, found)
            r.modelled = s.value
        r.learned += 1
    r.samples += 1
    r.time = t
    r.value = v
    return result


_SIGNATURE: Final[Any] = nb.types.UniTuple(nb.int64, 2)(  # type: ignore[no-untyped-call]
    nb.types.Array(nb.from_dtype(RECORD), 1, "C"),
    nb.types.Array(nb.from_dtype(PARAMETERS), 1, "C"),
    nb.int64[::1],
    nb.int64[::1],
    nb.float64[::1],
    nb.boolean[::1],
    nb.int64,
    nb.types.Array(nb.from_dtype(STEP), 1, "C"),
    nb.types.Array(nb.from_dtype(FINDING), 1, "C"),
    nb.float64[::1],
)


@nb.njit(_SIGNATURE, nogil=True, cache=True, error_model="numpy")
def update(
    records: Any,
    parameters: Any,
    index: Any,
    time: Any,
    value: Any,
    late: Any,
    start: int,
    scratch: Any,
    found: Any,
    scores: Any,
) -> tuple[int, int]:
    """Run samples from `start` on until the batch or the room for findings ends.

    Args:
        records: RECORD[N], updated in place.
        parameters: PARAMETERS[1].
        index: int64[S], which record.
        time: int64[S], ns.
        value: float64[S], finite.
        late: bool[S].
        start: first sample to take.
        scratch: STEP[1].
        found: FINDING[F], F at least `FINDINGS_PER_SAMPLE`; findings go here.
        scores: float64[S] to receive the score of each sample, or float64[0].

    Returns:
        The next sample to take, and the number of findings written.
    """
    p = parameters[0]
    s = scratch[0]
    s.findings = 0
    i = start
    while i < index.shape[0] and s.findings + FINDINGS_PER_SAMPLE <= found.shape[0]:
        r = records[index[i]]
        s.sample = i
        s.index = index[i]
        s.time = time[i]
        behind = late[i] or (r.samples > 0 and time[i] <= r.time)
        _check_limits(r, p, s, value[i], behind, found)
        result = 0.0
        if not behind:
            result = _take(r, p, s, time[i], value[i], found)
        if scores.shape[0]:
            scores[i] = result
        i += 1
    return i, s.findings
