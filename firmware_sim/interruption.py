"""How a command that started processes is stopped by a person or a supervisor.

1. SIGTERM, and SIGHUP of a terminal that is closed, are the same as Ctrl-C: what was started is
   ended in order.
2. Once that has begun, further signals do not cut it short.
3. For commands only: signals belong to the whole process.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Run the body of a command; enter it innermost, so that all clearing up comes after it.

    Yields:
        Once; SIGINT, SIGTERM and SIGHUP raise `KeyboardInterrupt` inside, and are ignored afterwards.
    """
    for number in _SIGNALS:
        # `nohup` has SIGHUP ignored, and means it.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        _ignore()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _ignore()  # now, not after the body: what the body starts clears up inside it
    raise KeyboardInterrupt


def _ignore() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
