"""A fault that lasts is said again and grows more severe; one that is worse is never hidden."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from analytics.detector import Detector
from analytics.findings import Kind, Severity
from analytics.parameters import Parameters

S = 1_000_000_000
ORIGIN = 1_772_323_200 * S
CADENCE_S = 300
DAY = 86_400 // CADENCE_S
HOUR = 3_600 // CADENCE_S
Findings = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]


def watch(value: Floats) -> Findings:
    detector = Detector(1)
    n = len(value)
    index = np.full(n, detector.allocate(1), np.int64)
    time = ORIGIN + np.arange(n) * CADENCE_S * S
    return detector.update(index, time, value, np.zeros(n, np.bool_))


def ordinary(days: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    minute = np.arange(days * DAY)
    return 20 + 3 * np.sin(minute * 2 * np.pi / DAY) + rng.standard_normal(days * DAY)


def said_of(findings: Findings, kind: Kind, start: int) -> Findings:
    mine: Findings = findings[(findings["kind"] == kind) & (findings["sample"] >= start)]
    return mine


@pytest.mark.parametrize("seed", range(3))
def test_a_shift_that_lasts_becomes_critical_in_two_steps_and_is_then_left(seed: int) -> None:
    value = ordinary(24, seed)
    at = 10 * DAY
    value[at:] += 5.0
    said = said_of(watch(value), Kind.LEVEL_SHIFT, at)
    same = said[said["since"] == said[0]["since"]]
    assert list(same["severity"]) == [Severity.NOTICE, Severity.WARNING, Severity.CRITICAL]
    ages = [int(t - said[0]["since"]) for t in same["time"]]
    assert all(later >= 2 * sooner for sooner, later in pairwise(ages))
    assert len(said) == 3, "never a stream"
    for finding in same:
        assert finding["observed"] > finding["expected_high"], "the band is that from before it"


def test_a_shift_that_ends_is_not_said_again_and_its_end_is_no_alarm() -> None:
    value = ordinary(24, 1)
    at = 10 * DAY
    value[at : at + 3 * HOUR] += 5.0
    said = said_of(watch(value), Kind.LEVEL_SHIFT, at)
    assert len(said) == 2, "it came and it went"
    assert set(said["severity"]) == {Severity.NOTICE}


def test_a_shift_that_stays_for_a_week_is_how_the_series_is_now() -> None:
    value = ordinary(40, 2)
    at = 10 * DAY
    value[at:] += 5.0
    value[at + 15 * DAY :] += 5.0
    said = said_of(watch(value), Kind.LEVEL_SHIFT, at + 15 * DAY)
    assert said[0]["severity"] == Severity.NOTICE, "a fault of its own, from the new baseline"


def test_noise_that_stays_four_times_as_wide_becomes_a_warning() -> None:
    value = ordinary(20, 3)
    at = 10 * DAY
    value[at:] += 5.0 * np.random.default_rng(4).standard_normal(len(value) - at)
    said = said_of(watch(value), Kind.VARIANCE_CHANGE, at)
    same = said[said["since"] == said[0]["since"]]
    assert same[0]["severity"] <= Severity.WARNING
    assert same[-1]["severity"] > same[0]["severity"]
    assert len(same) <= 3


def test_a_stuck_sensor_grows_more_severe_with_each_doubling() -> None:
    value = np.round(ordinary(14, 5), 1)
    at = 10 * DAY
    value[at : at + 2 * DAY] = value[at]
    said = said_of(watch(value), Kind.STUCK, at)
    assert list(said["severity"]) == [Severity.NOTICE, Severity.WARNING, Severity.CRITICAL]
    ages = [int(t - said[0]["since"]) for t in said["time"]]
    assert all(later >= 2 * sooner for sooner, later in pairwise(ages))


def machine(seed: int) -> tuple[Floats, int]:
    """A machine that wanders, stops now and then, and in the end fades away for two days.

    Returns:
        Its temperature every five minutes, and the sample at which the last failure begins.
    """
    rng = np.random.default_rng(seed)
    days = 60
    n = days * DAY
    wander = np.zeros(n)
    white = rng.standard_normal(n)
    for i in range(1, n):
        wander[i] = 0.985 * wander[i - 1] + white[i]
    value = 85.0 + wander
    for day in (13, 27, 48):  # stops: down within hours, back the same day
        down, up = day * DAY, day * DAY + 14 * HOUR
        value[down : down + 4 * HOUR] -= np.linspace(0, 55, 4 * HOUR)
        value[down + 4 * HOUR : up] -= 55
    last = 56 * DAY
    fade = np.minimum(np.arange(2 * DAY) / (1.5 * DAY), 1.0)
    value[last : last + 2 * DAY] -= 60 * fade
    return value, last


@pytest.mark.parametrize("seed", range(4))
def test_the_last_failure_of_a_machine_is_found_although_it_failed_before(seed: int) -> None:
    value, last = machine(seed)
    findings = watch(value)
    failing = findings[(findings["sample"] >= last) & (findings["sample"] < last + 2 * DAY)]
    place = failing[np.isin(failing["kind"], [Kind.LEVEL_SHIFT, Kind.DRIFT])]
    assert len(place), "nothing was said"
    assert (place["observed"] < place["expected_low"]).all()
    assert len(failing) <= 8, "nor is it a stream"


def test_the_settings_of_lasting_faults_are_settings() -> None:
    value = ordinary(20, 6)
    value[10 * DAY :] += 5.0
    detector = Detector(1, parameters=Parameters(lasting_size=1e9))
    n = len(value)
    index = np.full(n, detector.allocate(1), np.int64)
    time = ORIGIN + np.arange(n) * CADENCE_S * S
    said = said_of(
        detector.update(index, time, value, np.zeros(n, np.bool_)), Kind.LEVEL_SHIFT, 10 * DAY
    )
    assert len(said) == 1
