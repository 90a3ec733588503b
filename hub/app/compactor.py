"""The compactor's loop: what is due, then a pause, until told to stop.

1. An error ends the loop and with it the process; the supervisor starts it anew, which cleans up.
   The journal keeps what is not compacted, so nothing is lost by that.
2. A full disk is no error: the store is opened anew, which deletes what was half written, after a pause.
3. Time, pause and stop come from outside.
What must never live here: how compaction works; see `hub/ports/store/compaction.py`.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from hub.ports.journal.durability import NO_ROOM
from hub.ports.store.compaction import Compactor

FULL_PAUSE_S = 15.0

logger = logging.getLogger(__name__)


def run_compactor(
    open_store: Callable[[], Compactor],
    *,
    clock: Callable[[], int],
    prune_below: Callable[[], Mapping[str, int]],
    stop: threading.Event,
    ready: Callable[[], None] = lambda: None,
    pause_s: float = 5.0,
) -> None:
    """Compact until `stop` is set.

    Args:
        open_store: opens the store for writing; closed here.
        clock: time, ns since 1970 UTC.
        prune_below: for each journal, the offset below which its other readers (detector replay,
            duplicates) need nothing any more.
        stop: set it to end after the present step.
        ready: called when the store is open.
        pause_s: between two looks, in seconds.

    Raises:
        StorageError: a journal or a file of the store is damaged.
        OSError: the disk failed.
    """
    full = False
    while not stop.is_set():
        with open_store() as compactor:
            ready()
            try:
                while not stop.is_set():
                    for step in compactor.steps(clock(), prune_below()):
                        logger.info("compactor: %s", step)
                        if stop.is_set():
                            return
                    full = False
                    stop.wait(pause_s)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                if not full:
                    logger.error(  # noqa: TRY400  expected, and the sentence says it all
                        "no room to compact: %s. Tried again every %.0f s; the journal keeps all",
                        error,
                        FULL_PAUSE_S,
                    )
                full = True
        if full:
            stop.wait(FULL_PAUSE_S)
