"""Quotas and credit as one: allowances, thresholds and what is carried on."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.billing.allowance import Period, marks, matters, reached, stand
from entitlements.billing.credit import CreditGrant
from entitlements.billing.projection import exhausted_at
from entitlements.quotas import PLAIN, QuotaTerms

SHARES = PLAIN.shares


def period(k: int, quota: int | None = 100, terms: QuotaTerms = PLAIN) -> Period:
    return Period(1_000 * k, 1_000 * (k + 1), quota, terms)


def used(*events: tuple[int, int]) -> Callable[[int, int], int]:
    return lambda start, end: sum(units for at, units in events if start <= at < end)


def test_a_plain_quota_is_the_allowance_whatever_was_before() -> None:
    stands = stand([period(0), period(1)], [], used((500, 400), (1_200, 30)), 1_500)
    assert (stands.used, stands.allowance, stands.overage) == (30, 100, 0)
    assert stands.left == (("quota:1000", 70),)
    assert (stands.cut, stands.used_up) == (2_000, False)
    assert not matters([period(0), period(1)], [])


def test_the_quota_burns_before_a_top_up_and_each_payment_is_listed() -> None:
    top_up = CreditGrant("t", 50, 1_100, None, priority=100, max_rollover=50)
    stands = stand([period(1)], [top_up], used((1_050, 90), (1_200, 30)), 1_500)
    assert (stands.used, stands.allowance) == (120, 150)
    assert dict(stands.left) == {"quota:1000": 0, "t": 30}
    assert [s.paid for s in stands.stretches] == [
        (("quota:1000", 90),),
        (("quota:1000", 10), ("t", 20)),
    ]


def test_credit_that_expires_in_the_period_lowers_the_allowance_by_what_is_lost() -> None:
    gift = CreditGrant("g", 50, 1_000, 1_500, priority=10)
    before = stand([period(1)], [gift], used((1_100, 20)), 1_400)
    after = stand([period(1)], [gift], used((1_100, 20)), 1_600)
    assert (before.allowance, before.cut) == (150, 1_500)
    assert (after.allowance, after.cut) == (120, 2_000)


def test_what_is_left_is_carried_on_within_its_bounds_and_for_its_time() -> None:
    terms = QuotaTerms(rollover_max=40, rollover_periods=1)
    periods = [period(k, terms=terms) for k in range(3)]
    second = stand(periods[:2], [], used((10, 30)), 1_500)
    assert second.allowance == 140
    third = stand(periods, [], used((10, 30)), 2_500)
    assert third.allowance == 140  # the 40 of the first period expired with the second


def test_overage_is_kept_or_dropped() -> None:
    for keep, allowance in ((True, 70), (False, 100)):
        terms = QuotaTerms(hard=False, keep_overage=keep)
        stands = stand([period(0, terms=terms), period(1, terms=terms)], [], used((5, 130)), 1_000)
        assert (keep, stands.allowance) == (keep, allowance)


def test_a_debt_larger_than_the_next_quota_leaves_nothing() -> None:
    terms = QuotaTerms(hard=False, keep_overage=True)
    stands = stand([period(0, terms=terms), period(1, terms=terms)], [], used((5, 250)), 1_000)
    assert (stands.allowance, stands.overage, stands.used_up) == (-50, 50, True)
    assert stands.reached == SHARES


def test_without_limit_nothing_is_owed_or_reached() -> None:
    stands = stand([period(0, None)], [], used((5, 900)), 500)
    assert (stands.used, stands.allowance, stands.reached, stands.used_up) == (900, None, (), False)


@given(
    st.integers(1, 500),
    st.lists(st.integers(1, 300), unique=True, max_size=8).map(lambda s: tuple(sorted(s))),
    st.integers(0, 2_000),
    st.integers(0, 400),
)
def test_a_mark_is_passed_exactly_when_a_share_is_reached(
    allowance: int, shares: tuple[int, ...], total: int, apart: int
) -> None:
    here = marks(allowance, shares, apart)
    passed = [mark for mark in here if mark <= total]
    now, nothing = reached(total + apart, allowance, shares), reached(apart, allowance, shares)
    assert bool(passed) == (len(now) > len(nothing))


@given(
    st.lists(st.tuples(st.integers(0, 2_999), st.integers(0, 60)), max_size=20),
    st.lists(
        st.builds(
            CreditGrant,
            id=st.uuids().map(str),
            amount=st.integers(1, 80),
            start=st.integers(0, 2_500),
            end=st.none() | st.integers(2_501, 4_000),
            priority=st.sampled_from([10, 50, 100]),
            max_rollover=st.integers(0, 80),
        ),
        max_size=4,
    ),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_units_are_neither_lost_nor_made(
    events: list[tuple[int, int]], grants: list[CreditGrant], keep: bool, random: object
) -> None:
    terms = QuotaTerms(keep_overage=keep, rollover_max=30, rollover_periods=2)
    periods = [period(k, terms=terms) for k in range(3)]
    stands = stand(periods, grants, used(*events), 2_900)
    # Arrival order does not matter: the fold sees sums.
    random.shuffle(events)  # type: ignore[attr-defined]
    assert stand(periods, list(reversed(grants)), used(*events), 2_900) == stands
    paid = sum(units for s in stands.stretches for _, units in s.paid)
    over = sum(s.used for s in stands.stretches) - paid
    assert over >= 0
    assert stands.allowance is not None
    assert stands.allowance == stands.used + sum(u for _, u in stands.left) - stands.overage
    later = stand(periods, grants, used(*events, (2_900, 7)), 2_901)
    if stands.cut > 2_901:
        assert later.allowance == stands.allowance  # usage does not move what may be used


def test_terms_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="least must not"):
        QuotaTerms(rollover_min=5, rollover_max=4)
    with pytest.raises(ValueError, match="rising"):
        QuotaTerms(shares=(80, 50))
    assert replace(PLAIN, keep_overage=True).carries


@pytest.mark.parametrize(
    ("left", "steps", "expected"),
    [
        (100, [10, 10, 10], 1_000 + 1_000),
        (100, [10, 0, 500], 1_000 + 1_000),  # one busy day changes nothing
        (100, [0, 0, 500], None),
        (10, [5], 1_000 + 200),
        (0, [5], 1_000),
        (7, [3, 3, 3], 1_000 + 234),
        (10, [], None),
    ],
)
def test_the_rest_is_gone_at_the_median_rate(
    left: int, steps: list[int], expected: int | None
) -> None:
    assert exhausted_at(left, steps, 100, 1_000) == expected
