"""Bills agreements when their periods begin; run by the process `control`.

1. What is due is done in the order in which it was due, each agreement in a transaction of its own: one
   that fails is logged and tried again, and holds up nobody.
2. How late the clock comes changes nothing of what is billed, and when for (`renewals`).
"""

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine

from hub.ports.database.engine import read_session, write_session
from hub.services import renewals
from hub.services.tokens import Tokens

EVERY_S = 1.0

_log = logging.getLogger("homeport.billing")


class BillingClock:
    """Runs the renewals on a thread of its own.

    Args:
        engine: the database.
        tokens: source of ids.
        clock: the present time, ns.
    """

    def __init__(self, engine: Engine, tokens: Tokens, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._tokens = tokens
        self._clock = clock

    def step(self) -> int:
        """Do what is due; returns for how many agreements something was done."""
        at = self._clock()
        with read_session(self._engine) as session:
            due = renewals.due(session, at)
        return sum(self._act(agreement_id, at) for agreement_id in due)

    def catch_up(self) -> None:
        """Do all that is due."""
        while self.step():
            pass

    def next_due(self, after: int) -> int | None:
        """Return the first instant (ns) behind one at which something is due; `None`: nothing is."""
        with read_session(self._engine) as session:
            return renewals.next_due(session, after)

    def run(self, stop: threading.Event) -> None:
        """Work every `EVERY_S` seconds until `stop` is set."""
        while not stop.wait(EVERY_S):
            try:
                while self.step() and not stop.is_set():
                    pass
            except Exception:  # noqa: BLE001  billing must not stop for good
                _log.exception("what is due could not be looked up; trying again")

    def _act(self, agreement_id: str, at: int) -> bool:
        try:
            with write_session(self._engine) as session:
                return renewals.act(session, self._tokens, agreement_id, at)
        except Exception:  # noqa: BLE001  see rule 1
            _log.exception("agreement %s could not be billed; trying again", agreement_id)
            return False
