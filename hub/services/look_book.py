"""Writes down looks after the answer was given, without losing any silently.

1. A look is appended to a file before the answer goes out; the file outlives the process, and what it
   holds is written at the next start. A look that cannot be appended fails the request.
2. The database is written by one thread, many looks in a transaction; the file is emptied after it.
3. Without a file, looks are written at once: for tools and tests, which have no thread.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from hub.errors import StorageError
from hub.ports.database.engine import after_session, write_session
from hub.services import looks
from hub.services.looks import QUARTER_NS, Seen

EVERY_S = 0.5
PRUNE_EVERY_NS = 86_400_000_000_000
_DAY = 86_400_000_000_000
_log = logging.getLogger("homeport.looks")


class LookBook:
    """Keeps what sessions noted.

    Args:
        engine: the database; its sessions are listened to from now on.
        file: where looks wait; None writes them at once.
    """

    def __init__(self, engine: Engine, file: Path | None = None) -> None:
        self._engine = engine
        self._file = file
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._recent: set[tuple[str, ...]] = set()
        self._quarter = 0
        self._waiting: list[Seen] = _left(file) if file else []
        after_session(engine, self._hear)

    def flush(self) -> int:
        """Write what waits; returns how many looks were new."""
        with self._flushing:
            with self._lock:
                waiting = list(self._waiting)
            if not waiting:
                return 0
            with write_session(self._engine) as session:
                written = looks.write(session, waiting)
            with self._lock:
                del self._waiting[: len(waiting)]
                if self._file is not None and not self._waiting:
                    os.truncate(self._file, 0)
            return written

    def run(self, stop: threading.Event, clock: Callable[[], int], days: int) -> None:
        """Write every `EVERY_S` seconds until `stop` is set; each day prune what is too old."""
        pruned = 0
        while not stop.wait(EVERY_S):
            try:
                self.flush()
                at = clock()
                if at - pruned >= PRUNE_EVERY_NS:
                    pruned = at
                    with write_session(self._engine) as session:
                        looks.prune(session, at - days * _DAY, at)
            except Exception:  # noqa: BLE001  looks wait in the file and are tried again
                _log.exception("looks could not be written; they wait and are tried again")
        self.flush()

    def _hear(self, info: Mapping[Any, Any]) -> None:
        new = [one for one in looks.noted(info) if self._is_new(one)]
        if not new:
            return
        with self._lock:
            if self._file is not None:
                _append(self._file, new)
            self._waiting += new
            self._recent.update(one.key for one in new)
        if self._file is None:
            self.flush()

    def _is_new(self, seen: Seen) -> bool:
        quarter = seen.at // QUARTER_NS
        with self._lock:
            if quarter != self._quarter:
                self._quarter = quarter
                self._recent.clear()
            return seen.key not in self._recent


def _append(file: Path, new: list[Seen]) -> None:
    lines = "".join(json.dumps(asdict(one)) + "\n" for one in new)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, lines.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(
            "Who looks at a product must be written down, and cannot be: the hub's disk cannot be "
            "written. Free space, and try again."
        ) from error


def _left(file: Path) -> list[Seen]:
    """Return what a process that was killed left; a last line that is torn was never answered."""
    if not file.exists():
        return []
    found = []
    for line in file.read_text().splitlines():
        try:
            found.append(Seen(**json.loads(line)))
        except (ValueError, TypeError):
            _log.warning("a torn line among the looks that waited was passed over")
    return found
