"""The embedded store: Parquet files under a manifest, and the journals for everything later.

1. A query works on one manifest: files below its offsets, journal tails from there on. So each
   sample shows once, whatever is compacted meanwhile.
2. Manifest and tails are looked at together, in one short critical section; files come after,
   and the grace period of compaction keeps them. Were one gone all the same, the query starts
   again on the present manifest.
3. What is older than is to be kept does not show, whether it is still on the disk or not. Buckets there are made from
   the finest level that is kept.
4. Reading only; `compaction` writes. Safe to use from several threads and processes.
What must never live here: writing.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from hub.errors import InvalidInputError, StorageError
from hub.ports.journal.telemetry import U16, U32
from hub.ports.store.buckets import Partial
from hub.ports.store.columns import FIRST_OF_ROW, SAMPLE_NAMES, Samples, visible_mask
from hub.ports.store.latest import as_samples, entries_of, read_latest
from hub.ports.store.levels import DAY_NS, KEEP, RAW, Floors, Level, stretches
from hub.ports.store.manifest import MANIFEST_NAME, DataFile, Manifest, RollupFile
from hub.ports.store.paging import first_page
from hub.ports.store.parquet import ParquetFolder
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
from hub.ports.store.rollups import NAMES, Rollup, from_columns, open_rollups
from hub.ports.store.tail import Found, OutdatedError, Tail
from hub.ports.store.upkeep import read_floors

Answer = TypeVar("Answer")
Look = TypeVar("Look")
_ATTEMPTS: Final = 10
_NO_SAMPLES: Final = Samples.concatenate([])
_ALWAYS: Final = (-(1 << 63), (1 << 63) - 1)


class EmbeddedStore:
    """`TelemetryStore` over the hub's own files.

    Args:
        folder: of the store; it may be empty or missing yet.
        journals: folder of each telemetry journal, by the name compaction knows it by.
    """

    fidelity = FAITHFUL

    def __init__(self, folder: Path, journals: Mapping[str, Path]) -> None:
        self._folder = folder
        self._files = ParquetFolder(folder)
        self._rollups = ParquetFolder(folder, opened=open_rollups)
        self._known_floors = ("", Floors())
        self._tails = {name: Tail(path) for name, path in journals.items()}
        self._tails_lock = threading.Lock()
        self._manifest_lock = threading.Lock()
        self._manifest = Manifest()
        self._stamp: tuple[int, int, int] | None = None

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
        below: Mapping[str, int] | None = None,
    ) -> RawColumns:
        """See `TelemetryStore.range`.

        Args:
            slot: see there, as for what follows.
            metric: see there.
            start: see there.
            end: see there.
            visible: see there.
            limit: see there.
            after: see there.
            below: for each journal, the offset from which on its rows do not show; those that are
                compacted (`compacted`) show all the same.
        """
        if limit < 1:
            raise InvalidInputError(f"A limit of {limit} rows is not possible; ask for 1 or more.")
        if after is not None:
            start = max(start, after.time)
        parts = self._consistent(
            _finder([slot]),
            lambda manifest, found: self._page(
                manifest.files,
                found if below is None else self._earlier(found, below),
                slot,
                metric,
                (self._raw_from(manifest, slot, start), end),
                visible,
                after,
                limit + 1 + (after.skip if after else 0),
            ),
        )
        return first_page(Samples.concatenate(parts), limit, after)

    def buckets(
        self, slot: int, metric: int, start: int, end: int, step: int, *, visible: Visibility
    ) -> BucketColumns:
        """See `TelemetryStore.buckets`."""
        _check_step(step)
        return self._consistent(
            _finder([slot]),
            lambda manifest, found: self._aggregated(
                manifest, found, np.array([slot], np.uint32), metric, (start, end), step, visible
            ),
        )

    def rolled(self, slot: int) -> Sequence[Rolled]:
        """See `TelemetryStore.rolled`."""
        return self._consistent(
            _finder([slot]), lambda manifest, found: self._rolled(manifest, found, slot)
        )

    def latest(self, slot: int, *, visible: Visibility) -> LatestColumns:
        """See `TelemetryStore.latest`."""
        metric, samples = self._consistent(
            _finder([slot]), lambda manifest, found: self._newest(manifest, found, slot, visible)
        )
        newest = np.full(int(metric.max(initial=0)) + 1, np.iinfo(np.int64).min)
        np.maximum.at(newest, metric, samples.time)
        # Few are as late as the latest of their metric; only those are worth sorting.
        few = np.flatnonzero(samples.time == newest[metric])
        metric, samples = metric[few], samples.take(few)
        keys = (samples.value, samples.stream, samples.seq, samples.time, metric)
        order = np.lexsort(keys)
        last = order[np.append(np.diff(metric[order]) != 0, True)] if order.size else order
        return LatestColumns(metric[last], samples.time[last], samples.value[last])

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
        _check_step(step)
        wanted = np.unique(np.asarray(slots, np.uint32))
        return self._consistent(
            _finder(wanted),
            lambda manifest, found: self._aggregated(
                manifest, found, wanted, metric, (start, end), step, visible
            ),
        )

    def count(self, slots: Sequence[int] | None = None) -> int:
        """See `TelemetryStore.count`."""
        wanted = None if slots is None else np.unique(np.asarray(slots, np.uint32))
        return self._consistent(
            lambda tail, base: tail.count(base, wanted),
            lambda manifest, counts: sum(counts) + self._count(manifest, wanted),
        )

    def compacted(self) -> Mapping[str, int]:
        """Return for each journal the offset below which its rows are in files now."""
        return self._present().journals

    def _earlier(self, found: list[list[Found]], below: Mapping[str, int]) -> list[list[Found]]:
        return [
            [block for block in blocks if block.offset < below[name]]
            for name, blocks in zip(self._tails, found, strict=True)
        ]

    def _consistent(
        self,
        look: Callable[[Tail, int | None], Look],
        query: Callable[[Manifest, list[Look]], Answer],
    ) -> Answer:
        """Run a query on one manifest and the tails behind it.

        Args:
            look: takes what is needed from one tail, from an offset on; quick.
            query: makes the answer of that, in the order of the journals, and of the files.
        """
        for _ in range(_ATTEMPTS):
            with self._tails_lock:
                manifest = self._present()
                try:
                    looks = [
                        look(tail, manifest.journals.get(name))
                        for name, tail in self._tails.items()
                    ]
                except (FileNotFoundError, OutdatedError, StorageError) as error:
                    self._give_up_if_present(manifest, error)
                    continue
            # Where a journal unknown to the manifest begins was seen in its folder: that stands
            # only if nothing was compacted, and then pruned, meanwhile.
            known = self._tails.keys() <= manifest.journals.keys()
            if not known and self._present() is not manifest:
                continue
            try:
                return query(manifest, looks)
            except (FileNotFoundError, StorageError) as error:
                self._give_up_if_present(manifest, error)
        raise StorageError("The store kept being compacted during one query; ask again.")

    def _give_up_if_present(self, manifest: Manifest, error: Exception) -> None:
        """Raise unless another manifest came into force, which explains the error."""
        self._stamp = None  # two manifests can have the same stamp; look at the text
        if self._present() is not manifest:
            return
        if isinstance(error, FileNotFoundError):
            raise StorageError(
                f"A file of the store is missing ({error}); restore it from a backup."
            ) from error
        raise error

    def _present(self) -> Manifest:
        """Give the manifest in force, reading it only when the file was replaced."""
        with self._manifest_lock:
            try:
                status = (self._folder / MANIFEST_NAME).stat()
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            except FileNotFoundError:
                return self._manifest
            if stamp != self._stamp:
                manifest = Manifest.read(self._folder)
                if manifest.generation != self._manifest.generation:
                    self._manifest = manifest
                    self._files.forget({file.name for file in manifest.files})
                    self._rollups.forget({file.name for file in manifest.rollups})
                self._stamp = stamp
            return self._manifest

    def _page(
        self,
        files: Sequence[DataFile],
        found: list[list[Found]],
        slot: int,
        metric: int,
        span: tuple[int, int],
        visible: Visibility,
        after: Cursor | None,
        enough: int,
    ) -> list[Samples]:
        """Give all that a page can need: of each file, which is in order, its first rows behind the cursor.

        Files that begin behind that many rows are not read, so a page of years takes the memory of a few files.
        """
        (later,) = self._series([], found, slot, metric, *span)
        parts = list(_first_shown(later, visible, after, enough))
        for file in sorted(files, key=lambda one: one.min_time):
            if not _overlaps(file, slot, slot, *span):
                continue
            if sum(np.count_nonzero(part.time < file.min_time) for part in parts) >= enough:
                break
            rows = self._series_of_file(file, slot, metric, *span)
            parts += _first_shown(rows, visible, after, enough)
        return parts

    def _series(
        self,
        files: Sequence[DataFile],
        found: list[list[Found]],
        slot: int,
        metric: int,
        start: int,
        end: int,
    ) -> Iterator[Iterator[Samples]]:
        """Give the samples of a series, for each file and journal; those of a file in order."""
        for file in files:
            if _overlaps(file, slot, slot, start, end):
                yield self._series_of_file(file, slot, metric, start, end)
        later = [b.series(metric, start, end) for b in chain.from_iterable(found)]
        yield iter([Samples.concatenate(later)])

    def _series_of_file(
        self, file: DataFile, slot: int, metric: int, start: int, end: int
    ) -> Iterator[Samples]:
        source = self._files.source(file.name)
        for group in source.groups((slot, slot), metric, (start, end)):
            data = source.read(group, ("slot", "metric", *SAMPLE_NAMES))
            low, high = np.searchsorted(data["slot"], [slot, slot + 1])
            left, right = np.searchsorted(data["metric"][low:high], [metric, metric + 1])
            low, high = low + left, low + right
            left, right = np.searchsorted(data["time"][low:high], [start, end])
            part = slice(low + left, low + right)
            yield Samples(**{name: data[name][part] for name in SAMPLE_NAMES})

    def _devices(
        self,
        files: Sequence[DataFile],
        found: list[list[Found]],
        slots: U32,
        metric: int,
        start: int,
        end: int,
    ) -> Iterator[Samples]:
        """Give the samples of one metric of many devices, in pieces and in no order."""
        if not slots.size:
            return
        first, last = int(slots[0]), int(slots[-1])
        for file in files:
            if not _overlaps(file, first, last, start, end):
                continue
            source = self._files.source(file.name)
            for group in source.groups((first, last), metric, (start, end)):
                data = source.read(group, ("slot", "metric", *SAMPLE_NAMES))
                mask = (data["metric"] == metric) & np.isin(data["slot"], slots)
                mask &= (data["time"] >= start) & (data["time"] < end)
                yield Samples(**{name: data[name][mask] for name in SAMPLE_NAMES})
        for block in chain.from_iterable(found):
            yield block.series(metric, start, end)

    def _aggregated(
        self,
        manifest: Manifest,
        found: list[list[Found]],
        slots: U32,
        metric: int,
        span: tuple[int, int],
        step: int,
        visible: Visibility,
    ) -> BucketColumns:
        """Aggregate devices together, each from the finest level that it has there."""
        floors = self._floors(manifest).of(slots)
        samples, entries = [_NO_SAMPLES], []
        coarsest: Level | None = None
        for own in np.unique(floors, axis=0):
            some = slots[(floors == own).all(axis=1)]
            for level, begin, end in stretches(own, *span):
                bit = level.bit if level else 0
                unrolled = [file for file in manifest.files if not file.rolled & bit]
                rows = self._rows(unrolled, found, some, metric, begin, end)
                late = [part.shown(visible) for part in rows]
                samples += late
                if level is None:
                    continue
                rolled = self._entries(manifest, level, some, metric, begin, end)
                kept = [rollup.shown(visible) for rollup in rolled]
                entries += kept
                if any(part.start.size for part in kept) or any(map(len, late)):
                    coarsest = max(coarsest or level, level, key=lambda one: one.width)
        if coarsest is not None:
            step = -(-step // coarsest.width) * coarsest.width
        parts = [Partial.of(part, step) for part in samples] + [p.over(step) for p in entries]
        return Partial.joined(parts).columns(step, coarsest.name if coarsest else RAW)

    def _rolled(self, manifest: Manifest, found: list[list[Found]], slot: int) -> list[Rolled]:
        floors = self._floors(manifest).of(np.array([slot]))[0]
        end = int(floors[0])
        files: list[DataFile | RollupFile] = [*manifest.files, *manifest.rollups]
        times = [file.min_time for file in files if _overlaps(file, slot, slot, KEEP, end)]
        late = [block.columns().time for block in chain.from_iterable(found)] if end > KEEP else []
        start = min([*times, *(int(time.min()) for time in late if time.size)], default=end)
        return [
            Rolled(level.name, level.width, begin, until)
            for level, begin, until in stretches(floors, max(start // DAY_NS * DAY_NS, KEEP), end)
            if level is not None
        ][::-1]

    def _rows(
        self,
        files: Sequence[DataFile],
        found: list[list[Found]],
        slots: U32,
        metric: int,
        start: int,
        end: int,
    ) -> Iterator[Samples]:
        """Give samples of one metric of devices, in pieces and in no order."""
        if slots.size == 1:
            for source in self._series(files, found, int(slots[0]), metric, start, end):
                yield from source
        else:
            yield from self._devices(files, found, slots, metric, start, end)

    def _entries(
        self, manifest: Manifest, level: Level, slots: U32, metric: int, start: int, end: int
    ) -> Iterator[Rollup]:
        """Give the aggregates of a level whose buckets lie in a range, or begin it."""
        first, last = int(slots[0]), int(slots[-1])
        start = start // level.width * level.width
        for file in manifest.rollups:
            if file.level != level.name or not _overlaps(file, first, last, start, end):
                continue
            source = self._rollups.source(file.name)
            for group in source.groups((first, last), metric, (start, end)):
                rollup = from_columns(source.read(group, NAMES))
                mask = (rollup.metric == metric) & np.isin(rollup.slot, slots)
                mask &= (rollup.partial.start >= start) & (rollup.partial.start < end)
                yield rollup.take(mask)

    def _floors(self, manifest: Manifest) -> Floors:
        """Read from when on what is kept; the newest are remembered."""
        name, floors = self._known_floors
        if name != manifest.floors:
            floors = read_floors(self._folder, manifest)
            self._known_floors = (manifest.floors, floors)
        return floors

    def _raw_from(self, manifest: Manifest, slot: int, start: int) -> int:
        """Return from when on a device has rows in a range that begins at `start`."""
        return max(start, int(self._floors(manifest).of(np.array([slot]))[0, 0]))

    def _newest(
        self, manifest: Manifest, found: list[list[Found]], slot: int, visible: Visibility
    ) -> tuple[U16, Samples]:
        """Give the candidates for the latest values of a device, with their metrics."""
        metrics: list[U16] = [np.empty(0, np.uint16)]
        parts: list[Samples] = []
        for name in manifest.latest:
            entries = entries_of(read_latest(self._folder / name), slot)
            metrics.append(entries["metric"])
            parts.append(as_samples(entries))
        for block in chain.from_iterable(found):
            columns = block.columns()
            metrics.append(columns.metric)
            parts.append(Samples(**{n: getattr(columns, n) for n in SAMPLE_NAMES}))
        metric, samples = np.concatenate(metrics), Samples.concatenate(parts)
        mask = visible_mask(samples.epoch, samples.flags, samples.time, visible)
        kept = [metric[mask]], [samples.take(mask)]
        for number in _hidden_by_later(metric, samples, visible):
            # An entry that is too late to show stands for earlier ones that may.
            begin = self._raw_from(manifest, slot, _ALWAYS[0])
            for source in self._series(manifest.files, [], slot, number, begin, _ALWAYS[1]):
                for part in source:
                    shown = part.shown(visible)
                    last = shown.take(shown.time == shown.time.max(initial=_ALWAYS[0]))
                    kept[0].append(np.full(len(last), number, np.uint16))
                    kept[1].append(last)
        return np.concatenate(kept[0]), Samples.concatenate(kept[1])

    def _count(self, manifest: Manifest, slots: U32 | None) -> int:
        if slots is None:
            return sum(file.rows for file in manifest.files)
        total = 0
        if slots.size:
            for file in manifest.files:
                source = self._files.source(file.name)
                for group in source.groups((int(slots[0]), int(slots[-1]))):
                    data = source.read(group, ("slot", "flags"))
                    first = (data["flags"] & np.uint32(FIRST_OF_ROW)) != 0
                    total += int(np.count_nonzero(first & np.isin(data["slot"], slots)))
        return total


def _hidden_by_later(metric: U16, samples: Samples, visible: Visibility) -> list[int]:
    """Give the metrics with a sample that would show had it not been measured after its window's end."""
    open_ended = replace(visible, windows=tuple(replace(w, end=None) for w in visible.windows))
    if open_ended == visible:
        return []
    mask = visible_mask(samples.epoch, samples.flags, samples.time, open_ended)
    mask &= ~visible_mask(samples.epoch, samples.flags, samples.time, visible)
    found: list[int] = np.unique(metric[mask]).tolist()
    return found


def _check_step(step: int) -> None:
    if step < 1:
        raise InvalidInputError(f"A bucket of {step} ns is not possible; ask for 1 ns or more.")


def _overlaps(file: DataFile | RollupFile, first: int, last: int, start: int, end: int) -> bool:
    in_slots = file.min_slot <= last and file.max_slot >= first
    return in_slots and file.min_time < end and file.max_time >= start


def _finder(slots: Sequence[int] | U32) -> Callable[[Tail, int | None], list[Found]]:
    wanted = np.asarray(slots, np.uint32)
    if not wanted.size:
        return lambda _tail, _base: []
    return lambda tail, base: tail.find(base, wanted)


def _first_shown(
    source: Iterator[Samples], visible: Visibility, after: Cursor | None, enough: int
) -> Iterator[Samples]:
    """Give what a query may see from the cursor's row on, and stop when it is enough."""
    count = 0
    for part in source:
        shown = part.shown(visible)
        if after is not None:
            before = shown.seq < after.seq
            before = (shown.stream < after.stream) | ((shown.stream == after.stream) & before)
            before = (shown.time < after.time) | ((shown.time == after.time) & before)
            shown = shown.take(~before)
        yield shown
        count += len(shown)
        if count >= enough:
            return
