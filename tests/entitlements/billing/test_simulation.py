"""What a plan would have cost: quotas, overage, tax, yearly prices, months without data."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.billing.money import CurrencyMismatchError, Money
from entitlements.billing.periods import renewal
from entitlements.billing.price import Price, UnitPrice
from entitlements.billing.simulation import MeterTerms, Month, Simulation, simulate
from entitlements.quotas import QuotaTerms

START = 1_769_846_400_000_000_000
SOFT = QuotaTerms(hard=False)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def edges(count: int) -> list[int]:
    return [renewal("Europe/Berlin", START, months) for months in range(count)]


def run(
    used: list[int | None],
    price: Price,
    terms: MeterTerms,
    tax_ppm: int = 0,
) -> Simulation:
    found = edges(len(used) + price.interval_months + 1)
    months = [
        Month(found[place], found[place + 1], {"pages": units}) for place, units in enumerate(used)
    ]
    return simulate(price, {"pages": terms}, months, found, "EUR", tax_ppm)


def printing(minor: int, unit: int, *, months: int = 1, per: int = 1) -> Price:
    return Price(
        {"EUR": eur(minor)}, months, "standard", True, {"pages": {"EUR": UnitPrice(eur(unit), per)}}
    )


def test_usage_beyond_a_soft_quota_is_paid_for() -> None:
    found = run([90, 150, None], printing(999, 2), MeterTerms(True, 100, SOFT))
    assert [one.taxed.gross for one in found.months] == [eur(999), eur(999 + 100), eur(999)]
    assert found.total.gross == eur(3 * 999 + 100)
    assert [one.meters["pages"].over for one in found.months] == [0, 50, 0]
    assert [one.meters["pages"].used for one in found.months] == [90, 150, None]
    assert found.closed == {}


def test_a_hard_quota_costs_nothing_more_and_says_what_it_would_not_have_allowed() -> None:
    found = run([150, 101], printing(999, 2), MeterTerms(True, 100))
    assert found.total.gross == eur(2 * 999)
    assert found.closed == {"pages": 51}


def test_a_plan_without_the_feature_would_not_have_allowed_any_of_it() -> None:
    found = run([150, None, 5], printing(499, 2), MeterTerms(False))
    assert found.total.gross == eur(3 * 499)
    assert found.closed == {"pages": 155}


def test_without_limit_nothing_is_over() -> None:
    found = run([10**9], printing(999, 2), MeterTerms(True, None, SOFT))
    assert found.total.gross == eur(999)


def test_what_is_left_is_carried_on_as_in_life() -> None:
    carried = QuotaTerms(hard=False, rollover_max=40, rollover_periods=1)
    found = run([30, 130, 150], printing(0, 1), MeterTerms(True, 100, carried))
    # 70 are left of January, of which 40 go on to February, and no further.
    assert [one.meters["pages"].over for one in found.months] == [0, 0, 40]


def test_a_yearly_price_falls_on_months_by_their_length_and_adds_up() -> None:
    found = run([0] * 12, printing(12_000, 2, months=12), MeterTerms(True, 100, SOFT), 190_000)
    assert found.total.gross == eur(12_000)
    assert found.total.tax == sum((one.taxed.tax for one in found.months), eur(0))
    february, march = found.months[0], found.months[1]  # 28 days and 31
    assert february.price.minor < march.price.minor


def test_net_prices_are_taxed_month_by_month() -> None:
    price = Price({"EUR": eur(1_000)}, 1, "standard", inclusive=False)
    found = run([0, 0], price, MeterTerms(True, None), 190_000)
    assert (found.total.net, found.total.gross) == (eur(2_000), eur(2_380))


def test_another_currency_is_refused() -> None:
    months = [Month(START, edges(2)[1], {"pages": 0})]
    price = Price({"USD": Money(999, "USD")})
    with pytest.raises(CurrencyMismatchError):
        simulate(price, {"pages": MeterTerms(True)}, months, edges(3), "EUR", 0)


@given(
    used=st.lists(st.none() | st.integers(0, 10_000), min_size=1, max_size=14),
    base=st.integers(0, 10**6),
    unit=st.integers(0, 999),
    per=st.integers(1, 1_000),
    quota=st.none() | st.integers(1, 5_000),
    interval=st.sampled_from([1, 3, 12]),
    tax=st.sampled_from([0, 70_000, 190_000]),
)
def test_it_equals_the_bill_reckoned_by_hand(
    used: list[int | None],
    base: int,
    unit: int,
    per: int,
    quota: int | None,
    interval: int,
    tax: int,
) -> None:
    price = printing(base, unit, months=interval, per=per)
    found = run(used, price, MeterTerms(True, quota, SOFT), tax)
    beyond = [0 if quota is None else max((units or 0) - quota, 0) for units in used]
    cost = sum(
        (Decimal(units * unit) / per).to_integral_value(rounding=ROUND_HALF_UP) for units in beyond
    )
    whole, rest = divmod(len(used), interval)
    prices = [one.price.minor for one in found.months]
    assert sum(prices[: whole * interval]) == whole * base
    assert 0 <= sum(prices[whole * interval :]) <= base * (rest > 0)
    assert found.total.gross.minor == sum(prices) + cost
    assert found.total.net + found.total.tax == found.total.gross
