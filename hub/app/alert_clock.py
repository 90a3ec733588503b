"""Sweeps alerts now and then: what stays quiet is resolved, what goes on grows.

1. A sweep is one transaction; what it changed is published after it, as the reactor's changes are.
2. What fails is logged and tried again at the next sweep.
"""

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine

from hub.app.findings_desk import FindingsDesk
from hub.ports.database.engine import write_session
from hub.services import alert_sweep

EVERY_S = 30.0

_log = logging.getLogger("homeport.alerts")


class AlertClock:
    """Runs `alert_sweep.sweep` on a thread of its own.

    Args:
        engine: the database.
        desk: publishes what changed.
        clock: the present time, ns.
    """

    def __init__(self, engine: Engine, desk: FindingsDesk, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._desk = desk
        self._clock = clock
        self._since = clock()

    def step(self) -> int:
        """Sweep once; returns how many alerts changed."""
        at = self._clock()
        with write_session(self._engine) as session:
            changes = self._desk.announced(session, alert_sweep.sweep(session, at, self._since), at)
        self._desk.publish(changes)
        return len(changes)

    def run(self, stop: threading.Event) -> None:
        """Sweep every `EVERY_S` seconds until `stop` is set."""
        while not stop.wait(EVERY_S):
            try:
                self.step()
            except Exception:  # noqa: BLE001  alerts must not stop for good
                _log.exception("alerts could not be swept; trying again")
