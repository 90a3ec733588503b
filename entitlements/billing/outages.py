"""What a customer is given for the time in which the hub was down: part of a quota, longer credit and grace.

1. A quota of a period grows by the share of the period that the hub was down, rounded up.
2. Credit that was running meanwhile expires that much later.
3. So does the time in which an unpaid subscription goes on, collection and grace together, rounded up
   to seconds. Trials and paid periods stay: renewals are counted from their days of the month.
4. Outages that overlap count once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from entitlements.facts import Subscription
from entitlements.status import NS_PER_S, covered_until, grace_until


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


def with_outages(subscription: Subscription, outages: Sequence[Outage]) -> Subscription:
    """Return a subscription with the grace that is given for outages while it was unpaid.

    Args:
        subscription: what was given before is not looked at.
        outages: all that are known.
    """
    agreed = replace(subscription, outage_s=0) if subscription.outage_s else subscription
    covered, end = covered_until(agreed), grace_until(agreed)
    if not outages or covered is None or end is None:
        return agreed
    unpaid = max(covered, agreed.start)
    if unpaid >= end:
        return agreed
    given = extended(outages, unpaid, end) - end
    return replace(agreed, outage_s=-(-given // NS_PER_S)) if given else agreed
