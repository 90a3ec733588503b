"""The time-series store as the rest of the hub sees it.

1. A series is (device slot, metric index); times are ns since 1970 UTC; ranges are half-open.
2. Whether a row shows is decided at the moment of the query, by `Visibility`.
3. The order of rows is (time, stream, seq); rows with equal times are all kept.
4. Every sample shows exactly once, whatever compaction does meanwhile.
What must never live here: an adapter, or who may ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hub.ports.journal.telemetry import F64, I64, U16, U64


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of some owner epochs from some stretch of time: a row must be in both.

    Args:
        first_epoch: first owner epoch.
        last_epoch: last owner epoch, inclusive.
        start: first instant, ns since 1970 UTC; `None` for no beginning.
        end: end, exclusive; `None` for none.
    """

    first_epoch: int = 0
    last_epoch: int = (1 << 32) - 1
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Visibility:
    """Which rows a query may see.

    Args:
        windows: rows that are in one of them show; by default all do.
        reasons: quarantine reasons whose rows show as well; accepted rows always do.
    """

    windows: tuple[Window, ...] = (Window(),)
    reasons: frozenset[int] = frozenset()


ACCEPTED = Visibility()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page of a range begins: behind this row.

    Args:
        time: of the last row returned.
        stream: of it.
        seq: of it.
        skip: rows with exactly this time, stream and seq already returned. It is above 1 only
            for anonymous rows, which have no identity.
    """

    time: int
    stream: int
    seq: int
    skip: int


@dataclass(frozen=True, slots=True)
class RawColumns:
    """Rows of one series in order, N of them.

    Args:
        time: i64[N], ns since 1970 UTC.
        value: f64[N].
        seq: u64[N].
        stream: u64[N].
        following: hand this to the next call; None when there is nothing more in the range.
    """

    time: I64
    value: F64
    seq: U64
    stream: U64
    following: Cursor | None


@dataclass(frozen=True, slots=True)
class BucketColumns:
    """Aggregates over time buckets that have rows, B of them, in order.

    Buckets are aligned to multiples of `step` since 1970 UTC, not to the start of the range; the
    first and the last cover only what of them lies in the range. Where rows are kept no more, they
    are made from what is (minutes, hours or days), whole ones; the step is then as wide at least.

    Args:
        start: i64[B], beginning of the bucket, ns since 1970 UTC.
        count: i64[B], samples.
        min: f64[B].
        max: f64[B].
        mean: f64[B].
        first: f64[B], value of the earliest sample by (time, seq).
        last: f64[B], value of the latest sample by (time, seq).
        step: width of a bucket, ns; greater than asked for where only coarser aggregates are kept.
        level: the coarsest level that the buckets are made from: `raw`, `minute`, `hour` or `day`.
    """

    start: I64
    count: I64
    min: F64
    max: F64
    mean: F64
    first: F64
    last: F64
    step: int
    level: str


@dataclass(frozen=True, slots=True)
class Rolled:
    """A stretch of time whose rows are kept no more, only aggregates.

    Args:
        level: the finest that is kept: `minute`, `hour` or `day`.
        step: width of its buckets, ns.
        start: beginning of a UTC day before which there is nothing, or a coarser level, ns since 1970 UTC.
        end: end, exclusive; the beginning of a UTC day.
    """

    level: str
    step: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LatestColumns:
    """The latest sample of each metric of a device that has one, M of them.

    Args:
        metric: u16[M], rising.
        time: i64[M], ns since 1970 UTC.
        value: f64[M].
    """

    metric: U16
    time: I64
    value: F64


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How faithfully a store gives back what was journalled.

    Args:
        resolution_ns: times are cut down to a multiple of this. Rows of one series, owner epoch
            and quarantine reason that fall on the same instant so are one row: one of them shows.
        identity: `stream` and `seq` are kept; where not, both read as 0 and order is by value.
        exact: values come back bit by bit; where not, see the adapter.
        earliest: rows before this, ns since 1970 UTC, are not in the store.
    """

    resolution_ns: int = 1
    identity: bool = True
    exact: bool = True
    earliest: int = -(1 << 63)


FAITHFUL = Fidelity()


class Rows(Protocol):
    """Rows of series, page by page."""

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
        """Rows of a series with `start <= time < end`.

        Args:
            slot: device slot.
            metric: metric index.
            start: ns since 1970 UTC.
            end: ns since 1970 UTC.
            visible: rows outside it are as if they did not exist.
            limit: at most so many rows, at least 1.
            after: `following` of the page before, for the same arguments.

        Raises:
            InvalidInputError: `limit` is below 1.
            StorageError: the store's files are damaged or cannot be read.
        """


class TelemetryStore(Rows, Protocol):
    """Where telemetry is queried. Filling it is each adapter's own affair (from the journal)."""

    @property
    def fidelity(self) -> Fidelity:
        """How faithfully it gives back what was journalled."""

    def buckets(
        self, slot: int, metric: int, start: int, end: int, step: int, *, visible: Visibility
    ) -> BucketColumns:
        """Aggregate a series over buckets of `step` ns; arguments and errors as for `range`."""

    def rolled(self, slot: int) -> Sequence[Rolled]:
        """Say of which time of a device only aggregates are kept, the earliest first; usually none.

        Raises:
            StorageError: the store's files are damaged or cannot be read.
        """

    def latest(self, slot: int, *, visible: Visibility) -> LatestColumns:
        """Find the latest row of each metric of a device, by (time, seq)."""

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
        """Aggregate one metric over many devices together, as `buckets` does over one."""

    def count(self, slots: Sequence[int] | None = None) -> int:
        """Count stored rows (not samples), visible or not; of all devices if `slots` is None."""
