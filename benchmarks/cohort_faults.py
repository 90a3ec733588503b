"""Faults that need more than one series or a clock: silence, and products that deviate from their cohort.

1. A cohort shares a rhythm; its products differ for good, in private rhythms and in noise. Sigma is
   the standard deviation of all of that, so that a product 3 sigma away is one in 370.
2. The product's own watches run, block by block, at the time of receipt.
3. Frozen before tuning: an injection is never changed to suit what finds it.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.cohort import CohortWatch
from analytics.findings import OVER, Kind, Severity
from analytics.silence import TICK_NS, SilenceWatch
from benchmarks.ordinary import DAY_S, NS, ORIGIN, Floats

_PATIENCE_S: Final = 6 * 3_600
_PATIENCE_SAMPLES: Final = 50
_COLD_SAMPLES: Final = 30
_MISSING: Final = 5
_MORE: Final = 3  # rounds of deviations beside the first, from a generator of their own


@dataclass(frozen=True, slots=True)
class Fellows:
    """Products of one model and firmware that report alike."""

    cadence_s: int
    products: int
    days: int


COHORTS: Final = (
    Fellows(60, 40, 9),
    Fellows(300, 160, 16),
    Fellows(900, 60, 28),
    Fellows(900, 24, 28),
)
DEVICES: Final = (Fellows(10, 8, 3), Fellows(60, 32, 8), Fellows(300, 64, 14), Fellows(900, 64, 28))
_QUICK_COHORTS: Final = (Fellows(900, 80, 16),)
_QUICK_DEVICES: Final = (Fellows(300, 32, 10),)


def measure(seed: int, *, quick: bool) -> dict[str, Any]:
    """Inject faults into cohorts and arrivals, and watch the same without faults.

    Returns:
        Delays (s, infinite where a fault was missed) of `cohort`, `cold_start` and `silence`; findings and
        alerts per series-week by kind.
    """
    rng, more = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 4])
    found: dict[str, list[float]] = {"cohort": [], "cold_start": [], "silence": []}
    said = dict.fromkeys((Kind.COHORT, Kind.COHORT_SHIFT, Kind.SILENCE), 0)
    alerts, weeks, device_weeks = 0, 0.0, 0.0
    for group in _QUICK_COHORTS if quick else COHORTS:
        values = _values(group, rng)
        weeks += group.products * group.days / 7
        plain = _watched(group, values)
        said[Kind.COHORT] += sum(f["severity"] != OVER for f in plain if f["kind"] == Kind.COHORT)
        said[Kind.COHORT_SHIFT] += sum(f["kind"] == Kind.COHORT_SHIFT for f in plain)
        alerts += sum(f["severity"] >= Severity.WARNING for f in plain)
        for name in ("cohort", "cold_start"):
            for draw in (rng, *[more] * (0 if quick else _MORE)):
                found[name] += _deviating(name, group, values, draw)
    for group in _QUICK_DEVICES if quick else DEVICES:
        arrivals, at = _arrivals(group, rng, missing=False)
        device_weeks += group.products * group.days / 7
        said[Kind.SILENCE] += len(_silences(arrivals))
        arrivals, at = _arrivals(group, rng, missing=True)
        heard = _silences(arrivals)
        for device, begin in at.items():
            end = begin + (_MISSING + 2) * group.cadence_s * NS + 30 * NS + TICK_NS
            times = [
                time - begin for slot, time in heard if slot == device and begin <= time <= end
            ]
            found["silence"].append(min(times) / NS if times else np.inf)
    per_week = {
        kind.name.lower(): count / (device_weeks if kind is Kind.SILENCE else weeks)
        for kind, count in said.items()
    }
    return {"delays": found, "findings": per_week, "alerts": alerts / weeks}


def _values(group: Fellows, rng: np.random.Generator) -> Floats:
    """Return [samples, products] in sigma."""
    n, count = group.days * DAY_S // group.cadence_s, group.products
    day = 2 * np.pi * np.arange(n) * group.cadence_s / DAY_S
    common = rng.uniform(0, 4) * np.sin(day) + rng.uniform(0, 2) * np.sin(
        2 * day + rng.uniform(0, 6)
    )
    private = 0.4 * np.sqrt(2) * np.sin(day[:, None] + rng.uniform(0, 2 * np.pi, count))
    memory = rng.choice([0.0, 0.3, 0.6, 0.8], count)
    noise = rng.standard_normal((n, count))
    for k in range(1, n):
        noise[k] = memory * noise[k - 1] + np.sqrt(1 - memory**2) * noise[k]
    share = 0.6  # of the variance is between products, for good
    offset = np.sqrt(share) * rng.standard_normal(count)
    rest = np.sqrt(1 - share - 0.16)
    return np.asarray(common[:, None] + offset + private + rest * noise)


def _deviating(name: str, group: Fellows, values: Floats, rng: np.random.Generator) -> list[float]:
    """Let one product in twenty move to 3 sigma, or appear there; return how long it went unfound."""
    ill = rng.permutation(group.products)[: max(2, group.products // 20)]
    first = 2 if name == "cold_start" else group.days // 2
    at = rng.integers(first, group.days - 1, ill.size) * DAY_S // group.cadence_s
    at = at + rng.integers(0, DAY_S // group.cadence_s, ill.size)
    faulty = values.copy()
    middle = np.median(values, axis=1)
    for product, begin in zip(ill, at, strict=True):
        own = values[:, product] - middle
        sign = rng.choice([-1.0, 1.0])
        faulty[begin:, product] = (middle + own - own.mean() + 3 * sign)[begin:]
        if name == "cold_start":
            faulty[:begin, product] = np.nan
    said = _watched(group, faulty)
    delays = []
    for product, begin in zip(ill, at, strict=True):
        start = ORIGIN + int(begin) * group.cadence_s * NS
        patience = max(_PATIENCE_S, _PATIENCE_SAMPLES * group.cadence_s)
        if name == "cold_start":
            patience = (_COLD_SAMPLES - 1) * group.cadence_s
        times = [
            int(f["time"]) - start
            for f in said
            if f["kind"] == Kind.COHORT and f["index"] == product and f["severity"] != OVER
        ]
        times = [t for t in times if 0 <= t <= patience * NS]
        delays.append(min(times) / NS if times else np.inf)
    return delays


def _watched(group: Fellows, values: Floats) -> list[np.void]:
    """Run the cohort's watch over [samples, products]; NaN is a product that is not there yet."""
    watch = CohortWatch()
    for product in range(group.products):
        watch.join(product, 1, 0)
    found: list[np.void] = []
    for k, row in enumerate(values):
        index = np.flatnonzero(np.isfinite(row))
        now = ORIGIN + k * group.cadence_s * NS
        batch = (index, np.full(index.size, now), row[index], np.zeros(index.size, np.bool_))
        some, shifts = watch.update(batch, now)
        found += [*some, *shifts.findings]
    return found


