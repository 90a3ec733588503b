"""Compiles the entitlement facts of all products into the gate snapshot and publishes it.

1. Changes only mark the snapshot as dirty; one thread compiles, so many changes cost one compile.
2. The mark is cleared before the facts are read: a change during a compile leads to another.
3. A compile that fails leaves the snapshot in force and is tried again.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from entitlements.gate import compile_gate
from hub.ports.database.engine import read_session
from hub.services import changes
from hub.services.facts import load_enrolled
from hub.services.snapshot_file import publish_snapshot

COALESCE_S = 0.05
"""How long a first change waits for others to come along."""
RETRY_S = 2.0

_log = logging.getLogger("homeport.gate")


def publish(engine: Engine, folder: Path, at: int) -> int:
    """Compile all facts and publish the snapshot.

    Args:
        engine: the database.
        folder: folder of the snapshots.
        at: now, ns.

    Returns:
        The snapshot's version.
    """
    with read_session(engine) as session:
        catalogue, facts = load_enrolled(session)
    return publish_snapshot(folder, compile_gate(facts.values(), catalogue.models.values(), at))


class GatePublisher:
    """Publishes after changes; made and started by the process `control`.

    Args:
        engine: the database, whose committed changes it follows.
        folder: folder of the snapshots.
        clock: the present time, ns.
    """

    def __init__(self, engine: Engine, folder: Path, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._folder = folder
        self._clock = clock
        self._dirty = threading.Event()
        self._done = threading.Condition()
        self._version = 0
        self._marks = 0
        self._published_marks = 0
        changes.listen(engine, lambda _products: self.mark())

    @property
    def version(self) -> int:
        """The version published last; 0 before the first."""
        return self._version

    def mark(self) -> None:
        """Say that facts changed; returns at once."""
        with self._done:
            self._marks += 1
        self._dirty.set()

    def step(self) -> int:
        """Publish now, whatever is marked; returns the version."""
        self._dirty.clear()
        with self._done:
            marks = self._marks
        version = publish(self._engine, self._folder, self._clock())
        with self._done:
            self._version, self._published_marks = version, marks
            self._done.notify_all()
        return version

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was marked before this call is published; say whether it is."""
        with self._done:
            marks = self._marks
            return self._done.wait_for(lambda: self._published_marks >= marks, timeout_s)

    def run(self, stop: threading.Event) -> None:
        """Publish once, then after each change, until `stop` is set."""
        self._dirty.set()
        while not stop.is_set():
            if not self._dirty.wait(0.25):
                continue
            stop.wait(COALESCE_S)
            try:
                self.step()
            except Exception:  # noqa: BLE001  whatever it was, the gate in force stays
                _log.exception("the gate could not be compiled; the one in force stays")
                self._dirty.set()
                stop.wait(RETRY_S)
