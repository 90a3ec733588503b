"""Closes usage periods that are over, some products at a time, and works off what came late.

1. A product is one short transaction; what fails is logged and tried again in the next round.
2. Nobody waits for a statement, so it waits for everybody: after each product it rests much longer than that took.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import Engine

from hub.metrics import Metrics
from hub.ports.database.engine import read_session, write_session
from hub.ports.store.port import TelemetryStore
from hub.services import usage_statements
from hub.services.tokens import Tokens
from hub.services.usage_archive import Totals

EVERY_S = 5.0
PART = 200
"""Products looked at in one step."""
CORRECTIONS = 50
"""Corrections worked off in one step."""
REST = 4.0
"""How long a rest is, in times of the work before it."""
ROUND_NS = 3_600_000_000_000
"""A round begins this long after the one before began, or as soon as that is done."""

_log = logging.getLogger("homeport.statements")


class StatementClock:
    """Runs `usage_statements` on a thread of its own.

    Args:
        engine: the database.
        store: the archive.
        tokens: source of ids.
        clock: the present time, ns.
        metrics: of this process.
    """

    def __init__(
        self,
        engine: Engine,
        store: TelemetryStore,
        tokens: Tokens,
        clock: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._made = metrics.statements
        self._after: int | None = 0
        self._begun = clock()

    def step(self, rest: Callable[[float], object] = lambda _seconds: None) -> int:
        """Work off corrections and look at the next part; returns how many statements were made.

        Args:
            rest: sleeps for so many seconds.
        """
        at = self._clock()
        with read_session(self._engine) as session:
            late = usage_statements.pending(session, CORRECTIONS)
        made = 0
        for one in late:
            made += self._tried(partial(self._adjust, one.product_id, one.meter, at), rest)
        if self._after is None:
            if at - self._begun < ROUND_NS:
                return made
            self._after, self._begun = 0, at
        with read_session(self._engine) as session:
            products, self._after = usage_statements.part(session, self._after, PART)
        for product_id in products:
            made += self._tried(partial(self._close, product_id, at), rest)
        return made

    def _tried(self, deed: Callable[[], int], rest: Callable[[float], object]) -> int:
        """Do something about one product and rest; what fails holds up nobody."""
        began, made = time.monotonic(), 0
        try:
            made = deed()
        except Exception:  # noqa: BLE001  see rule 1
            _log.exception("a usage period could not be closed or adjusted; trying again")
        rest(REST * (time.monotonic() - began))
        return made

    def _close(self, product_id: str, at: int) -> int:
        """Close periods of a product; what changes while they are counted leaves them for the next round."""
        made, news = 0, -1
        while news:
            with read_session(self._engine) as session:
                found = usage_statements.drafts(session, Totals(self._store), product_id, at)
            if not found:
                break
            with write_session(self._engine) as session:
                news = len(usage_statements.close(session, self._tokens, product_id, found, at))
            made += news
        self._made.inc(made)
        return made

    def _adjust(self, product_id: str, meter: int, at: int) -> int:
        archive = Totals(self._store)
        with read_session(self._engine) as session:
            row = usage_statements.correction(session, product_id, meter)
            if row is None:
                return 0
            usage_statements.foresee(session, archive, row, at)
        with write_session(self._engine) as session:
            row = usage_statements.correction(session, product_id, meter)
            if row is None:
                return 0
            made = len(usage_statements.adjust(session, archive, self._tokens, row, at))
        self._made.inc(made)
        return made

    def run(self, stop: threading.Event) -> None:
        """Take a step every `EVERY_S` seconds until `stop` is set."""
        while not stop.wait(EVERY_S):
            try:
                self.step(stop.wait)
            except Exception:  # noqa: BLE001  statements must not stop for good
                _log.exception("usage periods could not be closed; trying again")
