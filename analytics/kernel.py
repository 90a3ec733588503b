"""One call that takes a batch of samples in journal order and updates every series in it.

1. Strictly online: what is said of a sample depends on that sample and those before it, in journal order.
2. Where a batch begins and ends changes nothing.
3. A late sample gets limit checks only; it never touches what has been learned.
"""

import numba as nb
import numpy as np

from analytics.findings import FINDING, Kind, SeriesKind, Severity
from analytics.parameters import PARAMETERS
from analytics.records import RECORD

SLOTS_PER_SAMPLE = 8
"""No sample causes more findings than this."""

_OUT_OF_LIMITS = int(Kind.OUT_OF_LIMITS)
_COUNTER_RESET = int(Kind.COUNTER_RESET)
_COUNTER = int(SeriesKind.COUNTER)
_NOTICE = int(Severity.NOTICE)
_CRITICAL = int(Severity.CRITICAL)


@nb.njit(nogil=True, inline="never")
def _report(found, at, sample, index, time, since, kind, severity, surprise, observed, low, high):
    """Write one finding and return the next free place."""
    finding = found[at]
    finding.sample = sample
    finding.index = index
    finding.time = time
    finding.since = since
    finding.kind = kind
    finding.severity = severity
    finding.surprise = surprise
    finding.observed = observed
    finding.expected_low = low
    finding.expected_high = high
    return at + 1


@nb.njit(
    nb.types.UniTuple(nb.int64, 2)(
        nb.types.Array(nb.from_dtype(RECORD), 1, "C"),
        nb.types.Array(nb.from_dtype(PARAMETERS), 1, "C"),
        nb.int64[::1],
        nb.int64[::1],
        nb.float64[::1],
        nb.boolean[::1],
        nb.int64,
        nb.types.Array(nb.from_dtype(FINDING), 1, "C"),
    ),
    nogil=True,
    cache=True,
)
def update(records, parameters, index, time, value, late, start, found):
    """Run samples `start` and later until the batch or the room for findings ends."""
    setting = parameters[0]
    rearm = np.int64(setting.limit_rearm_s * 1e9)
    count = 0
    i = start
    while i < index.shape[0] and count + SLOTS_PER_SAMPLE <= found.shape[0]:
        r = records[index[i]]
        t = time[i]
        v = value[i]
        behind = late[i] or (r.samples > 0 and t < r.time)
        if v < r.low or v > r.high:
            if behind:
                if r.late_outside == 0 or abs(t - r.late_limit_time) >= rearm:
                    count = _report(
                        found,
                        count,
                        i,
                        index[i],
                        t,
                        t,
                        _OUT_OF_LIMITS,
                        _CRITICAL,
                        0.0,
                        v,
                        r.low,
                        r.high,
                    )
                    r.late_limit_time = t
                    r.late_outside = 1
            else:
                if r.outside == 0 or t - r.limit_time >= rearm:
                    count = _report(
                        found,
                        count,
                        i,
                        index[i],
                        t,
                        t,
                        _OUT_OF_LIMITS,
                        _CRITICAL,
                        0.0,
                        v,
                        r.low,
                        r.high,
                    )
                    r.limit_time = t
                r.outside = 1
        elif not behind:
            r.outside = 0
        if not behind:
            if r.kind == _COUNTER and r.samples > 0 and v < r.value:
                count = _report(
                    found,
                    count,
                    i,
                    index[i],
                    t,
                    t,
                    _COUNTER_RESET,
                    _NOTICE,
                    0.0,
                    v,
                    r.value,
                    np.inf,
                )
            r.time = t
            r.value = v
            r.samples += 1
        i += 1
    return i, count
