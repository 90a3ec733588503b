"""What the detector promises: batches do not matter, snapshots, limits, each kind on its fault."""

import struct
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.detector import Detector
from analytics.findings import FINDING, Kind, SeriesKind, Severity, sentence
from analytics.parameters import Parameters
from analytics.records import LAYOUT
from analytics.reference_stream import score
from analytics.snapshot import SnapshotError

S = 1_000_000_000
MINUTE = 60 * S
DAY = 1440
ORIGIN = 1_772_323_200 * S
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Findings = npt.NDArray[np.void]


def ordinary(
    days: int, *, seed: int = 5, rhythm: float = 3.0, step: float = 0.1
) -> tuple[Ints, Floats]:
    """Minute samples around 20 with unit noise and a daily rhythm."""
    n = days * DAY
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(n)
    value = 20 + rhythm * np.sin(np.arange(n) * 2 * np.pi / DAY) + noise
    return ORIGIN + np.arange(n) * MINUTE, np.round(value / step) * step


def watch(time: Ints, value: Floats, kind: SeriesKind = SeriesKind.GAUGE) -> Findings:
    detector = Detector(1)
    index = np.full(len(time), detector.allocate(1), np.int64)
    detector.configure(0, np.nan, np.nan, kind)
    return detector.update(index, time, value, np.zeros(len(time), np.bool_))


def only(findings: Findings, kind: Kind, start: int) -> Any:
    """Return the first finding of a kind at or after sample `start`."""
    mine = findings[(findings["kind"] == kind) & (findings["sample"] >= start)]
    assert len(mine), f"no {kind.name}; found {[Kind(k).name for k in findings['kind']]}"
    return mine[0]


AT = 5 * DAY + 700


def test_ordinary_life_is_left_alone() -> None:
    findings = sum(len(watch(*ordinary(14, seed=seed))) for seed in range(6))
    assert findings <= 12, "about one finding per series-week is the most that is acceptable"


def test_spike() -> None:
    time, value = ordinary(7)
    value[AT] += 9.0
    finding = only(watch(time, value), Kind.SPIKE, AT)
    assert finding["sample"] == AT
    assert finding["since"] == finding["time"] == time[AT]
    assert finding["observed"] == pytest.approx(value[AT])
    clean = ordinary(7)[1][AT]
    assert finding["expected_low"] - 1 < clean < finding["expected_high"] + 1
    assert finding["expected_high"] < value[AT]
    assert 4 < finding["expected_high"] - finding["expected_low"] < 12
    assert sentence(finding).code == "finding.spike.above"


def test_level_shift_is_confirmed_dated_and_becomes_the_baseline() -> None:
    time, value = ordinary(12)
    value[AT:] -= 3.0
    findings = watch(time, value)
    finding = only(findings, Kind.LEVEL_SHIFT, AT)
    assert finding["sample"] - AT <= 30
    assert abs(finding["since"] - time[AT]) <= 15 * MINUTE
    expected = 20 + 3 * np.sin(AT * 2 * np.pi / DAY)
    assert finding["expected_low"] - 1 < expected < finding["expected_high"] + 1
    assert finding["observed"] == pytest.approx(expected - 3.0, abs=1.5)
    assert finding["observed"] < finding["expected_low"]
    assert sentence(finding).code == "finding.level_shift.below"
    later = findings[findings["sample"] > finding["sample"] + 60]
    again = later[later["kind"] == Kind.LEVEL_SHIFT]
    assert set(again["since"]) <= {finding["since"]}, "the same shift, which lasts"
    assert Kind.DRIFT not in later["kind"], "a drift that began with the shift is that shift"


def test_drift_is_found_within_the_day_and_dated() -> None:
    time, value = ordinary(9)
    value[AT:] += np.minimum(np.arange(len(value) - AT) * 3.0 / DAY, 3.0)
    finding = only(watch(time, value), Kind.DRIFT, AT)
    assert finding["sample"] < AT + DAY
    assert abs(finding["since"] - time[AT]) <= 10 * 60 * MINUTE
    assert finding["observed"] > finding["expected_high"] > finding["expected_low"]


