"""The detector: the states of many series, updated by one kernel call a batch.

1. A series is named by its record index; who it belongs to is the caller's knowledge.
2. `update` takes samples in journal order; the split into batches never changes what is found.
3. `dump` then `load` continues bit for bit. No clock, no I/O and no randomness may ever live here.
"""

from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from analytics import kernel
from analytics.findings import FINDING, SeriesKind
from analytics.parameters import Parameters
from analytics.records import LAYOUT, RECORD, STEP, fresh
from analytics.snapshot import SnapshotError, closed, opened

_ROOM = 1024  # findings written per kernel call before the buffer is emptied

_Batch = tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
    npt.NDArray[np.bool_],
]


class Detector:
    """Watches any number of series.

    Args:
        capacity: series to reserve room for; `allocate` grows it as needed.
        parameters: settings, the same for every series.
    """

    RECORD: np.dtype[np.void] = RECORD

    def __init__(self, capacity: int = 1024, *, parameters: Parameters | None = None) -> None:
        self.parameters = parameters or Parameters()
        self._settings = self.parameters.record()
        self._records = fresh(max(capacity, 1))
        self._used = 0

    def __len__(self) -> int:
        """Return how many series have been allocated."""
        return self._used

    def allocate(self, n: int) -> int:
        """Make room for new series that know nothing yet.

        Args:
            n: how many, at least 1.

        Returns:
            The first of `n` consecutive record indices.

        Raises:
            ValueError: `n` is less than 1.
        """
        if n < 1:
            raise ValueError(f"Cannot allocate {n} series; ask for at least one.")
        first, end = self._used, self._used + n
        if end > len(self._records):
            more = max(end, 2 * len(self._records)) - len(self._records)
            self._records = np.concatenate([self._records, fresh(more)]).view(np.recarray)
        self._used = end
        return first

    def configure(self, index: int, low: float, high: float, kind: SeriesKind | int) -> None:
        """Set what the catalogue knows of a series; what has been learned stays.

        Args:
            index: record index.
            low: values below are out of limits; NaN or -inf for none.
            high: values above are out of limits; NaN or inf for none.
            kind: gauge or counter.

        Raises:
            IndexError: no such series has been allocated.
            ValueError: `kind` is not a `SeriesKind`, or `low` is above `high`.
        """
        if not 0 <= index < self._used:
            raise IndexError(f"There is no series {index}; {self._used} have been allocated.")
        if low > high:
            raise ValueError(f"Series {index} has its low limit {low} above its high limit {high}.")
        record = self._records[index]
        record["kind"] = SeriesKind(kind)
        record["low"] = -np.inf if np.isnan(low) else low
        record["high"] = np.inf if np.isnan(high) else high

    def move(self, source: int, target: int, n: int) -> None:
        """Carry the states of consecutive series over to other records; the old ones start afresh.

        Args:
            source: first record index to move.
            target: first record index to move to; the two ranges do not overlap.
            n: how many.

        Raises:
            IndexError: one of the ranges has not been allocated.
        """
        for first in (source, target):
            if not 0 <= first <= first + n <= self._used:
                raise IndexError(
                    f"There are no series {first} to {first + n - 1}; {self._used} have been allocated."
                )
        self._records[target : target + n] = self._records[source : source + n]
        self._records[source : source + n] = fresh(n)

    def update(
        self,
        index: npt.NDArray[np.int64],
        time: npt.NDArray[np.int64],
        value: npt.NDArray[np.float64],
        late: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.void]:
        """Take a batch of samples, in journal order.

        Args:
            index: int64[S], record index of each sample's series.
            time: int64[S], ns since 1970 UTC; may repeat or step back within a series.
            value: float64[S], finite.
            late: bool[S]; late samples (released from quarantine, corrected) get limit checks only.

        Returns:
            `FINDING[F]` in the order of the samples that caused them.

        Raises:
            IndexError: a sample names a series that has not been allocated; nothing was updated.
            ValueError: the arrays differ in length, or a value is not finite; nothing was updated.
        """
        return self._run(self._checked(index, time, value, late), np.empty(0))

    def score(
        self,
        index: npt.NDArray[np.int64],
        time: npt.NDArray[np.int64],
        value: npt.NDArray[np.float64],
        late: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float64]:
        """Take a batch as `update` does, but return how strange each sample is.

        Returns:
            float64[S], at least 0 and 0 for late samples; the state afterwards is that of `update`.
        """
        batch = self._checked(index, time, value, late)
        scores = np.zeros(len(batch[0]))
        self._run(batch, scores)
        return scores

    def _run(self, batch: _Batch, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.void]:
        """Call the kernel until the batch is through, emptying its room for findings."""
        scratch = np.zeros(1, STEP).view(np.recarray)
        chunks = []
        start = 0
        while start < len(batch[0]):
            found = np.zeros(_ROOM, FINDING).view(np.recarray)
            start, count = kernel.update(
                self._records, self._settings, *batch, start, scratch, found, scores
            )
            chunks.append(found[:count].view(np.ndarray))
        return np.concatenate(chunks) if chunks else np.empty(0, FINDING)

    def _checked(
        self,
        index: npt.NDArray[np.int64],
        time: npt.NDArray[np.int64],
        value: npt.NDArray[np.float64],
        late: npt.NDArray[np.bool_],
    ) -> _Batch:
        """Return the batch as the kernel's signature wants it, or refuse it whole."""
        batch = (
            np.ascontiguousarray(index, np.int64),
            np.ascontiguousarray(time, np.int64),
            np.ascontiguousarray(value, np.float64),
            np.ascontiguousarray(late, np.bool_),
        )
        if len({column.shape for column in batch}) != 1 or batch[0].ndim != 1:
            raise ValueError("The columns of a batch must be one-dimensional and of one length.")
        if len(batch[0]) and (batch[0].min() < 0 or batch[0].max() >= self._used):
            raise IndexError(f"A sample names a series outside the {self._used} allocated.")
        if not np.isfinite(batch[2]).all():
            raise ValueError("A value is not finite; such rows must be rejected before detection.")
        return batch

    def dump(self) -> bytes:
        """Return the whole state; `load` continues from it bit for bit."""
        header = {"layout": LAYOUT, "series": self._used, "parameters": asdict(self.parameters)}
        return closed(header, self._records[: self._used].tobytes())

    @classmethod
    def load(cls, data: bytes) -> "Detector":
        """Return the detector that `dump` saved.

        Raises:
            SnapshotError: the bytes are damaged or of another version; start fresh and replay the
            journal.
        """
        header, rest = opened(data)
        known = set(asdict(Parameters()))
        if header["layout"] != LAYOUT or set(header["parameters"]) != known:
            raise SnapshotError(
                f"The detector snapshot has layout {header['layout']}, this version reads {LAYOUT}"
                " or knows other parameters; replay the journal."
            )
        detector = cls(header["series"], parameters=Parameters(**header["parameters"]))
        records = np.frombuffer(rest, RECORD)
        if len(records):
            detector.allocate(len(records))
            detector._records[: len(records)] = records
        return detector
