"""Works off the outbox of payments and of what the provider is to forget, and seals the ledger.

1. The provider is called between two transactions, never within one: nobody waits for it.
2. Whatever happens between the call and the record of its answer, the attempt is asked for again with
   the same id, and the provider does it once.
3. A provider that cannot be reached is asked again later and later; a decline is an answer.
4. The provider is asked for what it said unasked and what did not come, at a start and each hour.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import (
    Answer,
    Charge,
    Event,
    Outcome,
    PaymentPort,
    PaymentUnreachableError,
    known_as,
)
from hub.services import ledger_seals, payment_removals, payments, provider_events
from hub.services.payments import Hooks, Request

EVERY_S = 1.0
_MINUTE: Final = 60_000_000_000
_HEAR_EVERY: Final = 60 * _MINUTE
_HEAR_AGAIN: Final = 5 * _MINUTE
_UNDER_WAY: Final = 10 * _MINUTE
"""An event that is younger is left to come by itself."""

_log = logging.getLogger("homeport.payments")


class PaymentDesk:
    """Runs the outbox on a thread of its own.

    Args:
        engine: the database.
        port: the payment provider.
        hooks: what follows from answers.
        key: seals the ledger.
        clock: the present time, ns.
    """

    def __init__(
        self,
        engine: Engine,
        port: PaymentPort,
        hooks: Hooks,
        key: Ed25519PrivateKey,
        clock: Callable[[], int],
    ) -> None:
        self.port = port
        self.hooks = hooks
        self._engine = engine
        self._key = key
        self._clock = clock
        self._hear_at = 0

    def step(self) -> int:
        """Work off what is due and seal what was posted; returns how many answers were recorded."""
        recorded = 0
        while self._due():
            with write_session(self._engine) as session:
                requests = payments.begin(session, self._clock())
            recorded += sum(self._ask(request) for request in requests)
        self._remove()
        self._hear()
        with read_session(self._engine) as session:
            unsealed = ledger_seals.unsealed(session)
        if unsealed:
            with write_session(self._engine) as session:
                ledger_seals.seal(session, self._key, self._clock())
        return recorded

    def next_due(self, after: int) -> int | None:
        """Return the first instant after another at which an attempt is due (ns); None: there is none."""
        with read_session(self._engine) as session:
            return payments.next_due(session, after)

    def run(self, stop: threading.Event) -> None:
        """Work every `EVERY_S` seconds until `stop` is set."""
        while not stop.wait(EVERY_S):
            try:
                self.step()
            except Exception:  # noqa: BLE001  payments must not stop for good
                _log.exception("payments could not be worked off; trying again")

    def _due(self) -> bool:
        with read_session(self._engine) as session:
            return payments.due(session, self._clock())

    def _ask(self, request: Request) -> bool:
        try:
            answer = self._answer(request)
        except PaymentUnreachableError as error:
            _log.warning(
                "attempt %s is without an answer, asking again later: %s", request.attempt_id, error
            )
            return False
        try:
            with write_session(self._engine) as session:
                at = self._clock()
                return payments.record(session, request.attempt_id, answer, at, self.hooks)
        except Exception:  # noqa: BLE001  what follows from one answer holds up no other
            _log.exception(
                "the answer to attempt %s is not recorded, asking again later", request.attempt_id
            )
            return False

    def _remove(self) -> None:
        """Have the provider forget what it is to forget."""
        with read_session(self._engine) as session:
            if not payment_removals.due(session, self._clock()):
                return
        with write_session(self._engine) as session:
            removals = payment_removals.begin(session, self._clock())
        for removal in removals:
            try:
                self.port.remove(removal)
            except PaymentUnreachableError as error:
                _log.warning("a %s is not forgotten yet, asking again: %s", removal.kind, error)
                continue
            with write_session(self._engine) as session:
                payment_removals.done(session, removal)

    def _hear(self) -> None:
        """Take what the provider said and what did not come."""
        now = self._clock()
        if 0 < self._hear_at - now <= _HEAR_EVERY:
            return
        self._hear_at = now + _HEAR_AGAIN
        with read_session(self._engine) as session:
            since, until = provider_events.asks_since(session, now), now - _UNDER_WAY
        try:
            events = self.port.events(since, until)
        except PaymentUnreachableError as error:
            _log.warning("the provider's events are not known, asking again later: %s", error)
            return
        taken = [self._taken(event) for event in events]
        missed = taken.count(True)
        if missed:
            _log.warning(
                "%d events of the payment provider had not come and were taken now. Does its endpoint lead to "
                "this hub, with the secret in billing.stripe_webhook_secret?",
                missed,
            )
        if None in taken:  # it is asked for again
            return
        with write_session(self._engine) as session:
            provider_events.asked_until(session, until)
        self._hear_at = now + _HEAR_EVERY

    def _taken(self, event: Event) -> bool | None:
        """Take an event; say whether it is the first time, `None` if it could not be taken."""
        with read_session(self._engine) as session:
            if payments.knows_event(session, event.id):
                return False
        title = known_as(self.port, event.method)
        try:
            with write_session(self._engine) as session:
                return provider_events.take(session, event, self._clock(), self.hooks, title)
        except Exception:  # noqa: BLE001  what follows from one event holds up no other
            _log.exception("event %s of the provider is not taken, asking again later", event.id)
            return None

    def _answer(self, request: Request) -> Answer:
        if request.ask is None:
            return Answer(Outcome.PAID)
        if isinstance(request.ask, Charge):
            return self.port.charge(request.ask)
        return self.port.refund(request.ask)
