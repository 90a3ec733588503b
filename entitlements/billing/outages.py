"""What a customer is given for the time in which the hub was down: part of a quota, and longer credit.

1. A quota of a period grows by the share of the period that the hub was down, rounded up.
2. Credit that was running meanwhile expires that much later.
3. Outages that overlap count once.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Outage(NamedTuple):
    """A stretch of time (ns) in which the hub took nothing in."""

    start: int
    end: int


def missed(outages: Sequence[Outage], start: int, end: int) -> int:
    """Return for how long (ns) of `[start, end)` the hub was down."""
    total, until = 0, start
    for outage in sorted(outages):
        begin, last = max(outage.start, until), min(outage.end, end)
        if last > begin:
            total += last - begin
            until = last
    return total


def enlarged(quota: int, outages: Sequence[Outage], start: int, end: int) -> int:
    """Return the quota of a period with what is given for outages in it."""
    return quota + -(-quota * missed(outages, start, end) // (end - start))


def extended(outages: Sequence[Outage], start: int, end: int) -> int:
    """Return when credit of `[start, end)` expires that runs on for as long as the hub was down."""
    while (longer := end + missed(outages, start, end)) > end:
        outages = [Outage(max(one.start, end), one.end) for one in outages if one.end > end]
        start, end = end, longer
    return end
