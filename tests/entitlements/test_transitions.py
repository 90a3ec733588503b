"""The table of transitions: complete, true of the dates, and the same in the documentation."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given

from entitlements.decision import decide
from entitlements.facts import Subscription
from entitlements.status import Status, boundaries, status
from entitlements.transitions import TRANSITIONS, Trigger, follows, markdown, permits
from tests.entitlements.products import DAY, S, product, subscribed

DOCUMENT = Path(__file__).parents[2] / "docs" / "subscriptions.md"


def test_documentation_is_the_table() -> None:
    text = DOCUMENT.read_text()
    _, begun = text.split("<!-- python -m entitlements.transitions -->\n")
    shown, _ = begun.split("<!-- end -->")
    assert shown == markdown(), "run the command above the table and put its output there"


def test_every_trigger_has_one_row_and_every_state_a_way_in() -> None:
    assert [row.trigger for row in TRANSITIONS] == list(Trigger)
    reached = {state for row in TRANSITIONS for state in row.to}
    assert reached | {Status.SCHEDULED, Status.INCOMPLETE} == set(Status)


def test_what_is_over_stays_over() -> None:
    for trigger in Trigger:
        assert not permits(trigger, Status.WITHDRAWN)
        assert not permits(trigger, Status.ENDED)


@given(subscribed)
def test_time_leads_only_where_the_table_says(one: Subscription) -> None:
    """What people do is told apart: dates that say that somebody did something are left out."""
    alone = replace(one, cancelled_at=None, withdrawn_at=None, paused_at=None)
    edges = sorted(boundaries(alone))
    for before, after in pairwise(edges):
        was, now = status(alone, before), status(alone, after)
        assert was is now or follows(was, now) or was is Status.INCOMPLETE


PAID = {"paid_until": 30 * DAY, "retry_s": 5 * 86_400, "grace_s": 5 * 86_400}


@pytest.mark.parametrize(
    ("dates", "at", "expected"),
    [
        (PAID, 30 * DAY - 1, Status.ACTIVE),
        (PAID, 30 * DAY, Status.PAST_DUE),
        (PAID, 35 * DAY - 1, Status.PAST_DUE),
        (PAID, 35 * DAY, Status.GRACE),
        (PAID, 40 * DAY - 1, Status.GRACE),
        (PAID, 40 * DAY, Status.LAPSED),
        ({"trial_end": 14 * DAY, "retry_s": 86_400}, 14 * DAY, Status.PAST_DUE),
        ({**PAID, "paused_at": 10 * DAY}, 10 * DAY - 1, Status.ACTIVE),
        ({**PAID, "paused_at": 10 * DAY}, 10 * DAY, Status.PAUSED),
        ({**PAID, "paused_at": 10 * DAY}, 9_000 * DAY, Status.PAUSED),
        ({**PAID, "paused_at": 10 * DAY, "resumes_at": 12 * DAY}, 12 * DAY - 1, Status.PAUSED),
        ({**PAID, "paused_at": 10 * DAY, "resumes_at": 12 * DAY}, 12 * DAY, Status.ACTIVE),
        ({**PAID, "withdrawn_at": 5 * DAY}, 5 * DAY - 1, Status.ACTIVE),
        ({**PAID, "withdrawn_at": 5 * DAY}, 5 * DAY, Status.WITHDRAWN),
        ({**PAID, "withdrawn_at": 5 * DAY, "ends_at": 5 * DAY}, 9 * DAY, Status.WITHDRAWN),
        ({"paid_until": 0}, 0, Status.INCOMPLETE),
        ({"paid_until": 0}, 900 * DAY, Status.INCOMPLETE),
        ({"paid_until": 0, "ends_at": DAY}, DAY, Status.ENDED),
        ({"paid_until": 0, "retry_s": 1}, 0, Status.PAST_DUE),
    ],
)
def test_states_around_payment_pause_and_withdrawal(
    dates: dict[str, int], at: int, expected: Status
) -> None:
    assert status(Subscription("s", "comfort", 2, start=0, **dates), at) is expected


def test_quotas_of_addons_add_to_that_of_the_plan() -> None:
    plan = Subscription("s", "comfort", 2, 0, paid_until=30 * DAY)
    addon = Subscription("t", "more_reports", 1, 5 * DAY, paid_until=30 * DAY, quantity=3)
    facts = product(subscriptions=(plan, addon))
    before = decide(facts, "reports", DAY)
    assert (before.value, before.until) == (12, 5 * DAY)
    after = decide(facts, "reports", 5 * DAY)
    assert (after.value, after.subscription_id, after.until) == (12 + 3 * 5, "s", 30 * DAY)
    assert decide(facts, "history_days", 5 * DAY).value == 900  # not a quota: it replaces
    alone = decide(product(subscriptions=(addon,)), "reports", 5 * DAY)
    assert (alone.value, alone.subscription_id) == (15, "t")


@pytest.mark.parametrize(
    ("dates", "code", "args"),
    [
        ({"paid_until": S}, "past_due", {"paid_until_at": S, "until_at": 61 * S}),
        ({"paid_until": 9 * S, "paused_at": S}, "paused", {"since_at": S, "until_at": None}),
        ({"paid_until": 9 * S, "withdrawn_at": S}, "withdrawn", {"since_at": S}),
    ],
)
def test_the_reason_names_its_instants(
    dates: dict[str, int], code: str, args: dict[str, int | None]
) -> None:
    facts = product(subscriptions=(Subscription("s", "comfort", 2, 0, retry_s=60, **dates),))
    decided = decide(facts, "schedule", 2 * S)
    assert (decided.code, decided.args) == (code, {"plan": "comfort", **args})
    assert decide(facts, "frost_protection", 2 * S).allowed
