"""Ordinary life of one series, said slowly: cadence, level, daily profile, noise."""

import math
from dataclasses import dataclass, field

import numpy as np

from analytics.parameters import Parameters
from tests.analytics.oracle_parts import (
    BINS,
    DAY,
    DRIFT,
    HALF_HOUR,
    LEVEL_SHIFT,
    LOUDER,
    QUIETER,
    Excursion,
    Found,
    Lasting,
    Tail,
    clamp,
)


@dataclass
class Life:
    """What is known of one series, and what is expected of it."""

    p: Parameters
    low: float = -math.inf
    high: float = math.inf
    counter: bool = False
    found: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.samples = self.learned = 0
        self.now = self.start = self.run_since = self.sample = 0
        self.anchor = self.last = 0.0
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
        self.fired: dict[int, tuple[int, float]] = {}
        self.shift_since = 0
        self.calm: dict[int, float] = {}
        self.lasting: dict[str, Lasting] = {}
        self.stuck_severity = 0
        self.run, self.runs, self.longest = 1, 0, 0.0
        self.settling = self.pausing = self.paces = 0
        self.jump = 0.0
        self.greatest: dict[int, float] = {LEVEL_SHIFT: 0.0, LOUDER: 0.0, QUIETER: 0.0, DRIFT: 0.0}
        self.blocks = 0
        self.block: list[float] = []
        self.block_mean = self.block_square = self.block_product = 0.0

    def measure_gap(self, raw: float) -> None:
        n = self.learned
        self.seconds = (self.now - self.time) * 1e-9
        if n == 1:
            self.cadence = self.seconds
        elif self.other_pace():
            ratio = self.cadence / self.seconds
            self.cadence = self.seconds
            self.paces, self.settling = 0, int(self.p.settle_samples)
            self.longest = min(1e15, self.longest * ratio)
            self.run = int(min(1e15, max(1.0, self.run * ratio)))
        else:
            step = max(0.02, 1 / n)
            if self.seconds > 1.5 * self.cadence:
                self.cadence *= 1 + step
            elif self.seconds < 0.5 * self.cadence:
                self.cadence *= 1 - step
            else:
                self.cadence += step * (self.seconds - self.cadence)
        self.gap = self.seconds / self.cadence
        self.settling = max(0, self.settling - 1)
        self.pausing = max(0, self.pausing - 1)
        if self.gap > self.p.pause_samples:
            self.pausing = int(self.p.pause_settle)
        self.fade = 1 / (1 + math.log(2) * self.seconds / self.p.memory_half_life_s)
        self.x = clamp(raw - self.anchor, 1e30)
        change = abs(self.x - self.last)
        if change > 0:
            self.quantum = change if self.quantum == 0 else min(change, self.quantum * 1.001)
        self.floor = self.quantum**2 / 4 + 1e-18 * clamp(raw, 1e30) ** 2 + 1e-60

    def other_pace(self) -> bool:
        side = 0
        if self.seconds > self.p.pace_ratio * self.cadence:
            side = 1
        elif self.seconds * self.p.pace_ratio < self.cadence:
            side = -1
        self.paces = self.paces + side if self.paces * side > 0 else side
        return abs(self.paces) >= self.p.pace_samples

    def unsettled(self) -> bool:
        return self.settling > 0 or self.pausing > 0 or abs(self.paces) > 1

    def resting(self) -> bool:
        most = self.p.stuck_samples
        return self.longest > most and self.run > most and self.x == self.last

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
        if self.settling:
            rate = max(rate, 1 / (1 + p.settle_samples - self.settling))
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
