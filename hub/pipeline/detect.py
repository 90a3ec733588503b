"""Stage 7, detect: one kernel call a batch updates all its series, one compares them, one notes who was heard of.

1. Series get their records on first sight, a block a device, in journal order: replay allocates the same ones.
2. Quarantined rows and rows from the future are late for the detector: limits are checked, nothing is learned,
   nothing else is found.
3. The algorithms live in `analytics`; this stage only translates slots and metrics to records and back.
4. Time is that of receipt of journal blocks, beats among them: a replay finds the same.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from analytics.cohort import CohortWatch
from analytics.detector import Detector
from analytics.findings import SeriesKind
from analytics.silence import Silences, SilenceWatch
from hub.pipeline.metric_table import MetricTable
from hub.pipeline.outcome import NO_METRIC, FoundIn
from hub.ports.journal.telemetry import HISTORICAL, REASON_MASK, TelemetryBatch

_DAY = 86_400_000_000_000


@njit(
    "i8(i8, u4[::1], u4[::1], u4[::1], i8[::1], u2[::1], i8[::1], u2[::1], i8[::1], i8[::1], b1[::1], u4, i8, u4[::1])",
    cache=True,
    nogil=True,
)
def _map_samples(  # type: ignore[no-untyped-def]
    rows,
    slot,
    flags,
    width,
    row_time,
    metric,
    base,
    room,
    index,
    time,
    late,
    quarantined,
    latest,
    unknown,
):
    """Record index, time and lateness of each sample; returns how many slots in `unknown` need records first."""
    at = 0
    missing = np.int64(0)
    for i in range(rows):
        s = slot[i]
        first = base[s]
        is_late = (flags[i] & quarantined) != 0 or row_time[i] > latest
        lacking = first < 0
        for _ in range(width[i]):
            lacking |= metric[at] >= room[s]
            index[at] = first + np.int64(metric[at])
            time[at] = row_time[i]
            late[at] = is_late
            at += 1
        if lacking and (missing == 0 or unknown[missing - 1] != s):
            unknown[missing] = s
            missing += 1
    return missing


class DetectStage:
    """Holds the detector and the place of each device's series in it.

    Args:
        detector: state of all series of this worker.
        cohorts: compares them; its series have the same numbers.
        silences: knows when each device was heard of.
    """

    def __init__(self, detector: Detector, cohorts: CohortWatch, silences: SilenceWatch) -> None:
        self._detector = detector
        self._cohorts = cohorts
        self._silences = silences
        self._cohort: NDArray[np.uint32] = np.zeros(1, np.uint32)
        self._base: NDArray[np.int64] = np.full(1, -1, np.int64)
        self._room: NDArray[np.uint16] = np.zeros(1, np.uint16)
        self._model: NDArray[np.uint16] = np.zeros(1, np.uint16)
        self._metrics: MetricTable | None = None

    def use(
        self, model: NDArray[np.uint16], metrics: MetricTable, cohort: NDArray[np.uint32]
    ) -> None:
        """Take the devices' models (u16[N] by slot), the catalogue and the cohorts (u32[N]) of a new snapshot."""
        self._reach(model.size)
        changed = self._metrics is not None and not _same_limits(self._metrics, metrics)
        self._model, self._metrics = np.ascontiguousarray(model, np.uint16), metrics
        if changed:
            for slot in np.flatnonzero(self._base >= 0).tolist():
                self._configure(slot, int(self._base[slot]), int(self._room[slot]))
                self._join(slot)
        moved = np.flatnonzero(self._cohort[: cohort.size] != cohort[: self._cohort.size])
        if moved.size:
            self._cohort[moved] = cohort[moved]
            self._silences.join(self._cohort)
            for slot in moved[self._base[moved] >= 0].tolist():
                self._join(slot)

    def detect(self, batch: TelemetryBatch, received: int) -> FoundIn:
        """Update all series of a journalled batch, received at `received` (ns).

        Quarantined rows are late, and so are rows from the future (recordings are never corrected): one of them
        would make everything after it look old.
        """
        index: NDArray[np.int64] = np.empty(batch.samples, np.int64)
        time: NDArray[np.int64] = np.empty(batch.samples, np.int64)
        late: NDArray[np.bool_] = np.empty(batch.samples, np.bool_)
        # A replayed journal may name devices newer than the gate snapshot at hand.
        self._reach(int(batch.slot.max(initial=0)) + 1)
        for _ in range(2):
            unknown: NDArray[np.uint32] = np.empty(batch.rows, np.uint32)
            missing = _map_samples(
                batch.rows,
                batch.slot,
                batch.flags,
                batch.count,
                batch.time,
                batch.metric,
                self._base,
                self._room,
                index,
                time,
                late,
                np.uint32(REASON_MASK),
                received + _DAY,
                unknown,
            )
            if missing == 0:
                break
            for slot in dict.fromkeys(unknown[:missing].tolist()):
                self._allocate(slot, batch)
        found = self._detector.update(index, time, batch.value, late)
        away, shifts = self._cohorts.update((index, time, batch.value, late), received)
        findings = np.concatenate([found, away])
        rows = np.searchsorted(np.cumsum(batch.count), findings["sample"], side="right")
        of_series = FoundIn.of(
            findings,
            slot=batch.slot[rows],
            metric=batch.metric[findings["sample"]],
            historical=(batch.flags[rows] & (HISTORICAL | REASON_MASK)) != 0,
            hidden=(batch.flags[rows] & REASON_MASK) != 0,
            stream=batch.stream[rows],
            seq=batch.seq[rows],
        )
        of_cohorts = FoundIn.of(
            shifts.findings, cohort=shifts.cohort, metric=shifts.metric, members=shifts.members
        )
        silent = self.beat(received)
        heard = _silent(self._silences.hear(np.ascontiguousarray(batch.slot), received))
        return FoundIn.joined(of_series, of_cohorts, silent, heard)

    def beat(self, received: int) -> FoundIn:
        """Let time pass up to `received` (ns); returns who is silent now."""
        return _silent(self._silences.pass_time(received))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a snapshot must keep."""
        state: NDArray[np.uint8] = np.frombuffer(self._detector.dump(), np.uint8)
        return {
            "series_base": self._base,
            "series_room": self._room,
            "series_cohort": self._cohort,
            "detector": state,
            **self._cohorts.arrays(),
            **self._silences.arrays(),
        }

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]]) -> "DetectStage":
        """The stage as `arrays` kept it."""
        detector = Detector.load(arrays["detector"].tobytes())
        if "series_cohort" in arrays:
            stage = cls(detector, CohortWatch.restore(arrays), SilenceWatch.restore(arrays))
            stage._cohort = arrays["series_cohort"].copy()
        else:  # of a version that knew no cohorts
            stage = cls(detector, CohortWatch(), SilenceWatch(arrays["series_base"].size))
            stage._cohorts.reach(len(detector))
            stage._cohort = np.zeros(arrays["series_base"].size, np.uint32)
        stage._base, stage._room = arrays["series_base"].copy(), arrays["series_room"].copy()
        return stage

    def forget(self, foreign: NDArray[np.bool_]) -> None:
        """Let go of devices that are another lane's now, bool[N] by slot; their records stay unused."""
        gone = np.flatnonzero(foreign[: self._base.size] & (self._base[: foreign.size] >= 0))
        for slot in gone.tolist():
            first = int(self._base[slot])
            for series in range(first, first + int(self._room[slot])):
                self._cohorts.join(series, 0, 0)
        self._base[gone], self._room[gone] = -1, 0
        self._silences.forget(gone)

    @property
    def series(self) -> int:
        """Number of series that have records."""
        return len(self._detector)

    def _reach(self, slots: int) -> None:
        more = slots - self._base.size
        if more > 0:
            self._base = np.concatenate([self._base, np.full(more, -1, np.int64)])
            self._room = np.concatenate([self._room, np.zeros(more, np.uint16)])
            few = max(0, self._base.size - self._cohort.size)
            self._cohort = np.concatenate([self._cohort, np.zeros(few, np.uint32)])
            self._silences.reach(self._base.size)

    def _model_of(self, slot: int) -> int:
        return int(self._model[slot]) if slot < self._model.size else 0

    def _allocate(self, slot: int, batch: TelemetryBatch) -> None:
        """Give a device a block of records, or a larger one when its model has grown."""
        assert self._metrics is not None  # noqa: S101  the runner calls `use` before anything else
        of_model = self._metrics.models == self._model_of(slot)
        wanted = int(self._metrics.index[of_model].max(initial=0)) + 1
        owner = np.repeat(batch.slot, batch.count) == slot
        room = max(wanted, int(batch.metric[owner].max(initial=0)) + 1)
        first = self._detector.allocate(room)
        old, kept = int(self._base[slot]), int(self._room[slot])
        if old >= 0:
            self._detector.move(old, first, kept)
            for series in range(old, old + kept):
                self._cohorts.join(series, 0, 0)
        self._base[slot], self._room[slot] = first, room
        self._configure(slot, first, room)
        self._join(slot)

    def _configure(self, slot: int, first: int, room: int) -> None:
        m = self._metrics
        assert m is not None  # noqa: S101  as above
        for row in np.flatnonzero(m.models == self._model_of(slot)).tolist():
            if m.index[row] < room:
                self._detector.configure(
                    first + int(m.index[row]),
                    float(m.low[row]),
                    float(m.high[row]),
                    int(m.kind[row]),
                )

    def _join(self, slot: int) -> None:
        """Compare a device's series with those of its cohort, but for states: they have no median."""
        m = self._metrics
        assert m is not None  # noqa: S101  as above
        first, room = int(self._base[slot]), int(self._room[slot])
        of_model = m.models == self._model_of(slot)
        counters = set(m.index[of_model & (m.kind == SeriesKind.COUNTER)].tolist())
        states = set(m.index[of_model & (m.kind == SeriesKind.STATE)].tolist())
        for metric in range(room):
            cohort = 0 if metric in states else int(self._cohort[slot])
            self._cohorts.join(first + metric, cohort, metric, counter=metric in counters)


def _silent(silences: Silences) -> FoundIn:
    count = len(silences.findings)
    return FoundIn.of(
        silences.findings,
        slot=silences.findings["index"],
        metric=np.full(count, NO_METRIC),
        cohort=silences.cohort,
        members=silences.members,
    )


def _same_limits(one: MetricTable, other: MetricTable) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name in ("low", "high"))
        for name in ("models", "index", "low", "high", "kind")
    )
