"""Feeds a time-series database from the journals, by offsets of its own.

1. Only what is synced in the journal is sent, and an offset moves only past lines that the database
   accepted and flushed. Nothing waits for it: receipts do not, and it may lag or be away.
2. The database may lose what it had accepted last (VictoriaMetrics has no write-ahead log). So marks
   of the past are kept, and a restart of either side goes back `REWIND_NS` before the newest. What
   is sent twice shows once: the lines are the same.
3. The journal must not be pruned beyond `held`; the embedded archive is compacted all the same.
4. Anonymous rows go too; rows with a quarantine reason carry it as a label.
What must never live here: which database.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from hub.errors import StorageError
from hub.ports.journal.block import Kind
from hub.ports.journal.durability import make_folder, write_whole
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import TelemetryBatch, decode
from hub.ports.store.columns import Columns, concatenate_batches, expand

REWIND_NS: Final = 300 * 1_000_000_000
_MARK_EVERY_NS: Final = 10 * 1_000_000_000
_SAMPLES_AT_ONCE: Final = 500_000


class Sink(Protocol):
    """A database that can be fed."""

    def write(self, columns: Columns) -> None:
        """Send samples and return when they are accepted.

        Raises:
            StorageError: they are not; the same samples are sent again later.
        """

    def flush(self) -> None:
        """Have accepted samples put where they are kept and queried."""

    def boot(self) -> str:
        """Return what changes when the database starts again; constant where nobody can know."""


@dataclass
class _Marks:
    """Where a journal had come to, and when (ns); oldest first, at least one."""

    marks: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])

    @property
    def offset(self) -> int:
        return self.marks[-1][1]

    def held(self) -> int:
        """Return the offset to go back to."""
        limit = self.marks[-1][0] - REWIND_NS
        return max((offset for at, offset in self.marks if at <= limit), default=self.marks[0][1])

    def move(self, at: int, offset: int) -> None:
        """Note the present offset, keeping no more marks than going back needs."""
        if len(self.marks) > 1 and at - self.marks[-2][0] < _MARK_EVERY_NS:
            self.marks.pop()
        self.marks.append((at, offset))
        limit = at - REWIND_NS
        while len(self.marks) > 1 and self.marks[1][0] <= limit:
            self.marks.pop(0)

    def rewind(self) -> None:
        offset = self.held()
        self.marks = [mark for mark in self.marks if mark[1] <= offset] or [(0, offset)]


class Mirror:
    """The one feeder of a database.

    Args:
        file: where the marks are kept.
        journals: folder of each telemetry journal, by a name that must stay the same.
        sink: the database.

    Raises:
        StorageError: the file is damaged.
    """

    def __init__(self, file: Path, journals: Mapping[str, Path], sink: Sink) -> None:
        self._file = file
        self._journals = dict(journals)
        self._sink = sink
        self._marks = {name: _Marks() for name in journals} | read_marks(file)
        self._boot: str | None = None

    def held(self) -> dict[str, int]:
        """Return for each journal the offset below which this mirror needs nothing any more."""
        return {name: self._marks[name].held() for name in self._journals}

    def step(self, at: int, synced: Mapping[str, int]) -> int:
        """Send what is new, up to some hundred thousand samples of each journal.

        Args:
            at: the present time, ns since 1970 UTC.
            synced: for each journal, the offset below which it is on disk.

        Returns:
            How many samples were sent.

        Raises:
            StorageError: the database or a journal failed; nothing moved on that was not confirmed.
        """
        boot = self._sink.boot()
        if boot != self._boot:  # also the first time: it may have started while this was away
            for marks in self._marks.values():
                marks.rewind()
            self._boot = boot
        sent, reached = 0, {}
        for name in self._journals:
            batch, reached[name] = self._read(name, synced.get(name, 0))
            if batch is not None:
                self._sink.write(expand(batch, np.arange(batch.rows)))
                sent += batch.samples
        if sent:
            self._sink.flush()
            if self._sink.boot() != boot:
                raise StorageError(
                    "The database started again meanwhile; its last rows are resent."
                )
        if any(reached[name] != self._marks[name].offset for name in reached):
            for name, offset in reached.items():
                self._marks[name].move(at, offset)
            write_marks(self._file, self._marks)
        return sent

    def _read(self, name: str, synced: int) -> tuple[TelemetryBatch | None, int]:
        """Read on in a journal; give the rows that have samples, and the offset behind them."""
        offset = self._marks[name].offset
        segments = list_segments(self._journals[name])
        if not segments or synced <= offset:
            return None, offset
        reader = JournalReader(self._journals[name], max(offset, segments[0].first))
        batches: list[TelemetryBatch] = []
        samples = 0
        for block in reader.blocks(synced):
            if block.kind == Kind.TELEMETRY:
                batch = decode(block.payload)
                if batch.samples:
                    batches.append(batch)
                    samples += batch.samples
            if samples >= _SAMPLES_AT_ONCE:
                break
        return (concatenate_batches(batches) if batches else None), reader.offset


def read_marks(file: Path) -> dict[str, _Marks]:
    """Read the marks of a mirror; none if it never ran.

    Raises:
        StorageError: the file is damaged.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(name): _Marks([(int(at), int(offset)) for at, offset in marks])
            for name, marks in kept["journals"].items()
            if marks
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{file} is damaged. Delete it: the mirror then begins at the oldest journal segment."
        ) from error


def held_by(file: Path, journals: Mapping[str, Path]) -> dict[str, int]:
    """Return for each journal the offset below which the mirror of this file needs nothing."""
    marks = read_marks(file)
    return {name: marks[name].held() if name in marks else 0 for name in journals}


def write_marks(file: Path, marks: Mapping[str, _Marks]) -> None:
    """Keep the marks durably."""
    make_folder(file.parent)
    text = json.dumps({"journals": {name: kept.marks for name, kept in marks.items()}})
    write_whole(file, text.encode())
