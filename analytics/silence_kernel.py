"""What is known of one device's arrivals, and the compiled call that learns from a block of rows.

1. One record of 64 bytes a device, by slot; a row touches one cache line.
2. Arrivals within a second of one another are one arrival: a device sends several messages at once.
3. Long gaps are remembered, about the longest three of five days: what a product does three times
   in so few days (duty cycles), or did once at this time of day (nights), is its habit and no silence.
"""

from typing import Any, Final

import numba as nb
import numpy as np
import numpy.typing as npt

PULSE: Final[np.dtype[Any]] = np.dtype(
    [
        ("last", np.int64),  # ns, time of receipt of the newest row
        ("deadline", np.int64),  # ns; NEVER while it is not waited for
        ("allowed", np.int64),  # ns that it may be silent
        ("period", np.float32),  # s, running median of gaps
        ("longest", np.float32, 3),  # s, long gaps
        ("ended", np.uint32, 3),  # minutes since 1970 UTC, when each of them ended
        ("gaps", np.uint32),  # how many it was learned from
        ("cohort", np.uint32),
        ("state", np.uint8),
        ("reserved", np.uint8, 3),
    ],
    align=True,
)

NEVER: Final = np.iinfo(np.int64).max
WATCHED: Final = 0
SAID: Final = 1
"""Its silence has been reported."""
ASLEEP: Final = 2
"""It is silent together with its cohort."""

LEAST_GAPS: Final = 8
"""Gaps that are learned from before a device may be called silent."""

_PERIODS: Final = 5.0
_FLOOR_S: Final = 30.0
_SLEEP_MARGIN: Final = 1.25
_LONG: Final = 3.0  # periods from which a gap is remembered as long
_REMEMBERED_MIN: Final = 5 * 1440
_OLD_MIN: Final = 2 * 1440 + 720  # a gap may replace a longer one that is older
_ALIKE: Final = 0.9
_MINUTE_NS: Final = 60_000_000_000
_SAME_NS: Final = 1_000_000_000
_STEP: Final = 0.05
_DAY_S: Final = 86_400.0
_PUNCTUAL_S: Final = (
    3_600.0  # a gap that begins within so long of the time of day of another repeats it
)


def fresh(count: int) -> npt.NDArray[np.void]:
    """Return `count` records of devices that were never heard of."""
    pulses = np.zeros(count, PULSE)
    pulses["deadline"] = NEVER
    return pulses


@nb.njit(nogil=True)
def _learn(p: Any, gap: float, received: int) -> None:
    """Learn from one gap, in seconds, what is usual."""
    n = p.gaps
    if n == 0:
        p.period = gap
    elif gap < 0.5 * p.period and n < 16:
        p.period = 0.5 * (p.period + gap)  # the first gap may have been anything
    else:
        step = max(_STEP, 1.0 / (n + 1.0))
        if gap > p.period:
            p.period = min(gap, p.period * (1.0 + step))
        else:
            p.period = max(gap, p.period * (1.0 - step))
    p.gaps = n + 1
    if gap > _LONG * p.period:
        _remember(p, gap, received)


@nb.njit(nogil=True)
def _remember(p: Any, gap: float, received: int) -> None:
    """Keep a long gap in place of the one that says least."""
    now = received // _MINUTE_NS
    shortest = 0
    oldest = 0
    for k in range(3):
        if now - p.ended[k] > _REMEMBERED_MIN:
            p.longest[k] = 0.0
        shorter = p.longest[k] < _ALIKE * p.longest[shortest]
        alike = _ALIKE * p.longest[k] <= p.longest[shortest]
        if shorter or (alike and p.ended[k] < p.ended[shortest]):
            shortest = k  # of about the same length, the oldest
        if p.ended[k] < p.ended[oldest]:
            oldest = k
    if gap < _ALIKE * p.longest[shortest]:
        if now - p.ended[oldest] < _OLD_MIN:
            return
        shortest = oldest
    p.longest[shortest] = gap
    p.ended[shortest] = now


@nb.njit(nogil=True)
def _habit(p: Any, received: int) -> float:
    """Return how long this product is regularly silent, in seconds; 0 if it has no such habit."""
    now = received // _MINUTE_NS
    second = np.float64(received) * 1e-9
    least = np.inf
    nightly = 0.0
    for k in range(3):
        long = float(p.longest[k]) if now - p.ended[k] <= _REMEMBERED_MIN else 0.0
        least = min(least, long)
        if long > nightly:
            away = (second - 60.0 * p.ended[k] + long) % _DAY_S
            if min(away, _DAY_S - away) <= _PUNCTUAL_S:
                nightly = long
    return float(max(least, nightly))


_HEAR: Final[Any] = nb.types.UniTuple(nb.int64, 2)(  # type: ignore[no-untyped-call]
    nb.types.Array(nb.from_dtype(PULSE), 1, "C"),
    nb.uint32[::1],
    nb.int64,
    nb.int64,
    nb.int64[::1],
    nb.int64[::1],
)


@nb.njit(_HEAR, nogil=True, cache=True, error_model="numpy")
def hear(
    pulses: Any, slot: Any, received: int, resumed: int, ended: Any, lasted: Any
) -> tuple[int, int]:
    """Take the rows of one block.

    Args:
        pulses: PULSE[N] by slot, updated in place.
        slot: uint32[R].
        received: time of receipt, ns.
        resumed: since when somebody listened, ns; a gap from before teaches nothing.
        ended: int64[R] to receive the rows that ended a reported silence,
        lasted: int64[R] when each of them had begun, ns.

    Returns:
        How many silences ended, and the earliest deadline that was set.
    """
    count = 0
    first = NEVER
    for i in range(slot.shape[0]):
        p = pulses[slot[i]]
        if p.state == SAID:
            ended[count] = i
            lasted[count] = p.last
            count += 1
        p.state = WATCHED
        if p.last > 0:
            gap = received - p.last
            if gap < _SAME_NS:
                continue  # the same arrival
            if p.last >= resumed:
                _learn(p, gap * 1e-9, received)
        p.last = received
        if p.gaps >= LEAST_GAPS:
            seconds = max(_PERIODS * p.period, _FLOOR_S, _SLEEP_MARGIN * _habit(p, received))
            p.allowed = np.int64(seconds * 1e9)
            p.deadline = received + p.allowed
            first = min(first, p.deadline)
    return count, first
