"""Numbers that nobody counts as they happen: looked at now and then, and set.

1. Everything is read from outside, as whoever asks for metrics could: nothing is locked and nothing changed.
2. A part that cannot be read keeps its last number; that it cannot is for others to say.
What must never live here: judging whether a number is good.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, func, select

from hub.app.backup.schedule import Standing
from hub.config import Settings
from hub.errors import StorageError
from hub.metrics import Metrics
from hub.ports.database.engine import read_session
from hub.ports.database.product_tables import Device
from hub.ports.database.record_tables import Cursor
from hub.ports.journal.segments import SEGMENT_HEADER_SIZE, list_segments
from hub.ports.store.manifest import Manifest
from hub.services import payments, reversals, webhook_deliveries

EVERY_S: Final = 10.0

_log = logging.getLogger("homeport.gauges")


class Gauges:
    """What the process `control` measures of the whole hub.

    Args:
        settings: of the hub.
        engine: its database.
        metrics: of this process.
        clock: the present time, ns.
    """

    def __init__(
        self, settings: Settings, engine: Engine, metrics: Metrics, clock: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._metrics = metrics
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(EVERY_S)

    def look(self) -> None:
        """Look at everything once."""
        for look in (
            self._disk,
            self._logs,
            self._store,
            self._devices,
            self._backups,
            self._outside,
        ):
            try:
                look()
            except (OSError, StorageError) as error:
                _log.warning("a gauge could not be read: %s", error)
            except Exception:  # noqa: BLE001  numbers must not stop for good
                _log.exception("a gauge could not be read")

    def _disk(self) -> None:
        settings, part = self._settings, self._metrics.disk_bytes.labels
        facts = os.statvfs(settings.data_dir)
        self._metrics.disk_free.set(facts.f_bavail * facts.f_frsize)
        self._metrics.disk_size.set(facts.f_blocks * facts.f_frsize)
        for name in ("journal", "findings", "deadletters", "detector", "gate", "store", "run"):
            part(name).set(_bytes_below(settings.data_dir / name))
        url = settings.database_url.get_secret_value()
        if url.startswith("sqlite:///"):
            path = Path(url.removeprefix("sqlite:///"))
            sizes = [_size(path.with_name(path.name + end)) for end in ("", "-wal")]
            part("database").set(sum(sizes))

    def _logs(self) -> None:
        with read_session(self._engine) as session:
            cursors = {row.name: row.offset for row in session.scalars(select(Cursor))}
        for worker in range(self._settings.lanes):
            folders = {
                f"findings/{worker}": self._settings.findings_dir(worker),
                f"deadletters/{worker}": self._settings.deadletters_dir(worker),
            }
            for name, folder in folders.items():
                behind = max(0, _end(folder) - cursors.get(name, 0))
                self._metrics.log_lag.labels(name).set(behind)

    def _store(self) -> None:
        manifest = Manifest.read(self._settings.store_dir)
        self._metrics.store_files.set(len(manifest.files))
        for worker in range(self._settings.lanes):
            name = str(worker)
            self._metrics.stored_offset.labels(name).set(manifest.journals.get(name, 0))

    def _devices(self) -> None:
        with read_session(self._engine) as session:
            counts = session.execute(
                select(Device.online, func.count())
                .where(Device.revoked_at.is_(None))
                .group_by(Device.online)
            )
            found = {bool(online): count for online, count in counts}
        for online, word in ((True, "online"), (False, "offline")):
            self._metrics.devices.labels(word).set(found.get(online, 0))

    def _backups(self) -> None:
        """Read what the schedule left: so there is a number, 0, where no schedule runs."""
        standing = Standing.read(self._settings.run_dir) or Standing()
        self._metrics.backup_time.set(standing.good_ns / 1e9)
        self._metrics.backup_bytes.set(standing.size)
        self._metrics.backup_seconds.set(standing.seconds)

    def _outside(self) -> None:
        """Look at what waits for the payment provider, banks and receivers of webhooks."""
        with read_session(self._engine) as session:
            told = webhook_deliveries.backlog(session).oldest_at
            asked = payments.waiting(session).asked_since
            disputed = reversals.open_disputes(session)
        at = self._clock()
        self._metrics.webhook_oldest.set(0 if told is None else (at - told) / 1e9)
        self._metrics.payments_unanswered.set(0 if asked is None else (at - asked) / 1e9)
        self._metrics.disputes.set(disputed)


def _bytes_below(folder: Path) -> int:
    return sum(_size(Path(root) / name) for root, _, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    with suppress(OSError):  # gone since it was listed
        return path.lstat().st_size
    return 0


def _end(folder: Path) -> int:
    """Offset at which a journal ends now."""
    segments = list_segments(folder)
    if not segments:
        return 0
    return segments[-1].first + max(0, _size(segments[-1].path) - SEGMENT_HEADER_SIZE)
