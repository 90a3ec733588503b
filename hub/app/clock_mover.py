"""Moves a demo hub's clock ahead, so that what falls due on the way happens in order and at its instant.

1. It goes from one instant at which something is due to the next; between them by strides, for what looks round at
   intervals. At each halt every duty does what is due before the clock goes on.
2. Where to halt is asked anew at each halt: what a duty does may make another due on the way.
3. One move at a time. A move that fails in the middle leaves the clock where it came to.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from hub.errors import ConflictError, InvalidInputError
from hub.ports.clock import MovableClock
from hub.ports.database.engine import write_session
from hub.services import clock as records
from hub.services.caller import Caller

STRIDE_NS: Final = 3_600_000_000_000
MOST_STRIDES: Final = 500
MOST_HALTS: Final = 20_000
_log = logging.getLogger("homeport.clock")


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that the hub does when its time has come.

    Args:
        name: for the log.
        step: does what is due now; called again it finds nothing to do.
        due: returns the first instant after the one given at which something is due, ns; None: nothing is. A duty
            without it looks round at intervals.
    """

    name: str
    step: Callable[[], object]
    due: Callable[[int], int | None] | None = None


class ClockMover:
    """Moves the clock of one hub.

    Args:
        engine: the database.
        clock: what is moved; None: this hub is none whose clock may be.
        duties: what happens at each halt, in this order.
        settle: waits until what was committed has come to the gate.
    """

    def __init__(
        self,
        engine: Engine,
        clock: MovableClock | None,
        duties: Sequence[Duty],
        settle: Callable[[], object],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._duties = duties
        self._settle = settle
        self._moving = threading.Lock()

    def advance(self, caller: Caller, by_ns: int) -> int:
        """Move the clock ahead.

        Args:
            caller: needs `clock:move`.
            by_ns: by how much.

        Returns:
            How often it halted on the way.

        Raises:
            ConflictError: it is no demo hub, or the clock is being moved already.
            InvalidInputError: backwards, or too far at once.
        """
        if self._clock is None:
            raise ConflictError(
                "The clock of this hub cannot be moved: it is no demo hub. Start one with `homeport demo`, or a new "
                "hub with the setting demo = true."
            )
        if not 0 < by_ns <= records.FURTHEST_NS:
            days = records.FURTHEST_NS // 86_400_000_000_000
            raise InvalidInputError(
                f"The clock is moved ahead only, and by {days} days at most at once."
            )
        if not self._moving.acquire(blocking=False):
            raise ConflictError("The clock is being moved already. Wait until that is done.")
        try:
            return self._move(caller, self._clock, self._clock.ahead_ns + by_ns, by_ns)
        finally:
            self._moving.release()

    def _move(self, caller: Caller, clock: MovableClock, goal: int, by_ns: int) -> int:
        stride, halts = max(STRIDE_NS, by_ns // MOST_STRIDES), 0
        with write_session(self._engine) as session:
            records.keep_ahead(session, caller, goal, by_ns, clock())
        while clock.ahead_ns < goal:
            now = clock()
            halt = min([goal - clock.ahead_ns, stride, *(at - now for at in self._next(now))])
            clock.put_ahead(clock.ahead_ns + max(1, halt))
            for duty in self._duties:
                duty.step()
            self._settle()
            halts += 1
            if halts > MOST_HALTS:
                raise ConflictError(
                    f"The clock halted {halts} times and is not there yet; something is due again and again. It stays "
                    "where it came to."
                )
        _log.info("clock moved", extra={"by_ns": by_ns, "halts": halts})
        return halts

    def _next(self, now: int) -> list[int]:
        found = (duty.due(now) for duty in self._duties if duty.due is not None)
        return [at for at in found if at is not None and at > now]
