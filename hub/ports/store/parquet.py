"""Parquet files of the store: writing them, and reading one series or many devices out of them.

1. A file is sorted by (slot, metric, time, stream, seq); row groups are small enough that one
   series is found by the statistics of slot, metric and time alone.
2. Writing is streamed: no more than a row group and a chunk are in memory.
3. A file is synced before anyone names it.
What must never live here: which files are live.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from hub.errors import StorageError
from hub.ports.journal.durability import FILE_MODE, sync_file
from hub.ports.store.columns import DTYPES, FIRST_OF_ROW, Columns
from hub.ports.store.manifest import DataFile

ROW_GROUP: Final = 1 << 15  # measured: half the query time of 1 << 16, same size and write rate
SCHEMA: Final = pa.schema(
    [pa.field(name, pa.from_numpy_dtype(dtype), nullable=False) for name, dtype in DTYPES.items()]
)
_OPTIONS: Final[dict[str, Any]] = {
    "compression": "zstd",
    "compression_level": 1,
    # A dictionary of few entries is run-length coded: next to nothing for sorted columns.
    "use_dictionary": ["slot", "metric", "stream", "epoch", "flags"],
    "column_encoding": {
        "time": "DELTA_BINARY_PACKED",
        "raw_time": "DELTA_BINARY_PACKED",
        "seq": "DELTA_BINARY_PACKED",
        "value": "PLAIN",
    },
    "write_statistics": ["slot", "metric", "time"],
}


class ParquetSink:
    """Writes one file from sorted pieces; use it as a context, then `entry` describes the file.

    Args:
        path: must not exist; a file left over by a crash is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        os.close(fd)  # made with its mode; Arrow opens it by name
        self._writer = pq.ParquetWriter(path, SCHEMA, **_OPTIONS)
        self._pieces: list[Columns] = []
        self._waiting = 0
        self._samples = 0
        self._rows = 0
        self._slots: tuple[int, int] = (0xFFFFFFFF, 0)
        self._times: tuple[int, int] = ((1 << 63) - 1, -(1 << 63))

    def add(self, piece: Columns) -> None:
        """Append samples that come after all earlier ones in the order of a file."""
        if not len(piece):
            return
        self._samples += len(piece)
        self._rows += int(np.count_nonzero(piece.flags & np.uint32(FIRST_OF_ROW)))
        low, high = self._slots
        self._slots = min(low, int(piece.slot[0])), max(high, int(piece.slot[-1]))
        low, high = self._times
        self._times = min(low, int(piece.time.min())), max(high, int(piece.time.max()))
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting >= ROW_GROUP:
            self._flush(self._waiting - self._waiting % ROW_GROUP)

    def entry(self) -> DataFile:
        """Describe the finished file."""
        return DataFile(
            name=self._path.name,
            samples=self._samples,
            rows=self._rows,
            min_slot=self._slots[0],
            max_slot=self._slots[1],
            min_time=self._times[0],
            max_time=self._times[1],
            size=self._path.stat().st_size,
        )

    def _flush(self, count: int) -> None:
        columns = Columns.concatenate(self._pieces)
        table = pa.table(
            [pa.array(getattr(columns, name)[:count]) for name in DTYPES], schema=SCHEMA
        )
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        rest = columns.take(slice(count, None))
        self._pieces = [rest] if len(rest) else []
        self._waiting = len(rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self._waiting:
            self._flush(self._waiting)
        self._writer.close()
        if error is None:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                sync_file(fd)
            finally:
                os.close(fd)


class ParquetSource:
    """Reads one file; safe to use from several threads.

    Args:
        path: of the file.
        names: its columns, in order.
        time: the one that it is sorted by behind slot and metric.
    """

    def __init__(
        self, path: Path, names: Sequence[str] = tuple(DTYPES), time: str = "time"
    ) -> None:
        self._lock = threading.Lock()
        self._name = path.name
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except pa.ArrowException as error:
            raise _damaged(path.name, error) from error
        metadata = self._file.metadata
        wanted = [names.index(name) for name in ("slot", "metric", time)]
        bounds = np.empty((metadata.num_row_groups, 3, 2), np.int64)
        for group in range(metadata.num_row_groups):
            row_group = metadata.row_group(group)
            for place, column in enumerate(wanted):
                statistics = row_group.column(column).statistics
                bounds[group, place] = statistics.min, statistics.max
        self._slots, self._metrics, self._times = bounds[:, 0], bounds[:, 1], bounds[:, 2]
        self._sizes = np.array(
            [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)], np.int64
        )

    def groups(
        self,
        slots: tuple[int, int],
        metric: int | None = None,
        times: tuple[int, int] | None = None,
    ) -> list[int]:
        """Find the row groups that may hold what is asked for.

        Args:
            slots: least and greatest slot.
            metric: metric index, or None for any.
            times: start and end (exclusive), or None for any.
        """
        keep = (self._slots[:, 0] <= slots[1]) & (self._slots[:, 1] >= slots[0])
        if metric is not None:
            keep &= (self._metrics[:, 0] <= metric) & (self._metrics[:, 1] >= metric)
        if times is not None:
            keep &= (self._times[:, 0] < times[1]) & (self._times[:, 1] >= times[0])
        return [int(group) for group in np.flatnonzero(keep)]

    def read(self, group: int, names: tuple[str, ...]) -> dict[str, Any]:
        """Read columns of one row group as numpy arrays.

        Raises:
            StorageError: the file is damaged.
        """
        try:
            with self._lock:
                table = self._file.read_row_group(group, columns=list(names), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._name, error) from error
        return {name: table.column(name).to_numpy() for name in names}

    def slot_weights(self) -> npt.NDArray[np.int64]:
        """Give the greatest slot and the number of samples of each row group: i64[groups, 2]."""
        return np.column_stack((self._slots[:, 1], self._sizes))


class ParquetFolder:
    """Open files of a store folder, the least recently used closed first.

    Args:
        folder: of the store.
        capacity: files kept open.
        opened: opens one.
    """

    def __init__(
        self,
        folder: Path,
        capacity: int = 64,
        opened: Callable[[Path], ParquetSource] = ParquetSource,
    ) -> None:
        self._folder = folder
        self._opened = opened
        self._capacity = capacity
        self._open: OrderedDict[str, ParquetSource] = OrderedDict()
        self._lock = threading.Lock()

    def source(self, name: str) -> ParquetSource:
        """Open a file, or give it again.

        Raises:
            FileNotFoundError: it was deleted; the manifest that named it is out of date.
            StorageError: it is damaged.
        """
        with self._lock:
            source = self._open.pop(name, None)
        source = source or self._opened(self._folder / name)
        with self._lock:
            self._open[name] = source
            while len(self._open) > self._capacity:
                self._open.popitem(last=False)
        return source

    def forget(self, live: set[str]) -> None:
        """Close the files that are not live any more."""
        with self._lock:
            for name in self._open.keys() - live:
                del self._open[name]


def _damaged(name: str, error: Exception) -> StorageError:
    return StorageError(
        f"The store file {name} is damaged ({error}); restore it from a backup.", file=name
    )
