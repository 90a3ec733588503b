"""The process `meter`: follows the journals, keeps the accounts of usage, and tells what changed.

1. Only synced rows are counted. Accounts are published with the journal offsets that they stand for,
   in one file; a restart goes on from there, so each row counts once.
2. What is told is written to a log of its own and synced before the accounts are published: after a
   crash it is told again, never lost. Each record says how things stand, not what was added.
3. Nothing is counted that the archive has to count; it is asked a few accounts at a time, between rows.

What must never live here: what a mark means, or who pays.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from device_sdk.wire import cbor
from entitlements.billing.meters import Aggregation, Meter
from hub.errors import StorageError
from hub.metrics import Metrics
from hub.pipeline.meter import MeterBook
from hub.ports.journal.beat import BEAT_SIZE, Beat, decode_beat
from hub.ports.journal.block import Block, Kind
from hub.ports.journal.reader import JournalReader
from hub.ports.journal.segments import list_segments
from hub.ports.journal.telemetry import TelemetryBatch, decode
from hub.ports.journal.writer import JournalWriter
from hub.ports.store.port import Cursor, RawColumns, Visibility
from hub.services.meter_terms import NOTHING, MeterTerms
from hub.services.snapshot_file import (
    Snapshot,
    current_version,
    publish_patch,
    publish_snapshot,
    read_snapshot,
)
from hub.services.usage_accounts import accounts_of, as_numbers
from hub.services.usage_archive import count

_ROWS_AT_ONCE: Final = 200_000
_ASKED_AT_ONCE: Final = 8
"""Accounts that the archive counts between two looks at the journals,"""
_ASKED_BETWEEN_ROWS: Final = 1
"""and where rows came, as the next ones may use a quota up."""
_PATCHED: Final = 1024
"""So many accounts, or a sixteenth of them, differ from the last whole publication until another one is."""
_PAUSE_S: Final = 0.05
_PUBLISH_S: Final = 1.0
_AHEAD: Final = 86_400_000_000_000
"""How far ahead (ns) of the hub's time a product's may be, as for rows that are not recordings."""

_log = logging.getLogger("homeport.meter")


@dataclass(frozen=True, slots=True)
class MeterPlaces:
    """Where things are.

    Args:
        terms: folder of the snapshots of `MeterTerms`.
        accounts: folder of the snapshots of accounts, which this process publishes.
        journals: folder of each telemetry journal, by a name that must stay the same.
    """

    terms: Path
    accounts: Path
    journals: Mapping[str, Path]


class Archive(Protocol):
    """The store of what was journalled, as the meter reads it; see `EmbeddedStore`."""

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
        """Rows of a series, of each journal those below an offset and those that are compacted."""

    def compacted(self) -> Mapping[str, int]:
        """For each journal the offset below which its rows are compacted."""


class UsageMeter:
    """The one counter of usage of a hub.

    Args:
        places: what is read and where accounts are published.
        log: what is told.
        store: the archive.
        clock: the present time, ns UTC.
        outage_ns: pauses between beats that are longer are told as outages; 0: none is. A worker that
            listens beats every few seconds, whatever comes.
        metrics: of this process.
    """

    def __init__(
        self,
        places: MeterPlaces,
        log: JournalWriter,
        store: Archive,
        clock: Callable[[], int],
        outage_ns: int = 0,
        metrics: Metrics | None = None,
    ) -> None:
        self._places = places
        self._log = log
        self._store = store
        self._clock = clock
        self._outage_ns = outage_ns
        self._metrics = metrics or Metrics("meter")
        self._heard: dict[str, Beat] = {}
        self._terms: Snapshot | None = None
        self._offsets = dict.fromkeys(places.journals, 0)
        self._book = MeterBook(NOTHING)
        self._kept = self._resumed()  # until there are terms to take them over by
        # By slot, whether anything came of a product; None if that is not known since the journals began.
        whole_story = not any(self._offsets.values()) and not self._pruned()
        self._sent = np.zeros(1, np.bool_) if whole_story else None
        # The whole version of the accounts that patches are of.
        self._base: int | None = None

    def rest(self) -> None:
        """Seal the log if it is due while nothing comes: what is read is deleted with its segment."""
        self._log.seal_if_due(self._clock())

    def step(self, synced: Mapping[str, int]) -> int:
        """Count what is new, ask the archive where it must be asked, and publish.

        Args:
            synced: for each journal, the offset below which it is on disk.

        Returns:
            How many rows and counts of the archive were taken.

        Raises:
            StorageError: a journal, the log or the archive failed; a new start goes on from what was published.
        """
        told: list[dict[str, int]] = []
        changed = self._adopt(told)
        taken = sum(
            self._follow(worker, name, synced.get(name, 0), told)
            for worker, name in enumerate(self._offsets)
        )
        told += [self._correction(account, since) for account, since in self._book.corrected()]
        asked = self._ask(told, _ASKED_BETWEEN_ROWS if taken else _ASKED_AT_ONCE)
        self._say(synced, taken, asked)
        if told:
            self._log.append(Kind.USAGE, [cbor.encode(told)], self._clock())
            self._log.sync()
        if taken or asked or changed:
            self._publish()
        return taken + asked

    def _adopt(self, told: list[dict[str, int]]) -> bool:
        """Take new terms if there are any, and tell what already passed new marks."""
        if current_version(self._places.terms) == (self._terms and self._terms.version):
            return False
        before, self._terms = self._terms, read_snapshot(self._places.terms, self._terms)
        if before is not None and before.base == self._terms.base:
            changed = self._terms.changed
            crossings = self._book.patch(np.union1d(changed["edge_span"], changed["mark_span"]))
        else:
            crossings = self._adopt_whole(self._terms, first=before is None)
        told += [self._crossed(crossing) for crossing in crossings]
        if any(self._offsets.values()) or self._pruned():
            # What came before the new accounts is in the archive.
            self._book.begin(self._clock(), self._sent)
        self._metrics.meter_terms_time.set(self._clock() / 1e9)
        return self._terms is not None

    def _adopt_whole(self, snapshot: Snapshot, *, first: bool) -> NDArray[Any]:
        terms = MeterTerms.of(snapshot.arrays)
        if terms is None:  # of an older hub; `control` publishes them anew when it starts
            self._terms = None
            return self._book.anew(None)
        before = None if first else self._book.terms
        self._book = MeterBook(terms, self._kept if first else self._book.accounts)
        self._kept = self._base = None
        return self._book.anew(before)

    def _say(self, synced: Mapping[str, int], taken: int, asked: int) -> None:
        """Put into the metrics what a step did and what is left to do."""
        metrics = self._metrics
        metrics.meter_rows.inc(taken)
        metrics.meter_recounts.inc(asked)
        metrics.meter_recounts_waiting.set(self._book.late().size)
        metrics.meter_accounts.set(self._book.terms.accounts)
        for name, offset in self._offsets.items():
            metrics.meter_lag.labels(name).set(max(0, synced.get(name, 0) - offset))

    def _follow(self, worker: int, name: str, synced: int, told: list[dict[str, int]]) -> int:
        """Count on in one journal, up to some hundred thousand rows."""
        offset = self._offsets[name]
        segments = list_segments(self._places.journals[name])
        # Before there are terms nobody can say whose rows they are, and after them none would be missed.
        if self._terms is None or not segments or synced <= offset:
            return 0
        if offset < segments[0].first:
            _log.warning("journal %s was pruned up to %d; the archive counts", name, offset)
            self._book.doubt()
            self._sent = None
            offset = segments[0].first
        reader = JournalReader(self._places.journals[name], offset)
        rows = 0
        for block in reader.blocks(synced):
            if block.kind == Kind.BEAT:
                told += self._paused(worker, name, block)
            if block.kind == Kind.TELEMETRY:
                batch = decode(block.payload)
                rows += batch.rows
                self._note(batch)
                crossings = self._book.count(
                    batch,
                    block.offset,
                    worker,
                    received=block.received_ns,
                    latest=block.received_ns + _AHEAD,
                )
                told += [self._crossed(crossing, block.received_ns) for crossing in crossings]
            if rows >= _ROWS_AT_ONCE:
                break
        self._offsets[name] = reader.offset
        return rows

    def _note(self, batch: TelemetryBatch) -> None:
        """Keep whose rows these are, if those of all before are known."""
        if self._sent is None or not batch.rows:
            return
        last = int(batch.slot.max())
        if last >= self._sent.size:
            self._sent = np.append(self._sent, np.zeros(last + 1, np.bool_))
        self._sent[batch.slot] = True

    def _paused(self, worker: int, name: str, block: Block) -> list[dict[str, int]]:
        """Return a record if nobody listened for long before a beat: slot 0 stands for the worker."""
        beat = decode_beat(block.payload)
        if beat is None:
            return []
        before, self._heard[name] = self._heard.get(name), beat
        pause = 0 if before is None else beat.since(before)
        if not self._outage_ns or pause <= self._outage_ns:
            return []
        end = block.received_ns
        outage = {"start": end - pause, "total": end, "before": 0, "level": 0, "late": 0}
        return [{"slot": 0, "meter": worker, **outage}]

    def _ask(self, told: list[dict[str, int]], most: int) -> int:
        """Have the archive count a few late accounts."""
        late = self._book.late()
        if late.size > most:  # first those whose products send
            order = np.argpartition(-self._book.accounts["last_time"][late], most)
            late = late[order[:most]]
        for account in late.tolist():
            row = self._book.accounts[account]
            if row["late"] < row["start"]:  # it was late when its next period began
                told.append(self._correction(account, int(row["late"])))
            slot, start, end = int(row["slot"]), int(row["start"]), int(row["end"])
            # As of what was followed, so that rows which come all the while count once, from here on.
            rows = _Followed(self._store, self._offsets)
            found = count(rows, slot, self._meter(account), start, end)
            crossings = self._book.put(account, found, self._known(int(row["worker"])))
            told += [self._crossed(crossing) for crossing in crossings]
        return int(late.size)

    def _known(self, worker: int) -> int:
        """Return an offset that no row lies behind which the archive counted, in one journal."""
        name = list(self._offsets)[worker]
        return max(self._offsets[name], self._store.compacted().get(name, 0))

    def _meter(self, account: int) -> Meter:
        terms = self._book.terms
        number = int(terms.meter[account])
        aggregation = Aggregation(int(terms.aggregation[number]))
        decimals = int(terms.decimals[number])
        return Meter(str(number), int(terms.metric[number]), aggregation, decimals)

    def _crossed(self, crossing: NDArray[Any], received: int = 0) -> dict[str, int]:
        """Return the record of a crossing; `received`: when the row that made it came, 0 if no single one did."""
        account = int(crossing["account"])
        found = {name: int(crossing[name]) for name in ("start", "total", "before", "level")}
        return {**self._whose(account), **found, "late": 0, "received": received}

    def _correction(self, account: int, since: int) -> dict[str, int]:
        row = self._book.accounts[account]
        found = {"start": int(row["start"]), "total": 0, "before": 0, "level": 0}
        return {**self._whose(account), **found, "late": since}

    def _whose(self, account: int) -> dict[str, int]:
        row = self._book.accounts[account]
        return {"slot": int(row["slot"]), "meter": int(row["meter"])}

    def _pruned(self) -> bool:
        oldest = [list_segments(folder)[:1] for folder in self._places.journals.values()]
        return any(segment.first for segments in oldest for segment in segments)

    def _resumed(self) -> NDArray[Any] | None:
        """Return the accounts as they were published last, and go on from there."""
        if current_version(self._places.accounts) is None:
            return None
        try:
            kept = read_snapshot(self._places.accounts)
        except StorageError as error:  # a patch is not synced: a power failure may tear it
            _log.warning("%s All is counted anew.", error.detail)
            return None
        offsets = kept.arrays["offset"].tolist()
        self._heard = _beats(list(self._offsets), kept.arrays.get("beat"))
        self._offsets = dict(zip(self._offsets, offsets, strict=False)) | self._beyond(offsets)
        return accounts_of(kept)

    def _beyond(self, offsets: list[int]) -> dict[str, int]:
        """Return where to begin in journals of workers that are new."""
        return dict.fromkeys(list(self._offsets)[len(offsets) :], 0)

    def _publish(self) -> None:
        accounts = as_numbers(self._book.accounts)
        offset = np.array(list(self._offsets.values()), np.int64)
        beats = _beat_rows([self._heard.get(name) for name in self._offsets])
        rows = self._book.touched()
        if self._base is None or rows.size > max(_PATCHED, len(accounts) // 16):
            arrays = {"account": accounts, "offset": offset, "beat": beats}
            self._base = publish_snapshot(self._places.accounts, arrays)
            self._book.published()
            return
        everywhere = np.arange(offset.size)
        patch = {
            "account": (rows, accounts[rows]),
            "offset": (everywhere, offset),
            "beat": (everywhere, beats),
        }
        publish_patch(self._places.accounts, self._base, patch)


def _beat_rows(beats: Sequence[Beat | None]) -> NDArray[Any]:
    """Return the last beat of each journal, u8[J, 32]; zeros for none."""
    rows = np.zeros((len(beats), BEAT_SIZE), np.uint8)
    for place, beat in enumerate(beats):
        if beat is not None:
            rows[place] = np.frombuffer(beat.encode(), np.uint8)
    return rows


def _beats(names: Sequence[str], rows: NDArray[Any] | None) -> dict[str, Beat]:
    """Return the beats that `_beat_rows` kept; none of an older hub."""
    kept: dict[str, Beat] = {}
    for name, row in zip(names, () if rows is None else rows, strict=False):
        beat = decode_beat(row.tobytes()) if row.any() else None
        if beat is not None:
            kept[name] = beat
    return kept


class _Followed:
    """The archive without what was not followed yet."""

    def __init__(self, store: Archive, offsets: Mapping[str, int]) -> None:
        self.range = partial(store.range, below=offsets)


def run_meter(
    meter: UsageMeter,
    metrics: Metrics,
    *,
    synced: Callable[[], Mapping[str, int]],
    publish: Callable[[], None],
    stop: threading.Event,
) -> None:
    """Count until `stop` is set.

    Args:
        meter: counts.
        metrics: of this process.
        synced: for each journal, the offset below which it is on disk.
        publish: called about every second, to publish the metrics.
        stop: set it to end after the present step.

    Raises:
        StorageError: see `UsageMeter.step`.
    """
    published = -_PUBLISH_S
    while not stop.is_set():
        began = time.monotonic()
        taken = meter.step(synced())
        now = time.monotonic()
        if taken:
            metrics.meter_step_seconds.observe(now - began)
        if now - published >= _PUBLISH_S:
            published = now
            publish()
        if not taken:
            meter.rest()
            stop.wait(_PAUSE_S)