def test_stuck_sensor() -> None:
    time, value = ordinary(7)
    value[AT : AT + 60] = value[AT]
    finding = only(watch(time, value), Kind.STUCK, AT)
    assert AT < finding["sample"] < AT + 60
    assert time[AT] - MINUTE <= finding["since"] <= time[AT]
    assert finding["observed"] == pytest.approx(value[AT])
    assert sentence(finding).code == "finding.stuck"


@pytest.mark.parametrize(("factor", "side"), [(3.0, "above"), (1 / 3.0, "below")])
def test_variance_change(factor: float, side: str) -> None:
    time, value = ordinary(7, rhythm=0.0, step=0.01)
    value[AT:] = 20 + (value[AT:] - 20) * np.sqrt(factor)
    finding = only(watch(time, value), Kind.VARIANCE_CHANGE, AT)
    assert finding["sample"] - AT <= 150
    assert abs(finding["since"] - time[AT]) <= 60 * MINUTE
    assert finding["expected_low"] < 1.0 < finding["expected_high"]
    assert finding["observed"] == pytest.approx(np.sqrt(factor), rel=0.35)
    assert sentence(finding).code == f"finding.variance_change.{side}"


def test_counter_reset_and_nothing_else() -> None:
    time, value = ordinary(4)
    total = np.cumsum(value)
    total[3000:] -= total[2999]
    findings = watch(time, total, SeriesKind.COUNTER)
    finding = only(findings, Kind.COUNTER_RESET, 3000)
    assert finding["sample"] == 3000
    assert finding["observed"] == pytest.approx(total[3000])
    assert finding["expected_low"] == pytest.approx(total[2999])
    assert finding["expected_high"] == np.inf
    assert list(findings["kind"]).count(Kind.COUNTER_RESET) == 1


def test_faults_do_not_mask_one_another() -> None:
    time, value = ordinary(9)
    value[AT:] += 3.0
    value[AT + 40] += 9.0
    value[AT + 200 : AT + 260] = value[AT + 200]
    findings = watch(time, value)
    only(findings, Kind.LEVEL_SHIFT, AT)
    only(findings, Kind.SPIKE, AT + 40)
    only(findings, Kind.STUCK, AT + 200)


def test_limits_are_reported_on_leaving_and_again_each_day() -> None:
    detector = Detector(1)
    detector.allocate(1)
    detector.configure(0, 0.0, 10.0, SeriesKind.GAUGE)
    value = np.array([5.0, 11.0, 12.0, 5.0, -1.0, -1.0])
    time = ORIGIN + np.array([0, 1, 2, 3, 4, 4 + 1440]) * MINUTE
    findings = detector.update(np.zeros(6, np.int64), time, value, np.zeros(6, np.bool_))
    assert list(findings["sample"]) == [1, 4, 5]
    assert set(findings["kind"]) == {Kind.OUT_OF_LIMITS}
    assert set(findings["severity"]) == {Severity.CRITICAL}
    assert (findings[0]["expected_low"], findings[0]["expected_high"]) == (0.0, 10.0)
    assert sentence(findings[0]).code == "finding.out_of_limits.above"
    assert sentence(findings[1]).code == "finding.out_of_limits.below"


def test_late_samples_get_limit_checks_only() -> None:
    time, value = ordinary(3)
    plain, mixed = Detector(1), Detector(1)
    for detector in (plain, mixed):
        detector.allocate(1)
        detector.configure(0, -50.0, 50.0, SeriesKind.GAUGE)
    half = len(time) // 2
    none = np.zeros(half, np.bool_)
    zeros = np.zeros(half, np.int64)
    plain.update(zeros, time[:half], value[:half], none)
    mixed.update(zeros, time[:half], value[:half], none)
    flagged = mixed.update(zeros[:3], time[half : half + 3], np.array([1e6, 2e6, 30.0]), ~none[:3])
    backwards = mixed.update(zeros[:2], time[:2], np.array([-7.0, 40.0]), none[:2])
    assert list(flagged["kind"]) == [Kind.OUT_OF_LIMITS]
    assert len(backwards) == 0
    for name in ("limit_time", "late_limit_time", "late_outside"):
        mixed._records[0][name] = plain._records[0][name]
    assert mixed.dump() == plain.dump()


