"""Keeps a broker that the hub does not start told of who is revoked, also of what it missed.

1. A revocation is told at once when it is made; this loop finds what could not be told then:
   the broker was away, or came back with an older state.
2. A failure is logged once, and tried again; nothing else of the hub waits for it.
What must never live here: how a broker shuts somebody out.
"""

import logging
import threading
from collections.abc import Callable, Collection

from hub.ports.broker.port import BrokerError

SWEEP_S = 30.0

_log = logging.getLogger("homeport.broker")


def keep_out(
    revoked: Callable[[], Collection[str]],
    reconcile: Callable[[Collection[str]], int],
    stop: threading.Event,
    pause_s: float = SWEEP_S,
) -> None:
    """Compare and correct until `stop` is set.

    Args:
        revoked: ids of all devices that are revoked.
        reconcile: shuts out those of them that are not yet, and says how many there were.
        stop: ends the loop.
        pause_s: between two looks, in seconds.
    """
    failing = False
    while not stop.is_set():
        try:
            told = reconcile(revoked())
        except (BrokerError, OSError) as error:
            if not failing:
                _log.warning("revocations cannot be checked at the broker; trying on: %s", error)
            failing = True
        else:
            failing = False
            if told:
                _log.info("told the broker of revocations", extra={"devices": told})
        stop.wait(pause_s)
