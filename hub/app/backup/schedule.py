"""Backups that take themselves: one when the newest is old enough, old ones deleted, and word of how it went.

1. The folder must be there: a disk that is not mounted must not be taken for an empty folder.
2. The newest backup in the folder says when the next is due, so a restart neither forgets one nor takes one more.
3. A failure is told and tried again after a pause; nothing old is deleted before something newer is good.
4. `run/backup.json` says how it stands, for everyone who asks (doctor, readiness), without touching the folder.
What must never live here: what a backup is.
"""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from hub.app.backup import shelf
from hub.app.backup.take import Source, take
from hub.errors import ConflictError, HubError, InvalidInputError
from hub.metrics import Metrics
from hub.ports.journal.durability import write_whole

HOUR_NS: Final = 3_600_000_000_000
STATUS: Final = "backup.json"
_RETRY_NS: Final = 900_000_000_000
_LOOK_S: Final = 30.0
_LATE: Final = 2.0
"""So many times the pause between two backups may pass before people are told."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the backups; times are ns since 1970 UTC, 0 for never.

    Attributes:
        good_ns: when the newest good one was taken.
        size: its bytes.
        seconds: how long it took.
        tried_ns: when one was last tried.
        error: why that failed; empty if it did not.
        since_ns: when this hub began to look after its backups.
    """

    good_ns: int = 0
    size: int = 0
    seconds: float = 0.0
    tried_ns: int = 0
    error: str = ""
    since_ns: int = 0

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Read what was said last; None if nothing was."""
        try:
            return cls(**json.loads((run_dir / STATUS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def problem(self, now_ns: int, every_hours: float) -> str | None:
        """Say what is wrong, in one sentence; None if nothing is."""
        every = every_hours * HOUR_NS
        tried = bool(self.error) or now_ns - self.since_ns > every
        if not tried or now_ns - self.good_ns <= _LATE * every:
            return None
        newest = "There is no good backup"
        if self.good_ns:
            newest = f"The last good backup is {(now_ns - self.good_ns) // HOUR_NS} hours old"
        return f"{newest}. {f'The last try failed: {self.error}' if self.error else 'None was tried since.'}"


class Schedule:
    """Takes backups into a folder.

    Args:
        source: the hub.
        folder: where they go.
        every_hours: pause between two.
        keep: how many stay.
        passphrase: reads the secret that seals them, or gives None.
        clock: ns since 1970 UTC.
        metrics: of this process.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        every_hours: float,
        keep: int,
        *,
        passphrase: Callable[[], bytes | None],
        clock: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._folder = folder
        self._every_ns = int(every_hours * HOUR_NS)
        self._keep = keep
        self._passphrase = passphrase
        self._clock = clock
        self._metrics = metrics
        self._run_dir = source.settings.run_dir
        self.standing = Standing(since_ns=clock())
        self._look()
        self._say()

    def run(self, stop: threading.Event) -> None:
        """Take what is due until `stop` is set."""
        while not stop.is_set():
            self.step()
            self._metrics.publish(self._run_dir / "metrics")
            stop.wait(_LOOK_S)

    def step(self) -> bool:
        """Take a backup if one is due; say whether one was tried."""
        now = self._clock()
        standing = self.standing
        paused = bool(standing.error) and now - standing.tried_ns < _RETRY_NS
        if paused or 0 <= now - standing.good_ns < self._every_ns:
            return False
        try:
            size = self._take(now)
        except (HubError, OSError) as error:
            words = error.detail if isinstance(error, HubError) else str(error)
            self.standing = Standing(
                standing.good_ns, standing.size, standing.seconds, now, words, standing.since_ns
            )
            self._metrics.backups.labels(result="failed").inc()
            log.error("no backup could be taken: %s", words)  # noqa: TRY400  the sentence says it all
        else:
            seconds = (self._clock() - now) / 1e9
            self.standing = Standing(now, size, seconds, now, "", standing.since_ns)
            self._metrics.backups.labels(result="good").inc()
            log.info("backup taken", extra={"bytes": size, "seconds": seconds})
        self._say()
        return True

    def _take(self, now: int) -> int:
        """Take one and delete those too many; returns its size in bytes."""
        if not self._folder.is_dir():
            raise InvalidInputError(
                f"The folder {self._folder} (setting backup.folder) is not there. Mount its disk, or make it."
            )
        secret = self._passphrase()
        path = self._folder / shelf.name_of(now, sealed=secret is not None)
        if path.exists():
            raise ConflictError(f"{path} was taken within this very second.")
        take(self._source, path, now, secret)
        for gone in shelf.prune(self._folder, self._keep):
            log.info("old backup deleted", extra={"file": gone.path.name})
        return path.stat().st_size

    def _look(self) -> None:
        """Find out by the folder which backup is the newest."""
        for newest in shelf.kept(self._folder)[-1:]:
            before = Standing.read(self._run_dir)
            seconds = before.seconds if before and before.good_ns == newest.taken_ns else 0.0
            self.standing = Standing(
                newest.taken_ns, newest.size, seconds, since_ns=self.standing.since_ns
            )

    def _say(self) -> None:
        write_whole(self._run_dir / STATUS, json.dumps(asdict(self.standing)).encode())
