"""Works off the outbox of payments and of what the provider is to forget, and seals the ledger.

1. The provider is called between two transactions, never within one: nobody waits for it.
2. Whatever happens between the call and the record of its answer, the attempt is asked for again with
   the same id, and the provider does it once.
3. A provider that cannot be reached is asked again later and later; a decline is an answer.
"""

import logging
import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from hub.ports.database.engine import read_session, write_session
from hub.ports.payment.port import Answer, Charge, Outcome, PaymentPort, PaymentUnreachableError
from hub.services import ledger_seals, payment_removals, payments
from hub.services.payments import Hooks, Request

EVERY_S = 1.0

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

    def step(self) -> int:
        """Work off what is due and seal what was posted; returns how many answers were recorded."""
        recorded = 0
        while self._due():
            with write_session(self._engine) as session:
                requests = payments.begin(session, self._clock())
            recorded += sum(self._ask(request) for request in requests)
        self._remove()
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
        with write_session(self._engine) as session:
            return payments.record(session, request.attempt_id, answer, self._clock(), self.hooks)

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

    def _answer(self, request: Request) -> Answer:
        if request.ask is None:
            return Answer(Outcome.PAID)
        if isinstance(request.ask, Charge):
            return self.port.charge(request.ask)
        return self.port.refund(request.ask)
