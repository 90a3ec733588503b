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
