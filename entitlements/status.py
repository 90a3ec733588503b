"""What state a subscription is in at an instant, derived from its dates.

1. Status is computed for any instant, past and future; it is never stored.
2. `RULES` is the only definition. It is read from the top and the first rule that holds wins.
3. All changes happen at the instants that `boundaries` returns.

What a status allows for a feature is decided in `decision.py`; what leads from one to another is in
`transitions.py`.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from entitlements.facts import Subscription

NS_PER_S = 1_000_000_000


class Status(StrEnum):
    """States of a subscription."""

    SCHEDULED = "scheduled"
    WITHDRAWN = "withdrawn"
    ENDED = "ended"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    TRIAL = "trial"
    INCOMPLETE = "incomplete"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    GRACE = "grace"
    LAPSED = "lapsed"


ENTITLED = frozenset({Status.CANCELLED, Status.TRIAL, Status.ACTIVE, Status.PAST_DUE, Status.GRACE})
"""The states in which the plan's features are granted."""


def covered_until(subscription: Subscription) -> int | None:
    """Return the end of trial or paid time, whichever is later; `None` if open-ended."""
    if subscription.paid_until is None:
        return subscription.trial_end
    if subscription.trial_end is None:
        return subscription.paid_until
    return max(subscription.trial_end, subscription.paid_until)


def is_paid(subscription: Subscription, at: int) -> bool:
    """Say whether the instant is paid for.

    What is open-ended is free of charge or billed elsewhere, so it counts as paid; a free trial and
    what follows the cover do not.
    """
    if subscription.paid_until is None:
        return subscription.trial_end is None
    return at < subscription.paid_until


def past_due_until(subscription: Subscription) -> int | None:
    """Return until when the payment of what follows the cover is collected, `None` if open-ended."""
    end = covered_until(subscription)
    return None if end is None else end + subscription.retry_s * NS_PER_S


def grace_until(subscription: Subscription) -> int | None:
    """Return the end of the grace that follows the collection, `None` if open-ended.

    What is given for outages is part of it.
    """
    end = past_due_until(subscription)
    if end is None:
        return None
    return end + (subscription.grace_s + subscription.outage_s) * NS_PER_S


def ended_at(subscription: Subscription) -> int | None:
    """Return the instant at which it is over for good, `None` if it has no such end.

    That is its fixed end, or, once cancelled, the end of what is covered, whichever is first.
    """
    if subscription.cancelled_at is None:
        return subscription.ends_at
    covered = covered_until(subscription)
    end = subscription.cancelled_at
    if covered is not None:
        end = max(end, covered)
    return end if subscription.ends_at is None else min(end, subscription.ends_at)


def _withdrawn(s: Subscription, at: int) -> bool:
    return s.withdrawn_at is not None and at >= s.withdrawn_at


def _over(s: Subscription, at: int) -> bool:
    end = ended_at(s)
    return end is not None and at >= end


def _paused(s: Subscription, at: int) -> bool:
    if s.paused_at is None or at < s.paused_at:
        return False
    return s.resumes_at is None or at < s.resumes_at


def _covered_at(s: Subscription, at: int) -> bool:
    end = covered_until(s)
    return end is None or at < end


def _never_covered(s: Subscription, _at: int) -> bool:
    end = grace_until(s)
    return end is not None and end <= s.start


def _in_collection(s: Subscription, at: int) -> bool:
    end = past_due_until(s)
    return end is not None and at < end


def _in_grace(s: Subscription, at: int) -> bool:
    end = grace_until(s)
    return end is not None and at < end


class Rule(NamedTuple):
    """One row of the table: the status, when it holds in words, and when it holds in code."""

    status: Status
    when: str
    holds: Callable[[Subscription, int], bool]


RULES: tuple[Rule, ...] = (
    Rule(Status.SCHEDULED, "before its start", lambda s, at: at < s.start),
    Rule(Status.WITHDRAWN, "the customer withdrew from the contract", _withdrawn),
    Rule(Status.ENDED, "past its fixed end, or cancelled with nothing covered left", _over),
    Rule(Status.PAUSED, "paused, until it resumes", _paused),
    Rule(
        Status.CANCELLED,
        "cancelled, but what is covered still runs",
        lambda s, at: s.cancelled_at is not None and at >= s.cancelled_at,
    ),
    Rule(
        Status.TRIAL,
        "within the free trial",
        lambda s, at: s.trial_end is not None and at < s.trial_end,
    ),
    Rule(Status.INCOMPLETE, "nothing of it was ever paid for or free", _never_covered),
    Rule(Status.ACTIVE, "paid for, or open-ended", _covered_at),
    Rule(Status.PAST_DUE, "unpaid, while the payment is being collected", _in_collection),
    Rule(Status.GRACE, "unpaid, within the grace after the collection", _in_grace),
    Rule(Status.LAPSED, "unpaid, and the grace is over", lambda _s, _at: True),
)


def status(subscription: Subscription, at: int) -> Status:
    """Return the state of a subscription at an instant (ns UTC), by `RULES`."""
    for rule in RULES:
        if rule.holds(subscription, at):
            return rule.status
    raise AssertionError("the last rule always holds")


def boundaries(subscription: Subscription) -> tuple[int, ...]:
    """Return all instants at which the status, or whether it is paid, may change; in no order."""
    instants = (
        subscription.start,
        subscription.trial_end,
        subscription.paid_until,
        covered_until(subscription),
        past_due_until(subscription),
        grace_until(subscription),
        subscription.paused_at,
        subscription.resumes_at,
        subscription.cancelled_at,
        subscription.withdrawn_at,
        ended_at(subscription),
    )
    return tuple(instant for instant in instants if instant is not None)
