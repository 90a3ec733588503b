"""Ordinary life of a series: cadence, level, daily profile, noise and its correlation.

1. Expected value: daily profile + level + what is carried over from the sample before (AR(1)).
2. Gaps are measured in the series' own cadence; what is carried decays with the gap.
3. An outlier teaches no more than `outlier` sigma; a level that moved for good is `evidence`'s
   business.
4. The profile is learned for a day before it is used (additive seasonality as in Holt and Winters).
"""

import math
from typing import Any, Final

import numba as nb
import numpy as np

from analytics import evidence
from analytics.records import BINS

DAY: Final = 86_400_000_000_000
_DAY_S: Final = 86_400.0
_LN2: Final = math.log(2.0)
_BIN: Final = DAY // BINS
_LARGEST: Final = 1e30  # values beyond are modelled as this, so that no square overflows
_LONGEST: Final = 1e15  # samples
_TYPICAL: Final = 2.0  # sigma; residuals beyond say little about correlation, much about faults
_SLOWEST_S: Final = 21_600.0  # series with longer cadences get no daily profile


@nb.njit(nogil=True)
def begin(r: Any, t: int, v: float) -> None:
    """Take the first value that the model sees."""
    r.start = t
    r.anchor = v
    r.run = 1
    r.run_since = t
    r.block_start = t


@nb.njit(nogil=True)
def pace(r: Any, p: Any, s: Any, t: int, v: float) -> None:
    """Learn the cadence and the quantisation step; say how long the gap was."""
    seconds = (t - r.time) * 1e-9
    n = r.learned
    if n == 1:
        r.cadence = seconds
    elif _changed(r, p, seconds):
        _settle_in(r, p, seconds)
    else:
        step = max(0.02, 1.0 / n)
        if seconds > 1.5 * r.cadence:
            r.cadence *= 1.0 + step
        elif seconds < 0.5 * r.cadence:
            r.cadence *= 1.0 - step
        else:
            r.cadence += step * (seconds - r.cadence)
    s.time = t
    s.seconds = seconds
    s.gap = seconds / r.cadence
    r.settling -= r.settling > 0
    r.pausing -= r.pausing > 0
    if s.gap > p.pause_samples:
        r.pausing = np.uint8(p.pause_settle)
    s.fade = 1.0 / (1.0 + _LN2 * seconds / p.memory_half_life_s)
    s.value = min(max(v - r.anchor, -_LARGEST), _LARGEST)
    change = abs(s.value - r.modelled)
    if change > 0.0:
        r.quantum = change if r.quantum == 0.0 else min(change, r.quantum * 1.001)
    s.floor = 0.25 * r.quantum * r.quantum + 1e-18 * min(abs(v), _LARGEST) ** 2 + 1e-60


@nb.njit(nogil=True)
def _changed(r: Any, p: Any, seconds: float) -> bool:
    """Return whether this series has another cadence now: several gaps in a row say so."""
    side = 0
    if seconds > p.pace_ratio * r.cadence:
        side = 1
    elif seconds * p.pace_ratio < r.cadence:
        side = -1
    if side == 0:
        r.paces = 0
        return False
    r.paces = r.paces + side if r.paces * side > 0 else side
    return bool(abs(r.paces) >= p.pace_samples)


@nb.njit(nogil=True)
def _settle_in(r: Any, p: Any, seconds: float) -> None:
    """Take another cadence: what counts in samples is converted, what depends on it learned anew."""
    ratio = r.cadence / seconds
    r.cadence = seconds
    r.paces = 0
    r.settling = np.uint8(p.settle_samples)
    r.longest = min(r.longest * ratio, _LONGEST)
    r.run = np.int64(min(max(r.run * ratio, 1.0), _LONGEST))


@nb.njit(nogil=True)
def unsettled(r: Any) -> bool:
    """Return whether this series has another cadence, or seems to, or was long away."""
    return bool(r.settling or r.pausing or abs(r.paces) > 1)


@nb.njit(nogil=True)
def resting(r: Any, p: Any, s: Any) -> bool:
    """Return whether this series rests, as it has before: its value repeats and says nothing new."""
    rests = r.longest > p.stuck_samples and r.run > p.stuck_samples
    return bool(rests and s.value == r.modelled)


