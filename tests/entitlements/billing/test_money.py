"""Amounts of money: nothing is lost, however a total is cut, and currencies never meet."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.billing.money import DECIMALS, PPM, CurrencyMismatchError, Money, taxed

amounts = st.integers(-(10**12), 10**12).map(lambda minor: Money(minor, "EUR"))


@given(amounts, st.integers(1, 10**8), st.lists(st.integers(0, 10**8)))
def test_the_parts_of_any_cut_add_up(total: Money, whole: int, cuts: list[int]) -> None:
    edges = sorted({0, whole, *(cut % whole for cut in cuts)})
    parts = [total.part(a, b, whole) for a, b in pairwise(edges)]
    assert sum((part.minor for part in parts), 0) == total.minor


@given(amounts, st.integers(1, 1000), st.data())
def test_a_part_is_within_one_unit_of_its_share(
    total: Money, whole: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, whole))
    end = data.draw(st.integers(start, whole))
    exact = Decimal(total.minor) * (end - start) / whole
    assert abs(total.part(start, end, whole).minor - exact) <= 1


@given(amounts, st.integers(0, PPM), st.booleans())
def test_net_and_tax_are_the_gross(amount: Money, rate: int, inclusive: bool) -> None:
    split = taxed(amount, rate, inclusive=inclusive)
    assert split.gross.minor - split.tax.minor == split.net.minor
    assert (split.gross if inclusive else split.net) == amount
    assert abs(split.tax.minor * PPM - split.net.minor * rate) <= PPM


def test_tax_of_a_consumer_price() -> None:
    split = taxed(Money(1_190, "EUR"), 190_000, inclusive=True)
    assert (split.net.minor, split.tax.minor) == (1_000, 190)
    assert taxed(Money(1_000, "EUR"), 190_000, inclusive=False).gross == Money(1_190, "EUR")


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(1_230, "EUR", "12.30 EUR"), (1_230, "JPY", "1230 JPY"), (1_230, "KWD", "1.230 KWD")],
)
def test_minor_units_are_those_of_the_currency(minor: int, currency: str, text: str) -> None:
    assert str(Money(minor, currency)) == text


def test_every_currency_has_one_number_of_decimals() -> None:
    assert {len(code) for code in DECIMALS} == {3}
    assert DECIMALS["EUR"] == 2


def test_currencies_do_not_meet() -> None:
    with pytest.raises(CurrencyMismatchError, match="different currencies"):
        Money(1, "EUR") + Money(1, "USD")
    with pytest.raises(ValueError, match="ISO 4217"):
        Money(1, "eur")


@pytest.mark.parametrize(("start", "end", "whole"), [(-1, 0, 5), (3, 2, 5), (0, 6, 5), (0, 0, 0)])
def test_a_part_lies_within_the_whole(start: int, end: int, whole: int) -> None:
    with pytest.raises(ValueError, match="is no part of"):
        Money(5, "EUR").part(start, end, whole)
