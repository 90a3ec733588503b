"""Faults injected into made-up series: one function a kind, one row of `FAULTS` each.

1. Sizes are in sigma, the standard deviation of the noise. Each series carries one fault, after a
   week of ordinary life.
2. A fault goes in underneath the quantisation, and the noise of its own samples stays.
3. Frozen: an injection is never changed to suit the detector; kinds are only added, at the end, and
   draw from a generator of their own, so that the others stay what they are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.detector import Detector
from analytics.findings import Kind, Severity
from benchmarks.ordinary import DAY_S, NS, ORIGIN, Floats, Group, Ints, Telemetry, telemetry

_HOUR_S: Final = 3_600
_MORE: Final = 3  # rounds of injections beside the first, from a generator of their own

Inject = Callable[[Telemetry, Ints, Floats], Floats]
"""(plain, first faulty sample of each series, sign of each fault) -> values, float64[S, N]."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject.

    Attributes:
        kind: what the detector should call it.
        inject: puts it in.
        patience_s: found means: a finding of this kind within so long of its beginning,
        patience_samples: or within so many samples, whichever is longer.
        slowest_s: greatest cadence at which it is evidence of anything.
        counter: whether the series is a counter.
    """

    kind: Kind
    inject: Inject
    patience_s: float
    patience_samples: int
    slowest_s: float = np.inf
    counter: bool = False


def _added(plain: Telemetry, extra: Floats) -> Floats:
    """Return what the sensors report when `extra` sigmas are added."""
    return replace(plain, smooth=plain.smooth + extra * plain.sigma[:, None]).values()


def _spike(plain: Telemetry, at: Ints, sign: Floats) -> Floats:
    """One sample, 6 sigma."""
    extra = np.zeros_like(plain.smooth)
    extra[np.arange(len(at)), at] = 6 * sign
    return _added(plain, extra)


def _level_shift(plain: Telemetry, at: Ints, sign: Floats) -> Floats:
    """3 sigma, for good."""
    return _added(plain, np.where(_since(plain, at) >= 0, 3 * sign[:, None], 0.0))


def _drift(plain: Telemetry, at: Ints, sign: Floats) -> Floats:
    """To 3 sigma within a day, for good."""
    days = np.clip(_since(plain, at) / (DAY_S * NS), 0, 1)
    return _added(plain, 3 * sign[:, None] * days)


def _variance_change(plain: Telemetry, at: Ints, _sign: Floats) -> Floats:
    """Three times the variance, for good."""
    factor = np.where(_since(plain, at) >= 0, np.sqrt(3.0), 1.0)
    return replace(plain, noise=plain.noise * factor).values()


def _stuck(plain: Telemetry, at: Ints, _sign: Floats) -> Floats:
    """One value for an hour."""
    values = plain.values()
    for s, begin in enumerate(at):
        end = np.searchsorted(plain.time, plain.time[begin] + _HOUR_S * NS)
        values[s, begin:end] = values[s, begin]
    return values


def _counter_reset(plain: Telemetry, at: Ints, _sign: Floats) -> Floats:
    """A counter that starts again from zero."""
    values = np.cumsum(np.abs(plain.noise), axis=1)
    for s, begin in enumerate(at):
        values[s, begin:] -= values[s, begin]
    return values


def _since(plain: Telemetry, at: Ints) -> Ints:
    """Return the time since the fault of each series, ns, int64[S, N]."""
    return plain.time[None, :] - plain.time[at][:, None]


FAULTS: Final = {
    "spike": Fault(Kind.SPIKE, _spike, 0, 1),
    "level_shift": Fault(Kind.LEVEL_SHIFT, _level_shift, 6 * _HOUR_S, 50),
    "drift": Fault(Kind.DRIFT, _drift, 36 * _HOUR_S, 0),
    "variance_change": Fault(Kind.VARIANCE_CHANGE, _variance_change, 6 * _HOUR_S, 150),
    "stuck": Fault(Kind.STUCK, _stuck, _HOUR_S, 1, slowest_s=60),
    "counter_reset": Fault(Kind.COUNTER_RESET, _counter_reset, 0, 1, counter=True),
}


def watch(time: Ints, values: Floats, *, counter: bool = False) -> npt.NDArray[np.void]:
    """Run the detector over series float64[S, N]; returns findings, `index` is the series."""
    count, n = values.shape
    detector = Detector(count)
    detector.allocate(count)
    for s in range(count):
        detector.configure(s, np.nan, np.nan, int(counter))
    index = np.repeat(np.arange(count), n)
    return detector.update(
        index, np.tile(time, count), values.reshape(-1), np.zeros(count * n, np.bool_)
    )


def measure(seed: int, groups: tuple[Group, ...]) -> dict[str, Any]:
    """Inject every fault into every group and watch the same telemetry without faults.

    Returns:
        Recall and median delay by kind, and findings per series-week on ordinary telemetry by kind.
    """
    rng, more = np.random.default_rng(seed), np.random.default_rng([seed, 3])
    alerts = 0
    ordinary = dict.fromkeys((kind.name.lower() for kind in Kind), 0)
    weeks = 0.0
    found: dict[str, list[float]] = {name: [] for name in FAULTS}
    for group in groups:
        plain = telemetry(group, rng)
        weeks += group.series * group.days / 7
        said = watch(plain.time, plain.values())
        alerts += int(np.count_nonzero(said["severity"] >= Severity.WARNING))
        for kind in said["kind"]:
            ordinary[Kind(kind).name.lower()] += 1
        first = np.searchsorted(plain.time, ORIGIN + 7 * DAY_S * NS)
        last = np.searchsorted(plain.time, plain.time[-1] - 2 * DAY_S * NS)
        for name, fault in FAULTS.items():
            at = rng.integers(first, last, group.series)
            if group.cadence_s > fault.slowest_s:
                continue
            rounds = [(at, rng.choice([-1.0, 1.0], group.series))]
            for _ in range(_MORE):
                at = more.integers(first, last, group.series)
                rounds.append((at, more.choice([-1.0, 1.0], group.series)))
            for at, sign in rounds:
                values = fault.inject(plain, at, sign)
                findings = watch(plain.time, values, counter=fault.counter)
                found[name] += delays(plain.time, findings, fault, at)
    return {
        "seed": seed,
        "injections": {name: len(waits) for name, waits in found.items()},
        **recall_and_delay(found),
        "findings_per_series_week": round(sum(ordinary.values()) / weeks, 4),
        "alerts_per_series_week": round(alerts / weeks, 4),
        "findings_per_series_week_by_kind": {k: round(n / weeks, 4) for k, n in ordinary.items()},
        "series_weeks": weeks,
    }


def delays(time: Ints, findings: npt.NDArray[np.void], fault: Fault, at: Ints) -> list[float]:
    """Return how long each series' fault went unfound, seconds; infinity where it was missed."""
    waits = []
    right = findings[findings["kind"] == fault.kind]
    for s, begin in enumerate(at):
        patient = min(begin + fault.patience_samples, len(time) - 1)
        end = max(time[begin] + fault.patience_s * NS, time[patient])
        mine = right["time"][right["index"] == s]
        mine = mine[(mine >= time[begin]) & (mine <= end)]
        waits.append(float(mine[0] - time[begin]) / NS if len(mine) else np.inf)
    return waits


def recall_and_delay(found: dict[str, list[float]]) -> dict[str, dict[str, float | None]]:
    """Sum up how long faults went unfound.

    Args:
        found: by the name of a fault, the delay of each injection, s; infinity where it was missed.

    Returns:
        `recall` and `median_delay_s` (of those found; None where none was), by name.
    """
    table: dict[str, dict[str, float | None]] = {"recall": {}, "median_delay_s": {}}
    for name, waits in found.items():
        in_time = [wait for wait in waits if np.isfinite(wait)]
        table["recall"][name] = round(len(in_time) / len(waits), 4) if waits else None
        table["median_delay_s"][name] = round(float(np.median(in_time)), 1) if in_time else None
    return table
