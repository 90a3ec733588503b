"""From evidence to findings: how much is enough, how often to say it, and what to say.

1. Needed surprise follows from the accepted rate of false findings and from how often a kind looks.
2. Each kind has its own refractory: after a finding it needs that much more surprise, halving with
   time. A series that a kind keeps finding fault with is unruly rather than faulty: the kind gets
   used to it and asks for more.
3. A confirmed shift or drift becomes the new baseline, and what it was before is kept for as long as
   the fault lasts (`lasting`). A stuck value is said again when it has lasted twice as long.
4. The band is that of what was observed: of one value, of a mean, or of a standard deviation.
"""

import math
from typing import Any, Final

import numba as nb

from analytics import evidence, lasting, rhythm
from analytics.calibration import threshold
from analytics.findings import Kind, Severity
from analytics.records import (
    DOWN,
    DRIFT_DOWN,
    DRIFT_UP,
    DRIFTS,
    LOCATION,
    LOUDER,
    QUIETER,
    SCALE,
    TAIL_INNOVATION,
    TAIL_LOUDER,
    TAIL_QUIETER,
    TAIL_SHIFT,
    UP,
)
from analytics.report import SILENT, report, report_mean

_SPIKE: Final = int(Kind.SPIKE)
_LEVEL_SHIFT: Final = int(Kind.LEVEL_SHIFT)
_DRIFT: Final = int(Kind.DRIFT)
_STUCK: Final = int(Kind.STUCK)
_VARIANCE_CHANGE: Final = int(Kind.VARIANCE_CHANGE)
_NOTICE: Final = int(Severity.NOTICE)
_WARNING: Final = int(Severity.WARNING)
_CRITICAL: Final = int(Severity.CRITICAL)

_PLAINLY: Final = 1.6  # times the needed surprise: a spike is a warning
_FAR: Final = 3.0  # critical; what may yet last: a warning

_WEEK_S: Final = 604_800.0
_LEAST_PERIOD_S: Final = 1e-3
_CONFIRMED: Final = 4.0  # samples a shift must have lasted; fewer is a spike
_BAND_NATS: Final = 7.0  # one value in a thousand is outside its band
_WITHIN: Final = 0.99
_BAND_ERRORS: Final = 3.0  # half width of the band of a mean, in standard errors


@nb.njit(nogil=True)
def needed(p: Any, per_week: float, period: float) -> float:
    """Return the nats a kind needs that looks once in `period` seconds and may err `per_week`."""
    looks = _WEEK_S / max(period, _LEAST_PERIOD_S)
    return float(max(math.log(looks / per_week), p.least_nats))


@nb.njit(nogil=True)
def fires(r: Any, p: Any, s: Any, kind: int, nats: float, enough: float) -> int:
    """Return the severity if this kind may speak now, and note that it did; else 0."""
    if r.samples < p.warm_samples or (kind != _DRIFT and rhythm.unsettled(r)):
        return 0
    before = r.fired_nats[kind - 1]
    if before > 0.0:
        elapsed = (s.time - r.fired[kind - 1]) * 1e-9
        before *= 2.0 ** (-elapsed / max(p.half_life_s, p.half_life_samples * r.cadence))
    if nats < enough + before:
        return 0
    r.fired[kind - 1] = s.time
    r.fired_nats[kind - 1] = nats
    if s.time - r.start < 1e9 * p.young_s:
        return SILENT if nats < p.young_factor * enough + before else _NOTICE
    # Lasting makes other kinds than spikes worse; a leap to another regime does not last.
    plainly = _PLAINLY if kind == _SPIKE else _FAR
    if s.time - r.start < 1e9 * p.known_s or nats < plainly * enough:
        return _NOTICE
    return _CRITICAL if kind == _SPIKE and nats >= _FAR * enough else _WARNING


