"""Lets the threads of a process write to SQLite in the order in which they came.

1. SQLite's own waiting asks again and again, after pauses of up to 100 ms: whoever happens to ask first gets the lock,
   and of many writers one can be passed over until it fails.
2. It is about order only: SQLite's lock guards the data, also against other processes. Whoever waits for too long,
   or for itself, goes on without a turn and leaves it to that.
What must never live here: anything of what is written.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 30.0


class WriteTurns:
    """The queue of one database.

    Args:
        patience_s: how long a thread waits for its turn.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._guard = threading.Lock()
        self._owner: int | None = None
        self._waiting: deque[tuple[int, threading.Event]] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and give it to the next one at the end of the block."""
        mine = self._take()
        try:
            yield
        finally:
            if mine:
                self._pass_on()

    def _take(self) -> bool:
        me, called = threading.get_ident(), threading.Event()
        with self._guard:
            if self._owner is None:
                self._owner = me
                return True
            if self._owner == me:
                return False
            self._waiting.append((me, called))
        if called.wait(self._patience_s):
            return True
        with self._guard:
            if called.is_set():  # in the last moment
                return True
            self._waiting.remove((me, called))
        return False

    def _pass_on(self) -> None:
        with self._guard:
            if not self._waiting:
                self._owner = None
                return
            self._owner, called = self._waiting.popleft()
            called.set()
