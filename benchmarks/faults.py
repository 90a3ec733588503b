"""Injected faults: what share is found, how soon, and what is said of telemetry that is well.

1. Telemetry is made from a seed: daily and weekly rhythm, slow wander, autocorrelated noise,
   quantisation, jitter, gaps.
2. Sizes are in sigma, the standard deviation of the noise. Each series carries one fault, after a
   week of ordinary life.
3. Nothing here is fitted to the detector, and the detector is never tuned to the seed that is
   reported.
4. Real products cycle: simulated heat pumps, in winter and in summer, are watched too. A fault of
   theirs is found if the metric that shows it gets a finding that the healthy twin does not get.
"""

import argparse
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.detector import Detector
from analytics.findings import Kind, Severity
from firmware_sim.products.fault import Fault as ProductFault
from firmware_sim.products.fault import FaultKind
from firmware_sim.products.heat_pump import HeatPump

_S: Final = 1_000_000_000
_DAY: Final = 86_400
_ORIGIN: Final = 1_772_323_200 * _S  # Sunday 1 March 2026, 00:00 UTC

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """Series sampled alike."""

    cadence_s: int
    series: int
    days: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject.

    Attributes:
        kind: what the detector should call it.
        patience_s: found means: a finding of this kind within so long of its beginning,
        patience_samples: or within so many samples, whichever is longer.
    """

    kind: Kind
    patience_s: float
    patience_samples: int


GROUPS: Final = (Group(10, 8, 14), Group(60, 48, 14), Group(300, 48, 28), Group(900, 48, 28))
FAULTS: Final = {
    "spike": Fault(Kind.SPIKE, 0, 1),
    "level_shift": Fault(Kind.LEVEL_SHIFT, 3600 * 6, 50),
    "drift": Fault(Kind.DRIFT, 3600 * 36, 0),
    "variance_change": Fault(Kind.VARIANCE_CHANGE, 3600 * 6, 150),
    "stuck": Fault(Kind.STUCK, 3600, 1),
    "counter_reset": Fault(Kind.COUNTER_RESET, 0, 1),
}
PUMP_METRICS: Final = tuple(HeatPump(0).step(60.0, _ORIGIN))
PUMP_FAULTS: Final[dict[FaultKind, tuple[float, tuple[str, ...]]]] = {  # severity an hour, where
    FaultKind.BEARING_WEAR: (0.02, ("vibration_mm_s",)),
    FaultKind.STUCK_SENSOR: (np.inf, ("flow_temp_c",)),
    FaultKind.REFRIGERANT_LEAK: (0.02, ("power_w", "energy_kwh", "compressor_hz", "indoor_temp_c")),
}
_WINTER: Final = 1_767_225_600 * _S  # 1 January 2026
_SUMMER: Final = 1_782_864_000 * _S  # 1 July 2026
_PUMP_DAYS: Final = 21
_PUMP_ONSET_DAYS: Final = 10
_STUCK_CADENCE_S: Final = (
    60  # an hour of a stuck value is only evidence where an hour is many samples
)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Series of one group before they are quantised, so that faults can go in underneath.

    Attributes:
        time: int64[N], ns, the same instants for every series.
        smooth: float64[S, N], rhythm and wander.
        noise: float64[S, N].
        sigma: float64[S], standard deviation of the noise.
        step: float64[S], quantisation step, 0 for none.
    """

    time: Ints
    smooth: Floats
    noise: Floats
    sigma: Floats
    step: Floats

    def values(self) -> Floats:
        """Return what the sensors report, float64[S, N]."""
        values = self.smooth + self.noise
        step = np.where(self.step > 0, self.step, 1.0)[:, None]
        return np.where(self.step[:, None] > 0, np.round(values / step) * step, values)


