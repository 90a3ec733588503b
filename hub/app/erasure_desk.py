"""Follows erasures up until nothing of them is left to do, and keeps the list of them beside the backups.

1. What was seen to be done is noted, part by part; the last one ends the erasure, in the audit trail.
2. The database is scrubbed once for all erasures that wait for it.
3. An error leaves a part open; it is tried again.
What must never live here: how rows leave the archive; see `hub/ports/store/compaction.py`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from hub.app import erasure_list
from hub.app.erasure_list import Listed
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.privacy_tables import Erasure, TelemetryErasure
from hub.ports.database.scrubbing import scrub
from hub.ports.journal.segments import SEGMENT_HEADER_SIZE, list_segments, read_created_ns
from hub.ports.store.manifest import Manifest
from hub.ports.store.tombstones import Tombstones
from hub.services import audit, payment_removals, retention
from hub.services.erasure_parts import Horizon, Part

EVERY_S: Final = 2.0
RETRY_S: Final = 60.0

_log = logging.getLogger("homeport.erasures")


@dataclass(frozen=True, slots=True)
class Places:
    """Where erased data may be left.

    Args:
        store: folder of the archive.
        logs: folders of the logs between processes.
        lists: files that list the erasures.
    """

    store: Path
    logs: Sequence[Path]
    lists: Sequence[Path]


class ErasureDesk:
    """Looks after erasures. One thread runs it.

    Args:
        engine: the database.
        places: where erased data may be left.
        horizon: how long backups are kept.
        clock: the present time, ns UTC.
        mirror: erases rows in the time-series database; None without one.
    """

    def __init__(
        self,
        engine: Engine,
        places: Places,
        horizon: Horizon,
        clock: Callable[[], int],
        mirror: Callable[[Tombstones], None] | None = None,
    ) -> None:
        self._engine = engine
        self._places = places
        self._horizon = horizon
        self._clock = clock
        self._mirror = mirror
        self._listed = 0

    def step(self) -> int:
        """Note what is done by now; returns how many erasures are still open.

        Raises:
            StorageError: a file that must be looked at is damaged.
            OSError: a list could not be written.
        """
        self._keep_lists()
        with read_session(self._engine) as session:
            waiting = session.scalars(select(Erasure).where(Erasure.finished_at.is_(None))).all()
            orders = {row.id: _newest_order(session, row.id) for row in waiting}
        if not waiting:
            return 0
        at, done = self._clock(), self._done(waiting, orders)
        if not any(done.values()):
            return len(waiting)
        with write_session(self._engine) as session:
            for row in session.scalars(select(Erasure).where(Erasure.id.in_(done))):
                row.parts = {
                    part: at if past is None and part in done[row.id] else past
                    for part, past in row.parts.items()
                }
                if all(row.parts.values()):
                    row.finished_at = at
                    details = {"erasure": row.id}
                    about = f"person:{row.person_id}"
                    audit.record(session, at, "hub", "person.erase.finished", about, details)
        return sum(row.finished_at is None for row in waiting)

    def run(self, stop: threading.Event) -> None:
        """Look after erasures until `stop` is set."""
        pause = EVERY_S
        while not stop.wait(pause):
            try:
                self.step()
                pause = EVERY_S
            except Exception:  # noqa: BLE001  it is tried again, and nothing else hangs on it
                _log.exception("erasures could not be followed up; trying again in %d s", RETRY_S)
                pause = RETRY_S

    def _keep_lists(self) -> None:
        with read_session(self._engine) as session:
            count = session.scalar(select(func.count()).select_from(Erasure)) or 0
            if count == self._listed:
                return
            rows = [
                Listed(row.at, row.id, row.person_id) for row in session.scalars(select(Erasure))
            ]
        for path in self._places.lists:
            erasure_list.add(path, rows)
        self._listed = count

    def _done(self, waiting: Sequence[Erasure], orders: dict[str, int]) -> dict[str, set[str]]:
        """Say which open parts of which erasures are done."""
        done: dict[str, set[str]] = {row.id: set() for row in waiting}
        manifest = Manifest.read(self._places.store)
        for row in waiting:
            for part in (part for part, when in row.parts.items() if when is None):
                if self._over(
                    row, part, erased=manifest.erased >= orders[row.id], manifest=manifest
                ):
                    done[row.id].add(part)
        open_ = [row for row in waiting if row.parts.get(Part.DATABASE, 0) is None]
        if open_ and scrub(self._engine):
            for row in open_:
                done[row.id].add(Part.DATABASE)
        return done

    def _over(self, row: Erasure, part: str, *, erased: bool, manifest: Manifest) -> bool:
        """Say whether a part of an erasure is seen to be done; the database is looked at for all at once."""
        match part:
            case Part.TELEMETRY:
                return erased and not manifest.retired
            case Part.LOGS:
                return self._logs_are_newer(row.at)
            case Part.MIRROR:
                return erased and self._mirrored(row.id)
            case Part.PROVIDER:
                with read_session(self._engine) as session:
                    return not payment_removals.waiting(session, row.at)
            case Part.BACKUPS:
                kept = self._horizon.backups_ns
                return kept is None or self._clock() >= row.at + kept
            case _:
                return False

    def _mirrored(self, erasure_id: str) -> bool:
        """Erase in the time-series database, when the journal has nothing of it any more."""
        if self._mirror is not None:
            with read_session(self._engine) as session:
                self._mirror(retention.orders(session, erasure_id))
        return True

    def _logs_are_newer(self, at: int) -> bool:
        """Say whether all that was in the logs at an instant is deleted."""
        for folder in self._places.logs:
            for segment in list_segments(folder):
                empty = segment.path.stat().st_size <= SEGMENT_HEADER_SIZE
                if not empty and read_created_ns(segment) <= at:
                    return False
        return True


def _newest_order(session: Session, erasure_id: str) -> int:
    newest = select(func.max(TelemetryErasure.id)).where(TelemetryErasure.erasure_id == erasure_id)
    return session.scalar(newest) or 0
