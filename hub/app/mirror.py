"""The loop that feeds a time-series database, until told to stop.

1. A database that is away is waited for, with growing pauses; the journal keeps everything.
2. A damaged journal ends the loop and with it the process.
What must never live here: which database, or what is sent.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from hub.errors import StorageError
from hub.ports.store.mirror import Mirror

_PAUSE_S = 0.5
_LONGEST_S = 15.0

_log = logging.getLogger("homeport.mirror")


def run_mirror(
    mirror: Mirror,
    *,
    clock: Callable[[], int],
    synced: Callable[[], Mapping[str, int]],
    stop: threading.Event,
) -> None:
    """Feed until `stop` is set.

    Args:
        mirror: what is fed.
        clock: time, ns since 1970 UTC.
        synced: for each journal, the offset below which it is on disk.
        stop: set it to end after the present step.
    """
    pause = _PAUSE_S
    while not stop.is_set():
        try:
            sent = mirror.step(clock(), synced())
        except StorageError as error:
            _log.warning("%s Trying again in %.1f s.", error.detail, pause)
            stop.wait(pause)
            pause = min(2 * pause, _LONGEST_S)
            continue
        pause = _PAUSE_S
        if not sent:
            stop.wait(_PAUSE_S)
