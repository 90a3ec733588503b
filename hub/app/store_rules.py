"""What the store has to keep to, read from the database for the compactor: terms of plans and orders to erase.

1. New orders are seen at the next run; terms of plans within some minutes: they change by days.
2. While the database cannot be read, what was read last holds. A store is not touched before anything was read: rows
   that are to be erased would be kept.
What must never live here: what follows from the rules.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from hub.ports.database.engine import read_session
from hub.ports.database.privacy_tables import TelemetryErasure
from hub.ports.store.upkeep import Rules
from hub.services import retention

EVERY_NS = 600 * 1_000_000_000

_log = logging.getLogger("homeport.store")


class StoreRules:
    """Reads the rules; call it with the present time.

    Args:
        engine: the database.
        default: days by level of products without a plan that says; None: for ever.
        patience_days: how long a subscription counts after its end.
    """

    def __init__(self, engine: Engine, default: Sequence[int | None], patience_days: int) -> None:
        self._engine = engine
        self._default = default
        self._patience_days = patience_days
        self._rules: Rules | None = None
        self._newest = 0
        self._read_at = 0

    def __call__(self, now_ns: int) -> Rules:
        """Return the rules in force.

        Raises:
            DBAPIError: the database cannot be read, and never was.
        """
        try:
            return self._read(now_ns)
        except DBAPIError:
            if self._rules is None:
                raise
            _log.warning("the database cannot be read; the store keeps to what it knows")
            return self._rules

    def _read(self, now_ns: int) -> Rules:
        with read_session(self._engine) as session:
            newest = session.scalar(select(func.max(TelemetryErasure.id))) or 0
            rules = self._rules
            if rules is None or newest != self._newest:
                rules = replace(rules or Rules(), tombstones=retention.orders(session))
            if self._rules is None or not 0 <= now_ns - self._read_at < EVERY_NS:
                days = retention.load(session, self._default, self._patience_days, now_ns)
                rules, self._read_at = replace(rules, retention=days), now_ns
        self._newest, self._rules = newest, rules
        return rules
