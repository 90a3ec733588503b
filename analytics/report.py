"""Writing one finding into the room that the caller of the kernel gave.

Never here: whether something is worth a finding.
"""

from typing import Any, Final

import numba as nb

SILENT: Final = -1
"""In place of a severity: adapt to it, say nothing; the series is too young to tell."""


@nb.njit(nogil=True)
def report(
    found: Any,
    s: Any,
    kind: int,
    severity: int,
    since: int,
    nats: float,
    observed: float,
    low: float,
    high: float,
) -> None:
    """Write one finding."""
    if severity == SILENT:
        return
    finding = found[s.findings]
    s.findings += 1
    finding.sample = s.sample
    finding.index = s.index
    finding.time = s.time
    finding.since = since
    finding.kind = kind
    finding.severity = severity
    finding.surprise = nats
    finding.observed = observed
    finding.expected_low = low
    finding.expected_high = high


@nb.njit(nogil=True)
def report_mean(
    r: Any,
    found: Any,
    s: Any,
    kind: int,
    severity: int,
    since: int,
    nats: float,
    observed: float,
    low: float,
    high: float,
) -> None:
    """Write one finding about a mean, in values that this series can have.

    Mean and band are without the daily profile, and are said as of this time of day. The mean of a
    night said as of noon may be a value that does not exist (a negative power): mean and band are
    then moved together into the range of what was seen, and the band is cut there.
    """
    what = s.seasonal + observed
    inside = min(max(what, r.lowest), r.highest)
    shift = s.seasonal + inside - what
    low = min(max(shift + low, r.lowest), r.highest)
    high = min(max(shift + high, r.lowest), r.highest)
    where = r.anchor
    report(found, s, kind, severity, since, nats, where + inside, where + low, where + high)