@nb.njit(nogil=True)
def spike(r: Any, p: Any, s: Any, found: Any) -> None:
    """Judge the innovation of one sample."""
    nats = s.spike
    if nats <= p.least_nats or not evidence.unheard_of(r, p, s):
        return
    severity = fires(r, p, s, _SPIKE, nats, needed(p, p.spikes_per_week, r.cadence))
    if severity:
        middle = s.seasonal + r.level + s.carried
        # The tail has learned from this very sample, which must not move the band past it.
        half = s.sigma * math.sqrt(threshold(r.tail, TAIL_INNOVATION, _BAND_NATS, p.spike_lean))
        half = min(half, _WITHIN * abs(s.innovation))
        low = r.anchor + min(max(middle - half, r.lowest), r.highest)
        high = r.anchor + min(max(middle + half, r.lowest), r.highest)
        report(found, s, _SPIKE, severity, s.time, nats, r.anchor + s.value, low, high)


@nb.njit(nogil=True)
def variance_change(r: Any, p: Any, s: Any, found: Any) -> None:
    """Judge the evidence for more or less noise; the new noise becomes the baseline."""
    louder = s.surprise[TAIL_LOUDER] >= s.surprise[TAIL_QUIETER]
    tail = TAIL_LOUDER if louder else TAIL_QUIETER
    nats = s.surprise[tail]
    k = LOUDER if louder else QUIETER
    if nats <= p.least_nats or r.evidence[k] <= p.memory_margin * r.greatest[tail]:
        return
    severity = fires(r, p, s, _VARIANCE_CHANGE, nats, needed(p, p.variances_per_week, r.cadence))
    if severity:
        noise = max(r.noise, s.floor)
        error = _BAND_ERRORS * math.sqrt(2.0 / float(r.count[k]))
        low = noise * max(1.0 - error, 0.0)
        high = noise * (1.0 + error)
        observed = noise * r.moved[k] / float(r.count[k])
        since = r.began[k]
        severity = lasting.graded(
            r, p, s, SCALE, _VARIANCE_CHANGE, severity, since, observed, low, high
        )
        low, high, observed = math.sqrt(low), math.sqrt(high), math.sqrt(observed)
        report(found, s, _VARIANCE_CHANGE, severity, since, nats, observed, low, high)
        r.noise *= p.variance_ratio if louder else 1.0 / p.variance_ratio
        evidence.close(r, p, s, tail, k)
        r.evidence[LOUDER] = 0.0
        r.evidence[QUIETER] = 0.0


@nb.njit(nogil=True)
def level_shift(r: Any, p: Any, s: Any, found: Any) -> None:
    """Judge the evidence for another level; the new level becomes the baseline."""
    nats = s.surprise[TAIL_SHIFT]
    k = UP if r.evidence[UP] > r.evidence[DOWN] else DOWN
    count = float(r.count[k])
    if nats <= p.least_nats or count < _CONFIRMED:
        return
    calm = float(r.calm[k])
    mean = r.moved[k] / count
    inflation = (1.0 + s.correlation) / (1.0 - s.correlation) / count
    half = _BAND_ERRORS * calm * min(1.0, math.sqrt(inflation))
    known = r.blocks > evidence.BLOCKS_KNOWN
    far = abs(mean) >= max(p.shift_extreme * calm, math.sqrt(r.block_square))
    worse = known and far and s.time - r.began[k] >= 1e9 * p.shift_extreme_s
    margin = 1.0 if worse else p.memory_margin
    if abs(mean) <= half or r.evidence[k] <= margin * r.greatest[TAIL_SHIFT]:
        return
    severity = fires(r, p, s, _LEVEL_SHIFT, nats, needed(p, p.shifts_per_week, r.cadence))
    if severity:
        since = r.began[k]
        low, high, observed = r.level - half, r.level + half, r.level + mean
        severity = lasting.graded(
            r, p, s, LOCATION, _LEVEL_SHIFT, severity, since, observed, low, high
        )
        if known and abs(mean) >= p.far_size * max(calm, math.sqrt(r.block_square)):
            lasting.hasten(r, p, s)
        report_mean(r, found, s, _LEVEL_SHIFT, severity, since, nats, observed, low, high)
        r.level += mean
        r.residual -= mean
        if abs(mean) >= p.shift_abrupt * calm:
            r.shift_since = since
        evidence.close(r, p, s, TAIL_SHIFT, k)
        r.evidence[UP] = 0.0
        r.evidence[DOWN] = 0.0