def scattered(seed: int) -> tuple[Ints, Ints, Floats, npt.NDArray[np.bool_]]:
    """Samples of five faulty series, interleaved at random."""
    rng = np.random.default_rng(seed)
    columns = []
    for k in range(5):
        time, value = ordinary(3, seed=seed + k)
        value[3200 + 100 * k :] += 5.0
        value[3100] += 20.0
        columns.append((np.full(len(time), k), time, value))
    index = np.concatenate([c[0] for c in columns])
    order = np.lexsort((rng.permutation(len(index)), np.concatenate([c[1] for c in columns])))
    time, value = (np.concatenate([c[j] for c in columns])[order] for j in (1, 2))
    return index[order], time, value, rng.random(len(index)) < 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.lists(st.integers(0, 21_600), max_size=8), st.booleans())
def test_batches_and_restarts_change_nothing(seed: int, cuts: list[int], restart: bool) -> None:
    batch = scattered(seed)
    whole = Detector(5)
    whole.allocate(5)
    expected = whole.update(*batch)
    assert len(expected)
    detector = Detector(5)
    detector.allocate(5)
    found = []
    edges = [0, *sorted(cuts), len(batch[0])]
    index, time, value, late = batch
    for begin, end in pairwise(edges):
        cut = slice(begin, end)
        part = detector.update(index[cut], time[cut], value[cut], late[cut])
        part["sample"] += begin
        found.append(part)
        if restart:
            detector = Detector.load(detector.dump())
    assert np.array_equal(np.concatenate(found), expected)
    assert detector.dump() == whole.dump()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50), st.randoms(use_true_random=False))
def test_interleaving_of_series_changes_nothing(seed: int, random: object) -> None:
    index, time, value, late = scattered(seed)
    together = Detector(5)
    together.allocate(5)
    together.update(index, time, value, late)
    apart = Detector(5)
    apart.allocate(5)
    order = np.argsort(index, kind="stable")
    apart.update(index[order], time[order], value[order], late[order])
    assert apart.dump() == together.dump()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 2880))
def test_scores_never_look_ahead(seed: int, k: int) -> None:
    time, value = ordinary(2, seed=seed)
    stamps = time.astype("datetime64[ns]").astype("datetime64[s]")
    assert score(stamps[:k], value[:k]).tobytes() == score(stamps, value)[:k].tobytes()


def test_more_findings_than_the_buffer_holds() -> None:
    detector = Detector(1, parameters=Parameters(limit_rearm_s=0.0))
    detector.allocate(1)
    detector.configure(0, 0.0, 1.0, SeriesKind.GAUGE)
    n = 5_000
    findings = detector.update(
        np.zeros(n, np.int64), ORIGIN + np.arange(n) * S, np.full(n, 2.0), np.zeros(n, np.bool_)
    )
    assert findings.dtype == FINDING
    assert list(findings["sample"][findings["kind"] == Kind.OUT_OF_LIMITS]) == list(range(n))


def test_series_grow_and_keep_what_they_learned() -> None:
    detector = Detector(1)
    assert detector.allocate(1) == 0
    none = np.zeros(1, np.bool_)
    detector.update(np.zeros(1, np.int64), np.array([ORIGIN]), np.array([7.0]), none)
    assert detector.allocate(1000) == 1
    assert len(detector) == 1001
    assert detector._records[0]["value"] == 7.0
    assert detector._records[1000]["high"] == np.inf
    assert Detector.RECORD.itemsize <= 1024


