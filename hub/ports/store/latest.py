"""The latest sample of each series, kept beside the Parquet files so that nobody searches them.

1. An entry is the last sample of a (slot, metric, owner epoch, quarantine reason), by
   (time, seq, stream, value): whatever a query may see, the answer is among the entries.
2. A file is a sorted `.npy` array of `LATEST`; several may be live, and the greatest entry wins.
What must never live here: which files are live.
"""

import bisect
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hub.errors import StorageError
from hub.ports.journal.durability import write_whole
from hub.ports.journal.telemetry import REASON_MASK, REASON_SHIFT
from hub.ports.store.columns import Columns, Samples

LATEST: Final = np.dtype(
    [
        ("slot", "<u4"),
        ("metric", "<u2"),
        ("reason", "<u2"),
        ("epoch", "<u4"),
        ("time", "<i8"),
        ("seq", "<u8"),
        ("stream", "<u8"),
        ("value", "<f8"),
    ]
)
Entries: TypeAlias = npt.NDArray[Any]
_KEY: Final = ("slot", "metric", "epoch", "reason")
_ORDER: Final = ("time", "seq", "stream", "value")


def latest_of(columns: Columns) -> Entries:
    """Find the latest samples among samples in file order.

    Args:
        columns: sorted by (slot, metric, time, ...).

    Returns:
        `LATEST` entries, sorted, one for each key.
    """
    if not len(columns):
        return np.empty(0, LATEST)
    reason = (columns.flags & np.uint32(REASON_MASK)) >> np.uint32(REASON_SHIFT)
    keys = (columns.slot, columns.metric, columns.epoch, reason)
    changes = np.zeros(len(columns), bool)
    changes[0] = True
    for key in keys:
        changes[1:] |= key[1:] != key[:-1]
    # Runs of one key are in order of time, so only a run's samples at its end time can be last.
    begins = np.flatnonzero(changes)
    ends = np.append(begins[1:], len(columns))
    rivals = columns.time == np.repeat(columns.time[ends - 1], ends - begins)
    few = columns.take(rivals)
    entries = np.empty(len(few), LATEST)
    for name in ("slot", "metric", "epoch", "time", "seq", "stream", "value"):
        entries[name] = getattr(few, name)
    entries["reason"] = reason[rivals]
    return merge_latest([entries])


def merge_latest(parts: Sequence[Entries]) -> Entries:
    """Combine entries, leaving the latest of each key, sorted."""
    entries = np.concatenate([np.empty(0, LATEST), *parts])
    order = np.lexsort([entries[name] for name in (*reversed(_ORDER), *reversed(_KEY))])
    entries = entries[order]
    final = np.ones(entries.size, bool)
    if entries.size:
        final[:-1] = np.logical_or.reduce([entries[k][1:] != entries[k][:-1] for k in _KEY])
    return entries[final]


def write_latest(path: Path, entries: Entries) -> None:
    """Write a file of entries, durably.

    Raises:
        OSError: it could not be written.
    """
    buffer = io.BytesIO()
    np.save(buffer, entries, allow_pickle=False)
    write_whole(path, buffer.getvalue())


def read_latest(path: Path) -> Entries:
    """Map a file of entries.

    Raises:
        FileNotFoundError: it was deleted.
        StorageError: it is damaged.
    """
    try:
        entries: Entries = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise StorageError(
            f"The store file {path.name} is damaged ({error}); restore it from a backup.",
            file=path.name,
        ) from error
    if entries.dtype != LATEST:
        raise StorageError(f"The store file {path.name} is of another version.", file=path.name)
    return entries


def entries_of(entries: Entries, slot: int) -> Entries:
    """Cut out the entries of one device."""
    slots = entries["slot"]
    return entries[bisect.bisect_left(slots, slot) : bisect.bisect_right(slots, slot)]


def as_samples(entries: Entries) -> Samples:
    """Give entries as samples, so that visibility is decided in one place."""
    return Samples(
        time=entries["time"],
        value=entries["value"],
        seq=entries["seq"],
        stream=entries["stream"],
        epoch=entries["epoch"],
        flags=entries["reason"].astype(np.uint32) << np.uint32(REASON_SHIFT),
    )
