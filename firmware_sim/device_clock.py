"""The clock of a simulated device: right until it is reset, and right again once it is set.

1. Physics never follows it: a house does not cool because a chip forgot the date.
2. A reset clock counts on from 1970 and says so (`ClockState.UNSET`); that is what a product without
   a battery behind its clock does after a power cut, until it hears the time.
3. Never here: who reads it.
"""

from collections.abc import Callable
from dataclasses import replace

from device_sdk.client import SYSTEM_CLOCKS
from device_sdk.engine import Clocks
from device_sdk.wire.codes import ClockState


class DeviceClock:
    """The clock of one device.

    Args:
        true_ns: the true time, ns since 1970 UTC.
    """

    def __init__(self, true_ns: Callable[[], int]) -> None:
        self._true_ns = true_ns
        self.offset_ns = 0

    @property
    def state(self) -> ClockState:
        """How far it can be trusted, as the device knows."""
        return ClockState.UNSET if self.offset_ns else ClockState.SYNCED

    def wall_ns(self) -> int:
        """What it shows, ns since 1970 UTC."""
        return self._true_ns() + self.offset_ns

    def reset(self, now_ns: int) -> None:
        """Lose the time at a (true) instant: it is 1 January 1970 again."""
        self.offset_ns = -now_ns

    def set(self) -> None:
        """Hear the time."""
        self.offset_ns = 0

    def clocks(self) -> Clocks:
        """Everything that a device wants to know of time and chance, with this clock."""
        return replace(SYSTEM_CLOCKS, wall_ns=self.wall_ns)
