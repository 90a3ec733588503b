"""The periods in which a product's usage is counted, and what its plan gives it in each.

1. A period is a month: of the subscription that covers a metered feature, counted from its start, else of
   the calendar where the product stands. A change of owner begins another: nobody pays, or is told, what
   somebody else used.
2. Past periods are those that were: one that a change of plan, or the end of a plan, cut short ends there. So
   periods touch and never overlap. A pause or a missing payment cuts nothing: the plan may go on.

What must never live here: what was used, or what follows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import Final

import numpy as np

from entitlements.billing.allowance import Period
from entitlements.billing.outages import Outage, enlarged
from entitlements.billing.periods import month_begin, renewals
from entitlements.decision import decide
from entitlements.facts import Facts, Feature, FeatureKind, HoldKind, Subscription
from entitlements.ladder import ownership
from entitlements.quotas import PLAIN, QuotaTerms
from entitlements.status import ENTITLED, Status, boundaries, grace_until, status

DAY: Final = 86_400_000_000_000
_BACK: Final = 40 * DAY
_AHEAD: Final = 400 * DAY
_STOPPED: Final = frozenset({Status.PAUSED, Status.LAPSED})
"""States in which a plan grants nothing and may go on."""


def metered(facts: Facts, meter: str) -> Feature | None:
    """Return the feature of a product's model whose quota a meter counts; the first by name."""
    found = [
        feature
        for _, feature in sorted(facts.model.features.items())
        if feature.kind is FeatureKind.METERED and feature.meter == meter
    ]
    return found[0] if found else None


def quota(facts: Facts, feature: Feature, at: int) -> int | None:
    """Return how much of a metered feature may be used in a period, in the unit of its metric.

    Returns:
        None: without limit, or nothing grants the feature at all. That it is used up does not count.
    """
    return quota_and_terms(facts, feature, at)[0]


def quota_and_terms(facts: Facts, feature: Feature, at: int) -> tuple[int | None, QuotaTerms]:
    """Return a quota as `quota` does, and what the plan that gives it says of it beside."""
    holds = tuple(hold for hold in facts.holds if hold.kind is not HoldKind.QUOTA)
    decided = decide(replace(facts, holds=holds), feature.name, at)
    value = decided.value
    if not decided.allowed or type(value) is not int:
        return None, PLAIN
    if decided.plan is None or decided.plan_version is None:
        return value, PLAIN
    terms = facts.plans[decided.plan, decided.plan_version].features.get(feature.name)
    return value, PLAIN if terms is None else terms.quota


def edges(facts: Facts, feature: Feature | None, zone: str, at: int) -> tuple[int, ...]:
    """Return the instants (ns) at which periods begin, from a while ago until far ahead.

    Args:
        facts: of the product.
        feature: the metered feature, `None` without one.
        zone: IANA zone of the product.
        at: now, ns.
    """
    first, last = at - _BACK, at + _AHEAD
    plans = _plans(facts, feature)
    anchor = _anchor(facts, plans, at)
    months = renewals(zone, month_begin(zone, first) if anchor is None else anchor, first)
    begins = takewhile(lambda begin: begin < last, months)
    owners = [owned.start for owned in facts.ownership if first < owned.start <= at]
    turns = {turn for plan in plans for turn in boundaries(plan) if first < turn <= at}
    # Months are counted from the present anchor since the last of these at which it was another one.
    turned = (
        turn for turn in sorted(turns, reverse=True) if _anchor(facts, plans, turn - 1) != anchor
    )
    return tuple(sorted({*begins, *owners, *islice(turned, 1)}))


def _plans(facts: Facts, feature: Feature | None) -> list[Subscription]:
    """Return the subscriptions whose plans include a feature, also those that are over."""
    if feature is None:
        return []
    return [one for one in facts.subscriptions if feature.name in facts.plan_of(one).features]


def _anchor(facts: Facts, plans: Sequence[Subscription], at: int) -> int | None:
    """Return the instant from which months are counted, `None` if those of the calendar count."""
    present = ownership(facts, at)
    owned = [
        (status(plan, at), plan.start)
        for plan in plans
        if plan.epoch is None or present is None or plan.epoch == present.epoch
    ]
    running = [start for state, start in owned if state in ENTITLED]
    return min(running or [start for state, start in owned if state in _STOPPED], default=None)


def decided_at(facts: Facts, feature: Feature, start: int, end: int) -> int:
    """Return the instant that says what a period gives: its last one.

    Unless nothing grants the feature then, as its plan was paused or unpaid: then the last one before that.

    Args:
        facts: of the product.
        feature: the metered feature.
        start: first instant of the period, ns.
        end: end of it, or of what has passed of it.
    """
    last = end - 1
    stops = [
        plan.paused_at if status(plan, last) is Status.PAUSED else grace_until(plan)
        for plan in _plans(facts, feature)
        if status(plan, last) in _STOPPED
    ]
    stopped = max((stop for stop in stops if stop and start < stop <= last), default=None)
    if stopped is None or decide(facts, feature.name, last).allowed:
        return last
    return stopped - 1


def period(facts: Facts, feature: Feature | None, zone: str, at: int) -> tuple[int, int]:
    """Return the period (ns) of a product that holds an instant."""
    begins = edges(facts, feature, zone, at)
    place = int(np.searchsorted(begins, at, "right"))
    place = min(max(place, 1), len(begins) - 1)
    return begins[place - 1], begins[place]


def past_periods(
    facts: Facts, feature: Feature | None, zone: str, at: int, most: int
) -> Iterator[tuple[int, int]]:
    """Yield the periods that are over, the latest first, within the present ownership.

    Args:
        facts: of the product.
        feature: the metered feature, `None` without one.
        zone: IANA zone of the product.
        at: now, ns.
        most: how many.
    """
    owned = ownership(facts, at)
    if owned is None:
        return
    end, _ = period(facts, feature, zone, at)
    for _ in range(most):
        if end <= owned.start:
            return
        start = max(period(facts, feature, zone, end - 1)[0], owned.start)
        yield start, end
        end = start


def with_quotas(
    facts: Facts,
    feature: Feature,
    decimals: int,
    stretches: list[tuple[int, int]],
    outages: Sequence[Outage],
    at: int,
) -> list[Period]:
    """Return periods with what the plan gave in each, as it stood at the end of it or now.

    Args:
        facts: of the product.
        feature: the metered feature.
        decimals: of its meter.
        stretches: the periods (ns), the earliest first.
        outages: for which quotas are larger.
        at: now, ns.
    """
    scale = 10**decimals
    made = []
    for start, end in stretches:
        when = decided_at(facts, feature, start, min(end, at + 1))
        units, terms = quota_and_terms(facts, feature, when)
        given = None if units is None else enlarged(units * scale, outages, start, end)
        made.append(Period(start, end, given, terms, scale))
    return made
