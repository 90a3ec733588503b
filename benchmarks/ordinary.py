"""Ordinary life of made-up series: what the benchmarks of detection inject their faults into.

1. Made from a seed: daily and weekly rhythm, slow creep, autocorrelated noise, quantisation, jitter,
   gaps.
2. Frozen: the same seed makes the same telemetry for ever, so that results can be compared.
Nothing here may be fitted to the detector, or know of it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

NS: Final = 1_000_000_000
DAY_S: Final = 86_400
ORIGIN: Final = 1_772_323_200 * NS
"""Sunday 1 March 2026, 00:00 UTC, in ns."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """Series sampled alike."""

    cadence_s: int
    series: int
    days: int


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
    n = group.days * DAY_S // group.cadence_s
    jitter = rng.uniform(-0.2, 0.2, n) * group.cadence_s
    seconds = np.arange(n) * float(group.cadence_s) + jitter
    keep = np.ones(n, np.bool_)
    for start in rng.integers(0, n, 2 * group.days // 7):  # two gaps a week, up to three hours
        keep[start : start + int(rng.uniform(0, 10_800) / group.cadence_s)] = False
    seconds = seconds[keep]
    n = len(seconds)
    count = group.series
    sigma = 10.0 ** rng.uniform(-2, 2, count)
    day = 2 * np.pi * seconds / DAY_S
    shape = np.zeros((count, n))
    for harmonic in (1, 2, 3):
        weight = rng.uniform(0, 4, count)[:, None] / harmonic**2
        shape += weight * np.sin(harmonic * day + rng.uniform(0, 2 * np.pi, count)[:, None])
    weekend = np.isin((seconds // DAY_S).astype(np.int64) % 7, (0, 6))
    shape *= np.where(weekend, rng.uniform(0.8, 1.0, count)[:, None], 1.0)
    shape[rng.random(count) < 0.25] = 0.0  # some metrics have no rhythm at all
    creep = rng.uniform(-0.25, 0.25, count)[:, None] * seconds / (7 * DAY_S)
    smooth = (rng.uniform(-50, 50, count)[:, None] + shape + creep) * sigma[:, None]
    memory = rng.choice([0.0, 0.3, 0.6, 0.8], count)
    noise = _autocorrelated(rng.standard_normal((n, count)), memory) * sigma[:, None]
    step = rng.choice([0.0, 0.1, 0.5], count) * sigma
    return Telemetry(ORIGIN + (seconds * NS).astype(np.int64), smooth, noise, sigma, step)


def _autocorrelated(white: Floats, memory: Floats) -> Floats:
    """Return unit-variance AR(1) noise, float64[S, N], from white noise float64[N, S]."""
    gain = np.sqrt(1 - memory**2)
    out = white
    for i in range(1, len(out)):
        out[i] = memory * out[i - 1] + gain * out[i]
    return np.ascontiguousarray(out.T)
