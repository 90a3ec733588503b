"""Aggregating samples over time buckets, in pieces that can be combined.

1. A bucket starts at a multiple of the step since 1970 UTC (also before 1970).
2. `last` is the value of the greatest (time, seq, stream, value): it does not depend on the order
   in which pieces arrive.
3. A sample is a partial aggregate of count 1, so one function does all the combining.
What must never live here: where samples come from, or who may see them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from hub.ports.journal.telemetry import F64, I64, U64
from hub.ports.store.columns import Index, Samples
from hub.ports.store.port import BucketColumns


@dataclass(frozen=True, slots=True)
class Partial:
    """Aggregates of some samples, one entry per bucket that has any (or per sample).

    Args:
        start: i64[N], beginning of the bucket.
        count: i64[N].
        low: f64[N], least value.
        high: f64[N], greatest value.
        total: f64[N], sum of the values.
        time: i64[N], of the last sample.
        seq: u64[N], of the last sample.
        stream: u64[N], of the last sample.
        value: f64[N], of the last sample.
    """

    start: I64
    count: I64
    low: F64
    high: F64
    total: F64
    time: I64
    seq: U64
    stream: U64
    value: F64

    @classmethod
    def of(cls, samples: Samples, step: int) -> Self:
        """Aggregate samples over buckets of `step` ns."""
        start = samples.time // step * step
        value = samples.value
        count = np.ones(len(samples), np.int64)
        return cls(
            start, count, value, value, value, samples.time, samples.seq, samples.stream, value
        ).combined()

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Combine the aggregates of several pieces; there must be one at least."""
        arrays = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)]
        return cls(*arrays).combined()

    def combined(self) -> Self:
        """Leave one entry per bucket, in order."""
        if not self.start.size:
            return self
        ordered = self._take(np.argsort(self.start, kind="stable"))
        edges = np.flatnonzero(np.append(True, ordered.start[1:] != ordered.start[:-1]))
        last = _last_of_each(ordered, edges)
        return type(self)(
            start=ordered.start[edges],
            count=np.add.reduceat(ordered.count, edges),
            low=np.minimum.reduceat(ordered.low, edges),
            high=np.maximum.reduceat(ordered.high, edges),
            total=np.add.reduceat(ordered.total, edges),
            time=ordered.time[last],
            seq=ordered.seq[last],
            stream=ordered.stream[last],
            value=ordered.value[last],
        )

    def columns(self) -> BucketColumns:
        """Give the result as the port promises it."""
        return BucketColumns(
            start=self.start,
            count=self.count,
            min=self.low,
            max=self.high,
            mean=self.total / self.count,
            last=self.value,
        )

    def _take(self, which: Index) -> Self:
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))


def _last_of_each(partial: Partial, edges: Index) -> Index:
    """Find the position of the last sample of each bucket.

    Args:
        partial: in order of buckets.
        edges: where each bucket begins.
    """
    sizes = np.diff(edges, append=partial.start.size)
    group = np.repeat(np.arange(edges.size), sizes)
    newest = np.maximum.reduceat(partial.time, edges)
    rivals = np.flatnonzero(partial.time == newest[group])
    if rivals.size > edges.size:
        keys = (partial.value, partial.stream, partial.seq, group)
        rivals = rivals[np.lexsort(tuple(key[rivals] for key in keys))]
        rivals = rivals[np.append(group[rivals][1:] != group[rivals][:-1], True)]
    return rivals
