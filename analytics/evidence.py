"""Evidence that something changed, gathered over samples: cumulative sums of log-likelihood ratios.

1. Page's test (Biometrika 41, 1954) on innovations, which are white where the samples are not (Lu
   and
   Reynolds, J. Quality Technology 33, 2001): so the sums are in nats, and autocorrelation does not
   inflate them.
2. What counts as much evidence is learned per series from the peaks of past excursions
   (`calibration`).
3. Drifts are judged on block means against a reference that hardly moves, since a model that learns
   day by day would learn the drift too; block means are weighed by their own autocorrelation.
"""

import math
from typing import Any, Final

import numba as nb

from analytics.calibration import learn, quantile
from analytics.records import (
    DOWN,
    DRIFT_DOWN,
    DRIFT_UP,
    DRIFTS,
    LOUDER,
    QUIETER,
    REMEMBERED,
    TAIL_INNOVATION,
    TAIL_LOUDER,
    TAIL_QUIETER,
    TAIL_SHIFT,
    UP,
)

_LEAST: Final = 1.0  # nats; a quantile of evidence never falls below
_STRONG: Final = 2.0  # times the quantile of past peaks
_BLOCK_CLIP: Final = 3.0
BLOCKS_KNOWN: Final = 8.0  # before which a block mean has no scale to be judged by


@nb.njit(nogil=True)
def gather(r: Any, k: int, gain: float, what: float, t: int) -> float:
    """Add evidence to sum `k`.

    Returns:
        The peak of the excursion that this sample ended, 0 if it ended none.
    """
    if r.evidence[k] == 0.0:
        r.began[k] = t
        r.peak[k] = 0.0
        r.moved[k] = 0.0
        r.count[k] = 0.0
    r.evidence[k] = max(0.0, r.evidence[k] + gain)
    r.moved[k] += what
    r.count[k] += 1.0
    r.peak[k] = max(r.peak[k], r.evidence[k])
    return float(r.peak[k]) if r.evidence[k] == 0.0 else 0.0


@nb.njit(nogil=True)
def weigh(r: Any, p: Any, s: Any) -> None:
    """Weigh this sample as evidence for a level shift and for a change of variance."""
    for k in range(REMEMBERED):
        r.greatest[k] *= s.fade
    lasting = p.shift_size * (1.0 - s.correlation) * s.spread / math.sqrt(max(r.noise, s.floor))
    lasting = min(max(lasting, p.shift_least), p.shift_most)
    z = min(max(s.z, -p.shift_clip), p.shift_clip)
    half = 0.5 * lasting * lasting
    for k in (UP, DOWN):
        if r.evidence[k] == 0.0:
            r.calm[k] = s.spread  # what is judged must not widen what it is judged by
    up = gather(r, UP, lasting * z - half, s.residual, s.time)
    down = gather(r, DOWN, -lasting * z - half, s.residual, s.time)
    square = min(abs(s.z), p.outlier) ** 2
    ratio = p.variance_ratio
    louder = gather(r, LOUDER, 0.5 * (1.0 - 1.0 / ratio) * square - p.variance_nats, square, s.time)
    quieter = gather(r, QUIETER, 0.5 * (1.0 - ratio) * square + p.variance_nats, square, s.time)
    if r.settling or r.pausing:
        for k in (UP, DOWN, LOUDER, QUIETER):
            r.evidence[k] = 0.0
        return
    _remember(r, p, s, TAIL_SHIFT, max(up, down))
    _remember(r, p, s, TAIL_LOUDER, louder)
    _remember(r, p, s, TAIL_QUIETER, quieter)


@nb.njit(nogil=True)
def _remember(r: Any, p: Any, s: Any, tail: int, peak: float) -> None:
    """Learn how high excursions go."""
    if peak > 0.0:
        learn(r.tail, tail, peak, _LEAST, s.step, s.rate, p.evidence_cap)
        r.greatest[tail] = max(r.greatest[tail], peak)


