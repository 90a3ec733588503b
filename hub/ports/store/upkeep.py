"""What becomes of stored rows later: aggregates are made of them, what is too old goes, and what must be erased.

1. Each function says how the manifest is to change and writes the files that this needs; the compactor puts it in
   force.
2. Rows go only when every level that is wanted holds them.
3. Nothing is read that a file's bounds rule out.
What must never live here: which step comes when; the journal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hub.ports.store.columns import DTYPES, Columns, Mask
from hub.ports.store.latest import Entries, latest_of, merge_latest, read_latest, write_latest
from hub.ports.store.levels import LEVELS, Floors, Retention
from hub.ports.store.manifest import DataFile, Manifest, Retired, RollupFile
from hub.ports.store.parquet import ParquetSource
from hub.ports.store.partitions import PartitionedSink
from hub.ports.store.rollups import Rollup, RollupSource, write_rollups
from hub.ports.store.sources import FileSource
from hub.ports.store.tombstones import Tombstones

_BATCH = 1 << 23
"""Samples that one run aggregates, about."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the store has to keep to.

    Args:
        retention: for how long what is kept.
        tombstones: what is erased.
    """

    retention: Retention = field(default_factory=Retention)
    tombstones: Tombstones = field(default_factory=Tombstones)


def roll(folder: Path, manifest: Manifest, wanted: int) -> Manifest | None:
    """Aggregate rows that are not yet in every level that is wanted.

    Args:
        folder: of the store.
        manifest: in force.
        wanted: bits of the levels.

    Returns:
        The manifest to put in force; None if there is nothing to do.
    """
    missing = next((f.rolled for f in manifest.files if ~f.rolled & wanted), None)
    if missing is None:
        return None
    files, samples = [], 0
    for file in manifest.files:
        if file.rolled == missing and samples < _BATCH:
            files.append(file)
            samples += file.samples
    generation = manifest.generation + 1
    rollups: list[RollupFile] = []
    for level in LEVELS:
        if level.bit & wanted & ~missing:
            chunks = FileSource(folder, files).chunks()
            pieces = (Rollup.of(chunk, level.width) for chunk in chunks)
            rollups += write_rollups(folder, level, generation, pieces)
    names = {file.name for file in files}
    return replace(
        manifest,
        generation=generation,
        files=tuple(
            replace(f, rolled=f.rolled | wanted) if f.name in names else f for f in manifest.files
        ),
        rollups=(*manifest.rollups, *rollups),
    )


def raise_floors(
    folder: Path, manifest: Manifest, retention: Retention, now_ns: int
) -> Manifest | None:
    """Put floors in force that a new day, or other terms, bring.

    Args:
        folder: of the store.
        manifest: in force.
        retention: the terms.
        now_ns: time, ns since 1970 UTC.

    Returns:
        As `roll`.
    """
    old = read_floors(folder, manifest)
    new = old.raised(retention.floors(now_ns))
    if new.same_as(old):
        return None
    generation = manifest.generation + 1
    name = f"floors-{generation:010d}.npy"
    new.write(folder / name)
    retired = (Retired(manifest.floors, now_ns),) if manifest.floors else ()
    return replace(
        manifest, generation=generation, floors=name, retired=(*manifest.retired, *retired)
    )


def read_floors(folder: Path, manifest: Manifest) -> Floors:
    """Return the floors in force."""
    return Floors.read(folder / manifest.floors) if manifest.floors else Floors()


def too_old(floors: Floors) -> tuple[Callable[[Columns], Mask], Callable[[Rollup, int], Mask]]:
    """Return what says of rows, and of entries of a level (by its place), that they are too old."""

    def rows(columns: Columns) -> Mask:
        mask: Mask = columns.time < floors.of(columns.slot)[:, 0]
        return mask

    def entries(rollup: Rollup, place: int) -> Mask:
        mask: Mask = rollup.partial.start < floors.of(rollup.slot)[:, place]
        return mask

    return rows, entries


def erased(stones: Tombstones) -> tuple[Callable[[Columns], Mask], Callable[[Rollup, int], Mask]]:
    """Return what says of rows, and of entries, that they must be erased."""

    def rows(columns: Columns) -> Mask:
        return stones.mask(columns.slot, columns.epoch, columns.time, columns.time)

    def entries(rollup: Rollup, _place: int) -> Mask:
        first, last = rollup.partial.first_time, rollup.partial.time
        return stones.mask(rollup.slot, rollup.epoch, first, last)

    return rows, entries


def without_rows_of(
    folder: Path, manifest: Manifest, file: DataFile, gone: Callable[[Columns], Mask], now_ns: int
) -> Manifest | None:
    """Take rows out of a file.

    Args:
        folder: of the store.
        manifest: in force.
        file: one of its files.
        gone: says of each row whether it goes.
        now_ns: time, ns since 1970 UTC.

    Returns:
        As `roll`; None if no row goes.
    """
    source = ParquetSource(folder / file.name)
    groups = source.groups((file.min_slot, file.max_slot))
    if not any(gone(Columns(**source.read(group, tuple(DTYPES)))).any() for group in groups):
        return None
    generation = manifest.generation + 1
    origin = FileSource(folder, [file])
    with PartitionedSink(folder, generation, origin.own_days()) as sink:
        for chunk in origin.chunks():
            kept = chunk.take(~gone(chunk))
            if len(kept):
                sink.add(kept)
    new = [replace(entry, rolled=file.rolled) for entry in sink.entries()]
    return replace(
        manifest,
        generation=generation,
        files=(*(f for f in manifest.files if f.name != file.name), *new),
        retired=(*manifest.retired, Retired(file.name, now_ns)),
    )


def without_entries(
    folder: Path,
    manifest: Manifest,
    file: RollupFile,
    gone: Callable[[Rollup, int], Mask],
    now_ns: int,
) -> Manifest | None:
    """Take entries out of a file of aggregates; arguments and result as for `without_rows_of`."""
    level = next(level for level in LEVELS if level.name == file.level)
    source = RollupSource(folder, [file])
    if not any(gone(chunk, level.place).any() for chunk in source.chunks()):
        return None
    generation = manifest.generation + 1
    pieces = (chunk.take(~gone(chunk, level.place)) for chunk in source.chunks())
    new = write_rollups(folder, level, generation, (piece for piece in pieces if len(piece)))
    return replace(
        manifest,
        generation=generation,
        rollups=(*(f for f in manifest.rollups if f.name != file.name), *new),
        retired=(*manifest.retired, Retired(file.name, now_ns)),
    )


def merged_rollups(
    folder: Path, manifest: Manifest, files: Sequence[RollupFile], now_ns: int
) -> Manifest:
    """Make fewer files of some of one level."""
    level = next(level for level in LEVELS if level.name == files[0].level)
    generation = manifest.generation + 1
    new = write_rollups(folder, level, generation, RollupSource(folder, files).chunks())
    gone = {file.name for file in files}
    return replace(
        manifest,
        generation=generation,
        rollups=(*(f for f in manifest.rollups if f.name not in gone), *new),
        retired=(*manifest.retired, *(Retired(name, now_ns) for name in sorted(gone))),
    )


def latest_without(
    folder: Path, manifest: Manifest, stones: Tombstones, now_ns: int
) -> Manifest | None:
    """Find the latest values of devices anew from which rows were erased.

    Args:
        folder: of the store.
        manifest: in force; the rows are out of its files.
        stones: what was erased.
        now_ns: time, ns since 1970 UTC.

    Returns:
        As `roll`.
    """
    entries = merge_latest([read_latest(folder / name) for name in manifest.latest])
    if not np.isin(entries["slot"], stones.slots).any():
        return None
    times = entries["time"]
    gone = stones.mask(entries["slot"], entries["epoch"], times, times)
    kept = entries[~gone]
    changed = np.unique(entries["slot"][gone]).tolist()
    entries = merge_latest([kept, *(_latest_of_device(folder, manifest, s) for s in changed)])
    generation = manifest.generation + 1
    name = f"latest-{generation:010d}.npy"
    write_latest(folder / name, entries)
    return replace(
        manifest,
        generation=generation,
        latest=(name,),
        retired=(*manifest.retired, *(Retired(old, now_ns) for old in manifest.latest)),
    )


def _latest_of_device(folder: Path, manifest: Manifest, slot: int) -> Entries:
    found = []
    for file in manifest.files:
        if not file.min_slot <= slot <= file.max_slot:
            continue
        source = ParquetSource(folder / file.name)
        for group in source.groups((slot, slot)):
            columns = Columns(**source.read(group, tuple(DTYPES)))
            found.append(latest_of(columns.take(columns.slot == slot)))
    return merge_latest(found)
