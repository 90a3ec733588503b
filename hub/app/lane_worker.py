"""A worker process among several: takes lanes by leases, and runs each in a thread.

1. The main thread beats, looks, takes and gives; the pipeline of a lane knows of it only whether its hold is good.
2. A lane that is given back is checkpointed and let go of first; who waits for it then takes it at once.
3. A lane that is lost ends by itself: it is kept from speaking by its hold, and from being heard by its successor.
4. A disk or a journal that fails ends the process, as with one worker. A database that does not answer ends nothing:
   holds run out, and the lanes stand still until it answers.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from hub.app.ingest import IngestConfig, run_worker
from hub.app.lane_hold import Hold
from hub.app.lane_watch import LaneWatch
from hub.errors import ConflictError
from hub.ports.journal.segments import all_segments
from hub.services.lane_leases import Lease

log = logging.getLogger(__name__)

_BEATS = 5  # in a term
_PATIENCE_S = 6.0  # for a lane to end


class Leases(Protocol):
    """The leases of all lanes; see `hub.services.lane_leases`."""

    def look(self) -> list[Lease]:
        """Return all leases."""

    def take(self, seen: Lease, holder: str, above: int = 0) -> int | None:
        """Take a lane that is as it was seen; its new token."""

    def beat(self, held: dict[int, int]) -> frozenset[int]:
        """Beat for lanes; those that are still held."""

    def release(self, held: dict[int, int]) -> None:
        """Let go of lanes."""

    def ask(self, lanes: list[int], who: str) -> None:
        """Ask to get lanes back."""


@dataclass(slots=True)
class _Lane:
    """A lane that this process has."""

    hold: Hold
    stop: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    error: BaseException | None = None

    def over(self) -> bool:
        return self.thread is not None and not self.thread.is_alive()


class LaneWorker:
    """One of several workers.

    Args:
        name: of this worker; no other has it.
        home: its own lanes.
        leases: of all lanes.
        term_s: how long a lease stands still until it is stale.
        config: of a lane, without a hold.
        unavailable: what `leases` raises while the database does not answer.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        home: frozenset[int],
        leases: Leases,
        term_s: float,
        config: Callable[[int], IngestConfig],
        unavailable: tuple[type[Exception], ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._home = home
        self._leases = leases
        self._term_s = term_s
        self._config = config
        self._unavailable = unavailable
        self._clock = clock
        self._watch = LaneWatch(name, home, term_s)
        self._lanes: dict[int, _Lane] = {}
        self._news = threading.Event()
        self._reachable = True

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        """Run until `stop` is set; `ready` is called when each home lane is served, here or by another worker.

        Raises:
            StorageError: the disk failed or a journal is damaged.
            OSError: likewise.
        """
        said = False
        try:
            while not stop.is_set():
                self._news.clear()
                self._round()
                if not said and all(
                    lane not in self._lanes or self._lanes[lane].ready.is_set()
                    for lane in self._home
                ):
                    said = True
                    ready()
                self._news.wait(self._term_s / _BEATS)
        finally:
            self._end()

    def _round(self) -> None:
        """Beat, look at all leases, and act."""
        self._bury()
        try:
            self._beat()
            now = self._clock()
            plan = self._watch.plan(self._leases.look(), self._lanes, now)
            for seen in plan.take:
                self._take(seen)
            if plan.ask:
                self._leases.ask(plan.ask, self._name)
        except self._unavailable as error:
            if self._reachable:
                log.error(  # noqa: TRY400  expected, and the sentence says it all
                    "The database does not answer (%s). Lanes stand still until it does.",
                    type(error).__name__,
                )
            self._reachable = False
            return
        self._reachable = True
        for lane in plan.give:
            log.info("lane given back", extra={"lane": lane})
            self._lanes[lane].stop.set()

    def _beat(self) -> None:
        held = {number: lane.hold.token for number, lane in self._lanes.items()}
        if not held:
            return
        sent = self._clock()
        kept = self._leases.beat(held)
        for number, lane in self._lanes.items():
            lane.hold.beaten(sent, kept=number in kept)
            if lane.hold.lost:
                log.error("lane lost", extra={"lane": number, "token": lane.hold.token})
                lane.stop.set()

    def _take(self, seen: Lease) -> None:
        """Take one lane and start it."""
        config = self._config(seen.lane)
        folders = (config.journal, config.findings, config.dead_letters)
        above = max((s.token for folder in folders for s in all_segments(folder)), default=0)
        since = self._clock()
        token = self._leases.take(seen, self._name, above)
        if token is None:
            return
        log.info("lane taken", extra={"lane": seen.lane, "token": token, "before": seen.holder})
        hold = Hold(seen.lane, token, self._still, self._term_s, since, self._clock)
        lane = _Lane(hold)
        lane.thread = threading.Thread(
            target=self._serve,
            args=(lane, replace(config, hold=hold)),
            name=f"lane {seen.lane}",
            daemon=True,
        )
        self._lanes[seen.lane] = lane
        lane.thread.start()

    def _still(self, hold: Hold) -> bool:
        return hold.lane in self._leases.beat({hold.lane: hold.token})

    def _serve(self, lane: _Lane, config: IngestConfig) -> None:
        """Run the pipeline of a lane, in a thread of its own."""
        try:
            run_worker(config, lane.stop, lane.ready.set)
        except ConflictError as error:  # the lease, or the journal, is somebody else's
            lane.hold.lost = True
            log.error("%s", error.detail)  # noqa: TRY400  expected, and the sentence says it all
        except BaseException as error:  # noqa: BLE001  the main thread raises it
            lane.error = error
        finally:
            lane.ready.set()
            self._news.set()

    def _bury(self) -> None:
        """Let go of lanes that have ended; raise what one of them ended with."""
        over = {number: lane for number, lane in self._lanes.items() if lane.over()}
        for number, lane in over.items():
            del self._lanes[number]
            if lane.error is not None and not isinstance(lane.error, self._unavailable):
                raise lane.error
        self._release({n: lane.hold.token for n, lane in over.items() if not lane.hold.lost})

    def _release(self, held: dict[int, int]) -> None:
        if not held:
            return
        try:
            self._leases.release(held)
        except self._unavailable:
            log.warning(
                "lanes could not be released; they are taken over when their leases are stale"
            )

    def _end(self) -> None:
        """End all lanes in order, and let go of those that did."""
        for lane in self._lanes.values():
            lane.stop.set()
        deadline = self._clock() + _PATIENCE_S
        ended = {}
        for number, lane in self._lanes.items():
            if lane.thread is not None:
                lane.thread.join(max(0.0, deadline - self._clock()))
            if lane.over() and not lane.hold.lost:
                ended[number] = lane.hold.token
        self._release(ended)