@nb.njit(nogil=True)
def unheard_of(r: Any, p: Any, s: Any) -> bool:
    """Return whether the jump to this sample is greater than those remembered.

    Where they are far beyond the noise, the series jumps by nature, and more is asked for.
    """
    greatest = r.greatest[TAIL_INNOVATION]
    beyond = max(greatest - p.spike_sigma * s.sigma, 0.0)
    return bool(abs(s.innovation) > greatest + beyond)


@nb.njit(nogil=True)
def remember_jump(r: Any, s: Any) -> None:
    """Remember how far one sample lay from what was likely, in the unit of the series."""
    r.greatest[TAIL_INNOVATION] = max(r.greatest[TAIL_INNOVATION], abs(s.innovation))


@nb.njit(nogil=True)
def remember_drift(r: Any, peak: float) -> None:
    """Remember how high an excursion of block means went."""
    r.greatest[DRIFTS] = max(r.greatest[DRIFTS], peak)


@nb.njit(nogil=True)
def shifting(r: Any, p: Any) -> bool:
    """Return whether there is strong and young evidence for a level shift."""
    k = UP if r.evidence[UP] > r.evidence[DOWN] else DOWN
    strong = r.evidence[k] > _STRONG * quantile(r.tail, TAIL_SHIFT)
    return bool(strong and r.count[k] < p.shift_hold_samples)


@nb.njit(nogil=True)
def close(r: Any, p: Any, s: Any, tail: int, k: int) -> None:
    """End an excursion that led to a finding: it teaches as any other does."""
    _remember(r, p, s, tail, r.peak[k])
    r.greatest[tail] = max(r.greatest[tail], p.reported_margin * r.evidence[k])
    r.evidence[k] = 0.0


@nb.njit(nogil=True)
def block_length(r: Any, p: Any) -> float:
    """Return the length of a drift block, s."""
    return float(max(p.drift_block_s, p.drift_block_samples * r.cadence))


@nb.njit(nogil=True)
def open_block(r: Any, t: int) -> None:
    """Begin the next block."""
    r.block_start = t
    r.block_sum = 0.0
    r.block_count = 0.0


@nb.njit(nogil=True)
def block_error(r: Any, p: Any, s: Any) -> float:
    """Return the long-run standard error of a block mean, autocorrelation included."""
    correlation = 0.0
    if r.block_square > 0.0:
        correlation = min(max(r.block_product / r.block_square, 0.0), p.drift_correlation)
    return math.sqrt(max(r.block_square, s.floor) * (1.0 + correlation) / (1.0 - correlation))


@nb.njit(nogil=True)
def weigh_block(r: Any, p: Any, s: Any, mean: float) -> None:
    """Weigh the block that just ended as evidence for a drift."""
    r.blocks += 1.0
    if r.blocks <= BLOCKS_KNOWN:
        return
    z = min(max(mean / block_error(r, p, s), -_BLOCK_CLIP), _BLOCK_CLIP)
    half = 0.5 * p.drift_size * p.drift_size
    up = gather(r, DRIFT_UP, p.drift_size * z - half, mean, r.block_start)
    down = gather(r, DRIFT_DOWN, -p.drift_size * z - half, mean, r.block_start)
    remember_drift(r, max(up, down))


@nb.njit(nogil=True)
def learn_block(r: Any, p: Any, s: Any, mean: float) -> None:
    """Learn the scale and correlation of block means; let the reference follow very slowly."""
    rate = max(1.0 / r.blocks, 0.01)
    square = mean * mean
    if r.blocks > BLOCKS_KNOWN:
        square = min(square, _BLOCK_CLIP * _BLOCK_CLIP * r.block_square)
    r.block_square += rate * (square - r.block_square)
    most = _BLOCK_CLIP * math.sqrt(r.block_square)
    clipped = min(max(mean, -most), most)
    r.block_product += rate * (clipped * r.block_mean - r.block_product)
    r.block_mean = clipped
    days = (s.time - r.block_start) / 86_400_000_000_000
    r.reference += min(0.5, days / p.reference_days) * mean
