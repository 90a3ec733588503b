"""Sends what waits: a thread of `control` that asks what is due, tells it, and writes down what came of it.

1. Nothing is held while the network is waited for: reading, sending and writing down are three steps. A hub that is
   killed between them sends again, under the same id.
2. Of each endpoint one delivery is on its way at a time; several endpoints at once, so that a slow one delays no other.
3. What is sent is made when it is sent, so a late delivery says what holds then.
"""

import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sqlalchemy import Engine

from hub.ports.database.engine import read_session, write_session
from hub.ports.webhook.port import Post, Posted
from hub.services import webhook_deliveries as deliveries
from hub.services import webhook_endpoints as endpoints
from hub.services import webhook_payload as payload
from hub.services.events import Event
from hub.services.tokens import Tokens

EVERY_S: Final = 0.5
AT_ONCE: Final = 4
PRUNE_EVERY_NS: Final = 86_400_000_000_000
_S: Final = 1_000_000_000
_log = logging.getLogger("homeport.webhooks")

OUTCOMES: Final = ("delivered", "refused", "unreachable")

_Order = tuple[str, str, dict[str, str], bytes]


class WebhookSender:
    """Sends the webhooks of one hub.

    Args:
        engine: the database.
        post: sends.
        tokens: knows the key of the secrets.
        clock: the present time, ns.
        world: the time of the world, ns, by which receivers judge how old a message is.
        chance: spreads retries.
        publish: tells live listeners of an endpoint that was disabled.
        count: is told what came of each try, a word of `OUTCOMES`.
    """

    def __init__(
        self,
        engine: Engine,
        post: Post,
        tokens: Tokens,
        *,
        clock: Callable[[], int],
        world: Callable[[], int],
        chance: random.Random,
        publish: Callable[[Event], None],
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._post = post
        self._tokens = tokens
        self._clock = clock
        self._world = world
        self._chance = chance
        self._publish = publish
        self._count = count
        self._pruned = 0
        self._turn = threading.Lock()

    def step(self) -> int:
        """Send what is due; returns how many were tried."""
        with self._turn, ThreadPoolExecutor(AT_ONCE) as pool:
            tried = 0
            while orders := self._due():
                version, waiting = orders
                for delivery_id, posted in zip(
                    [one[0] for one in waiting],
                    pool.map(lambda one: self._post(one[1], one[2], one[3]), waiting),
                    strict=True,
                ):
                    self._record(delivery_id, posted, version)
                tried += len(waiting)
            return tried

    def next_due(self, after: int) -> int | None:
        """Return the first instant after one at which something is due; None: nothing waits."""
        with read_session(self._engine) as session:
            return deliveries.next_due(session, after)

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set; each day forget what is too old."""
        while not stop.wait(EVERY_S):
            try:
                self.step()
                at = self._clock()
                if at - self._pruned >= PRUNE_EVERY_NS:
                    self._pruned = at
                    with write_session(self._engine) as session:
                        deliveries.prune(session, at)
            except Exception:  # noqa: BLE001  webhooks must not stop for good
                _log.exception("webhooks could not be sent; trying again")
                stop.wait(1.0)

    def _due(self) -> tuple[int, list[_Order]] | None:
        at, world_s = self._clock(), self._world() // _S
        with read_session(self._engine) as session:
            found = deliveries.due(session, at, AT_ONCE)
            if not found:
                return None
            orders = []
            for one in found:
                body = payload.body(session, one.event, at)
                sent = endpoints.headers(
                    self._tokens, one.endpoint, one.delivery.id, body, at, world_s
                )
                orders.append((one.delivery.id, one.endpoint.url, sent, body))
            return payload.version(session), orders

    def _record(self, delivery_id: str, posted: Posted, version: int) -> None:
        at = self._clock()
        self._count(outcome(posted))
        with write_session(self._engine) as session:
            disabled = deliveries.record(
                session, delivery_id, posted, version, at, self._chance.random()
            )
        if disabled is not None:
            _log.warning("webhook endpoint disabled", extra={"endpoint": disabled})
            self._publish(Event("webhook", at, data={"endpoint_id": disabled, "disabled": True}))


def outcome(posted: Posted) -> str:
    """Return what came of a try, in one word: 2xx, another answer, or none."""
    if posted.status is None:
        return "unreachable"
    return "delivered" if 200 <= posted.status < 300 else "refused"
