"""Fisher's test and the control of many tests against scipy and against the definition."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.association import Table, adjusted, chance


@st.composite
def tables(draw: st.DrawFn, most: int = 60) -> Table:
    every = draw(st.integers(1, most))
    fault, having = draw(st.integers(0, every)), draw(st.integers(0, every))
    both = draw(st.integers(max(0, fault + having - every), min(fault, having)))
    return Table(both, fault, having, every)


@given(tables())
def test_chance_is_that_of_the_definition(table: Table) -> None:
    n, having, every = table.fault, table.having, table.every
    ways = sum(
        math.comb(having, k) * math.comb(every - having, n - k)
        for k in range(table.both, min(n, having) + 1)
    )
    exact = float(Fraction(ways, math.comb(every, n)))
    assert chance(table) == pytest.approx(exact, rel=1e-9)


@settings(deadline=None, max_examples=50)
@given(tables(most=20_000))
def test_chance_is_that_of_scipy(table: Table) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.hypergeom.sf(table.both - 1, table.every, table.having, table.fault)
    assert chance(table) == pytest.approx(float(expected), rel=1e-6, abs=1e-290)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_adjusted_is_that_of_scipy(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    chances = np.array(values)
    assert adjusted(chances) == pytest.approx(stats.false_discovery_control(chances))


def test_drifts_on_one_firmware() -> None:
    table = Table(both=31, fault=40, having=230, every=10_040)
    assert table.share_of_rest == pytest.approx(0.0199)
    assert table.lift > 100
    assert chance(table) < 1e-40


def test_contradictions_are_refused() -> None:
    for counts in ((3, 2, 5, 10), (0, 8, 8, 10), (-1, 2, 5, 10), (1, 11, 5, 10)):
        with pytest.raises(ValueError, match="No products"):
            chance(Table(*counts))


def test_among_many_properties_without_meaning_hardly_one_is_named() -> None:
    rng = np.random.default_rng(4)
    named = 0
    for _ in range(40):
        chances = []
        for _ in range(50):
            both = int(rng.hypergeometric(100, 900, 40))
            chances.append(chance(Table(both, 40, 100, 1000)))
        named += bool((adjusted(np.array(chances)) < 0.05).any())
    assert named <= 5
