"""Who is silent, and when nobody is to blame."""

import random
from collections.abc import Iterable

import numpy as np
import pytest

from analytics.findings import OVER, Severity
from analytics.silence import TICK_NS, Silences, SilenceWatch

S = 1_000_000_000
START = 1_800_000_000 * S
Said = list[tuple[int, int, int, int]]


def feed(watch: SilenceWatch, blocks: Iterable[tuple[float, list[int]]]) -> Said:
    """Blocks are (seconds, slots); returns (slot, cohort, severity, seconds) of what is said."""
    said: Said = []
    for second, slots in blocks:
        received = START + round(second * S)
        for found in (
            watch.pass_time(received),
            watch.hear(np.array(slots, np.uint32), received),
        ):
            said += shown(found)
    return said


def shown(found: Silences) -> Said:
    return [
        (int(f["index"]), int(cohort), int(f["severity"]), int(f["time"] - START) // S)
        for f, cohort in zip(found.findings, found.cohort, strict=True)
    ]


def life(
    periods: dict[int, float], end: float, gone: dict[int, tuple[float, float]] | None = None
) -> list[tuple[float, list[int]]]:
    """Regular reports of devices, less those of an absence; beats in between as a worker makes them."""
    blocks: dict[float, list[int]] = {float(t): [] for t in range(0, int(end), 5)}
    for slot, period in periods.items():
        away = (gone or {}).get(slot, (0.0, 0.0))
        for k in range(int(end / period)):
            at = k * period + 0.1 * slot
            if not away[0] <= at < away[1]:
                blocks.setdefault(at, []).append(slot)
    return sorted(blocks.items())


def watching(slots: int, cohort: dict[int, int] | None = None) -> SilenceWatch:
    watch = SilenceWatch(slots)
    cohorts = np.zeros(slots, np.uint32)
    for slot, number in (cohort or {}).items():
        cohorts[slot] = number
    watch.join(cohorts)
    return watch


def test_one_finding_after_five_periods_and_the_next_row_ends_it() -> None:
    said = feed(watching(4), life({1: 60, 2: 60, 3: 20}, 3600, {2: (1200, 2400)}))
    begun, ended = said
    assert begun[:3] == (2, 0, Severity.NOTICE)
    assert 1140 + 290 <= begun[3] <= 1140 + 330
    assert ended == (2, 0, OVER, 2400)


def test_one_that_was_hardly_heard_is_not_missed() -> None:
    assert feed(watching(2), life({1: 60}, 7200, {1: (300, 7200)})) == []


def test_short_periods_have_a_floor() -> None:
    assert feed(watching(2), life({1: 1.5}, 400, {1: (200, 228)})) == []
    assert len(feed(watching(2), life({1: 1.5}, 400, {1: (200, 245)}))) == 2


def test_habitual_sleep_is_tolerated_but_not_more_of_it() -> None:
    day, night = 86_400, 8 * 3600
    blocks = [
        (
            float(t),
            [1] if t % day >= night and t % 300 == 0 and not 7.5 * day < t < 8.5 * day else [],
        )
        for t in range(0, 10 * day, 15)
    ]
    said = feed(watching(2), blocks)
    begun = [one[3] // day for one in said if one[2] != OVER]
    assert begun == [1, 7]  # one night teaches it; on the eighth day it is really gone


@pytest.mark.parametrize("pause", [25.0, 86_400.0])
def test_nobody_is_silent_while_nobody_listens(pause: float) -> None:
    blocks = life({1: 60, 2: 20}, 2400)
    later = [(t + pause, slots) for t, slots in blocks if t >= 1200]
    assert feed(watching(3), [b for b in blocks if b[0] < 1200] + later) == []


def test_who_does_not_come_back_after_an_outage_is_silent_then() -> None:
    blocks = life({1: 60, 2: 60}, 1200) + [
        (t + 50_000, [slot for slot in slots if slot != 2])
        for t, slots in life({1: 60, 2: 60}, 1200)
    ]
    ((slot, _, severity, at),) = feed(watching(3), blocks)
    assert (slot, severity) == (2, Severity.NOTICE)
    assert 50_300 <= at <= 50_330


def test_a_cohort_that_falls_silent_is_one_finding() -> None:
    periods = dict.fromkeys(range(1, 41), 60.0)
    cohort = {slot: 1 + slot % 2 for slot in periods}
    gone = {slot: (1800.0, 4000.0) for slot in periods if cohort[slot] == 2}
    gone[7] = (1800.0, 9000.0)  # stays away when the others come back
    said = feed(watching(41, cohort), life(periods, 6000, gone))
    begun, over, alone = said
    assert begun[:3] == (0, 2, Severity.WARNING)
    assert (over[0], over[1], over[2]) == (0, 2, OVER)
    assert alone[:3] == (7, 0, Severity.NOTICE)
    assert alone[3] > over[3]


def test_all_at_once_are_one_finding() -> None:
    periods = dict.fromkeys(range(1, 41), 60.0)
    cohort = {slot: 1 + slot % 8 for slot in periods}
    gone = dict.fromkeys(periods, (1800.0, 4000.0))
    said = feed(watching(41, cohort), life(periods, 6000, gone))
    assert [(slot, of, severity) for slot, of, severity, _ in said] == [
        (0, 0, Severity.WARNING),
        (0, 0, OVER),
    ]
    without = feed(watching(41), life(periods, 6000, gone))
    assert [one[:3] for one in without] == [(0, 0, Severity.WARNING), (0, 0, OVER)]


@pytest.mark.parametrize("seed", range(5))
def test_split_and_restart_change_nothing(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  seeded, not secret
    periods = {slot: rng.choice([7.0, 60.0, 300.0]) for slot in range(1, 30)}
    gone = {slot: (t := rng.uniform(3000, 6000), t + rng.uniform(0, 4000)) for slot in periods}
    cohort = {slot: slot % 3 for slot in periods}
    blocks = life(periods, 12_000, gone)
    whole = watching(30, cohort)
    expected = feed(whole, blocks)
    assert len(expected) > 10, seed
    watch, said = watching(30, cohort), []
    for second, slots in blocks:
        cut = rng.randint(0, len(slots))
        for part in (slots[:cut], slots[cut:]):
            said += feed(watch, [(second, part)])
        if rng.random() < 0.02:
            watch = SilenceWatch.restore({k: v.copy() for k, v in watch.arrays().items()})
    assert said == expected, seed
    for name, array in whole.arrays().items():
        assert np.array_equal(array, watch.arrays()[name]), name


def test_silent_ticks_may_be_left_out() -> None:
    """A replay that sees only some of the beats finds the same, as long as it was not an outage."""
    blocks = life({1: 60, 2: 60}, 3600, {2: (1200, 2400)})
    fewer = [b for b in blocks if b[1] or b[0] % (3 * TICK_NS / S) == 0]
    assert feed(watching(3), fewer) == feed(watching(3), blocks)
