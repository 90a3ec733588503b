"""Products beside the products like them: against numpy, against a slow version, and in ordinary life."""

import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from analytics.cohort import Batch, CohortWatch
from analytics.findings import OVER, Kind, Severity

S = 1_000_000_000
START = 1_800_000_000 * S
CADENCE = 60


def rows(index: Any, value: Any, second: float) -> Batch:
    index = np.asarray(index, np.int64)
    time = np.full(index.size, START + round(second * S))
    return index, time, np.asarray(value, np.float64), np.zeros(index.size, np.bool_)


def population(rng: np.random.Generator, count: int, rounds: int) -> npt.NDArray[np.float64]:
    """Values [rounds, count]: a common rhythm, products that differ for good, and noise; spread 1."""
    day = 2 * np.pi * np.arange(rounds) * CADENCE / 86_400
    offset = 0.7 * rng.standard_normal(count)
    noise = np.sqrt(1 - 0.49) * rng.standard_normal((rounds, count))
    return np.asarray(20.0 + 3.0 * np.sin(day)[:, None] + offset + noise)


def watching(count: int, *, counter: bool = False) -> CohortWatch:
    watch = CohortWatch()
    for index in range(count):
        watch.join(index, 7, 3, counter=counter)
    return watch


def live(watch: CohortWatch, values: npt.NDArray[np.float64], begin: int = 0) -> list[np.void]:
    found: list[np.void] = []
    for k, row in enumerate(values):
        second = (begin + k) * CADENCE
        present = np.flatnonzero(np.isfinite(row))
        some, _ = watch.update(rows(present, row[present], second), START + second * S)
        found += list(some)
    return found


def test_middle_and_spread_are_those_of_numpy() -> None:
    """With a seat for everybody and one look, nothing is approximate."""
    rng = np.random.default_rng(1)
    values = rng.standard_t(3, (2, 40)) * 5 + 100
    watch = watching(40)
    live(watch, values)
    middle, below, above, members = watch.middle(7, 3)
    kept = values[0]  # what was there when the second round was looked at
    low, center, high = np.quantile(kept, (0.05, 0.5, 0.95))
    typical = 1.4826 * np.median(np.abs(kept - center))
    few = 1 + 1 / 40
    assert members == 40
    assert middle == pytest.approx(center)
    assert below == pytest.approx(few * max(typical, (center - low) / 1.645))
    assert above == pytest.approx(few * max(typical, (high - center) / 1.645))


def test_a_panel_stands_for_a_large_cohort() -> None:
    rng = np.random.default_rng(2)
    count = 5_000
    values = population(rng, count, 60)
    watch = watching(count)
    live(watch, values)
    middle, below, above, members = watch.middle(7, 3)
    assert members == 128
    assert middle == pytest.approx(np.median(values[-2]), abs=0.3)  # standard error 0.11
    assert below == pytest.approx(1.0, abs=0.3)
    assert above == pytest.approx(1.0, abs=0.3)


def test_a_new_product_that_deviates_is_found_within_thirty_samples() -> None:
    rng = np.random.default_rng(3)
    values = population(rng, 200, 300)
    values[:200, 190:] = np.nan
    values[200:, 190:195] += 3.0 - (values[200:, 190:195].mean(0) - values[200:, :190].mean())
    watch = watching(200)
    found = live(watch, values)
    mine = {int(f["index"]): f for f in found if 190 <= f["index"] < 195 and f["severity"] != OVER}
    assert len(mine) >= 4
    for finding in mine.values():
        assert finding["kind"] == Kind.COHORT
        assert finding["time"] - START <= 230 * CADENCE * S
        assert finding["observed"] > finding["expected_high"] > finding["expected_low"]
        assert finding["since"] <= finding["time"]
    assert sum(f["index"] >= 195 for f in found) <= 1


def test_a_deviation_is_said_once_and_its_end_once() -> None:
    rng = np.random.default_rng(4)
    values = population(rng, 60, 900)
    values[200:500, 5] += 8.0
    mine = [f for f in live(watching(60), values) if f["index"] == 5]
    assert [int(f["severity"]) for f in mine] == [Severity.WARNING, OVER]
    assert 200 <= (mine[0]["time"] - START) // (CADENCE * S) <= 220
    assert 500 <= (mine[1]["time"] - START) // (CADENCE * S) <= 560


def test_a_common_rhythm_and_rare_regimes_are_nobodys_deviation() -> None:
    rng = np.random.default_rng(5)
    values = population(rng, 100, 1440)
    on = np.zeros((1440, 100), np.bool_)
    for product in range(100):  # runs of half an hour, a tenth of the time
        for start in rng.integers(0, 1410, 5):
            on[start : start + 30, product] = True
    values[on] += 50.0
    found = [f for f in live(watching(100), values) if f["severity"] != OVER]
    assert len(found) <= 15  # a weak bound: all that one day may say of a hundred products


def test_few_products_are_no_cohort() -> None:
    values = np.zeros((100, 9))
    values[50:, 4] = 1e6
    watch = watching(9)
    assert live(watch, values) == []
    assert np.isnan(watch.middle(7, 3)[0])


