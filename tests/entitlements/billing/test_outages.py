"""What is given for outages: each instant counts once."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from entitlements.billing.outages import Outage, enlarged, extended, missed, with_outages
from entitlements.facts import Subscription
from entitlements.status import NS_PER_S, covered_until, grace_until

outages = st.lists(
    st.builds(lambda start, length: Outage(start, start + length), st.integers(0, 200), st.integers(1, 60)),
    max_size=6,
)  # fmt: skip


@given(outages, st.integers(0, 150), st.integers(1, 150))
def test_missed_time_is_that_of_instants_in_any_outage(
    found: list[Outage], start: int, length: int
) -> None:
    down = [at for at in range(start, start + length) if any(a <= at < b for a, b in found)]
    assert missed(found, start, start + length) == len(down)
    assert enlarged(1_000, found, start, start + length) >= 1_000


@given(outages, st.integers(0, 150), st.integers(1, 150))
def test_credit_runs_for_as_long_as_it_was_given_for_while_the_hub_was_up(
    found: list[Outage], start: int, length: int
) -> None:
    end = extended(found, start, start + length)
    assert end - start - missed(found, start, end) == length


DAY = 86_400 * NS_PER_S


@given(outages, st.integers(0, 120), st.integers(0, 40), st.integers(0, 40))
def test_an_unpaid_subscription_goes_on_for_as_long_as_was_agreed_while_the_hub_was_up(
    found: list[Outage], paid: int, retry: int, grace: int
) -> None:
    down = [Outage(one.start * NS_PER_S, one.end * NS_PER_S) for one in found]
    agreed = Subscription("s", "p", 1, 0, paid_until=paid * NS_PER_S, retry_s=retry, grace_s=grace)
    given = with_outages(agreed, down)
    covered, end = covered_until(given), grace_until(given)
    assert covered == paid * NS_PER_S
    assert end is not None
    assert end - covered - missed(down, covered, end) == (retry + grace) * NS_PER_S
    assert with_outages(given, down) == given  # not given twice
    assert with_outages(given, []) == agreed


def test_grace_that_was_over_is_not_given_again_nor_is_time_that_was_paid_for() -> None:
    agreed = Subscription("s", "p", 1, 0, paid_until=10 * DAY, grace_s=86_400)
    assert with_outages(agreed, [Outage(2 * DAY, 9 * DAY), Outage(11 * DAY, 12 * DAY)]) == agreed
    half = with_outages(agreed, [Outage(9 * DAY, 10 * DAY + 1)])
    assert half.outage_s == 1  # rounded up
    assert with_outages(replace(agreed, paid_until=None), [Outage(0, 99 * DAY)]).outage_s == 0
