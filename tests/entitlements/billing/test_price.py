"""Prices are exact, proration adds up, and tax is rounded once for an invoice."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.billing.money import CurrencyMismatchError, Money, taxed
from entitlements.billing.price import FREE, Price, UnitPrice, amount
from entitlements.billing.proration import prorated, unused
from entitlements.billing.totals import taxed_lines

S = 1_000_000_000
MONTH = (1_000 * S, (1_000 + 30 * 86_400) * S)
amounts = st.integers(-(10**9), 10**9).map(lambda minor: Money(minor, "EUR"))


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [("9.99", "EUR", 999), (10, "EUR", 1_000), (1200, "JPY", 1_200), ("1.234", "KWD", 1_234)],
)
def test_amounts_are_of_the_main_unit(value: str | int, currency: str, minor: int) -> None:
    assert amount(value, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("value", "currency", "wrong"),
    [
        ("9.999", "EUR", "more than 2 decimals"),
        ("0.5", "JPY", "more than 0 decimals"),
        ("-1", "EUR", "negative"),
        ("1e30", "EUR", "too large"),
        ("ten", "EUR", "no number"),
        ("NaN", "EUR", "no number"),
        (9.99, "EUR", "not exact"),
        (True, "EUR", "not exact"),
        ("1", "EURO", "ISO 4217"),
    ],
)
def test_amounts_that_nobody_can_pay(value: str | int, currency: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        amount(value, currency)


def test_a_price_is_of_its_currencies_only() -> None:
    price = Price(
        {"EUR": Money(999, "EUR")}, overage={"pages": {"EUR": UnitPrice(Money(2, "EUR"))}}
    )
    assert price.amount("EUR") == Money(999, "EUR")
    assert price.unit_price("pages", "EUR") == UnitPrice(Money(2, "EUR"), 1)
    assert price.unit_price("energy", "EUR") is None
    for ask in (lambda: price.amount("USD"), lambda: price.unit_price("pages", "USD")):
        with pytest.raises(CurrencyMismatchError, match="not in USD"):
            ask()
    assert FREE.free
    assert FREE.amount("JPY") == Money(0, "JPY")


@given(amounts, st.integers(1, 1_000), st.integers(0, 3), st.lists(st.integers(0, 10**7)))
def test_what_usage_costs_adds_up(price: Money, per: int, decimals: int, stops: list[int]) -> None:
    unit = UnitPrice(price, per)
    edges = sorted({0, *stops})
    costs = [unit.cost(a, b, decimals) for a, b in pairwise(edges)]
    assert sum(costs, Money.zero("EUR")) == unit.cost(0, edges[-1], decimals)
    exact = price.minor * edges[-1] / (per * 10**decimals)
    assert abs(unit.cost(0, edges[-1], decimals).minor - exact) <= 0.5 + abs(exact) * 1e-12


@given(amounts, st.lists(st.integers(*MONTH)))
def test_parts_of_a_period_add_up_to_its_price(price: Money, cuts: list[int]) -> None:
    edges = sorted({*MONTH, *cuts})
    parts = [prorated(price, a, b, MONTH) for a, b in pairwise(edges)]
    assert sum(parts, Money.zero("EUR")) == price


@given(amounts, st.integers(MONTH[0] - 10**15, MONTH[1] + 10**15))
def test_used_and_unused_are_the_price(price: Money, at: int) -> None:
    assert prorated(price, 0, max(at, 0), MONTH) + unused(price, at, MONTH) == price


def test_a_period_that_is_none() -> None:
    with pytest.raises(ValueError, match="a second"):
        prorated(Money(1, "EUR"), 0, 1, (0, S - 1))
    with pytest.raises(ValueError, match="before it starts"):
        prorated(Money(1, "EUR"), 2, 1, MONTH)


def test_tax_is_that_of_the_sum() -> None:
    lines = [(Money(33, "EUR"), 190_000, False)] * 10
    split = taxed_lines(lines)
    assert sum(one.tax.minor for one in split) == 63  # line by line: 60
    (consumer,) = taxed_lines([(Money(999, "EUR"), 190_000, True)])
    assert (consumer.net.minor, consumer.tax.minor) == (839, 160)


@given(
    st.lists(st.tuples(amounts, st.sampled_from([0, 70_000, 190_000]), st.booleans()), max_size=12)
)
def test_lines_add_up_to_the_tax_of_each_rate(lines: list[tuple[Money, int, bool]]) -> None:
    split = taxed_lines(lines)
    for (price, _, inclusive), one in zip(lines, split, strict=True):
        assert (one.gross if inclusive else one.net) == price
    for rate in (0, 70_000, 190_000):
        for inclusive in (False, True):
            mine = [
                (line, one)
                for line, one in zip(lines, split, strict=True)
                if line[1:] == (rate, inclusive)
            ]
            zero = Money.zero("EUR")
            whole = sum((line[0] for line, _ in mine), zero)
            assert sum((one.tax for _, one in mine), zero) == (
                taxed(whole, rate, inclusive=inclusive).tax
            )


def test_lines_of_two_currencies() -> None:
    with pytest.raises(CurrencyMismatchError):
        taxed_lines([(Money(1, "EUR"), 0, True), (Money(1, "USD"), 190_000, False)])
