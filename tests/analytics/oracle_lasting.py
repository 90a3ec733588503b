"""Faults of one series, said slowly: how they are said, and whether they last."""

import math
from dataclasses import dataclass

import numpy as np

from tests.analytics.oracle_life import Life
from tests.analytics.oracle_parts import DAY, DRIFT, SILENT, Found, Lasting


@dataclass
class Faulty(Life):
    """A series of which something may be said."""

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
        if severity != SILENT:
            self.found.append(
                Found(self.sample, self.now, since, kind, severity, nats, observed, low, high)
            )

    def seen(self, x: float) -> float:
        return min(max(x, self.lowest), self.highest)

    def say_mean(
        self, kind: int, severity: int, since: int, nats: float, now: float, low: float, high: float
    ) -> None:
        inside = self.seen(self.seasonal + now)
        shift = inside - now
        band = [self.anchor + self.seen(shift + x) for x in (low, high)]
        self.say(kind, severity, since, nats, self.anchor + inside, *band)

    def young(self) -> bool:
        return self.now - self.start < self.p.young_s * 1e9

    def known(self) -> bool:
        return self.now - self.start >= self.p.known_s * 1e9

    def grade(
        self, where: str, kind: int, severity: int, since: int, now: float, low: float, high: float
    ) -> int:
        old = self.lasting.get(where)
        if old and old.low <= now <= old.high:
            del self.lasting[where]
            return min(severity, 1)
        if since - self.start < 1e9 * self.p.known_s:
            return min(severity, 1)
        if old or (where == "scale" and now < low):
            return severity
        fault = self.lasting[where] = Lasting(kind, severity, since, low, high)
        if where == "place" and self.blocks > 8:
            fault.scale = float(np.float32(math.sqrt(max(self.block_square, self.floor))))
            fault.reference = float(np.float32(self.reference))
        self.wait(fault)
        return severity

    def wait(self, fault: Lasting) -> None:
        pause = int(1e9 * max(self.p.half_life_s, self.p.half_life_samples * self.cadence))
        if fault.kind == DRIFT:
            pause = max(pause, DAY)
        if fault.severity < 3:
            pause = max(pause, self.now - fault.since)
        fault.due = self.now + pause
        fault.seen = []

    def hasten(self) -> None:
        soon = self.now + int(1e9 * max(self.p.far_s, self.p.far_samples * self.cadence))
        fault = self.lasting.get("place")
        if fault and soon < fault.due:
            fault.due, fault.seen = soon, []

    def worst(self, where: str, fault: Lasting, mean: float) -> int:
        if where == "scale":
            return int(min(3.0, 1 + mean / fault.high / self.p.lasting_ratio))
        if fault.scale == 0 or abs(mean - fault.reference) < fault.scale:
            return 1
        middle = (fault.low + fault.high) / 2
        return int(min(3.0, 1 + abs(mean - middle) / (self.p.lasting_size * fault.scale)))

    def judge_lasting(self) -> None:
        for where in ("place", "scale"):
            fault = self.lasting.get(where)
            if fault is None:
                continue
            square = min(
                self.innovation**2 / self.growth, self.p.outlier**2 * max(self.noise, self.floor)
            )
            fault.seen.append(square if where == "scale" else self.x - self.seasonal)
            if self.now < fault.due:
                continue
            mean = sum(fault.seen) / len(fault.seen)
            back = fault.low <= mean <= fault.high
            if back or self.now - fault.since > 1e9 * self.p.memory_half_life_s:
                del self.lasting[where]
                if back and where == "scale":
                    self.noise = mean
                continue
            worse = fault.severity < self.worst(where, fault, mean)
            fault.severity += worse
            self.wait(fault)
            if not worse:
                continue
            nats = self.fired[fault.kind][1]
            if where == "scale":
                band = [math.sqrt(x) for x in (mean, fault.low, fault.high)]
                self.say(fault.kind, fault.severity, fault.since, nats, *band)
            else:
                band = [mean, fault.low, fault.high]
                self.say_mean(fault.kind, fault.severity, fault.since, nats, *band)