def test_counters_are_compared_by_rate() -> None:
    rng = np.random.default_rng(6)
    steps = rng.uniform(0.9, 1.1, (200, 40))
    steps[100:, 8] *= 3.0
    start = rng.uniform(0, 1e6, 40)  # how long each has been in use says nothing
    found = live(watching(40, counter=True), start + np.cumsum(steps, axis=0))
    assert [int(f["index"]) for f in found] == [8]
    assert found[0]["observed"] > found[0]["expected_high"]


def test_backlogs_and_wrong_clocks_are_not_compared() -> None:
    rng = np.random.default_rng(7)
    watch = watching(60)
    live(watch, population(rng, 60, 100))
    received = START + 100 * CADENCE * S
    before = watch.middle(7, 3)
    for lag in (2 * 3600 * S, -2 * 3600 * S):
        index = np.zeros(50, np.int64)
        time = received - lag + np.arange(50) * S
        batch = (index, time, np.full(50, 1e9), np.zeros(50, np.bool_))
        found, _ = watch.update(batch, received)
        assert len(found) == 0
    assert watch.middle(7, 3) == before


def test_a_cohort_that_moves_is_one_finding_about_the_cohort() -> None:
    rng = np.random.default_rng(8)
    values = population(rng, 40, 3 * 1440)
    values[2 * 1440 :] += 6.0
    watch = watching(40)
    products, cohorts = 0, []
    for k, row in enumerate(values):
        found, shifts = watch.update(rows(range(40), row, k * CADENCE), START + k * CADENCE * S)
        products += k >= 2 * 1440 and len(found)
        cohorts += [
            (k, int(c), int(m), int(n), float(f["observed"] - f["expected_high"]))
            for f, c, m, n in zip(*shifts, strict=True)
        ]
    assert len(cohorts) == 1
    at, cohort, metric, members, beyond = cohorts[0]
    assert (cohort, metric, members) == (7, 3, 40)
    assert 0 <= at - 2 * 1440 <= 180
    assert beyond > 0
    assert products <= 2


def test_who_changes_the_cohort_starts_afresh() -> None:
    rng = np.random.default_rng(9)
    watch = watching(60)
    values = population(rng, 60, 300)
    values[:, 5] += 8.0
    first = [f for f in live(watch, values) if f["index"] == 5]
    watch.join(5, 8, 3)
    after = [f for f in live(watch, values, 300) if f["index"] == 5]
    watch.join(5, 7, 3)
    again = [f for f in live(watch, values, 600) if f["index"] == 5]
    assert (len(first), len(after), len(again)) == (1, 0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_split_and_restart_change_nothing(seed: int) -> None:
    rng, dice = np.random.default_rng(seed), random.Random(seed)  # noqa: S311  seeded, not secret
    values = population(rng, 80, 600)
    values[200:, 3] += 6.0
    values[300:400, 4] -= 9.0
    whole, parts = watching(80), watching(80)
    expected = live(whole, values)
    assert len(expected) >= 3, seed
    found: list[np.void] = []
    for k, row in enumerate(values):
        batch = rows(range(80), row, k * CADENCE)
        cut = dice.randint(0, 80)
        for part in (slice(0, cut), slice(cut, 80)):
            some, _ = parts.update(tuple(c[part] for c in batch), START + k * CADENCE * S)  # type: ignore[arg-type]
            for one in some:
                one["sample"] += part.start
            found += list(some)
        if dice.random() < 0.02:
            parts = CohortWatch.restore({k: v.copy() for k, v in parts.arrays().items()})
    assert [f.tolist() for f in found] == [f.tolist() for f in expected], seed
    for name, array in whole.arrays().items():
        assert np.array_equal(array, parts.arrays()[name]), (name, seed)


def test_what_a_product_does_every_day_is_said_no_more_than_a_few_times() -> None:
    rng = np.random.default_rng(10)
    values = population(rng, 60, 3_000)
    values[:, 5] -= values[:, 5].mean() - values.mean()
    for start in range(300, 3_000, 200):
        values[start : start + 40, 5] += 3.0
    mine = [f for f in live(watching(60), values) if f["index"] == 5 and f["severity"] != OVER]
    assert 1 <= len(mine) <= 4  # of fourteen times


@pytest.mark.parametrize("seed", range(3))
def test_what_is_said_is_a_value_that_the_quantity_can_have(seed: int) -> None:
    """A flow is never negative, however far below a skewed and moving cohort somebody stays."""
    rng = np.random.default_rng(seed)
    use = 1.0 + np.sin(np.arange(800) / 60.0)
    values = use[:, None] * rng.gamma(2.0, 2.0, 50) * rng.gamma(4.0, 0.25, (800, 50))
    values[300:, :4] *= 0.02
    values[300:, 4:8] *= 9.0
    found = [f for f in live(watching(50), values) if f["severity"] != OVER]
    assert found, seed
    for finding in found:
        until = values[: 1 + (int(finding["time"]) - START) // (CADENCE * S)]
        for name in ("observed", "expected_low", "expected_high"):
            assert until.min() <= finding[name] <= until.max(), (seed, name)
        outside = (
            finding["observed"] < finding["expected_low"]
            or finding["observed"] > finding["expected_high"]
        )
        assert outside, seed
