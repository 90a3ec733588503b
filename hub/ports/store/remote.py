"""What stores over another database have in common: they fetch samples, and everything else is done here.

1. `stream` and `seq` are not kept there; both read as 0.
2. Aggregates are made here, from samples, so that they are those of the embedded store.
What must never live here: a protocol.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from hub.errors import InvalidInputError
from hub.ports.store.buckets import Partial
from hub.ports.store.columns import DTYPES, SAMPLE_NAMES, Samples
from hub.ports.store.lines import EARLIEST_NS, MS
from hub.ports.store.paging import first_page
from hub.ports.store.port import (
    ACCEPTED,
    BucketColumns,
    Cursor,
    LatestColumns,
    RawColumns,
    Rolled,
    Visibility,
    Window,
)

_SLOTS_AT_ONCE: Final = 500  # in one query
_MAX_MS: Final = 4_102_444_800_000  # the year 2100


class RemoteStore(ABC):
    """The part of `TelemetryStore` that needs nothing but samples."""

    @abstractmethod
    def samples(
        self, slots: Sequence[int], metric: int, start: int, end: int, visible: Visibility
    ) -> Samples:
        """Fetch the samples that a query may see with `start <= time < end`, in no order.

        Raises:
            StorageError: the database does not answer, or not as expected.
        """

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
        """See `TelemetryStore.range`."""
        if limit < 1:
            raise InvalidInputError(f"A limit of {limit} rows is not possible; ask for 1 or more.")
        if after is not None:
            start = max(start, after.time)
        return first_page(self.samples([slot], metric, start, end, visible), limit, after)

    def buckets(
        self, slot: int, metric: int, start: int, end: int, step: int, *, visible: Visibility
    ) -> BucketColumns:
        """See `TelemetryStore.buckets`."""
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
        """See `TelemetryStore.fleet`."""
        if step < 1:
            raise InvalidInputError(f"A bucket of {step} ns is not possible; ask for 1 ns or more.")
        samples = self.samples(slots, metric, start, end, visible)
        return Partial.of(samples, step).columns(step)

    def rolled(self, slot: int) -> Sequence[Rolled]:  # noqa: ARG002  the port's name
        """See `TelemetryStore.rolled`; for how long rows are kept is that database's own affair."""
        return ()


def milliseconds(start: int, end: int) -> tuple[int, int]:
    """Return the first and the last ms of a half-open range of ns, cut to what stores keep."""
    return max(-(-start // MS), EARLIEST_NS // MS), min(-(-end // MS) - 1, _MAX_MS)


def newest_of_each(found: Mapping[int, tuple[int, float]]) -> LatestColumns:
    """Put time (ms) and value of each metric into columns."""
    metrics = sorted(found)
    return LatestColumns(
        np.array(metrics, np.uint16),
        np.array([found[m][0] * MS for m in metrics], np.int64),
        np.array([found[m][1] for m in metrics], np.float64),
    )


def shown(labels: Mapping[str, str], visible: Visibility) -> bool:
    """Tell whether a query may see samples with these labels."""
    reason = int(labels["r"])
    accepted = reason == 0 or reason in visible.reasons
    return accepted and bool(windows(labels, visible))


def windows(labels: Mapping[str, str], visible: Visibility) -> tuple[Window, ...]:
    """Return the windows that samples with these labels may lie in."""
    epoch = int(labels["e"])
    return tuple(w for w in visible.windows if w.first_epoch <= epoch <= w.last_epoch)


def in_ms(visible: Visibility) -> Visibility:
    """Return a rule that holds for times which were cut down to ms.

    What was measured within the ms in which a window ends may have been measured after it.
    """
    return replace(
        visible,
        windows=tuple(
            replace(w, end=None if w.end is None else w.end // MS * MS) for w in visible.windows
        ),
    )


def as_samples(
    times: Sequence[int], values: Sequence[float], labels: Mapping[str, str], visible: Visibility
) -> Samples:
    """Make samples of one series that may be seen by its labels, without those at other times.

    Args:
        times: ms since 1970 UTC.
        values: of the samples.
        labels: of the series.
        visible: the rule.
    """
    count = len(times)
    zeros = np.zeros(count, np.uint64)
    return Samples(
        time=np.array(times, np.int64) * MS,
        value=np.array(values, np.float64),
        seq=zeros,
        stream=zeros,
        epoch=np.full(count, int(labels["e"]), np.uint32),
        flags=np.zeros(count, np.uint32),
    ).shown(in_ms(visible))


def no_samples() -> Samples:
    """Return none, so that there is something to concatenate."""
    return Samples(**{name: np.empty(0, DTYPES[name]) for name in SAMPLE_NAMES})


def groups(slots: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut a list of devices, each once, into as many as one query can name."""
    wanted = sorted(set(slots))
    for start in range(0, len(wanted), _SLOTS_AT_ONCE):
        yield wanted[start : start + _SLOTS_AT_ONCE]
