"""The compactor's loop: what is due, then a pause, until told to stop.

1. An error ends the loop and with it the process; the supervisor starts it anew, which cleans up.
   The journal keeps what is not compacted, so nothing is lost by that.
2. Time, pause and stop come from outside.
What must never live here: how compaction works; see `hub/ports/store/compaction.py`.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from hub.ports.store.compaction import Compactor

logger = logging.getLogger(__name__)


def run_compactor(
    compactor: Compactor,
    *,
    clock: Callable[[], int],
    prune_below: Callable[[], Mapping[str, int]],
    stop: threading.Event,
    pause_s: float = 5.0,
) -> None:
    """Compact until `stop` is set.

    Args:
        compactor: of the store; closed by the caller.
        clock: time, ns since 1970 UTC.
        prune_below: for each journal, the offset below which its other readers (detector replay,
            duplicates) need nothing any more.
        stop: set it to end after the present step.
        pause_s: between two looks, in seconds.

    Raises:
        StorageError: a journal or a file of the store is damaged.
        OSError: the disk failed or is full.
    """
    while not stop.is_set():
        for step in compactor.steps(clock(), prune_below()):
            logger.info("compactor: %s", step)
            if stop.is_set():
                return
        stop.wait(pause_s)
