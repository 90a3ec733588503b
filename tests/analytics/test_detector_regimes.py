"""Series with regimes: what cycles or rests by nature is not a fault; bands a person can read."""

import numpy as np
import pytest

from analytics.detector import Detector
from analytics.findings import FINDING, Kind, SeriesKind, Severity
from analytics.parameters import Parameters
from benchmarks.simulated import PRODUCTS, measure

S = 1_000_000_000
MINUTE = 60 * S
DAY = 1440
ORIGIN = 1_772_323_200 * S


def watch(value: np.ndarray, parameters: Parameters | None = None) -> np.ndarray:
    detector = Detector(1, parameters=parameters)
    n = len(value)
    index = np.full(n, detector.allocate(1), np.int64)
    return detector.update(index, ORIGIN + np.arange(n) * MINUTE, value, np.zeros(n, np.bool_))


def cycling(days: int, seed: int) -> np.ndarray:
    """On for 20 to 60 minutes, off for 30 to 120, with a little noise."""
    rng = np.random.default_rng(seed)
    value = np.zeros(days * DAY)
    at = 0
    while at < len(value):
        at += int(rng.integers(30, 120))
        on = int(rng.integers(20, 60))
        value[at : at + on] = 1500.0
        at += on
    return value + 5.0 * rng.standard_normal(len(value))


def test_duty_cycles_are_not_faults() -> None:
    findings = np.concatenate([watch(cycling(21, seed)) for seed in range(5)])
    assert len(findings) <= 15, "one finding per series-week"
    assert np.count_nonzero(findings["severity"] >= Severity.WARNING) <= 1


@pytest.mark.parametrize("first", [0, 9 * 60, 20 * 60])
def test_a_rest_at_night_is_not_a_stuck_sensor(first: int) -> None:
    rng = np.random.default_rng(3)
    minute = np.arange(first, first + 7 * DAY) % DAY
    value = np.where((minute > 6 * 60) & (minute < 22 * 60), 20 + rng.standard_normal(7 * DAY), 0.0)
    assert Kind.STUCK not in watch(value)["kind"]


def test_another_cadence_is_no_fault() -> None:
    """Two weeks every five minutes, then live: thirty series, of which a third is autocorrelated."""
    said = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        slow, fast = 14 * 288, 600
        value = rng.standard_normal(slow + fast)
        for i in range(1, len(value)):
            value[i] += (seed % 3 == 0) * 0.6 * value[i - 1]
        gaps = np.repeat([300 * S, 2 * S], [slow, fast])
        detector = Detector(1)
        index = np.full(len(value), detector.allocate(1), np.int64)
        late = np.zeros(len(value), np.bool_)
        findings = detector.update(index, ORIGIN + np.cumsum(gaps), value, late)
        said += int(np.count_nonzero(findings["sample"] >= slow))
    assert said <= 1


def test_a_counter_that_rests_most_days_does_not_drift() -> None:
    rng = np.random.default_rng(8)
    rate = np.zeros(28 * DAY)
    for day in range(28):
        if day % 7 in {0, 2, 4}:
            start = day * DAY + 600 + int(rng.integers(0, 20))
            rate[start : start + int(rng.integers(40, 60))] = 1.0
    detector = Detector(1)
    index = np.full(len(rate), detector.allocate(1), np.int64)
    detector.configure(0, np.nan, np.nan, SeriesKind.COUNTER)
    time = ORIGIN + np.arange(len(rate)) * MINUTE
    findings = detector.update(index, time, np.cumsum(rate), np.zeros(len(rate), np.bool_))
    assert len(findings) <= 4
    assert (findings["severity"] == Severity.NOTICE).all()


@pytest.mark.parametrize(("size", "worst"), [(5.0, 1), (40.0, 2)])
def test_a_step_that_is_far_off_is_a_warning_soon(size: float, worst: int) -> None:
    rng = np.random.default_rng(2)
    value = np.round(20 + rng.standard_normal(15 * DAY), 1)
    at = 14 * DAY
    value[at:] += size
    findings = watch(value)
    soon = findings[(findings["sample"] >= at) & (findings["sample"] < at + 60)]
    shifts = soon[soon["kind"] == Kind.LEVEL_SHIFT]
    assert shifts["severity"].max() == worst


def test_what_was_observed_lies_outside_its_band() -> None:
    eager = Parameters(
        spikes_per_week=50.0, shifts_per_week=50.0, drifts_per_week=5.0, variances_per_week=50.0
    )
    kinds = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n = 9 * DAY
        value = 20 + rng.standard_normal(n)
        value[5 * DAY :] += 3.0
        value[6 * DAY :] = 20 + (value[6 * DAY :] - 20) * 2.0
        value[7 * DAY :] += np.linspace(0, 12, n - 7 * DAY)
        value[rng.integers(2 * DAY, n, 5)] += 15.0
        for series in (value, cycling(9, seed)):
            for finding in watch(series, eager):
                kinds.add(Kind(finding["kind"]))
                low, high = finding["expected_low"], finding["expected_high"]
                if finding["kind"] == Kind.STUCK:
                    assert (low, high) == (-np.inf, np.inf)
                else:
                    assert finding["observed"] < low or finding["observed"] > high, finding
    assert {Kind.SPIKE, Kind.LEVEL_SHIFT, Kind.DRIFT, Kind.VARIANCE_CHANGE} <= kinds
    assert FINDING.itemsize == 64


def test_heat_pumps_are_left_alone_and_their_faults_are_found() -> None:
    result = measure("heat_pumps", 200, 3)
    assert result["findings_per_series_week"] <= 1.2
    assert result["alerts_per_series_week"] <= 0.1
    assert set(result["recall"]) == {kind.value for kind in PRODUCTS["heat_pumps"].faults}
    assert all(recall == 1.0 for recall in result["recall"].values()), result


@pytest.mark.parametrize("seed", range(3))
def test_what_is_said_of_a_mean_is_a_value_that_the_series_can_have(seed: int) -> None:
    """A pump that is off at night draws no negative power, whatever is said of its days."""
    rng = np.random.default_rng(seed)
    n = 20 * 288
    hour = np.arange(n) / 12 % 24
    day = np.arange(n) // 288
    strength = 1_000.0 * rng.uniform(0.7, 1.3, 20)[day]
    strength[day >= 10] *= 0.3
    strength[day >= 15] *= 4.0
    value = np.where((hour > 8) & (hour < 18), strength, 0.0) * rng.uniform(0.9, 1.1, n)
    time = (1_700_000_000 + 300 * np.arange(n)) * 1_000_000_000
    detector = Detector(1)
    index = np.full(n, detector.allocate(1), np.int64)
    found = detector.update(index, time, value, np.zeros(n, np.bool_))
    means = found[np.isin(found["kind"], (Kind.LEVEL_SHIFT, Kind.DRIFT))]
    assert len(means), seed
    for finding in means:
        most = value[: finding["sample"] + 1].max()
        assert -1e-9 <= finding["expected_low"] <= finding["expected_high"] <= most + 1e-9, seed
        assert -1e-9 <= finding["observed"] <= most + 1e-9, seed
