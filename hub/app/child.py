"""A supervised process, seen from inside: when it may begin, how it says that it is ready, when it ends.

1. Turn: one line on standard input. All processes of a hub load their programs at the same time; what
   others may notice is begun only when the supervisor says so. Until then a signal just kills.
2. Ready: one line on the descriptor that was standard output; anything else that prints goes to
   standard error, so a chatty library cannot confuse the supervisor.
3. End: SIGTERM or SIGINT sets `stop`. So does the end of standard input, whose other end only the
   supervisor holds: no process outlives it, however it died, on any system.
4. Without a supervisor, nothing that this process started outlives it either, and it is killed
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
TURN_LINE = b"begin\n"

_LAST_RESORT_S = 8.0


class Child:
    """The running process. Make one with `enter`, first thing in the main thread; then `await_turn`.

    Attributes:
        stop: set when the process is to end.
    """

    def __init__(self, ready_descriptor: int) -> None:
        self.stop = threading.Event()
        self._ready_descriptor = ready_descriptor

    @classmethod
    def enter(cls) -> Self:
        """Take over standard output."""
        private = os.dup(1)  # not inherited by what this process starts
        os.dup2(2, 1)
        return cls(private)

    def await_turn(self) -> None:
        """Wait until the roles before this one are ready, and take over the signals.

        No thread is started here, so that a process may still be forked from; see `watch`.

        Raises:
            SystemExit: the supervisor is gone.
        """
        if not os.read(0, len(TURN_LINE)):
            raise SystemExit(1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

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
