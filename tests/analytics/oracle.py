"""The detector's specification, said slowly: one Python object per series, one method per idea.

Written from docs/detection.md with plain floats and no numba; the kernel must agree with it. It
shares only the parameters with the product. Speed is no concern here; being obvious is.
"""

import math
from dataclasses import dataclass

import numpy as np

from tests.analytics.oracle_lasting import Faulty
from tests.analytics.oracle_parts import (
    BINS,
    COUNTER_RESET,
    DAY,
    DRIFT,
    LEVEL_SHIFT,
    LOUDER,
    OUT_OF_LIMITS,
    QUIETER,
    SILENT,
    SPIKE,
    STUCK,
    VARIANCE_CHANGE,
    Excursion,
    Tail,
    clamp,
)


@dataclass
class Series(Faulty):
    """One series under watch."""

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
        if self.counter and self.resting():
            self.judge_stuck()
            self.judge_lasting()
            return 0.0
        self.weigh()
        score = self.score()
        self.judge_spike()
        self.judge_variance()
        self.judge_stuck()
        self.judge_lasting()
        self.jump = max(self.jump, abs(self.innovation))
        self.learn()
        self.end_block()
        self.judge_shift()
        return score

    # ---- evidence

    def weigh(self) -> None:
        p, n = self.p, self.learned
        self.step = max(p.tail_step, 1 / (5 + 0.1 * n))
        self.rate = max(1 / p.tail_memory, 1 / (20 + 0.05 * n))
        self.jump *= self.fade
        for what in self.greatest:
            self.greatest[what] *= self.fade
        self.s_innovation = self.innovations.surprise(self.z**2)
        self.s_spike = self.innovations.surprise(self.z**2, p.spike_lean)
        self.innovations.learn(self.z**2, 0.5, self.step, self.rate, p.tail_cap)
        lasting = (
            p.shift_size * (1 - self.phi) * self.scale / math.sqrt(max(self.noise, self.floor))
        )
        d = min(p.shift_most, max(p.shift_least, lasting))
        z = clamp(self.z, p.shift_clip)
        for e in (self.up, self.down):
            if e.nats == 0:
                self.calm[id(e)] = float(np.float32(self.scale))
        ended = max(
            self.up.add(d * z - d * d / 2, self.off, self.now),
            self.down.add(-d * z - d * d / 2, self.off, self.now),
        )
        square, ratio = min(abs(self.z), p.outlier) ** 2, p.variance_ratio
        gain = (1 - 1 / ratio) / 2 * square - math.log(ratio) / 2
        loud = self.louder.add(gain, square, self.now)
        gain = (1 - ratio) / 2 * square + math.log(ratio) / 2
        quiet = self.quieter.add(gain, square, self.now)
        if self.settling or self.pausing:
            for e in (self.up, self.down, self.louder, self.quieter):
                e.nats = 0.0
        else:
            self.remember(LEVEL_SHIFT, self.shifts, ended)
            self.remember(LOUDER, self.louds, loud)
            self.remember(QUIETER, self.quiets, quiet)
        self.s_shift = self.shifts.surprise(max(self.up.nats, self.down.nats))
        self.s_louder = self.louds.surprise(self.louder.nats, p.variance_lean)
        self.s_quieter = self.quiets.surprise(self.quieter.nats)
        over = max(self.x - self.highest, self.lowest - self.x)
        self.beyond = 0.0
        if over > 0:
            span = self.highest - self.lowest
            self.highest, self.lowest = max(self.highest, self.x), min(self.lowest, self.x)
            share = min(1.0, p.record_gain * over / span) if span > 0 else 1.0
            self.beyond = math.log(1 + n) * share

    def remember(self, what: int, tail: Tail, peak: float) -> None:
        if peak > 0:
            self.greatest[what] = max(self.greatest[what], peak)
            tail.learn(peak, 1.0, self.step, self.rate, self.p.evidence_cap)

    def score(self) -> float:
        p, n = self.p, self.learned
        raw = (
            p.score_innovation * self.s_innovation
            + p.score_shift * self.s_shift
            + p.score_louder * self.s_louder
            + p.score_record * self.beyond
        )
        raw *= n / (n + p.score_warm)
        half_life = p.score_half_life + p.score_ageing * n
        self.memory /= 1 + math.log(2) * min(self.gap, 3) / half_life
        news = max(0.0, raw - p.score_repeat * self.memory)
        self.memory = max(self.memory, raw)
        return news

    # ---- verdicts

    def needed(self, per_week: float, period: float) -> float:
        return max(self.p.least_nats, math.log(604_800 / max(period, 1e-3) / per_week))

    def fires(self, kind: int, nats: float, per_week: float, period: float) -> int:
        p = self.p
        if self.samples < p.warm_samples or (kind != DRIFT and self.unsettled()):
            return 0
        enough = self.needed(per_week, period)
        blocked = 0.0
        if kind in self.fired:
            when, before = self.fired[kind]
            elapsed = (self.now - when) * 1e-9
            half_life = max(p.half_life_s, p.half_life_samples * self.cadence)
            blocked = before * 2 ** (-elapsed / half_life)
        if nats < enough + blocked:
            return 0
        self.fired[kind] = (self.now, nats)
        if self.young():
            return 1 if nats >= p.young_factor * enough + blocked else SILENT
        if not self.known():
            return 1
        if kind != SPIKE:
            return 2 if nats >= 3 * enough else 1
        return 3 if nats >= 3 * enough else 2 if nats >= 1.6 * enough else 1

    def judge_spike(self) -> None:
        nats = self.s_spike
        usual = self.jump + max(0.0, self.jump - self.p.spike_sigma * self.sigma)
        if (
            nats > self.p.least_nats
            and abs(self.innovation) > usual
            and (severity := self.fires(SPIKE, nats, self.p.spikes_per_week, self.cadence))
        ):
            middle = self.seasonal + self.level + self.carried
            half = self.sigma * math.sqrt(self.innovations.value_at(7.0, self.p.spike_lean))
            half = min(half, 0.99 * abs(self.innovation))
            band = [self.anchor + self.seen(x) for x in (middle - half, middle + half)]
            self.say(SPIKE, severity, self.now, nats, self.anchor + self.x, *band)

    def judge_variance(self) -> None:
        up = self.s_louder >= self.s_quieter
        nats = max(self.s_louder, self.s_quieter)
        e, which = (self.louder, LOUDER) if up else (self.quieter, QUIETER)
        usual = self.p.memory_margin * self.greatest[which]
        if (
            nats > self.p.least_nats
            and e.nats > usual
            and (
                severity := self.fires(
                    VARIANCE_CHANGE, nats, self.p.variances_per_week, self.cadence
                )
            )
        ):
            noise = max(self.noise, self.floor)
            error = 3 * math.sqrt(2 / e.count)
            low, high = noise * max(0.0, 1 - error), noise * (1 + error)
            mean = noise * e.moved / e.count
            severity = self.grade("scale", VARIANCE_CHANGE, severity, e.began, mean, low, high)
            roots = [math.sqrt(x) for x in (mean, low, high)]
            self.say(VARIANCE_CHANGE, severity, e.began, nats, *roots)
            self.noise *= self.p.variance_ratio if up else 1 / self.p.variance_ratio
            self.remember(which, self.louds if up else self.quiets, e.peak)
            self.reported(which, e)
            self.louder.nats = self.quieter.nats = 0.0

    def reported(self, what: int, e: Excursion) -> None:
        self.greatest[what] = max(self.greatest[what], self.p.reported_margin * e.nats)

    def judge_stuck(self) -> None:
        p = self.p
        self.longest *= self.fade
        if self.x != self.last:
            self.longest = max(self.longest, self.run)
            self.runs += 1
            self.run, self.run_since = 1, self.now
            self.stuck_severity = 0
            return
        self.run += 1
        nats = -self.run * math.log((self.learned - self.runs + 1) / (self.learned + 2))
        observed = self.anchor + self.x
        if STUCK in self.fired and self.fired[STUCK][0] >= self.run_since:
            said, before = self.fired[STUCK]
            twice = self.now - self.run_since >= 2 * (said - self.run_since)
            if self.stuck_severity in {1, 2} and twice:
                self.stuck_severity += 1
                self.fired[STUCK] = (self.now, before)
                severity = self.stuck_severity
                self.say(STUCK, severity, self.run_since, nats, observed, -math.inf, math.inf)
            return
        if self.run_since - self.start < p.stuck_s * 1e9:
            return
        idles = self.longest > p.stuck_samples
        usual = max(p.stuck_samples, (p.idle_ratio if idles else p.stuck_ratio) * self.longest)
        if self.run <= usual or self.runs <= p.stuck_runs:
            return
        if nats > p.least_nats and (
            severity := self.fires(STUCK, nats, self.p.stuck_per_week, self.cadence)
        ):
            severity = min(severity, 1)
            self.stuck_severity = 0 if idles else max(severity, 0)
            self.say(STUCK, severity, self.run_since, nats, observed, -math.inf, math.inf)

    def judge_shift(self) -> None:
        e = self.up if self.up.nats > self.down.nats else self.down
        nats = self.s_shift
        if nats <= self.p.least_nats or e.count < 4:
            return
        mean = e.moved / e.count
        inflation = (1 + self.phi) / (1 - self.phi) / e.count
        calm = self.calm[id(e)]
        half = 3 * calm * min(1.0, math.sqrt(inflation))
        far = max(self.p.shift_extreme * calm, math.sqrt(self.block_square))
        long = self.now - e.began >= 1e9 * self.p.shift_extreme_s
        worse = self.blocks > 8 and abs(mean) >= far and long
        margin = 1.0 if worse else self.p.memory_margin
        if abs(mean) <= half or e.nats <= margin * self.greatest[LEVEL_SHIFT]:
            return
        if severity := self.fires(LEVEL_SHIFT, nats, self.p.shifts_per_week, self.cadence):
            low, high = self.level - half, self.level + half
            now = self.level + mean
            severity = self.grade("place", LEVEL_SHIFT, severity, e.began, now, low, high)
            spread = max(calm, math.sqrt(self.block_square))
            if self.blocks > 8 and abs(mean) >= self.p.far_size * spread:
                self.hasten()
            self.say_mean(LEVEL_SHIFT, severity, e.began, nats, now, low, high)
            self.level += mean
            self.residual -= mean
            if abs(mean) >= self.p.shift_abrupt * calm:
                self.shift_since = e.began
            self.remember(LEVEL_SHIFT, self.shifts, e.peak)
            self.reported(LEVEL_SHIFT, e)
            self.up.nats = self.down.nats = 0.0

    def block_error(self) -> float:
        phi = 0.0
        if self.block_square > 0:
            phi = min(self.p.drift_correlation, max(0.0, self.block_product / self.block_square))
        return math.sqrt(max(self.block_square, self.floor) * (1 + phi) / (1 - phi))

    def end_block(self) -> None:
        p = self.p
        if not self.resting():
            self.block.append(self.x - self.seasonal - self.reference)
        if not self.ready and self.now - self.start >= DAY and self.cadence < 21_600:
            self.profile = {b: self.profile.get(b, np.float32(self.level)) for b in range(BINS)}
            self.ready = True
            self.seasonal = self.seasonal_now()
            self.level = self.reference = 0.0
            self.residual = self.x - self.seasonal
            self.block, self.block_start = [], self.now
            self.up.nats = self.down.nats = 0.0
            self.lasting.clear()
            return
        length = max(p.drift_block_s, p.drift_block_samples * self.cadence)
        if not self.ready or self.now - self.block_start < 1e9 * length:
            return
        if not self.block:
            self.block_start = self.now
            return
        mean = sum(self.block) / len(self.block)
        self.blocks += 1
        if self.blocks > 8:
            z, half = clamp(mean / self.block_error(), 3), p.drift_size**2 / 2
            up = self.drift_up.add(p.drift_size * z - half, mean, self.block_start)
            down = self.drift_down.add(-p.drift_size * z - half, mean, self.block_start)
            self.greatest[DRIFT] = max(self.greatest[DRIFT], up, down)
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
        usual = self.p.drift_margin * self.greatest[DRIFT]
        if e.nats <= max(usual, self.needed(self.p.drifts_per_week, length)):
            return False
        half = 3 * self.block_error() / math.sqrt(e.count)
        if abs(e.moved / e.count) <= half:
            return False
        shifted = self.shift_since and abs(e.began - self.shift_since) <= 1e9 * length
        often = self.p.drifts_per_week
        if not shifted and (severity := self.fires(DRIFT, e.nats, often, length)):
            low, high = self.reference - half, self.reference + half
            now = self.reference + e.moved / e.count
            severity = self.grade("place", DRIFT, severity, e.began, now, low, high)
            self.say_mean(DRIFT, severity, e.began, e.nats, now, low, high)
        self.greatest[DRIFT] = max(self.greatest[DRIFT], e.nats)
        self.drift_up.nats = self.drift_down.nats = 0.0
        return True
