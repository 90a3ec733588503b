"""Reads what warranties depend on from the telemetry, some products at a time, round after round.

1. Looking is done in a reading session, writing in a short one of its own.
2. What fails is logged and tried again with the next part.
"""

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine

from hub.ports.database.engine import read_session, write_session
from hub.ports.store.port import TelemetryStore
from hub.services import lifetimes

EVERY_S = 5.0
PART = 200
"""Products in one step: 3.4 million in a day."""
ROUND_NS = 3_600_000_000_000
"""A round begins this long after the one before began, or as soon as that is done."""

_log = logging.getLogger("homeport.lifetimes")


class LifetimeClock:
    """Runs `lifetimes.read` and `lifetimes.keep` on a thread of its own.

    Args:
        engine: the database.
        store: the telemetry store.
        clock: the present time, ns.
    """

    def __init__(self, engine: Engine, store: TelemetryStore, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._after: int | None = 0
        self._begun = clock()

    def step(self) -> int:
        """Read the next part; returns how many counters rose."""
        at = self._clock()
        if self._after is None:
            if at - self._begun < ROUND_NS:
                return 0
            self._after, self._begun = 0, at
        with read_session(self._engine) as session:
            found, self._after = lifetimes.read(session, self._store, self._after, PART)
        if not found:
            return 0
        with write_session(self._engine) as session:
            return lifetimes.keep(session, found, at)

    def run(self, stop: threading.Event) -> None:
        """Read a part every `EVERY_S` seconds until `stop` is set."""
        while not stop.wait(EVERY_S):
            try:
                self.step()
            except Exception:  # noqa: BLE001  counters must not stop for good
                _log.exception("counters could not be read; trying again")
