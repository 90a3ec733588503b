"""Compaction: sealed journal segments become sorted Parquet files, small files larger ones.

1. Only sealed segments are taken: they are on disk, so no power failure can take rows back
   that files already hold.
2. New files first, then the manifest that names them, then the deletion of what it replaced,
   and that only after a grace period. A crash between any two steps leaves a whole store.
3. The journal offset in the manifest is the cursor; there is no other.
   What the store has to keep to (how long, what is erased) is asked at each run; see `upkeep.py`.
4. One compactor works on a store at a time. After an error it is done for: open a new one.
What must never live here: a clock or a loop; `hub/app/compactor.py` has them.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from hub.errors import StorageError
from hub.ports.journal.block import Kind
from hub.ports.journal.durability import lock_folder, make_folder
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.redaction import redact
from hub.ports.journal.segments import (
    SEGMENT_HEADER_SIZE,
    list_segments,
    prune,
    read_created_ns,
)
from hub.ports.journal.telemetry import I64, TelemetryBatch, decode, without_rows
from hub.ports.store.columns import Columns, Mask
from hub.ports.store.latest import Entries, latest_of, merge_latest, read_latest, write_latest
from hub.ports.store.levels import LEVELS
from hub.ports.store.manifest import DataFile, Manifest, Retired, RollupFile
from hub.ports.store.partitions import OWN_DAY, PartitionedSink, days_of
from hub.ports.store.rollups import Rollup
from hub.ports.store.sources import BatchSource, FileSource, Source
from hub.ports.store.tombstones import Tombstones
from hub.ports.store.upkeep import (
    Rules,
    erased,
    latest_without,
    merged_rollups,
    raise_floors,
    read_floors,
    roll,
    too_old,
    without_entries,
    without_rows_of,
)

PLACES: Final = {level.name: level.place for level in LEVELS}
TIERS: Final = (OWN_DAY, 1 << 20, 1 << 23)  # samples; a file beyond the last stays as it is


@dataclass(frozen=True, slots=True)
class CompactionPolicy:
    """When and how much.

    Args:
        run_bytes: sealed journal bytes that start a run at once, and about what one run takes.
            It bounds memory: about four times as much.
        wait_ns: a sealed segment created longer ago than this starts a run too.
        grace_ns: how long replaced files stay for readers that may still use them.
        fanout: as many files of a kind become one.
    """

    run_bytes: int = 160 << 20
    wait_ns: int = 300 * 1_000_000_000
    grace_ns: int = 120 * 1_000_000_000
    fanout: int = 8


@dataclass(frozen=True, slots=True)
class _Share:
    """What a run takes from one journal: everything from `start` up to `end`."""

    name: str
    start: int
    end: int


class Compactor:
    """The one writer of a store.

    Args:
        folder: of the store; made if missing.
        journals: folder of each telemetry journal, by a name that must stay the same.
        policy: when and how much.
        rules: asked at each run with the time, ns: how long what is kept, and what is erased.

    Raises:
        ConflictError: another compactor has the store.
        StorageError: the manifest is damaged, or the folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        journals: Mapping[str, Path],
        policy: CompactionPolicy = CompactionPolicy(),
        rules: Callable[[int], Rules] = lambda _now: Rules(),
    ) -> None:
        self._folder = folder
        self._journals = dict(journals)
        self._policy = policy
        self._rules = rules
        self._stones = Tombstones()
        self._until: tuple[int, Mapping[str, int]] = (0, {})
        self._checked: set[str] = set()
        self._hit = False
        try:
            make_folder(folder)
            self._lock_fd = lock_folder(folder)
        except OSError as error:
            raise StorageError(
                f"The store cannot be opened: {error.strerror}. Check permissions and the disk."
            ) from error
        try:
            self._manifest = Manifest.read(folder)
            self._remove_orphans()
        except BaseException:
            self.close()
            raise

    @property
    def manifest(self) -> Manifest:
        """The manifest in force."""
        return self._manifest

    def run(self, now_ns: int, prune_below: Mapping[str, int]) -> int:
        """Do everything that is due.

        Args:
            now_ns: time, ns since 1970 UTC.
            prune_below: for each journal, the offset below which its other readers need nothing
                any more; segments are deleted below that and the store's own offset. A journal
                that is not named is not pruned.

        Returns:
            How many steps there were; 0 means that nothing was due.

        Raises:
            StorageError: a journal or a file is damaged, or the disk failed. The store is as it
                was after the last step that was complete.
        """
        try:
            return sum(1 for _ in self.steps(now_ns, prune_below))
        except OSError as error:
            raise StorageError(
                f"Compaction stopped: {error.strerror or error}. Check free space and the disk; "
                "nothing is lost, the journal keeps what is not compacted."
            ) from error

    def steps(self, now_ns: int, prune_below: Mapping[str, int]) -> Iterator[str]:
        """Do what `run` does step by step; stopping between two is like a crash there.

        Yields:
            What has just been done, in a few words.
        """
        rules = self._rules(now_ns)
        self._stones = rules.tombstones
        while shares := self._due(now_ns):
            yield from self._compact(shares, now_ns)
        # What gives room comes before what takes some.
        for name, folder in self._journals.items():
            below = min(prune_below.get(name, 0), self._manifest.journals.get(name, 0))
            for path in prune(folder, below):
                yield f"pruned {path.name}"
        yield from self._delete_retired(now_ns)
        while manifest := roll(self._folder, self._manifest, rules.retention.wanted()):
            self._publish(manifest)
            yield f"aggregated rows to generation {manifest.generation}"
        yield from self._erase(now_ns)
        yield from self._expire(rules, now_ns)
        while group := self._mergeable():
            yield from self._merge(group, now_ns)
        while rollups := self._mergeable_rollups():
            self._publish(merged_rollups(self._folder, self._manifest, rollups, now_ns))
            yield f"merged {len(rollups)} files of aggregates"

    def close(self) -> None:
        """Let go of the store."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _due(self, now_ns: int) -> list[_Share]:
        """Choose what to compact now; empty if there is no hurry."""
        shares, total, oldest = [], 0, now_ns
        for name, folder in self._journals.items():
            segments = list_segments(folder)
            if len(segments) < 2:
                continue
            start = self._manifest.journals.get(name, segments[0].first)
            end = start
            for segment, following in itertools.pairwise(segments):
                if following.first <= start:
                    continue
                if end > start and total >= self._policy.run_bytes:
                    break
                oldest = min(oldest, read_created_ns(segment))
                total += following.first - max(segment.first, start)
                end = following.first
            if end > start:
                shares.append(_Share(name, start, end))
        due = total >= self._policy.run_bytes or now_ns - oldest >= self._policy.wait_ns
        return shares if due else []

    def _compact(self, shares: list[_Share], now_ns: int) -> Iterator[str]:
        self._hit = False
        batches = [batch for share in shares for batch in self._batches(share)]
        if self._hit:
            for share in shares:
                yield from self._redact(share.name, share.start, share.end, self._stones)
        journals = self._manifest.journals | {share.name: share.end for share in shares}
        generation = self._manifest.generation + 1
        files: list[DataFile] = []
        latest = self._manifest.latest
        replaced: tuple[str, ...] = ()
        if batches:
            yield "read the journal"
            source = BatchSource(batches)
            del batches  # copied; lets go of the mapped segments
            files, entries = self._write(source, generation)
            del source
            yield "wrote data files"
            if len(latest) >= self._policy.fanout:
                entries = merge_latest(
                    [*(read_latest(self._folder / name) for name in latest), entries]
                )
                latest, replaced = (), latest
            name = f"latest-{generation:010d}.npy"
            write_latest(self._folder / name, entries)
            latest = (*latest, name)
            yield "wrote latest values"
        self._publish(
            replace(
                self._manifest,
                generation=generation,
                journals=journals,
                files=(*self._manifest.files, *files),
                latest=latest,
                retired=(*self._manifest.retired, *(Retired(n, now_ns) for n in replaced)),
            )
        )
        yield f"compacted to generation {generation}"

    def _merge(self, group: list[DataFile], now_ns: int) -> Iterator[str]:
        generation = self._manifest.generation + 1
        files, _ = self._write(FileSource(self._folder, group), generation)
        files = [replace(file, rolled=group[0].rolled) for file in files]
        yield "wrote merged files"
        gone = {file.name for file in group}
        self._publish(
            replace(
                self._manifest,
                generation=generation,
                files=(*(f for f in self._manifest.files if f.name not in gone), *files),
                retired=(
                    *self._manifest.retired,
                    *(Retired(file.name, now_ns) for file in group),
                ),
            )
        )
        yield f"merged {len(group)} files to generation {generation}"

    def _batches(self, share: _Share) -> Iterator[TelemetryBatch]:
        reader = JournalReader(self._journals[share.name], share.start)
        for block in reader.blocks(share.end):
            if block.kind == Kind.TELEMETRY:
                batch = decode(block.payload)
                gone = self._stones.of_batch(batch)
                if gone.any():
                    self._hit = True
                    batch = without_rows(batch, gone)
                if batch.samples:
                    yield batch

    def _redact(self, name: str, start: int, end: int, stones: Tombstones) -> Iterator[str]:
        """Take erased rows out of the sealed segments between two offsets of a journal."""
        if not stones.orders:
            return
        segments = list_segments(self._journals[name])
        for segment, following in itertools.pairwise(segments):
            if following.first <= start or following.first > end:
                continue
            with suppress(FileNotFoundError):
                if rows := redact(segment, following.first, stones.of_batch):
                    yield f"erased {rows} rows from {segment.path.name}"

    def _erase(self, now_ns: int) -> Iterator[str]:
        """Carry out orders that are new; they are done when all that was journalled before is compacted."""
        stones = self._stones.after(self._manifest.erased)
        if not stones.orders:
            return
        if self._until[0] != stones.newest:
            for name in self._journals:
                upto = self._manifest.journals.get(name, 0)
                yield from self._redact(name, 0, upto, stones)
            yield from self._sweep(*erased(stones), now_ns, stones)
            if manifest := latest_without(self._folder, self._manifest, stones, now_ns):
                self._publish(manifest)
            ends = {name: _end(folder) for name, folder in self._journals.items()}
            self._until = (stones.newest, ends)
        done = self._manifest.journals
        if all(done.get(name, 0) >= end for name, end in self._until[1].items()):
            self._publish(
                replace(
                    self._manifest,
                    generation=self._manifest.generation + 1,
                    erased=stones.newest,
                )
            )
            yield f"carried out {len(stones.orders)} orders to erase"

    def _expire(self, rules: Rules, now_ns: int) -> Iterator[str]:
        """Delete what is older than is to be kept."""
        if manifest := raise_floors(self._folder, self._manifest, rules.retention, now_ns):
            self._publish(manifest)
            self._checked.clear()
            yield "a new day, or other terms: older rows go"
        if not self._manifest.floors:
            return
        floors = read_floors(self._folder, self._manifest)
        self._checked &= self._manifest.names()
        yield from self._sweep(*too_old(floors), now_ns, None, floors.highest())

    def _sweep(
        self,
        rows: Callable[[Columns], Mask],
        entries: Callable[[Rollup, int], Mask],
        now_ns: int,
        stones: Tombstones | None,
        below: I64 | None = None,
    ) -> Iterator[str]:
        """Take rows and entries out of all files that may hold some.

        Args:
            rows: says which rows go.
            entries: says which aggregates go.
            now_ns: time, ns since 1970 UTC.
            stones: only files with devices of these are looked at.
            below: only files with something before these floors, i64[4], and each of them once.
        """
        files: list[DataFile | RollupFile] = [*self._manifest.files, *self._manifest.rollups]
        for file in files:
            if stones is not None and not stones.touch(file.min_slot, file.max_slot):
                continue
            place = 0 if isinstance(file, DataFile) else PLACES[file.level]
            if below is not None and (file.min_time >= below[place] or file.name in self._checked):
                continue
            if isinstance(file, DataFile):
                found = without_rows_of(self._folder, self._manifest, file, rows, now_ns)
            else:
                found = without_entries(self._folder, self._manifest, file, entries, now_ns)
            if found is None:
                if below is not None:
                    self._checked.add(file.name)
                continue
            self._publish(found)
            yield f"took rows out of {file.name}"

    def _write(self, source: Source, generation: int) -> tuple[list[DataFile], Entries]:
        """Write the files of a run, and find the latest samples in passing."""
        entries = []
        with PartitionedSink(self._folder, generation, source.own_days()) as sink:
            for chunk in source.chunks():
                sink.add(chunk)
                entries.append(latest_of(chunk))
        # No series is in two chunks, so the pieces need no combining.
        return list(sink.entries()), np.concatenate(entries)

    def _mergeable(self) -> list[DataFile]:
        """Find files of one kind that should become one; empty if there are none."""
        groups: defaultdict[tuple[int, int | None, int], list[DataFile]] = defaultdict(list)
        for file in self._manifest.files:
            tier = next((i for i, limit in enumerate(TIERS) if file.samples < limit), None)
            if tier is None:
                continue
            first, last = (int(d) for d in days_of(np.array([file.min_time, file.max_time])))
            day = first if tier and first == last else None
            groups[tier, day, file.rolled].append(file)
        return next((group for group in groups.values() if len(group) >= self._policy.fanout), [])

    def _mergeable_rollups(self) -> list[RollupFile]:
        """Find files of aggregates that should become one; empty if there are none."""
        groups: defaultdict[tuple[str, int, int | None], list[RollupFile]] = defaultdict(list)
        for file in self._manifest.rollups:
            tier = next((i for i, limit in enumerate(TIERS) if file.entries < limit), None)
            if tier is None:
                continue
            period = next(level.period for level in LEVELS if level.name == file.level)
            first, last = file.min_time // period, file.max_time // period
            groups[file.level, tier, first if first == last else None].append(file)
        return next((group for group in groups.values() if len(group) >= self._policy.fanout), [])

    def _publish(self, manifest: Manifest) -> None:
        manifest.write(self._folder)
        self._manifest = manifest

    def _delete_retired(self, now_ns: int) -> Iterator[str]:
        keep = [r for r in self._manifest.retired if now_ns - r.since < self._policy.grace_ns]
        gone = [r for r in self._manifest.retired if now_ns - r.since >= self._policy.grace_ns]
        if not gone:
            return
        for file in gone:
            (self._folder / file.name).unlink(missing_ok=True)
            yield f"deleted {file.name}"
        generation = self._manifest.generation + 1
        self._publish(replace(self._manifest, generation=generation, retired=tuple(keep)))
        yield "forgot deleted files"

    def _remove_orphans(self) -> None:
        """Delete files that a crash left behind before any manifest named them."""
        named = self._manifest.names()
        for path in self._folder.iterdir():
            if path.suffix in {".parquet", ".npy", ".tmp"} and path.name not in named:
                path.unlink()


def _end(folder: Path) -> int:
    """Offset behind the last byte of a journal."""
    segments = list_segments(folder)
    if not segments:
        return 0
    last = segments[-1]
    return last.first + last.path.stat().st_size - SEGMENT_HEADER_SIZE
