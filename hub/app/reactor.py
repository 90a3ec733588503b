"""The reactor: follows the workers' logs of findings and dead letters into the database.

1. What a batch of records changes and the reader's cursor commit in one transaction, so a record
   takes effect exactly once whatever is killed and whenever.
2. A record counts only when it is on disk: the log is synced before the transaction commits, or a
   power failure could leave the cursor ahead of the log.
3. Pushes and live events go out after the commit and are best effort; the database is the truth.
4. A record that cannot be read or applied is counted, logged and passed over, alone. A database or
   disk that fails is not the records' fault: nothing moves, and it is tried again.
5. What the committed cursor has passed is deleted from the log, a sealed segment at a time: the database syncs each
   commit, so a power failure cannot take the cursor back behind it.

What a finding means is the business of `hub.services`; nothing of it is known here.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from hub.app.log_records import Entry, Record, checked, items
from hub.errors import StorageError
from hub.metrics import Metrics
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.record_tables import Cursor
from hub.ports.journal.block import Block, Kind
from hub.ports.journal.durability import sync_file
from hub.ports.journal.reader import JournalReader, OvertakenError
from hub.ports.journal.segments import Segment, list_segments, prune

BATCH_BYTES = 4_194_304
"""About how many bytes of a log one transaction takes."""

POLL_S = 0.02
RETRY_S = 1.0

_log = logging.getLogger("homeport.reactor")

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Follower(Generic[R]):
    """What is done with one log.

    Args:
        name: name of the cursor, such as `findings/0`; never reused for another log.
        folder: folder of the log; it may not exist yet.
        kind: kind of its blocks; blocks of other kinds are passed over.
        apply: takes entries into the database, in the given session and at the given time (ns
            UTC). It must not commit, and raises for records it cannot take.
        publish: told, after the commit, what `apply` returned.
        waits: asked before each step; while it says so the log is left as it is.
        foresee: told what `apply` will be given, and when, before the transaction begins.
    """

    name: str
    folder: Path
    kind: Kind
    apply: Callable[[Session, Sequence[Entry], int], R]
    publish: Callable[[R], None]
    waits: Callable[[], bool] = lambda: False
    foresee: Callable[[Sequence[Entry], int], None] = lambda _entries, _at: None


class Reactor:
    """Follows several logs. One thread runs it.

    Args:
        engine: the database.
        followers: the logs and what is done with each.
        metrics: records that are passed over are counted here.
        clock: the present time, ns UTC.
    """

    def __init__(
        self,
        engine: Engine,
        followers: Sequence[Follower[Any]],
        metrics: Metrics,
        clock: Callable[[], int],
    ) -> None:
        self._trails = [_Trail(engine, follower, metrics, clock) for follower in followers]
        for reason in ("reactor_gap", "reactor_record"):
            metrics.dropped_frames.labels(reason)
        self._clock = clock
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """What keeps the reactor from going on at present, `None` if nothing does."""
        return self._problem

    def step(self) -> int:
        """Take what is new in each log, up to about `BATCH_BYTES` of each.

        Returns:
            How many records were taken, those passed over included.

        Raises:
            StorageError: a log is damaged or older than its cursor.
            OSError: a log cannot be read or synced.
            SQLAlchemyError: the database failed. In each case nothing of that log has moved.
        """
        return sum(trail.step(self._clock()) for trail in self._trails)

    def run(self, stop: threading.Event) -> None:
        """Follow the logs until `stop` is set. Failures are logged and tried again."""
        while not stop.is_set():
            try:
                taken = self.step()
            except Exception as error:  # noqa: BLE001  alerts must not stop for good
                if self._problem is None:
                    _log.exception("the reactor is stuck; it tries again every %s s", RETRY_S)
                self._problem = str(error)
                stop.wait(RETRY_S)
                continue
            if self._problem is not None:
                _log.info("the reactor goes on")
                self._problem = None
            if taken == 0:
                stop.wait(POLL_S)


class _Trail(Generic[R]):
    """One follower on its way along its log."""

    def __init__(
        self, engine: Engine, follower: Follower[R], metrics: Metrics, clock: Callable[[], int]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._follower = follower
        self._metrics = metrics
        self._reader: JournalReader | None = None
        self._pruned: Segment | None = None

    def step(self, at: int) -> int:
        """Take one batch; see `Reactor.step`."""
        if self._follower.waits():
            return 0
        reader = self._reader or self._open()
        self._reader = None  # after a failure, begin again at the cursor
        try:
            entries, bad, moved, received = self._read(reader)
        except OvertakenError as error:
            # What was read there is a deposed worker's; ids make taking again harmless.
            _log.warning("%s %s", self._follower.name, error.detail)
            self._reader = JournalReader(self._follower.folder, int(error.context["offset"]))
            return 0
        if moved:
            self._follower.foresee(entries, at)
            token = reader.segment.token if reader.segment is not None else 0
            here = Cursor(name=self._follower.name, offset=reader.offset, token=token)
            results = self._commit(entries, here, at)
            self._publish(results)
            self._time(entries, received)
        self._reader = reader
        self._prune(reader)
        return len(entries) + bad

    def _open(self) -> JournalReader:
        with read_session(self._engine) as session:
            cursor = session.get(Cursor, self._follower.name)
        offset, token = (cursor.offset, cursor.token) if cursor else (0, None)
        segments = list_segments(self._follower.folder)
        if segments and offset < segments[0].first:
            # A database restored from a backup, without the log of that time: what it lacks is gone, and alerts must
            # not stop for good because of that.
            self._metrics.dropped_frames.labels("reactor_gap").inc()
            _log.error(
                "%s begins at offset %d, but the database stands at %d: what is between is not taken. "
                "Was the database restored from a backup without the log?",
                self._follower.name,
                segments[0].first,
                offset,
            )
            offset, token = segments[0].first, None
        return JournalReader(self._follower.folder, offset, token)

    def _prune(self, reader: JournalReader) -> None:
        """Delete the segments that the cursor has passed, if it has come to another one; at `reader` it stands."""
        if reader.segment is None or reader.segment == self._pruned:
            return
        self._pruned = reader.segment
        try:
            deleted = prune(self._follower.folder, reader.offset)
        except OSError as error:  # they only take room; the next segment brings another try
            _log.warning("%s: what was read cannot be deleted: %s", self._follower.name, error)
        else:
            if deleted:
                _log.info("%s: %d segments deleted", self._follower.name, len(deleted))

    def _time(self, entries: Sequence[Entry], received: Sequence[int]) -> None:
        """Note how long findings took on their way, those passed over included, and what crossed a mark of a quota.

        A clock set back counts as no time.
        """
        seconds = self._metrics.push_seconds
        if self._follower.kind is Kind.USAGE:  # a record knows when its row was received
            seconds = self._metrics.limit_seconds
            received = [entry.record["received"] for entry in entries if entry.record["received"]]
        elif self._follower.kind is not Kind.FINDINGS:
            return
        now = self._clock()
        for instant in received:
            seconds.observe(max(0, now - instant) / 1e9)

    def _read(self, reader: JournalReader) -> tuple[list[Entry], int, bool, list[int]]:
        """Read and sync a batch: its entries, how many were bad, whether it moved, when its blocks were received."""
        start = reader.offset
        entries: list[Entry] = []
        bad = 0
        received = []
        try:
            for block in reader.blocks():
                received.append(block.received_ns)
                for position, record in enumerate(self._records(block)):
                    if record is None:
                        bad += 1
                    else:
                        entries.append(Entry(block.offset, position, record))
                if reader.offset - start >= BATCH_BYTES:
                    break
        except StorageError:
            if reader.offset == start:
                raise
            # What stands before the damage is taken first; the next step meets it again.
        moved = reader.offset > start
        if moved and reader.segment is not None:
            _sync(reader.segment.path)
        return entries, bad, moved, received

    def _records(self, block: Block) -> Iterator[Record | None]:
        """Yield the records of a block, `None` for each that cannot be read."""
        if block.kind != self._follower.kind:
            return
        try:
            found = items(block)
        except ValueError as error:
            self._pass_over(block.offset, None, error)
            yield None
            return
        for position, item in enumerate(found):
            try:
                record = checked(self._follower.kind, item)
            except ValueError as error:
                self._pass_over(block.offset, position, error)
                yield None
            else:
                yield record

    def _commit(self, entries: Sequence[Entry], here: Cursor, at: int) -> list[R]:
        follower = self._follower
        try:
            with write_session(self._engine) as session:
                results = [follower.apply(session, entries, at)] if entries else []
                session.merge(here)
        except Exception as error:
            if not _blames_records(error):
                raise
            _log.warning("a batch of %s failed; taking its records one by one", follower.name)
            return self._commit_singly(entries, here, at)
        return results

    def _commit_singly(self, entries: Sequence[Entry], here: Cursor, at: int) -> list[R]:
        results = []
        with write_session(self._engine) as session:
            for entry in entries:
                try:
                    with session.begin_nested():
                        result = self._follower.apply(session, [entry], at)
                except Exception as error:
                    if not _blames_records(error):
                        raise
                    self._pass_over(entry.offset, entry.position, error)
                else:
                    results.append(result)
            session.merge(here)
        return results

    def _pass_over(self, offset: int, position: int | None, error: Exception) -> None:
        self._metrics.dropped_frames.labels("reactor_record").inc()
        place = {"log": self._follower.name, "offset": offset, "position": position}
        _log.error("a record is passed over: %r", error, extra=place)

    def _publish(self, results: Sequence[R]) -> None:
        for result in results:
            try:
                self._follower.publish(result)
            except Exception:  # noqa: BLE001  it is committed; only its announcement failed
                _log.exception("what %s changed could not be announced", self._follower.name)


def _blames_records(error: Exception) -> bool:
    """Say whether an error came from what was applied, not from a failing database or disk."""
    if isinstance(error, DBAPIError):
        return isinstance(error, IntegrityError | DataError)
    return not isinstance(error, StorageError | OSError)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)
