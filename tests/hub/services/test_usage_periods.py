"""Periods of usage: they touch, and what is over stays as it was, whatever plans do later."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.facts import Facts, Subscription
from hub.services.usage_periods import past_periods
from tests.entitlements.products import DAY, MODEL, product

T0 = 20_000 * DAY
FEATURE = MODEL.features["reports"]
DAYS = st.integers(1, 90)


@st.composite
def lives(draw: st.DrawFn) -> list[Subscription]:
    """Plans and add-ons of a product that include the feature: each begins, may be unpaid, and may end."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        start = T0 + draw(DAYS) * DAY + draw(st.integers(0, DAY - 1))
        lasts = draw(st.none() | DAYS)
        paid = draw(st.none() | DAYS)
        made.append(
            Subscription(
                f"s{number}",
                *draw(st.sampled_from([("comfort", 2), ("more_reports", 1)])),
                start,
                paid_until=None if paid is None else start + paid * DAY,
                grace_s=draw(st.sampled_from([0, 7 * 86_400])),
                ends_at=None if lasts is None else start + lasts * DAY,
            )
        )
    return made


def over(facts: Facts, zone: str, at: int) -> list[tuple[int, int]]:
    return list(past_periods(facts, FEATURE, zone, at, 40))[::-1]


@settings(max_examples=25)
@given(lives(), st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]))
def test_a_period_that_is_over_is_over_for_good(plans: list[Subscription], zone: str) -> None:
    facts = product(subscriptions=tuple(plans))
    facts = replace(facts, ownership=(replace(facts.ownership[0], start=T0),))
    before: list[tuple[int, int]] = []
    for at in range(T0, T0 + 200 * DAY, 17 * DAY):
        after = over(facts, zone, at)
        assert after[: len(before)] == before
        before = after
    assert before[0][0] == T0
    assert [end for _, end in before[:-1]] == [start for start, _ in before[1:]]
