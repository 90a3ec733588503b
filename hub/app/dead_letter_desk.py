"""Takes dead letters from the workers' logs into the database, and keeps the table within its limits.

1. A letter is one row; log, offset and position are its identity.
2. While the disk is nearly full letters stay in their log, which grows no more then: they must not take what is left
   for everything else.
3. The table is swept in small transactions, so that other writers wait for none of it.
Must never live here: which letters go; see `hub/services/dead_letter_limits.py`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hub.app.log_records import Entry, Record
from hub.metrics import Metrics
from hub.ports.database.engine import write_session
from hub.ports.database.record_tables import DeadLetter
from hub.services.dead_letter_limits import DeadLetterLimits, thin

EVERY_S = 2.0
BREATH_S = 0.02
"""Pause between two steps of a sweep."""

_log = logging.getLogger("homeport.deadletters")


def keep_dead_letters(log: str) -> Callable[[Session, Sequence[Entry], int], int]:
    """Return the `apply` of a dead letter log.

    Args:
        log: name of the log, such as `deadletters/0`; part of the letters' identity.

    Returns:
        A function that adds one row for each letter and returns how many.
    """

    def apply(session: Session, entries: Sequence[Entry], _at: int) -> int:
        for offset, position, letter in entries:
            row = DeadLetter(
                log=log,
                offset=offset,
                position=position,
                at=letter["time"],
                slot=letter["slot"],
                channel=letter["topic"].rpartition("/")[2],
                reason=letter["code"],
                hash=letter["sha256"],
                size=letter["size"],
                sample=letter["bytes"],
                detail=letter["detail"],
                rows=_rows(letter),
            )
            session.add(row)
        session.flush()
        return len(entries)

    return apply


def _rows(letter: Record) -> dict[str, Any] | None:
    """Say which rows a letter rejected, as the database keeps it; `None` if they have no identity."""
    if not letter["stream"]:
        return None
    return {"stream": letter["stream"].hex(), "ranges": [list(pair) for pair in letter["rows"]]}


class DeadLetterSweep:
    """Deletes the oldest letters beyond the limits. One thread runs it.

    Args:
        engine: the database.
        limits: of the table.
        metrics: what is deleted is counted here.
    """

    def __init__(self, engine: Engine, limits: DeadLetterLimits, metrics: Metrics) -> None:
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._added = threading.Event()
        self._added.set()  # what an earlier run, or other limits, left

    def added(self, _count: int) -> None:
        """Take notice of new letters; nothing is looked at without."""
        self._added.set()

    def step(self) -> int:
        """Delete a few letters, if there are too many; returns how many."""
        with write_session(self._engine) as session:
            gone = thin(session, self._limits)
        self._metrics.dropped_frames.labels("old_dead_letter").inc(gone)
        return gone

    def run(self, stop: threading.Event) -> None:
        """Sweep after letters came, until `stop` is set."""
        while not stop.wait(EVERY_S):
            if not self._added.is_set():
                continue
            self._added.clear()
            try:
                while self.step() and not stop.wait(BREATH_S):
                    pass
            except Exception:  # noqa: BLE001  it is tried again, and nothing else hangs on it
                _log.exception("old dead letters could not be deleted; trying again")
                self._added.set()