@nb.njit(nogil=True)
def expect(r: Any, s: Any) -> None:
    """Work out what was expected of this sample, and by how much it differs."""
    place = (s.time % DAY) / _BIN - 0.5
    if place < 0.0:
        place += BINS
    s.left = int(place)
    s.right = s.left + 1 if s.left + 1 < BINS else 0
    s.share = place - s.left
    s.seasonal = seasonal(r, s) if r.ready else 0.0
    s.residual = s.value - s.seasonal - r.level
    s.correlation = min(max(r.product / r.square, 0.0), 0.99) if r.square > 0.0 else 0.0
    carry = s.correlation
    s.growth = 1.0
    if s.gap > 1.5 or s.gap < 0.67:
        carry = s.correlation**s.gap
        s.growth = (1.0 - carry * carry) / (1.0 - s.correlation * s.correlation)
    s.carried = carry * r.residual
    s.innovation = s.residual - s.carried
    s.sigma = math.sqrt(max(r.noise * s.growth, s.floor))
    s.spread = math.sqrt(max(r.spread, s.floor))
    s.z = min(max(s.innovation / s.sigma, -1e6), 1e6)


@nb.njit(nogil=True)
def seasonal(r: Any, s: Any) -> float:
    """Return the daily profile at this time of day."""
    return float((1.0 - s.share) * r.profile[s.left] + s.share * r.profile[s.right])


@nb.njit(nogil=True)
def learn(r: Any, p: Any, s: Any) -> None:
    """Learn noise, correlation, level and profile from this sample."""
    n = r.learned
    rate = max(1.0 / n, 1.0 / p.noise_memory)
    if r.settling:
        rate = max(rate, 1.0 / (1.0 + p.settle_samples - r.settling))
    reach = p.outlier * p.outlier
    if n < 3:
        r.noise = max(r.noise, s.innovation * s.innovation)
        r.spread = max(r.spread, s.residual * s.residual)
    else:
        square = min(s.innovation * s.innovation / s.growth, reach * max(r.noise, s.floor))
        r.noise += rate * (square - r.noise)
        square = min(s.residual * s.residual, reach * s.spread * s.spread)
        r.spread += rate * (square - r.spread)
    kept = s.carried + min(max(s.innovation, -p.outlier * s.sigma), p.outlier * s.sigma)
    if s.gap < 2.0 and not evidence.shifting(r, p):
        most = _TYPICAL * s.spread
        before = min(max(r.residual, -most), most)
        r.product += rate * (min(max(kept, -most), most) * before - r.product)
        r.square += rate * (before * before - r.square)
    clipped = min(max(s.residual, -p.outlier * s.spread), p.outlier * s.spread)
    follow = min(min(s.gap, 3.0) / p.level_samples, s.seconds / (p.level_days * _DAY_S))
    moved = min(max(1.0 / (1.0 + n), follow), 0.5) * clipped
    r.level += moved
    r.residual = kept - moved
    days = (s.time - r.start) / DAY
    span = min(s.seconds, 3.0 * r.cadence) * 1e9 / _BIN
    rate = max(p.profile_rate, 1.0 / (1.0 + days)) * span
    _shape(r, s.left, (1.0 - s.share) * rate, s.value, clipped)
    _shape(r, s.right, s.share * rate, s.value, clipped)


@nb.njit(nogil=True)
def _shape(r: Any, b: int, rate: float, value: float, residual: float) -> None:
    """Learn one bin of the profile: from residuals once it is in use, from values before."""
    if not (r.seen >> b) & 1:
        r.profile[b] = value
        r.seen |= 1 << b
    elif r.ready:
        r.profile[b] += min(rate, 0.5) * residual
    else:
        r.profile[b] += min(4.0 * rate, 0.5) * (value - r.profile[b])


@nb.njit(nogil=True)
def settle(r: Any, s: Any) -> bool:
    """Put the profile into use once a day has been seen; returns whether that happened now."""
    if r.ready or s.time - r.start < DAY or r.cadence >= _SLOWEST_S:
        return False
    for b in range(BINS):
        if not (r.seen >> b) & 1:
            r.profile[b] = r.level
            r.seen |= 1 << b
    r.ready = 1
    s.seasonal = seasonal(r, s)
    r.level = 0.0
    r.reference = 0.0
    r.residual = s.value - s.seasonal
    return True
