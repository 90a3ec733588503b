"""Aggregating samples over time buckets, in pieces that can be combined.

1. A bucket starts at a multiple of the step since 1970 UTC (also before 1970).
2. `last` is the value of the greatest (time, seq, stream, value), `first` of the least: neither depends on the
   order in which pieces arrive.
3. Nor does the sum: it is kept as two floats, the nearest one and what that lacks, so it is exact while the values of
   a bucket differ in size by less than 2^53 or so, however they are grouped; beyond, to 32 digits of the largest.
4. A sample is a partial aggregate of count 1, so one function does all the combining.
What must never live here: where samples come from, or who may see them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from hub.ports.journal.telemetry import F64, I64, U64
from hub.ports.store.columns import Index, Mask, Samples
from hub.ports.store.port import BucketColumns


@dataclass(frozen=True, slots=True)
class Partial:
    """Aggregates of some samples, one entry per bucket that has any (or per sample).

    Args:
        start: i64[N], beginning of the bucket.
        count: i64[N].
        low: f64[N], least value.
        high: f64[N], greatest value.
        total: f64[N], the float nearest to the sum of the values.
        rest: f64[N], what the sum is more than that.
        first_time: i64[N], of the first sample.
        first_seq: u64[N], of the first sample.
        first_stream: u64[N], of the first sample.
        first: f64[N], of the first sample.
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
    rest: F64
    first_time: I64
    first_seq: U64
    first_stream: U64
    first: F64
    time: I64
    seq: U64
    stream: U64
    value: F64

    @classmethod
    def of(cls, samples: Samples, step: int) -> Self:
        """Aggregate samples over buckets of `step` ns."""
        return cls.single(samples.time, samples.seq, samples.stream, samples.value, step).combined()

    @classmethod
    def single(cls, time: I64, seq: U64, stream: U64, value: F64, step: int) -> Self:
        """Give each sample as an aggregate of its own, in the bucket of `step` ns that it is in."""
        count = np.ones(time.size, np.int64)
        rest = np.zeros(time.size)
        own = (time, seq, stream, value)
        return cls(time // step * step, count, value, value, value, rest, *own, *own)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Combine the aggregates of several pieces; there must be one at least."""
        return cls.concatenated(parts).combined()

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        """Put pieces one after the other; there must be one at least."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def over(self, step: int) -> Self:
        """Aggregate over buckets of `step` ns, a multiple of what the entries are aggregated over."""
        return replace(self, start=self.start // step * step).combined()

    def combined(self) -> Self:
        """Leave one entry per bucket, in order."""
        if not self.start.size:
            return self
        ordered = self.take(np.argsort(self.start, kind="stable"))
        edges = np.flatnonzero(np.append(True, ordered.start[1:] != ordered.start[:-1]))
        return ordered.reduced(edges)

    def reduced(self, edges: Index) -> Self:
        """Make one entry of each group of neighbours.

        Args:
            edges: i64[G], where each group begins; the first one at 0.
        """
        if edges.size == self.start.size:
            return self
        early = (self.first_time, self.first_seq, self.first_stream, self.first)
        first = _least_of_each(early, edges)
        last = _greatest_of_each((self.time, self.seq, self.stream, self.value), edges)
        total, rest = _sums(self.total, self.rest, edges)
        return type(self)(
            start=self.start[edges],
            count=np.add.reduceat(self.count, edges),
            low=np.minimum.reduceat(self.low, edges),
            high=np.maximum.reduceat(self.high, edges),
            total=total,
            rest=rest,
            first_time=self.first_time[first],
            first_seq=self.first_seq[first],
            first_stream=self.first_stream[first],
            first=self.first[first],
            time=self.time[last],
            seq=self.seq[last],
            stream=self.stream[last],
            value=self.value[last],
        )

    def columns(self, step: int, level: str = "raw") -> BucketColumns:
        """Give the result as the port promises it.

        Args:
            step: width of the buckets, ns.
            level: the coarsest that it was made from.
        """
        return BucketColumns(
            start=self.start,
            count=self.count,
            min=self.low,
            max=self.high,
            mean=self.total / self.count,
            first=self.first,
            last=self.value,
            step=step,
            level=level,
        )

    def take(self, which: Index | Mask | slice) -> Self:
        """Select entries by position, mask or slice."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))


def _sums(total: F64, rest: F64, edges: Index) -> tuple[F64, F64]:
    """Add up groups of two-float numbers, pair by pair (Dekker 1971, Knuth's TwoSum)."""
    sizes = np.diff(edges, append=total.size)
    while (most := int(sizes.max())) > 1:
        begins = np.cumsum(sizes) - sizes
        rank = np.arange(total.size) - np.repeat(begins, sizes)
        left = np.flatnonzero(rank % 2 == 0)
        paired = rank[left] + 1 < np.repeat(sizes, sizes)[left]
        a, low = total[left], rest[left]
        right = left[paired] + 1
        with np.errstate(invalid="ignore", over="ignore"):
            added, error = _two_sum(a[paired], total[right])
            a[paired], low[paired] = _two_sum(added, low[paired] + (rest[right] + error))
        low[~np.isfinite(a)] = 0.0  # an infinite sum lacks nothing
        total, rest = a, low
        sizes = (sizes + 1) // 2
        if most == 2:
            break
    return total, rest


def _two_sum(a: F64, b: F64) -> tuple[F64, F64]:
    total = a + b
    shadow = total - a
    return total, (a - (total - shadow)) + (b - shadow)


def _greatest_of_each(keys: tuple[I64, U64, U64, F64], edges: Index) -> Index:
    """Find the position of the entry with the greatest keys of each group."""
    return _extreme(keys, edges, np.maximum.reduceat(keys[0], edges), 1)


def _least_of_each(keys: tuple[I64, U64, U64, F64], edges: Index) -> Index:
    """Find the position of the entry with the least keys of each group."""
    return _extreme(keys, edges, np.minimum.reduceat(keys[0], edges), 0)


def _extreme(keys: tuple[I64, U64, U64, F64], edges: Index, best: I64, which: int) -> Index:
    """Choose among the entries of each group that have its best time, the last (1) or first (0) by the other keys."""
    time, seq, stream, value = keys
    sizes = np.diff(edges, append=time.size)
    group = np.repeat(np.arange(edges.size), sizes)
    rivals = np.flatnonzero(time == best[group])
    if rivals.size > edges.size:
        ordered = (value, stream, seq, group)
        rivals = rivals[np.lexsort(tuple(key[rivals] for key in ordered))]
        change = group[rivals][1:] != group[rivals][:-1]
        rivals = rivals[np.append(change, True) if which else np.append(True, change)]
    return rivals
