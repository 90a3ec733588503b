"""A supervised process, seen from inside: how it says that it is ready and learns when to end.

1. Ready: one line on the descriptor that was standard output; anything else that prints goes to
   standard error, so a chatty library cannot confuse the supervisor.
2. End: SIGTERM or SIGINT sets `stop`. So does the end of standard input, whose other end only the
   supervisor holds: no process outlives it, however it died, on any system.
3. Without a supervisor, nothing that this process started outlives it either, and it is killed
   if it does not end in time.

The other half is `hub.app.supervisor`.
"""

import atexit
import os
import signal
import threading
from types import FrameType
from typing import Self

READY_LINE = b"ready\n"

_LAST_RESORT_S = 8.0


class Child:
    """The running process. Make one with `enter`, first thing in the main thread.

    Attributes:
        stop: set when the process is to end.
    """

    def __init__(self, ready_descriptor: int) -> None:
        self.stop = threading.Event()
        self._ready_descriptor = ready_descriptor

    @classmethod
    def enter(cls) -> Self:
        """Take over standard output and the signals; watches the supervisor from now on.

        No thread is started here, so that a process may still be forked from; see `watch`.
        """
        private = os.dup(1)  # not inherited by what this process starts
        os.dup2(2, 1)
        child = cls(private)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, child._on_signal)
        return child

    def watch(self) -> None:
        """Start to watch the supervisor: when it is gone, this process ends too."""
        threading.Thread(target=self._wait_for_orphanage, name="supervisor", daemon=True).start()

    def ready(self) -> None:
        """Tell the supervisor that this process does its job now."""
        os.write(self._ready_descriptor, READY_LINE)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stop.set()

    def _wait_for_orphanage(self) -> None:
        while os.read(0, 64):
            pass
        atexit.register(_end_group)
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(_LAST_RESORT_S)
        _end_group()


def _end_group() -> None:
    """Kill this process and all it started; a supervised process leads a group of its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
