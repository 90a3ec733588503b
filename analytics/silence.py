"""Silence: which products no longer report, found by their deadlines, never by looking at samples.

1. The usual interval of a product is learned from its own arrivals: a running median of the gaps.
   It is overdue after `periods` of them, but not before a gap that it takes regularly (it sleeps).
2. Time is the time of receipt of what was journalled. Deadlines are looked at on a grid of
   `TICK_NS`, so it does not matter how arrivals are split into calls, nor that a replay is faster.
3. While nobody listened nobody was silent: after a gap in the journal all deadlines start anew.
4. When half of a cohort is late together, that is one finding about the cohort; so for all of them.

A scan over one array of deadlines stands where a timer wheel is usual: a million take 0.6 ms.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from analytics import silence_kernel
from analytics.findings import FINDING, OVER, Kind, Severity
from analytics.silence_kernel import ASLEEP, NEVER, PULSE, SAID, WATCHED

TICK_NS: Final = 5_000_000_000
"""Grid on which deadlines are looked at; whoever journals beats once in so long when idle."""
OUTAGE_NS: Final = 4 * TICK_NS
"""A longer pause between two blocks means that nobody listened in between."""

_LATE_PERIODS: Final = 2.5
_COHORT_GONE: Final = 0.5  # share of a cohort that is late together: it is not the products
_ALL_GONE: Final = 0.8  # share of all
_MASS_OVER: Final = 0.25
_LEAST_COHORT: Final = 5
_LEAST_FLEET: Final = 10
_S: Final = 1e9


class Silences(NamedTuple):
    """Findings of kind `SILENCE`; severity `OVER` ends an earlier one.

    Attributes:
        findings: FINDING[F]; `sample` is the row that ended a silence, or -1 at a deadline; `index`
            is the device slot, 0 for many. `observed` is how long it has been silent, `expected_high` how
            long it may be, in seconds.
        cohort: u32[F], of a silence of many; 0 for all cohorts, or for one device.
        members: u32[F], how many were late, 0 for one device.
    """

    findings: npt.NDArray[np.void]
    cohort: npt.NDArray[np.uint32]
    members: npt.NDArray[np.uint32]


class SilenceWatch:
    """Watches the arrivals of all devices of one journal.

    Args:
        slots: room for device slots; `reach` makes more.
    """

    def __init__(self, slots: int = 1) -> None:
        self._pulses: npt.NDArray[np.void] = silence_kernel.fresh(slots)
        self._now = 0  # time of receipt of the newest block
        self._resumed = 0  # when listening began
        self._earliest = NEVER  # no deadline is before this
        self._mass: dict[
            int, int
        ] = {}  # cohorts that are silent as a whole, and since when; 0: all

    def reach(self, slots: int) -> None:
        """Make room for device slots below `slots`."""
        more = slots - len(self._pulses)
        if more > 0:
            grown = max(more, len(self._pulses) // 4)
            self._pulses = np.concatenate([self._pulses, silence_kernel.fresh(grown)])

    def join(self, cohort: npt.NDArray[np.uint32]) -> None:
        """Say which cohort each device belongs to, u32[N] by slot; 0 is none."""
        self.reach(cohort.size)
        self._pulses["cohort"][: cohort.size] = cohort

    def forget(self, slots: npt.NDArray[np.int64]) -> None:
        """Watch some devices no more, until they are heard again."""
        cohort = self._pulses["cohort"][slots]
        self._pulses[slots] = silence_kernel.fresh(slots.size)
        self._pulses["cohort"][slots] = cohort

    def hear(self, slot: npt.NDArray[np.uint32], received: int) -> Silences:
        """Take a block of rows.

        Args:
            slot: u32[R], whose row each is.
            received: time of receipt of the block, ns; call `pass_time` for it first.

        Returns:
            The silences that these rows ended.
        """
        ended: npt.NDArray[np.int64] = np.empty(slot.size, np.int64)
        lasted: npt.NDArray[np.int64] = np.empty(slot.size, np.int64)
        count, first = silence_kernel.hear(
            self._pulses, slot, received, self._resumed, ended, lasted
        )
        self._earliest = min(self._earliest, first)
        found = np.zeros(count, FINDING)
        found["sample"] = ended[:count]
        found["index"] = slot[ended[:count]]
        found["time"] = received
        found["since"] = lasted[:count]
        found["kind"], found["severity"] = Kind.SILENCE, OVER
        found["observed"] = (received - lasted[:count]) / _S
        found["expected_low"] = found["expected_high"] = np.nan
        none: npt.NDArray[np.uint32] = np.zeros(count, np.uint32)
        return Silences(found, none, none)

    def pass_time(self, received: int) -> Silences:
        """Look at all deadlines before `received`, the time of receipt of the next block, ns.

        Times that step back are taken as the newest one.
        """
        before, self._now = self._now, max(received, self._now)
        if before == 0 or self._now - before > OUTAGE_NS:
            self._resume()
            return _gathered([])
        found: list[Silences] = []
        tick = max(before // TICK_NS + 1, self._next_tick())
        while tick * TICK_NS <= self._now:
            found.append(self._judge(tick * TICK_NS))
            tick = max(tick + 1, self._next_tick())
        return _gathered(found)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the whole state; `restore` continues from it."""
        return {
            "pulses": self._pulses.view(np.uint8),
            "silence": np.array([self._now, self._resumed, self._earliest], np.int64),
            "mass_silence": np.array(sorted(self._mass.items()), np.int64).reshape(-1, 2),
        }

    @classmethod
    def restore(cls, arrays: dict[str, npt.NDArray[Any]]) -> "SilenceWatch":
        """Return the watch that `arrays` described."""
        watch = cls()
        watch._pulses = arrays["pulses"].copy().view(PULSE)
        watch._now, watch._resumed, watch._earliest = arrays["silence"].tolist()
        watch._mass = dict(arrays["mass_silence"].tolist())
        return watch

    def _next_tick(self) -> int:
        # While many are silent the end of that is looked for at every tick.
        return 0 if self._mass else -(-self._earliest // TICK_NS)

    def _resume(self) -> None:
        """Start all deadlines anew: nobody listened before."""
        self._resumed = self._now
        p = self._pulses
        running = p["deadline"] < NEVER
        p["deadline"][running] = self._now + p["allowed"][running]
        self._earliest = int(p["deadline"].min(initial=NEVER))

    def _judge(self, at: int) -> Silences:
        p = self._pulses
        found: list[Silences] = []
        due = np.flatnonzero(p["deadline"] <= at)
        if due.size or self._mass:
            watched = p["period"] > 0.0
            watched &= (p["state"] != SAID) & (p["gaps"] >= silence_kernel.LEAST_GAPS)
            last = np.maximum(p["last"], self._resumed)
            some = (_LATE_PERIODS * _S * p["period"]).astype(np.int64)
            late = watched & (at - last > np.maximum(some, p["allowed"] - some))
            found += self._masses(at, watched, late)
            due = np.flatnonzero(p["deadline"] <= at)
        p["deadline"][due] = NEVER
        if due.size:
            together = np.isin(p["cohort"][due], [c for c in self._mass if c]) | (0 in self._mass)
            p["state"][due] = np.where(together, ASLEEP, SAID)
            found.append(self._said(at, due[~together]))
        self._earliest = int(p["deadline"].min(initial=NEVER))
        return _gathered(found)

    def _said(self, at: int, slots: npt.NDArray[np.int64]) -> Silences:
        """Report devices one by one."""
        p = self._pulses[slots]
        found = np.zeros(slots.size, FINDING)
        found["sample"], found["index"], found["time"] = -1, slots, at
        found["since"] = p["last"]
        found["kind"], found["severity"] = Kind.SILENCE, Severity.NOTICE
        found["observed"] = (at - p["last"]) / _S
        found["expected_low"], found["expected_high"] = np.nan, p["allowed"] / _S
        found["surprise"] = found["observed"] / p["period"]
        none: npt.NDArray[np.uint32] = np.zeros(slots.size, np.uint32)
        return Silences(found, none, none)

    def _masses(
        self, at: int, watched: npt.NDArray[np.bool_], late: npt.NDArray[np.bool_]
    ) -> list[Silences]:
        """Find what is silent as a whole, and what no longer is."""
        cohort = self._pulses["cohort"]
        most = int(cohort.max(initial=0)) + 1
        of = np.bincount(cohort[watched], minlength=most)
        missing = np.bincount(cohort[late], minlength=most)
        several = of[0] > 0 or np.count_nonzero(of) > 1
        groups = [0] if several and of.sum() >= _LEAST_FLEET else []
        groups += [c for c in np.flatnonzero(of >= _LEAST_COHORT).tolist() if c]
        found: list[Silences] = []
        for group in list(self._mass):
            total, gone = (of.sum(), missing.sum()) if group == 0 else (of[group], missing[group])
            if gone <= _MASS_OVER * total:
                found.append(self._whole(at, group, self._mass.pop(group), int(gone), late))
        for group in groups:
            total, gone = (of.sum(), missing.sum()) if group == 0 else (of[group], missing[group])
            least = (_COHORT_GONE if group else _ALL_GONE) * total
            if group in self._mass or 0 in self._mass or gone < least:
                continue
            ours = late if group == 0 else late & (cohort == group)
            since = int(np.median(self._pulses["last"][ours]))
            self._mass[group] = since
            found.append(self._whole(at, group, since, int(gone), ours, begins=True))
        return found

    def _whole(
        self,
        at: int,
        group: int,
        since: int,
        members: int,
        late: npt.NDArray[np.bool_],
        *,
        begins: bool = False,
    ) -> Silences:
        """Report that a cohort (or all, 0) is silent or is not any more."""
        p = self._pulses
        found = np.zeros(1, FINDING)
        found["sample"], found["time"], found["since"] = -1, at, since
        found["kind"] = Kind.SILENCE
        found["observed"], found["expected_low"] = (at - since) / _S, np.nan
        if begins:
            found["severity"] = Severity.WARNING
            found["expected_high"] = float(np.median(p["allowed"][late])) / _S
            found["surprise"] = float(members)
        else:
            found["severity"], found["expected_high"] = OVER, np.nan
            # Who is still silent now is silent alone.
            rest = np.flatnonzero((p["state"] == ASLEEP) & ((group == 0) | (p["cohort"] == group)))
            p["state"][rest] = WATCHED
            p["deadline"][rest] = at + p["allowed"][rest]
        return Silences(found, np.array([group], np.uint32), np.array([members], np.uint32))


def _gathered(parts: list[Silences]) -> Silences:
    if len(parts) == 1:
        return parts[0]
    empty = Silences(np.empty(0, FINDING), np.empty(0, np.uint32), np.empty(0, np.uint32))
    return Silences(*(np.concatenate(column) for column in zip(*parts, empty, strict=True)))