def _arrivals(
    group: Fellows, rng: np.random.Generator, *, missing: bool
) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """Return (time, slot) in order; when each device missed five reports; one in eight sleeps at night.

    One report in fifty is lost anyway, and all come with jitter.
    """
    n = group.days * DAY_S // group.cadence_s
    events: list[tuple[int, int]] = []
    begun: dict[int, int] = {}
    for slot in range(1, group.products + 1):
        kept = rng.random(n) > 0.02
        second = (np.arange(n) + rng.random() + rng.uniform(-0.2, 0.2, n)) * group.cadence_s
        if slot % 8 == 0:
            kept &= (second % DAY_S) > 8 * 3_600
        elif missing:
            at = int(rng.integers(n // 2, n - 2 * _MISSING))
            kept[at - 1] = kept[at + _MISSING] = True
            kept[at : at + _MISSING] = False
            begun[slot] = ORIGIN + int(second[at - 1] * NS)
        events += [(ORIGIN + int(s * NS), slot) for s in second[kept]]
    return sorted(events), begun


def _silences(arrivals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Run the silence watch; return (slot, time) of what it found, for many at once slot 0."""
    watch = SilenceWatch(max(slot for _, slot in arrivals) + 1)
    slots: npt.NDArray[np.uint32] = np.array([slot for _, slot in arrivals], np.uint32)
    found: list[tuple[int, int]] = []
    now = arrivals[0][0]
    for k, (time, _) in enumerate(arrivals):
        beats = [watch.pass_time(beat) for beat in range(now + TICK_NS, time, TICK_NS)]
        now = time
        for part in (*beats, watch.pass_time(time), watch.hear(slots[k : k + 1], time)):
            found += [
                (int(f["index"]), int(f["time"])) for f in part.findings if f["severity"] != OVER
            ]
    return found
