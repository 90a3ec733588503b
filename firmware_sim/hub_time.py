"""The time that a fleet lives by: the machine's, and ahead with the hub if that is a demo hub whose clock was moved.

1. A product hears the hub's time with every receipt and state; the fleet asks its products what they heard.
2. Only leaps count: what a network or a slow clock explains changes nothing. It never runs back.
3. Never here: who moves the hub's clock, or what a product does with the time.
"""

import time
from collections.abc import Callable
from typing import Final

LEAP_NS: Final = 60_000_000_000


class HubTime:
    """A clock that follows a hub's.

    Args:
        world: the machine's time, ns since 1970 UTC.
    """

    def __init__(self, world: Callable[[], int] = time.time_ns) -> None:
        self._world = world
        self._ahead_ns = 0

    def __call__(self) -> int:
        """Return the present time, ns since 1970 UTC."""
        return self._world() + self._ahead_ns

    def hear(self, heard: tuple[int, int | None] | None) -> None:
        """Take in what a product heard of the hub's time (`Device.hub_time`).

        Args:
            heard: the earliest that it can be, ns, and by how much it may be later; the latter is None until the hub
                has answered since the product was switched on.
        """
        if heard is not None and heard[1] is not None and heard[0] - self() > LEAP_NS:
            self._ahead_ns = heard[0] - self._world()