def telemetry(group: Group, rng: np.random.Generator) -> Telemetry:
    """Make ordinary life for one group."""
    n = group.days * _DAY // group.cadence_s
    jitter = rng.uniform(-0.2, 0.2, n) * group.cadence_s
    seconds = np.arange(n) * float(group.cadence_s) + jitter
    keep = np.ones(n, np.bool_)
    for start in rng.integers(0, n, 2 * group.days // 7):  # two gaps a week, up to three hours
        keep[start : start + int(rng.uniform(0, 10_800) / group.cadence_s)] = False
    seconds = seconds[keep]
    n = len(seconds)
    count = group.series
    sigma = 10.0 ** rng.uniform(-2, 2, count)
    day = 2 * np.pi * seconds / _DAY
    shape = np.zeros((count, n))
    for harmonic in (1, 2, 3):
        weight = rng.uniform(0, 4, count)[:, None] / harmonic**2
        shape += weight * np.sin(harmonic * day + rng.uniform(0, 2 * np.pi, count)[:, None])
    weekend = np.isin((seconds // _DAY).astype(np.int64) % 7, (0, 6))
    shape *= np.where(weekend, rng.uniform(0.8, 1.0, count)[:, None], 1.0)
    shape[rng.random(count) < 0.25] = 0.0  # some metrics have no rhythm at all
    creep = rng.uniform(-0.25, 0.25, count)[:, None] * seconds / (7 * _DAY)
    smooth = (rng.uniform(-50, 50, count)[:, None] + shape + creep) * sigma[:, None]
    memory = rng.choice([0.0, 0.3, 0.6, 0.8], count)
    noise = _autocorrelated(rng.standard_normal((n, count)), memory) * sigma[:, None]
    step = rng.choice([0.0, 0.1, 0.5], count) * sigma
    return Telemetry(_ORIGIN + (seconds * _S).astype(np.int64), smooth, noise, sigma, step)


def _autocorrelated(white: Floats, memory: Floats) -> Floats:
    """Return unit-variance AR(1) noise, float64[S, N], from white noise float64[N, S]."""
    gain = np.sqrt(1 - memory**2)
    out = white
    for i in range(1, len(out)):
        out[i] = memory * out[i - 1] + gain * out[i]
    return np.ascontiguousarray(out.T)


def inject(kind: str, plain: Telemetry, at: Ints, rng: np.random.Generator) -> Floats:
    """Return the values of `plain` with a fault from sample `at[s]` on in each series `s`."""
    count = len(plain.noise)
    sign = rng.choice([-1.0, 1.0], count)
    smooth, noise = plain.smooth.copy(), plain.noise.copy()
    for s in range(count):
        elapsed = (plain.time[at[s] :] - plain.time[at[s]]) / (_DAY * _S)
        if kind == "spike":
            smooth[s, at[s]] += 6 * sign[s] * plain.sigma[s]
        elif kind == "level_shift":
            smooth[s, at[s] :] += 3 * sign[s] * plain.sigma[s]
        elif kind == "drift":
            smooth[s, at[s] :] += 3 * sign[s] * plain.sigma[s] * np.minimum(elapsed, 1.0)
        elif kind == "variance_change":
            noise[s, at[s] :] *= np.sqrt(3.0)
    faulty = Telemetry(plain.time, smooth, noise, plain.sigma, plain.step).values()
    if kind == "stuck":
        for s in range(count):
            end = np.searchsorted(plain.time, plain.time[at[s]] + 3600 * _S)
            faulty[s, at[s] : end] = faulty[s, at[s]]
    elif kind == "counter_reset":
        faulty = np.cumsum(np.abs(plain.noise), axis=1)
        for s in range(count):
            faulty[s, at[s] :] -= faulty[s, at[s]]
    return faulty


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


def measure(seed: int, groups: tuple[Group, ...] = GROUPS) -> dict[str, Any]:
    """Inject every fault into every group and watch the same telemetry without faults.

    Returns:
        Recall and median delay by kind, and findings per series-week on ordinary telemetry by kind.
    """
    rng = np.random.default_rng(seed)
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
        first = np.searchsorted(plain.time, _ORIGIN + 7 * _DAY * _S)
        last = np.searchsorted(plain.time, plain.time[-1] - 2 * _DAY * _S)
        for name, fault in FAULTS.items():
            at = rng.integers(first, last, group.series)
            if name == "stuck" and group.cadence_s > _STUCK_CADENCE_S:
                continue
            values = inject(name, plain, at, rng)
            findings = watch(plain.time, values, counter=name == "counter_reset")
            found[name] += _delays(plain.time, findings, fault, at)
    per_week = {kind: round(n / weeks, 4) for kind, n in ordinary.items()}
    return {
        "seed": seed,
        "recall": {k: round(float(np.mean(np.isfinite(d))), 4) for k, d in found.items()},
        "median_delay_s": {
            k: round(float(np.median([x for x in d if np.isfinite(x)] or [np.nan])), 1)
            for k, d in found.items()
        },
        "findings_per_series_week": round(sum(ordinary.values()) / weeks, 4),
        "alerts_per_series_week": round(alerts / weeks, 4),
        "findings_per_series_week_by_kind": per_week,
        "series_weeks": weeks,
    }


def _delays(time: Ints, findings: npt.NDArray[np.void], fault: Fault, at: Ints) -> list[float]:
    """Return how long each series' fault went unfound, seconds; infinity where it was missed."""
    delays = []
    right = findings[findings["kind"] == fault.kind]
    for s, begin in enumerate(at):
        patient = min(begin + fault.patience_samples, len(time) - 1)
        end = max(time[begin] + fault.patience_s * _S, time[patient])
        mine = right["time"][right["index"] == s]
        mine = mine[(mine >= time[begin]) & (mine <= end)]
        delays.append(float(mine[0] - time[begin]) / _S if len(mine) else np.inf)
    return delays


def live(
    seed: int, start: int, days: int, fault: ProductFault | None = None
) -> tuple[Ints, Floats]:
    """Let one heat pump live; returns the times, and what it reported each minute, [metrics, N]."""
    pump = HeatPump(seed)
    if fault is not None:
        pump.inject(fault)
    time = start + np.arange(1, days * 1440 + 1) * 60 * _S
    rows = [list(pump.step(60.0, int(now)).values()) for now in time]
    return time, np.array(rows).T


def pumps(seed: int, count: int) -> dict[str, Any]:
    """Watch `count` healthy heat pumps in winter and in summer, and in winter one of each fault.

    Returns:
        Findings and alerts per series-week of healthy pumps, and recall of each fault.
    """
    findings = alerts = 0
    found: dict[str, list[bool]] = {kind.value: [] for kind in FaultKind}
    for number in range(seed, seed + count):
        for start in (_WINTER, _SUMMER):
            said = _watch_pump(*live(number, start, _PUMP_DAYS))
            findings += len(said)
            alerts += int(np.count_nonzero(said["severity"] >= Severity.WARNING))
        onset = _WINTER + _PUMP_ONSET_DAYS * _DAY * _S
        twin = _watch_pump(*live(number, _WINTER, _PUMP_ONSET_DAYS + 4))
        for kind, (rate, metrics) in PUMP_FAULTS.items():
            fault = ProductFault(kind, onset, rate)
            ill = _watch_pump(*live(number, _WINTER, _PUMP_ONSET_DAYS + 4, fault))
            found[kind.value].append(shows(ill, twin, metrics, onset))
    weeks = count * 2 * len(PUMP_METRICS) * _PUMP_DAYS / 7
    return {
        "findings_per_series_week": round(findings / weeks, 4),
        "alerts_per_series_week": round(alerts / weeks, 4),
        "recall": {name: round(float(np.mean(each)), 4) for name, each in found.items()},
        "series_weeks": weeks,
    }


def _watch_pump(time: Ints, values: Floats) -> npt.NDArray[np.void]:
    """Run the detector over all metrics of one heat pump."""
    energy = PUMP_METRICS.index("energy_kwh")
    gauges = watch(time, values[:energy])
    counter = watch(time, values[energy:], counter=True)
    counter["index"] += energy
    return np.concatenate([gauges, counter])


def shows(
    ill: npt.NDArray[np.void], twin: npt.NDArray[np.void], metrics: tuple[str, ...], onset: int
) -> bool:
    """Return whether one of `metrics` gets a finding that the twin does not get within 12 hours."""
    telling = [PUMP_METRICS.index(name) for name in metrics]
    for finding in ill[(ill["time"] >= onset) & np.isin(ill["index"], telling)]:
        same = twin[(twin["index"] == finding["index"]) & (twin["kind"] == finding["kind"])]
        if not (np.abs(same["time"] - finding["time"]) <= 12 * 3600 * _S).any():
            return True
    return False


def run(quick: bool, seed: int = 7_001) -> dict[str, Any]:
    """Measure with fewer series when `quick`."""
    groups = (Group(60, 16, 14), Group(900, 16, 21)) if quick else GROUPS
    return {**measure(seed, groups), "heat_pumps": pumps(seed, 1 if quick else 4)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7_001)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(json.dumps(run(options.quick, options.seed), indent=2))
