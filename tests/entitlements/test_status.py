"""The states of a subscription over time."""

from datetime import UTC, datetime

import pytest
from hypothesis import given

from entitlements.facts import Subscription
from entitlements.status import RULES, Status, boundaries, status
from tests.entitlements.products import DAY, S, probes, subscribed

PAID = {"paid_until": 30 * DAY, "grace_s": 5 * 86_400}


def subscription(**dates: int) -> Subscription:
    return Subscription("s", "comfort", 2, start=0, **dates)


@pytest.mark.parametrize(
    ("dates", "at", "expected"),
    [
        (PAID, -1, Status.SCHEDULED),
        (PAID, 0, Status.ACTIVE),
        (PAID, 30 * DAY - 1, Status.ACTIVE),
        (PAID, 30 * DAY, Status.GRACE),
        (PAID, 35 * DAY - 1, Status.GRACE),
        (PAID, 35 * DAY, Status.LAPSED),
        ({}, 10_000 * DAY, Status.ACTIVE),
        ({"trial_end": 14 * DAY}, 14 * DAY - 1, Status.TRIAL),
        ({"trial_end": 14 * DAY}, 14 * DAY, Status.LAPSED),
        ({"trial_end": 14 * DAY, "grace_s": 60}, 14 * DAY, Status.GRACE),
        ({"trial_end": 14 * DAY, **PAID}, 13 * DAY, Status.TRIAL),
        ({"trial_end": 14 * DAY, **PAID}, 14 * DAY, Status.ACTIVE),
        ({**PAID, "cancelled_at": 10 * DAY}, 10 * DAY - 1, Status.ACTIVE),
        ({**PAID, "cancelled_at": 10 * DAY}, 10 * DAY, Status.CANCELLED),
        ({**PAID, "cancelled_at": 10 * DAY}, 30 * DAY - 1, Status.CANCELLED),
        ({**PAID, "cancelled_at": 10 * DAY}, 30 * DAY, Status.ENDED),
        ({**PAID, "cancelled_at": 32 * DAY}, 32 * DAY - 1, Status.GRACE),
        ({**PAID, "cancelled_at": 32 * DAY}, 32 * DAY, Status.ENDED),
        ({"cancelled_at": 10 * DAY}, 10 * DAY, Status.ENDED),
        ({"cancelled_at": 10 * DAY, "ends_at": 12 * DAY}, 11 * DAY, Status.ENDED),
        ({**PAID, "ends_at": 20 * DAY}, 20 * DAY - 1, Status.ACTIVE),
        ({**PAID, "ends_at": 20 * DAY}, 20 * DAY, Status.ENDED),
        ({"ends_at": 20 * DAY}, 20 * DAY, Status.ENDED),
    ],
)
def test_status_at_each_edge(dates: dict[str, int], at: int, expected: Status) -> None:
    assert status(subscription(**dates), at) is expected


def test_every_status_has_exactly_one_rule() -> None:
    assert sorted(rule.status for rule in RULES) == sorted(Status)


def test_29_february_is_an_instant_like_any_other() -> None:
    leap = int(datetime(2028, 2, 29, tzinfo=UTC).timestamp()) * S
    one = Subscription("s", "comfort", 2, start=leap - 365 * DAY, paid_until=leap + DAY)
    assert status(one, leap) is Status.ACTIVE
    assert status(one, leap + DAY) is Status.LAPSED


@given(subscribed, probes, probes)
def test_nothing_changes_between_boundaries(one: Subscription, a: int, b: int) -> None:
    first, last = sorted((a, b))
    if not any(first < edge <= last for edge in boundaries(one)):
        assert status(one, first) is status(one, last)
