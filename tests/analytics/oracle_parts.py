"""Parts of the slow detector: tails, excursions, what was found."""

import math
from dataclasses import dataclass, field

DAY = 86_400 * 10**9
BINS = 48
HALF_HOUR = DAY // BINS
SPIKE, LEVEL_SHIFT, DRIFT, STUCK, VARIANCE_CHANGE, OUT_OF_LIMITS, COUNTER_RESET = range(1, 8)
LOUDER, QUIETER = 10, 11  # what else is remembered beside kinds
SILENT = -1


def clamp(x: float, most: float) -> float:
    return max(-most, min(most, x))


@dataclass
class Tail:
    """A running 95% quantile and the first two moments of the relative excess over it."""

    quantile: float
    mean: float = 0.3
    square: float = 0.2

    def pareto(self, lean: float) -> tuple[float, float]:
        variance = self.square - self.mean**2
        ratio = self.mean**2 / max(variance, 1e-12 * self.mean**2 + 1e-300)
        shape = (1 - ratio) / 2 - lean
        return (0.0, self.mean) if shape < 1e-3 else (shape, self.mean * (1 - shape))

    def surprise(self, x: float, lean: float = 0.0) -> float:
        if x <= self.quantile:
            return -math.log(0.05) * x / self.quantile
        excess = x / self.quantile - 1
        shape, scale = self.pareto(lean)
        survival = excess / scale if shape == 0 else math.log(1 + shape * excess / scale) / shape
        return -math.log(0.05) + survival

    def value_at(self, nats: float, lean: float = 0.0) -> float:
        shape, scale = self.pareto(lean)
        rest = nats + math.log(0.05)
        excess = scale * rest if shape == 0 else scale * (math.exp(shape * rest) - 1) / shape
        return self.quantile * (1 + excess)

    def learn(self, x: float, floor: float, step: float, rate: float, cap: float) -> None:
        if x > self.quantile:
            excess = min(cap, x / self.quantile - 1)
            self.mean += rate * (excess - self.mean)
            self.square += rate * (excess**2 - self.square)
            self.quantile *= 1 + 0.95 * step
        else:
            self.quantile = max(floor, self.quantile * (1 - 0.05 * step))


@dataclass
class Excursion:
    """A sum of log-likelihood ratios that starts over whenever it falls to zero."""

    nats: float = 0.0
    peak: float = 0.0
    began: int = 0
    moved: float = 0.0
    count: int = 0

    def add(self, gain: float, what: float, now: int) -> float:
        """Return the peak of the excursion if this ended it, else 0."""
        if self.nats == 0:
            self.peak, self.began, self.moved, self.count = 0.0, now, 0.0, 0
        self.nats = max(0.0, self.nats + gain)
        self.peak = max(self.peak, self.nats)
        self.moved += what
        self.count += 1
        return self.peak if self.nats == 0 else 0.0


@dataclass
class Lasting:
    """A reported fault that may still be there, and the band from before it."""

    kind: int
    severity: int
    since: int
    low: float
    high: float
    scale: float = 0.0
    reference: float = 0.0
    due: int = 0
    seen: list[float] = field(default_factory=list)


@dataclass
class Found:
    sample: int
    time: int
    since: int
    kind: int
    severity: int
    surprise: float
    observed: float
    low: float
    high: float
