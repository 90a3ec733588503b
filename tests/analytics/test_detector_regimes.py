"""Series with regimes: what cycles or rests by nature is not a fault; bands a person can read."""

import numpy as np
import pytest

from analytics.detector import Detector
from analytics.findings import FINDING, Kind, Severity
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
