import os
import signal
from collections.abc import Iterator

import pytest

from firmware_sim.interruption import until_interrupted

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", NUMBERS)
@pytest.mark.parametrize("second", NUMBERS)
def test_a_second_signal_does_not_cut_short_what_clears_up_inside(
    first: signal.Signals, second: signal.Signals
) -> None:
    cleared = []

    def body() -> None:
        with until_interrupted():
            try:
                os.kill(os.getpid(), first)
            finally:
                os.kill(os.getpid(), second)
                cleared.append(True)

    with pytest.raises(KeyboardInterrupt):
        body()
    assert cleared
    os.kill(os.getpid(), second)  # nor what clears up behind it