@nb.njit(nogil=True)
def drift(r: Any, p: Any, s: Any, found: Any) -> bool:
    """Judge the evidence of blocks; returns whether the reference was moved to the present level.

    Evidence that began with a level shift is that shift, already reported.
    """
    k = DRIFT_UP if r.evidence[DRIFT_UP] > r.evidence[DRIFT_DOWN] else DRIFT_DOWN
    nats = r.evidence[k]
    length = evidence.block_length(r, p)
    enough = needed(p, p.drifts_per_week, length)
    half = _BAND_ERRORS * evidence.block_error(r, p, s) / math.sqrt(max(float(r.count[k]), 1.0))
    if nats <= max(enough, p.drift_margin * r.greatest[DRIFTS]):
        return False
    if abs(r.moved[k]) <= half * float(r.count[k]):
        return False
    shifted = r.shift_since != 0 and abs(r.began[k] - r.shift_since) <= 1e9 * length
    severity = 0 if shifted else fires(r, p, s, _DRIFT, nats, enough)
    if severity:
        since = r.began[k]
        low, high = r.reference - half, r.reference + half
        observed = r.reference + r.moved[k] / float(r.count[k])
        severity = lasting.graded(r, p, s, LOCATION, _DRIFT, severity, since, observed, low, high)
        report_mean(r, found, s, _DRIFT, severity, since, nats, observed, low, high)
    evidence.remember_drift(r, nats)
    r.evidence[DRIFT_UP] = 0.0
    r.evidence[DRIFT_DOWN] = 0.0
    return True


@nb.njit(nogil=True)
def stuck(r: Any, p: Any, s: Any, found: Any) -> None:
    """Judge the present run of equal values against the runs of this series."""
    r.longest *= s.fade
    if s.value != r.modelled:
        r.longest = max(r.longest, float(r.run))
        r.runs += 1.0
        r.run = 1
        r.run_since = s.time
        r.stuck_severity = 0
        return
    r.run += 1
    repeat = (r.learned - r.runs + 1.0) / (r.learned + 2.0)
    nats = -r.run * math.log(repeat)
    observed = r.anchor + s.value
    said = r.fired[_STUCK - 1]
    if r.fired_nats[_STUCK - 1] > 0.0 and said >= r.run_since:
        twice = s.time - r.run_since >= 2 * (said - r.run_since)
        if 0 < r.stuck_severity < _CRITICAL and twice:
            r.stuck_severity += 1
            severity = int(r.stuck_severity)
            r.fired[_STUCK - 1] = s.time
            report(found, s, _STUCK, severity, r.run_since, nats, observed, -math.inf, math.inf)
        return
    if r.run_since - r.start < 1e9 * p.stuck_s:
        return  # a night's rest may not have been seen yet
    idles = r.longest > p.stuck_samples
    usual = (p.idle_ratio if idles else p.stuck_ratio) * r.longest
    if r.run <= p.stuck_samples or r.runs <= p.stuck_runs or r.run <= usual:
        return
    if nats <= p.least_nats:
        return
    severity = fires(r, p, s, _STUCK, nats, needed(p, p.stuck_per_week, r.cadence))
    if severity:
        severity = min(severity, _NOTICE)
        r.stuck_severity = 0 if idles else max(severity, 0)
        report(found, s, _STUCK, severity, r.run_since, nats, observed, -math.inf, math.inf)
