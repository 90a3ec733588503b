"""The kernel says and scores what the slow, obvious version does."""

import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.detector import Detector
from analytics.findings import Kind
from analytics.parameters import Parameters
from tests.analytics.oracle import Series

S = 1_000_000_000
EAGER = Parameters(
    spikes_per_week=2000.0,
    shifts_per_week=2000.0,
    drifts_per_week=3.0,
    stuck_per_week=2000.0,
    variances_per_week=2000.0,
    least_nats=4.0,
    half_life_s=600.0,
    young_s=600.0,
    young_factor=1.0,
    known_s=600.0,
    far_size=1.0,
    far_s=600.0,
    stuck_s=0.0,
    lasting_size=0.3,
    lasting_ratio=0.5,
)
"""Makes so many findings that every path runs; the arithmetic is that of the defaults."""


def life(
    seed: int, n: int, cadence: float, *, step: float = 0.0, origin: float = 0.0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Irregular, noisy, rhythmic, with gaps, repeats, steps back, jumps, flat runs and bursts."""
    rng = np.random.default_rng(seed)
    seconds = np.cumsum(
        cadence
        * rng.choice([1.0, 1.02, 0.5, 4.0, 0.0, -2.0], n, p=[0.7, 0.2, 0.04, 0.04, 0.01, 0.01])
    )
    noise = rng.standard_normal(n)
    for i in range(1, n):
        noise[i] += 0.5 * noise[i - 1]
    value = origin + 3 * np.sin(seconds * 2 * np.pi / 86_400) + noise
    value[n // 2 :] += 5.0
    value[2 * n // 3 :] *= 2.0
    value[3 * n // 4 :] += np.linspace(0, 9, n - 3 * n // 4)
    value[n // 3 : n // 3 + 60] = value[n // 3]
    value[rng.integers(0, n, n // 200)] += 30.0
    if step:
        value = np.round(value / step) * step
    return 1_700_000_000 * S + (seconds * S).astype(np.int64), value


def compare(
    time: npt.NDArray[np.int64],
    value: npt.NDArray[np.float64],
    late: npt.NDArray[np.bool_],
    parameters: Parameters,
    *,
    counter: bool = False,
) -> tuple[set[Kind], set[Kind]]:
    """Return the kinds that were found, and those that were said again."""
    slow = Series(parameters, low=-25.0, high=25.0, counter=counter)
    scores = [
        slow.take(i, int(t), float(v), late=bool(q))
        for i, (t, v, q) in enumerate(zip(time, value, late, strict=True))
    ]
    index = np.zeros(len(time), np.int64)
    fast, scorer = Detector(1, parameters=parameters), Detector(1, parameters=parameters)
    for detector in (fast, scorer):
        detector.allocate(1)
        detector.configure(0, -25.0, 25.0, int(counter))
    findings = fast.update(index, time, value, late)
    np.testing.assert_allclose(scorer.score(index, time, value, late), scores, rtol=1e-9, atol=1e-9)
    assert fast.dump() == scorer.dump()
    assert [(f["sample"], f["kind"], f["time"], f["since"], f["severity"]) for f in findings] == [
        (f.sample, f.kind, f.time, f.since, f.severity) for f in slow.found
    ]
    np.testing.assert_allclose(findings["surprise"], [f.surprise for f in slow.found], rtol=1e-6)
    for name, said in (
        ("observed", [f.observed for f in slow.found]),
        ("expected_low", [f.low for f in slow.found]),
        ("expected_high", [f.high for f in slow.found]),
    ):
        np.testing.assert_allclose(findings[name], said, rtol=1e-9, atol=1e-9)
    times = Counter((int(f["kind"]), int(f["since"])) for f in findings)
    again = {Kind(kind) for (kind, _), count in times.items() if count > 1}
    return {Kind(k) for k in findings["kind"]}, again


@pytest.mark.parametrize("cadence", [5.0, 60.0, 900.0, 7200.0])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_kernel_equals_the_slow_version(cadence: float, step: float) -> None:
    time, value = life(int(cadence) + int(step * 10), 4_000, cadence, step=step)
    late = np.random.default_rng(1).random(len(time)) < 0.01
    kinds, _ = compare(time, value, late, EAGER)
    assert {Kind.LEVEL_SHIFT, Kind.STUCK, Kind.OUT_OF_LIMITS} <= kinds
    compare(time, value, late, Parameters())


def test_every_kind_was_compared() -> None:
    time, value = life(7, 6_000, 300.0, step=0.1)
    late = np.zeros(len(time), np.bool_)
    kinds, again = compare(time, value, late, EAGER)
    assert {Kind.LEVEL_SHIFT, Kind.STUCK, Kind.VARIANCE_CHANGE} <= again
    others = {Kind.COUNTER_RESET, Kind.SILENCE, Kind.COHORT, Kind.COHORT_SHIFT}
    assert kinds == set(Kind) - others


def test_another_cadence_equals_the_slow_version() -> None:
    time, value = life(5, 4_500, 300.0, step=0.1)
    for start, factor in ((3_000, 150), (4_000, 1)):
        gaps = np.diff(time[start - 1 :], prepend=time[start - 1])
        time[start:] = time[start - 1] + np.cumsum(gaps // factor)[1:]
    late = np.zeros(len(time), np.bool_)
    compare(time, value, late, EAGER)
    total = np.cumsum(np.where(np.arange(4_500) // 90 % 2, np.abs(value), 0.0))
    compare(time, total, late, EAGER, counter=True)


def test_counters_equal_the_slow_version() -> None:
    time, value = life(3, 3_000, 60.0)
    total = np.cumsum(np.abs(value))
    total[2_000:] -= total[2_000]
    late = np.zeros(len(time), np.bool_)
    assert Kind.COUNTER_RESET in compare(time, total, late, EAGER, counter=True)[0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(10**11), 10**14),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_nothing_finite_upsets_it(samples: list[tuple[int, float, bool]]) -> None:
    time = 1_700_000_000 * S + np.cumsum([s[0] for s in samples], dtype=np.int64)
    value = np.array([s[1] for s in samples], np.float64)
    late = np.array([s[2] for s in samples], np.bool_)
    detector = Detector(1, parameters=EAGER)
    index = np.full(len(samples), detector.allocate(1), np.int64)
    scores = detector.score(index, time, value, late)
    assert np.isfinite(scores).all()
    record = detector._records[0]
    for name in Detector.RECORD.names or ():
        if name not in {"low", "high"}:
            assert np.isfinite(record[name]).all(), name


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1e6, -1e9]), st.sampled_from([0.0, 0.25, 2.0]))
def test_kernel_equals_the_slow_version_anywhere(seed: int, origin: float, step: float) -> None:
    time, value = life(seed, 300, 60.0, step=step, origin=origin)
    compare(time, value, np.zeros(300, np.bool_), EAGER)


def test_kernel_says_the_same_without_the_compiler() -> None:
    """Coverage sees inside the kernel only when numba is off; this is that run."""
    code = (
        "import numpy as np; from tests.analytics import test_detector_oracle as o;"
        "t, v = o.life(7, 700, 300.0, step=0.1); late = np.arange(700) % 97 == 5;"
        "print(len(o.compare(t, v, late, o.EAGER)[0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4


def test_oracle_tail_is_a_distribution() -> None:
    series = Series(Parameters())
    tail = series.innovations
    assert math.isclose(tail.surprise(tail.quantile), -math.log(0.05))
    for nats in (3.5, 7.0, 12.0):
        assert math.isclose(tail.surprise(tail.value_at(nats)), nats)
