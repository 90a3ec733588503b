"""A telemetry store in memory: the store port with lists and loops."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hub.ports.store.port import (
    ACCEPTED,
    FAITHFUL,
    BucketColumns,
    Cursor,
    LatestColumns,
    RawColumns,
    Rolled,
    Visibility,
)


@dataclass(frozen=True, slots=True)
class Row:
    slot: int
    metric: int
    time: int
    value: float
    seq: int
    stream: int = 1
    epoch: int = 1
    reason: int = 0


@dataclass(slots=True)
class MemoryStore:
    rows: list[Row] = field(default_factory=list)
    fidelity = FAITHFUL

    def _seen(
        self, slots: Sequence[int], metric: int | None, start: int, end: int, visible: Visibility
    ) -> list[Row]:
        return sorted(
            (
                row
                for row in self.rows
                if row.slot in slots
                and metric in {None, row.metric}
                and start <= row.time < end
                and any(
                    w.first_epoch <= row.epoch <= w.last_epoch
                    and (w.start is None or w.start <= row.time)
                    and (w.end is None or row.time < w.end)
                    for w in visible.windows
                )
                and (row.reason == 0 or row.reason in visible.reasons)
            ),
            key=lambda row: (row.time, row.stream, row.seq),
        )

    def range(
        self,
        slot: int,
        metric: int,
        start: int,
        end: int,
        *,
        visible: Visibility,
        limit: int,
        after: Cursor | None = None,
    ) -> RawColumns:
        found = self._seen([slot], metric, start, end, visible)
        if after is not None:
            last = (after.time, after.stream, after.seq)
            found = [row for row in found if (row.time, row.stream, row.seq) > last]
        page, rest = found[:limit], found[limit:]
        return RawColumns(
            time=np.array([row.time for row in page], np.int64),
            value=np.array([row.value for row in page], np.float64),
            seq=np.array([row.seq for row in page], np.uint64),
            stream=np.array([row.stream for row in page], np.uint64),
            following=Cursor(page[-1].time, page[-1].stream, page[-1].seq, 1) if rest else None,
        )

    def buckets(
        self, slot: int, metric: int, start: int, end: int, step: int, *, visible: Visibility
    ) -> BucketColumns:
        return self.fleet([slot], metric, start, end, step, visible=visible)

    def fleet(
        self,
        slots: Sequence[int],
        metric: int,
        start: int,
        end: int,
        step: int,
        *,
        visible: Visibility = ACCEPTED,
    ) -> BucketColumns:
        buckets: dict[int, list[float]] = {}
        for row in self._seen(slots, metric, start, end, visible):
            buckets.setdefault(row.time // step * step, []).append(row.value)
        values = list(buckets.values())
        return BucketColumns(
            start=np.array(list(buckets), np.int64),
            count=np.array([len(bucket) for bucket in values], np.int64),
            min=np.array([min(bucket) for bucket in values], np.float64),
            max=np.array([max(bucket) for bucket in values], np.float64),
            mean=np.array([sum(bucket) / len(bucket) for bucket in values], np.float64),
            first=np.array([bucket[0] for bucket in values], np.float64),
            last=np.array([bucket[-1] for bucket in values], np.float64),
            step=step,
            level="raw",
        )

    def rolled(self, slot: int) -> Sequence[Rolled]:
        return ()

    def latest(self, slot: int, *, visible: Visibility) -> LatestColumns:
        latest = {row.metric: row for row in self._seen([slot], None, -(2**63), 2**63 - 1, visible)}
        metrics = sorted(latest)
        return LatestColumns(
            metric=np.array(metrics, np.uint16),
            time=np.array([latest[metric].time for metric in metrics], np.int64),
            value=np.array([latest[metric].value for metric in metrics], np.float64),
        )

    def count(self, slots: Sequence[int] | None = None) -> int:
        return sum(slots is None or row.slot in slots for row in self.rows)