def test_moved_series_go_on_where_they_were() -> None:
    time, value = ordinary(1)
    late = np.zeros(len(time), np.bool_)
    detector, still = Detector(6), Detector(6)
    for each in (detector, still):
        each.allocate(6)
        each.update(np.full(len(time), 1), time, value, late)
    detector.move(0, 4, 2)
    assert detector._records[5] == still._records[1]
    assert detector._records[1] == still._records[3]
    with pytest.raises(IndexError, match="no series 5 to 6"):
        detector.move(0, 5, 2)


def test_bad_batches_change_nothing() -> None:
    detector = Detector(1)
    detector.allocate(1)
    before = detector.dump()
    zero, time, value, late = (
        np.zeros(2, np.int64),
        np.array([1, 2]),
        np.ones(2),
        np.zeros(2, np.bool_),
    )
    with pytest.raises(IndexError, match="1 allocated"):
        detector.update(np.array([0, 1]), time, value, late)
    with pytest.raises(IndexError):
        detector.update(np.array([0, -1]), time, value, late)
    with pytest.raises(ValueError, match="finite"):
        detector.update(zero, time, np.array([1.0, np.nan]), late)
    with pytest.raises(ValueError, match="one length"):
        detector.update(zero, time[:1], value, late)
    with pytest.raises(ValueError, match="at least one"):
        detector.allocate(0)
    with pytest.raises(IndexError):
        detector.configure(1, 0.0, 1.0, 0)
    with pytest.raises(ValueError, match="above its high"):
        detector.configure(0, 2.0, 1.0, 0)
    with pytest.raises(ValueError, match="SeriesKind"):
        detector.configure(0, 0.0, 1.0, 9)
    assert detector.dump() == before
    assert len(detector.update(zero[:0], time[:0], value[:0], late[:0])) == 0


def test_damaged_and_foreign_snapshots_are_refused() -> None:
    detector = Detector(3)
    detector.allocate(3)
    data = detector.dump()
    assert len(Detector.load(data)) == 3
    assert len(Detector.load(Detector(1).dump())) == 0
    for broken in (b"", data[:10], data[:-1], data[:50] + b"\x01" + data[51:], b"X" + data[1:]):
        with pytest.raises(SnapshotError, match="replay the journal"):
            Detector.load(broken)
    body = data[16:].replace(f'"layout": {LAYOUT}'.encode(), b'"layout": 0')
    with pytest.raises(SnapshotError, match="layout 0"):
        Detector.load(data[:8] + struct.pack("<I", zlib.crc32(body)) + data[12:16] + body)


def test_sentences_carry_their_arguments() -> None:
    finding = np.zeros(1, FINDING)[0]
    with pytest.raises(ValueError, match="0 is not a valid Kind"):
        sentence(finding)
    finding["kind"] = Kind.DRIFT
    finding["observed"] = 3.0
    said = sentence(finding)
    assert said.code == "finding.drift.above"
    assert set(said.args) == {"observed", "expected_low", "expected_high", "since", "time"}


def test_a_state_gets_limit_checks_only() -> None:
    detector = Detector(1)
    detector.allocate(1)
    detector.configure(0, 0.0, 2.0, SeriesKind.STATE)
    rng = np.random.default_rng(5)
    value = np.where(np.arange(6_000) % 3_000 < 2_900, 0.0, 2.0)
    value[5_000] = 7.0
    value[5_500:] = rng.integers(0, 3, 500)
    n = len(value)
    time = 1_700_000_000 * S + np.arange(n) * 60 * S
    index, late = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    findings = detector.update(index, time, value, late)
    assert [(f["sample"], Kind(f["kind"])) for f in findings] == [(5_000, Kind.OUT_OF_LIMITS)]
    detector.configure(0, np.nan, np.nan, SeriesKind.GAUGE)
    value = rng.standard_normal(n)
    value[5_000] = 12.0
    findings = detector.update(index, time + n * 60 * S, value, late)
    assert 5_000 in findings["sample"][findings["kind"] == Kind.SPIKE]
