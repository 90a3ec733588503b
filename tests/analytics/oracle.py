"""The detector's specification, said slowly: one Python object per series, one method per idea.

Written from docs/detection.md with plain floats and no numba; the kernel must agree with it. It
shares only the
parameters with the product. Speed is no concern here; being obvious is.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from analytics.parameters import Parameters

DAY = 86_400 * 10**9
BINS = 48
HALF_HOUR = DAY // BINS
SPIKE, LEVEL_SHIFT, DRIFT, STUCK, VARIANCE_CHANGE, OUT_OF_LIMITS, COUNTER_RESET = range(1, 8)


def clamp(x: float, most: float) -> float:
    return max(-most, min(most, x))


@dataclass
class Tail:
    """A running 95% quantile and the first two moments of the relative excess over it."""

    quantile: float
    mean: float = 0.3
    square: float = 0.2

    def pareto(self) -> tuple[float, float]:
        variance = self.square - self.mean**2
        ratio = self.mean**2 / max(variance, 1e-12 * self.mean**2 + 1e-300)
        shape = (1 - ratio) / 2
        return (0.0, self.mean) if shape < 1e-3 else (shape, self.mean * (1 + ratio) / 2)

    def surprise(self, x: float) -> float:
        if x <= self.quantile:
            return -math.log(0.05) * x / self.quantile
        excess = x / self.quantile - 1
        shape, scale = self.pareto()
        survival = excess / scale if shape == 0 else math.log(1 + shape * excess / scale) / shape
        return -math.log(0.05) + survival

    def value_at(self, nats: float) -> float:
        shape, scale = self.pareto()
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


@dataclass
class Series:
    """One series under watch."""

    p: Parameters
    low: float = -math.inf
    high: float = math.inf
    counter: bool = False
    found: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.samples = self.learned = 0
        self.outside = self.late_outside = self.ready = False
        self.limit_time = self.late_limit_time = self.time = 0
        self.raw = 0.0
        self.profile: dict[int, np.float32] = {}
        self.level = self.reference = self.residual = self.product = self.square = 0.0
        self.noise = self.spread = self.quantum = self.lowest = self.highest = self.memory = 0.0
        self.innovations, self.shifts = Tail(6.0), Tail(2.5)
        self.louds, self.quiets = Tail(2.5), Tail(2.5)
        self.up, self.down, self.louder, self.quieter = (Excursion() for _ in range(4))
        self.drift_up, self.drift_down = Excursion(), Excursion()
        self.fired: dict[int, tuple[int, float, float]] = {}
        self.shift_since = 0
        self.run, self.runs, self.longest = 1, 0, 0.0
        self.blocks = 0
        self.block: list[float] = []
        self.block_mean = self.block_square = self.block_product = 0.0

    # ---- one sample

    def take(self, sample: int, t: int, v: float, *, late: bool) -> float:
        self.sample, self.now = sample, t
        behind = late or (self.samples > 0 and t <= self.time)
        self.limits(v, behind=behind)
        if behind:
            return 0.0
        score = 0.0
        x: float | None = v
        if self.counter:
            x = None
            if self.samples and v >= self.raw:
                x = (v - self.raw) / ((t - self.time) * 1e-9)
            elif self.samples:
                self.say(COUNTER_RESET, 1, t, 0.0, v, self.raw, math.inf)
        if x is not None:
            if self.learned == 0:
                self.start = self.run_since = self.block_start = t
                self.anchor, self.last = x, 0.0
            else:
                score = self.observe(x)
                self.last = self.x
            self.learned += 1
        self.samples += 1
        self.time, self.raw = t, v
        return score

    def say(
        self,
        kind: int,
        severity: int,
        since: int,
        nats: float,
        observed: float,
        low: float,
        high: float,
    ) -> None:
        self.found.append(
            Found(self.sample, self.now, since, kind, severity, nats, observed, low, high)
        )

    def limits(self, v: float, *, behind: bool) -> None:
        if self.low <= v <= self.high:
            if not behind:
                self.outside = False
            return
        again = self.p.limit_rearm_s * 1e9
        if behind:
            due = not self.late_outside or abs(self.now - self.late_limit_time) >= again
            self.late_outside = True
            if due:
                self.late_limit_time = self.now
        else:
            due = not self.outside or self.now - self.limit_time >= again
            self.outside = True
            if due:
                self.limit_time = self.now
        if due:
            self.say(OUT_OF_LIMITS, 3, self.now, 0.0, v, self.low, self.high)

    def observe(self, raw: float) -> float:
        self.measure_gap(raw)
        self.expect()
        self.weigh()
        score = self.score()
        self.judge_spike()
        self.judge_variance()
        self.judge_stuck()
        self.learn()
        self.end_block()
        self.judge_shift()
        return score

    # ---- ordinary life

    def measure_gap(self, raw: float) -> None:
        n = self.learned
        self.seconds = (self.now - self.time) * 1e-9
        if n == 1:
            self.cadence = self.seconds
        else:
            step = max(0.02, 1 / n)
            if self.seconds > 1.5 * self.cadence:
                self.cadence *= 1 + step
            elif self.seconds < 0.5 * self.cadence:
                self.cadence *= 1 - step
            else:
                self.cadence += step * (self.seconds - self.cadence)
        self.gap = self.seconds / self.cadence
        self.x = clamp(raw - self.anchor, 1e30)
        change = abs(self.x - self.last)
        if change > 0:
            self.quantum = change if self.quantum == 0 else min(change, self.quantum * 1.001)
        self.floor = self.quantum**2 / 4 + 1e-18 * clamp(raw, 1e30) ** 2 + 1e-60

    def seasonal_now(self) -> float:
        return float(
            (1 - self.share) * float(self.profile[self.left])
            + self.share * float(self.profile[self.right])
        )

    def expect(self) -> None:
        place = (self.now % DAY) / HALF_HOUR - 0.5
        place += BINS if place < 0 else 0
        self.left = int(place)
        self.right = (self.left + 1) % BINS
        self.share = place - self.left
        self.seasonal = self.seasonal_now() if self.ready else 0.0
        self.off = self.x - self.seasonal - self.level
        self.phi = min(0.99, max(0.0, self.product / self.square)) if self.square > 0 else 0.0
        carry, self.growth = self.phi, 1.0
        if not 0.67 <= self.gap <= 1.5:
            carry = self.phi**self.gap
            self.growth = (1 - carry**2) / (1 - self.phi**2)
        self.carried = carry * self.residual
        self.innovation = self.off - self.carried
        self.sigma = math.sqrt(max(self.noise * self.growth, self.floor))
        self.scale = math.sqrt(max(self.spread, self.floor))
        self.z = clamp(self.innovation / self.sigma, 1e6)

    def learn(self) -> None:
        p, n = self.p, self.learned
        rate = max(1 / n, 1 / p.noise_memory)
        if n < 3:
            self.noise = max(self.noise, self.innovation**2)
            self.spread = max(self.spread, self.off**2)
        else:
            most = p.outlier**2 * max(self.noise, self.floor)
            self.noise += rate * (min(self.innovation**2 / self.growth, most) - self.noise)
            most = p.outlier**2 * self.scale**2
            self.spread += rate * (min(self.off**2, most) - self.spread)
        kept = self.carried + clamp(self.innovation, p.outlier * self.sigma)
        e = self.up if self.up.nats > self.down.nats else self.down
        shifting = e.nats > 2 * self.shifts.quantile and e.count < p.shift_hold_samples
        if self.gap < 2 and not shifting:
            before = clamp(self.residual, 2 * self.scale)
            now = clamp(kept, 2 * self.scale)
            self.product += rate * (now * before - self.product)
            self.square += rate * (before**2 - self.square)
        clipped = clamp(self.off, p.outlier * self.scale)
        follow = min(min(self.gap, 3) / p.level_samples, self.seconds / (p.level_days * 86_400))
        moved = min(0.5, max(1 / (1 + n), follow)) * clipped
        self.level += moved
        self.residual = kept - moved
        days = (self.now - self.start) / DAY
        bins = min(self.seconds, 3 * self.cadence) * 1e9 / HALF_HOUR
        rate = max(p.profile_rate, 1 / (1 + days)) * bins
        for b, weight in ((self.left, 1 - self.share), (self.right, self.share)):
            if b not in self.profile:
                new = self.x
            elif self.ready:
                new = float(self.profile[b]) + min(0.5, weight * rate) * clipped
            else:
                old = float(self.profile[b])
                new = old + min(0.5, 4 * weight * rate) * (self.x - old)
            self.profile[b] = np.float32(new)

    # ---- evidence

    def weigh(self) -> None:
        p, n = self.p, self.learned
        self.step = max(p.tail_step, 1 / (5 + 0.1 * n))
        self.rate = max(1 / p.tail_memory, 1 / (20 + 0.05 * n))
        self.s_innovation = self.innovations.surprise(self.z**2)
        self.innovations.learn(self.z**2, 0.5, self.step, self.rate, p.tail_cap)
        lasting = (
            p.shift_size * (1 - self.phi) * self.scale / math.sqrt(max(self.noise, self.floor))
        )
        d = min(p.shift_most, max(p.shift_least, lasting))
        z = clamp(self.z, p.shift_clip)
        ended = max(
            self.up.add(d * z - d * d / 2, self.off, self.now),
            self.down.add(-d * z - d * d / 2, self.off, self.now),
        )
        self.remember(self.shifts, ended)
        square, ratio = min(abs(self.z), p.outlier) ** 2, p.variance_ratio
        gain = (1 - 1 / ratio) / 2 * square - math.log(ratio) / 2
        self.remember(self.louds, self.louder.add(gain, square, self.now))
        gain = (1 - ratio) / 2 * square + math.log(ratio) / 2
        self.remember(self.quiets, self.quieter.add(gain, square, self.now))
        self.s_shift = self.shifts.surprise(max(self.up.nats, self.down.nats))
        self.s_louder = self.louds.surprise(self.louder.nats)
        self.s_quieter = self.quiets.surprise(self.quieter.nats)
        over = max(self.x - self.highest, self.lowest - self.x)
        self.beyond = 0.0
        if over > 0:
            span = self.highest - self.lowest
            self.highest, self.lowest = max(self.highest, self.x), min(self.lowest, self.x)
            share = min(1.0, p.record_gain * over / span) if span > 0 else 1.0
            self.beyond = math.log(1 + n) * share

    def remember(self, tail: Tail, peak: float) -> None:
        if peak > 0:
            tail.learn(peak, 1.0, self.step, self.rate, self.p.evidence_cap)

    def score(self) -> float:
        p, n = self.p, self.learned
        raw = (
            p.score_innovation * self.s_innovation
            + p.score_shift * self.s_shift
            + p.score_louder * self.s_louder
            + p.score_quieter * self.s_quieter
            + p.score_record * self.beyond
        )
        raw *= n / (n + p.score_warm)
        self.memory /= 1 + math.log(2) * min(self.gap, 3) / p.score_half_life
        news = max(0.0, raw - self.memory)
        self.memory = max(self.memory, raw)
        return news

    # ---- verdicts

    def needed(self, per_week: float, period: float) -> float:
        return max(self.p.least_nats, math.log(604_800 / max(period, 1e-3) / per_week))

    def fires(self, kind: int, nats: float, per_week: float, period: float) -> int:
        p = self.p
        if self.samples < p.warm_samples:
            return 0
        enough = self.needed(per_week, period)
        blocked = habit = 0.0
        if kind in self.fired:
            when, before, habit = self.fired[kind]
            elapsed = (self.now - when) * 1e-9
            half_life = max(p.half_life_s, p.half_life_samples * self.cadence)
            blocked = before * 2 ** (-elapsed / half_life)
            habit *= 2 ** (-elapsed / p.habit_half_life_s)
        if nats < enough * (1 + (max(habit - 1, 0) / p.habit_findings) ** 2) + blocked:
            return 0
        self.fired[kind] = (self.now, nats, habit + 1)
        return 3 if nats >= 3 * enough else 2 if nats >= 1.5 * enough else 1

    def judge_spike(self) -> None:
        nats = self.s_innovation
        if nats > self.p.least_nats and (
            severity := self.fires(SPIKE, nats, self.p.spikes_per_week, self.cadence)
        ):
            middle = self.anchor + self.seasonal + self.level + self.carried
            half = self.sigma * math.sqrt(self.innovations.value_at(7.0))
            observed = self.anchor + self.x
            self.say(SPIKE, severity, self.now, nats, observed, middle - half, middle + half)

    def judge_variance(self) -> None:
        up = self.s_louder >= self.s_quieter
        nats = max(self.s_louder, self.s_quieter)
        if nats > self.p.least_nats and (
            severity := self.fires(VARIANCE_CHANGE, nats, self.p.variances_per_week, self.cadence)
        ):
            e = self.louder if up else self.quieter
            noise = math.sqrt(max(self.noise, self.floor))
            error = 3 * math.sqrt(2 / e.count)
            self.say(
                VARIANCE_CHANGE,
                severity,
                e.began,
                nats,
                noise * math.sqrt(e.moved / e.count),
                noise * math.sqrt(max(0.0, 1 - error)),
                noise * math.sqrt(1 + error),
            )
            self.noise *= self.p.variance_ratio if up else 1 / self.p.variance_ratio
            self.remember(self.louds if up else self.quiets, e.peak)
            self.louder.nats = self.quieter.nats = 0.0

    def judge_stuck(self) -> None:
        p = self.p
        if self.x != self.last:
            self.longest = max(0.999 * self.longest, self.run)
            self.runs += 1
            self.run, self.run_since = 1, self.now
            return
        self.run += 1
        if STUCK in self.fired and self.fired[STUCK][0] >= self.run_since:
            return
        usual = max(p.stuck_samples, p.stuck_ratio * self.longest)
        if self.run <= usual or self.runs <= p.stuck_runs:
            return
        nats = -self.run * math.log((self.learned - self.runs + 1) / (self.learned + 2))
        if nats > p.least_nats and (
            severity := self.fires(STUCK, nats, self.p.stuck_per_week, self.cadence)
        ):
            middle, half = self.anchor + self.seasonal + self.level, 3 * self.scale
            observed = self.anchor + self.x
            self.say(STUCK, severity, self.run_since, nats, observed, middle - half, middle + half)

    def judge_shift(self) -> None:
        e = self.up if self.up.nats > self.down.nats else self.down
        nats = self.s_shift
        if nats <= self.p.least_nats or e.count < 4:
            return
        if severity := self.fires(LEVEL_SHIFT, nats, self.p.shifts_per_week, self.cadence):
            mean = e.moved / e.count
            middle = self.anchor + self.seasonal + self.level
            inflation = (1 + self.phi) / (1 - self.phi) / e.count
            half = 3 * self.scale * min(1.0, math.sqrt(inflation))
            self.say(
                LEVEL_SHIFT, severity, e.began, nats, middle + mean, middle - half, middle + half
            )
            self.level += mean
            self.residual -= mean
            if abs(mean) >= self.p.shift_abrupt * self.scale:
                self.shift_since = e.began
            self.remember(self.shifts, e.peak)
            self.up.nats = self.down.nats = 0.0

    def block_error(self) -> float:
        phi = 0.0
        if self.block_square > 0:
            phi = min(self.p.drift_correlation, max(0.0, self.block_product / self.block_square))
        return math.sqrt(max(self.block_square, self.floor) * (1 + phi) / (1 - phi))

    def end_block(self) -> None:
        p = self.p
        self.block.append(self.x - self.seasonal - self.reference)
        if not self.ready and self.now - self.start >= DAY and self.cadence < 21_600:
            self.profile = {b: self.profile.get(b, np.float32(self.level)) for b in range(BINS)}
            self.ready = True
            self.seasonal = self.seasonal_now()
            self.level = self.reference = 0.0
            self.residual = self.x - self.seasonal
            self.block, self.block_start = [], self.now
            self.up.nats = self.down.nats = 0.0
            return
        length = max(p.drift_block_s, p.drift_block_samples * self.cadence)
        if not self.ready or self.now - self.block_start < 1e9 * length:
            return
        mean = sum(self.block) / len(self.block)
        self.blocks += 1
        if self.blocks > 8:
            z, half = clamp(mean / self.block_error(), 3), p.drift_size**2 / 2
            self.drift_up.add(p.drift_size * z - half, mean, self.block_start)
            self.drift_down.add(-p.drift_size * z - half, mean, self.block_start)
        if self.judge_drift(length):
            self.reference += mean
            mean = 0.0
        rate = max(1 / self.blocks, 0.01)
        square = mean**2 if self.blocks <= 8 else min(mean**2, 9 * self.block_square)
        self.block_square += rate * (square - self.block_square)
        clipped = clamp(mean, 3 * math.sqrt(self.block_square))
        self.block_product += rate * (clipped * self.block_mean - self.block_product)
        self.block_mean = clipped
        days = (self.now - self.block_start) / DAY
        self.reference += min(0.5, days / p.reference_days) * mean
        self.block, self.block_start = [], self.now

    def judge_drift(self, length: float) -> bool:
        e = self.drift_up if self.drift_up.nats > self.drift_down.nats else self.drift_down
        if e.nats <= self.needed(self.p.drifts_per_week, length):
            return False
        shifted = self.shift_since and abs(e.began - self.shift_since) <= 1e9 * length
        often = self.p.drifts_per_week
        if not shifted and (severity := self.fires(DRIFT, e.nats, often, length)):
            middle = self.anchor + self.seasonal + self.reference
            half = 3 * self.block_error() / math.sqrt(e.count)
            observed = middle + e.moved / e.count
            self.say(DRIFT, severity, e.began, e.nats, observed, middle - half, middle + half)
        self.drift_up.nats = self.drift_down.nats = 0.0
        return True
