"""Faults that last: a finding whose cause stays is said again, each time a degree more severe.

1. What a fault is measured against is the band from before it, however the model has adapted since.
2. It is said again when it has lasted twice as long as when it was last said, and if it is so far
   outside that only a fault explains it: two findings more at most, never a stream of them.
3. After `memory_half_life_s` it is how the series is now, and forgotten.
4. A further finding outside that band is the same fault; one inside it is the return to what was
   ordinary, and a notice at most.
Whether there is a fault in the first place is the business of `verdicts`.
"""

import math
from typing import Any, Final

import numba as nb

from analytics import evidence
from analytics.findings import Kind, Severity
from analytics.records import FAULTS, LOCATION, SCALE
from analytics.report import report, report_mean

_DAY_NS: Final = 86_400_000_000_000
_DRIFT: Final = int(Kind.DRIFT)
_VARIANCE_CHANGE: Final = int(Kind.VARIANCE_CHANGE)
_NOTICE: Final = int(Severity.NOTICE)
_CRITICAL: Final = int(Severity.CRITICAL)


@nb.njit(nogil=True)
def graded(
    r: Any,
    p: Any,
    s: Any,
    slot: int,
    kind: int,
    severity: int,
    since: int,
    observed: float,
    low: float,
    high: float,
) -> int:
    """Take note of a finding that is about to be reported.

    Args:
        r: record of the series.
        p: parameters.
        s: scratch of this sample.
        slot: `LOCATION` (values without their daily profile) or `SCALE` (variances).
        kind: of the finding.
        severity: by its own evidence.
        since: when it began, ns.
        observed: mean since then.
        low: band before it began,
        high: in the unit of `observed`.

    Returns:
        The severity to report.
    """
    before = r.fault_severity[slot]
    if before and r.fault_low[slot] <= observed <= r.fault_high[slot]:
        end(r, slot)
        return min(severity, _NOTICE)
    if since - r.start < 1e9 * p.known_s:
        return min(severity, _NOTICE)  # what began in the first week may be its rhythm
    if slot == SCALE and observed < low:
        return severity  # less noise is worth a finding, and no alarm
    if not before:
        r.fault_severity[slot] = severity
        r.fault_since[slot] = since
        r.fault_low[slot] = low
        r.fault_high[slot] = high
        if slot == LOCATION:
            scaled = r.blocks > evidence.BLOCKS_KNOWN
            r.fault_kind = kind
            r.fault_scale = math.sqrt(max(r.block_square, s.floor)) if scaled else 0.0
            r.fault_reference = r.reference
        _wait(r, p, s, slot)
    return severity


@nb.njit(nogil=True)
def hasten(r: Any, p: Any, s: Any) -> None:
    """Look at the fault of location soon: what is so far off need not last for hours to be serious."""
    soon = s.time + int(1e9 * max(p.far_s, p.far_samples * r.cadence))
    if r.fault_severity[LOCATION] and soon < r.fault_next[LOCATION]:
        _look(r, LOCATION, soon)


@nb.njit(nogil=True)
def end(r: Any, slot: int) -> None:
    """Forget a fault."""
    r.fault_severity[slot] = 0


@nb.njit(nogil=True)
def judge(r: Any, p: Any, s: Any, found: Any) -> None:
    """Look after the faults of this series with one more sample."""
    for slot in range(FAULTS):
        if r.fault_severity[slot] == 0:
            continue
        what = s.value - s.seasonal
        if slot == SCALE:
            most = p.outlier * p.outlier * max(r.noise, s.floor)
            what = min(s.innovation * s.innovation / s.growth, most)
        r.fault_sum[slot] += what
        r.fault_count[slot] += 1.0
        if s.time >= r.fault_next[slot]:
            _again(r, p, s, slot, found)


@nb.njit(nogil=True)
def _wait(r: Any, p: Any, s: Any, slot: int) -> None:
    """Look again when the fault has lasted twice as long, and not too soon.

    For a drift a day at least: what is wrong at some hours only averages out.
    """
    wait = int(1e9 * max(p.half_life_s, p.half_life_samples * r.cadence))
    if slot == LOCATION and r.fault_kind == _DRIFT:
        wait = max(wait, _DAY_NS)
    if r.fault_severity[slot] < _CRITICAL:
        wait = max(wait, s.time - r.fault_since[slot])
    _look(r, slot, s.time + wait)


@nb.njit(nogil=True)
def _look(r: Any, slot: int, at: int) -> None:
    """Look at a fault again then, at what it was like from now on."""
    r.fault_next[slot] = at
    r.fault_sum[slot] = 0.0
    r.fault_count[slot] = 0.0


@nb.njit(nogil=True)
def _size(r: Any, p: Any, slot: int, observed: float) -> float:
    """Return the size of a fault; 1 is a warning if it lasts, 2 is critical.

    Size is the distance from the band's middle in standard deviations of block means, which know of
    weather and weekends; of a variance the ratio to its band.
    """
    if slot == SCALE:
        return float(observed / r.fault_high[slot] / p.lasting_ratio)
    if r.fault_scale == 0.0 or abs(observed - float(r.fault_reference)) < float(r.fault_scale):
        return 0.0  # nothing is known, or this is where the series has been for days
    middle = 0.5 * (r.fault_low[slot] + r.fault_high[slot])
    return float(abs(observed - middle) / (p.lasting_size * float(r.fault_scale)))


@nb.njit(nogil=True)
def _again(r: Any, p: Any, s: Any, slot: int, found: Any) -> None:
    """Say a fault again if it is still there; forget it if it is not, or has become ordinary."""
    observed = r.fault_sum[slot] / float(r.fault_count[slot])
    low = r.fault_low[slot]
    high = r.fault_high[slot]
    since = r.fault_since[slot]
    if low <= observed <= high:
        end(r, slot)
        if slot == SCALE:
            r.noise = observed  # or it would take the quiet for the next change
        return
    if s.time - since > 1e9 * p.memory_half_life_s:
        end(r, slot)
        return
    worse = r.fault_severity[slot] < int(min(_NOTICE + _size(r, p, slot, observed), _CRITICAL))
    r.fault_severity[slot] += worse
    _wait(r, p, s, slot)
    if not worse:
        return
    severity = r.fault_severity[slot]
    if slot == SCALE:
        nats = r.fired_nats[_VARIANCE_CHANGE - 1]
        observed, low, high = math.sqrt(observed), math.sqrt(low), math.sqrt(high)
        report(found, s, _VARIANCE_CHANGE, severity, since, nats, observed, low, high)
    else:
        nats = r.fired_nats[r.fault_kind - 1]
        report_mean(r, found, s, r.fault_kind, severity, since, nats, observed, low, high)
