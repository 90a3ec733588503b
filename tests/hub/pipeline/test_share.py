"""Shares of a busy worker: max-min fair between owners, then between their products."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.pipeline.budget import Buckets, Budgets
from hub.pipeline.frames import Frames
from hub.pipeline.share import FairShare, water_level

S = 1_000_000_000


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(1, 5000))
def test_cut_at_the_level_demands_fill_the_capacity(demand: list[int], capacity: int) -> None:
    level = water_level(np.array(demand, np.float64), capacity)
    if sum(demand) <= capacity:
        assert level == np.inf
    else:
        assert sum(min(d, level) for d in demand) == pytest.approx(capacity)


class Fleet:
    """Products that ask for so many messages a second, spread evenly, and do not listen."""

    def __init__(self, owner: list[int], rates: list[float], capacity: int | None) -> None:
        self.rates = np.array([0.0, *rates])
        self.budgets = Budgets(
            np.array([0, *owner], np.uint32), np.array([[0, 0, 0, 0, 1]]), Buckets()
        )
        self.share = FairShare(capacity)
        self.rng = np.random.default_rng(3)
        self.sent = self.rng.random(len(rates) + 1)  # no two of them in step
        self.passed = np.zeros(len(rates) + 1, np.int64)
        self.now = 1000 * S

    def lag_s(self) -> float:
        """How far a worker is behind; one without a backlog never is."""
        return 0.0

    def run(
        self, seconds: float, step: float = 0.01
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Messages a second that passed, by product."""
        before = self.passed.copy()
        for _ in range(round(seconds / step)):
            self.now += round(step * S)
            self.sent += self.rates * step
            due = np.floor(self.sent).astype(np.int64)
            self.sent -= due
            slots = self.rng.permutation(np.repeat(np.arange(due.size), due))
            frames = Frames(np.zeros(1, np.uint8), max(1, slots.size))
            frames.count = slots.size
            frames.slot[: slots.size] = slots
            self.share.adjust(self.budgets, self.now, self.lag_s())
            self.budgets.charge(frames, self.now)
            passed = slots[frames.verdict[: slots.size] == 0]
            self.passed += np.bincount(passed, minlength=self.passed.size)
        return (self.passed - before)[1:] / seconds


def test_all_passes_while_it_fits() -> None:
    fleet = Fleet([1, 2, 3], [300, 300, 300], 1000)
    np.testing.assert_allclose(fleet.run(10), 300, rtol=0.01)


def test_overload_uses_the_capacity_and_leaves_the_modest_alone() -> None:
    fleet = Fleet([1, 2, 3, 4], [4000, 900, 50, 3], 1000)
    fleet.run(3)
    passed = fleet.run(20)
    assert passed.sum() == pytest.approx(1000, rel=0.03)
    np.testing.assert_allclose(passed[2:], [50, 3], rtol=0.02)
    np.testing.assert_allclose(passed[:2], 473.5, rtol=0.05)


def test_from_its_beginning_overload_costs_the_modest_nothing() -> None:
    fleet = Fleet([1, 2], [5, 5], 1000)
    fleet.run(5)
    fleet.rates[1] = 20_000
    assert fleet.run(10)[1] == pytest.approx(5, rel=0.03)


def test_an_owner_of_many_products_gets_no_more_than_one_of_few() -> None:
    fleet = Fleet([*[1] * 500, 2], [*[10.0] * 500, 900.0], 1000)
    fleet.run(6)
    passed = fleet.run(10)
    assert passed[-1] == pytest.approx(500, rel=0.1)
    assert passed[:-1].sum() == pytest.approx(500, rel=0.1)
    assert passed[:-1].max() < 2 * passed[:-1].mean()


def test_what_nobody_owns_is_one_owners() -> None:
    fleet = Fleet([*[0] * 50, 1], [*[100.0] * 50, 400.0], 1000)
    fleet.run(3)
    passed = fleet.run(10)
    assert passed[-1] == pytest.approx(400, rel=0.05)
    assert passed[:-1].sum() == pytest.approx(600, rel=0.05)


def test_when_overload_ends_everything_passes_again() -> None:
    fleet = Fleet([1, 2], [5000, 10], 1000)
    fleet.run(5)
    fleet.rates[1] = 800
    fleet.run(1)
    np.testing.assert_allclose(fleet.run(5), [800, 10], rtol=0.02)


def test_without_a_limit_nothing_is_shared_out() -> None:
    fleet = Fleet([1], [10_000], None)
    assert fleet.run(2)[0] == pytest.approx(10_000)
    assert not fleet.budgets.buckets.share.any()


class Backlogged(Fleet):
    """A fleet whose worker manages only so many messages a second, while shedding costs it nothing."""

    able = 2000.0

    def __init__(self, owner: list[int], rates: list[float]) -> None:
        super().__init__(owner, rates, None)
        self.share = FairShare(None, 1.0)
        self.waiting = 0.0
        self.seen, self.seen_at = 0, self.now

    def lag_s(self) -> float:
        passed = int(self.passed.sum())
        done = self.able * (self.now - self.seen_at) / S
        self.waiting = max(0.0, self.waiting + passed - self.seen - done)
        self.seen, self.seen_at = passed, self.now
        return self.waiting / self.able


def test_a_worker_that_falls_behind_takes_less_until_it_keeps_up() -> None:
    fleet = Backlogged([1, 2], [9000, 40])
    fleet.run(20)
    passed = fleet.run(60)
    assert passed[1] == pytest.approx(40, rel=0.02)
    assert 0.75 * fleet.able < passed.sum() <= 1.05 * fleet.able
    assert fleet.lag_s() < 3
    fleet.rates[1] = 500
    fleet.run(10)
    np.testing.assert_allclose(fleet.run(5), [500, 40], rtol=0.03)


def test_a_pause_that_is_over_sheds_nothing() -> None:
    fleet = Backlogged([1, 2], [500, 40])
    fleet.run(2)
    fleet.waiting = 1.2 * fleet.able
    np.testing.assert_allclose(fleet.run(5), [500, 40], rtol=0.03)
