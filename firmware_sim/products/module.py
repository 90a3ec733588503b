"""The connectivity module that every product carries: its firmware's free memory, and Wi-Fi.

1. Memory is used and given back all the time; a firmware that leaks gives back less than it took.
2. At little memory the watchdog restarts the firmware: what leaked is free again, and leaks anew.
3. It has a random source of its own, so that it never disturbs the physics of the product.
4. Never here: the connection itself.
"""

from math import exp, sqrt
from random import Random
from typing import Final

MEMORY_TAU_S: Final = 1200.0  # how long a session with the hub holds its buffers
FADE_TAU_S: Final = 3600.0  # people and doors between the product and the access point
WATCHDOG_KB: Final = 14.0
FASTEST_PER_H: Final = 120.0  # a leak empties the memory in half a minute, never at once


class Module:
    """The module of one product.

    Args:
        seed: makes this module and its place in the house what they are.
    """

    __slots__ = (
        "_fade", "_free_kb", "_leaked_kb", "_random", "_rssi_db", "_used", "restarts",
    )  # fmt: skip

    def __init__(self, seed: str) -> None:
        random = self._random = Random(f"module/{seed}")
        self._free_kb = random.uniform(150.0, 190.0)
        self._rssi_db = random.uniform(-71.0, -50.0)
        self._used = random.gauss(0.0, 1.0)
        self._fade = random.gauss(0.0, 1.0)
        self._leaked_kb = 0.0
        self.restarts = 0

    def live(self, dt_s: float, leak_per_h: float) -> None:
        """Let the firmware run for a step.

        Args:
            dt_s: seconds.
            leak_per_h: share of the free memory that leaks in an hour.
        """
        gauss = self._random.gauss
        keep = exp(-dt_s / MEMORY_TAU_S)
        self._used = keep * self._used + sqrt(1.0 - keep * keep) * gauss(0.0, 1.0)
        keep = exp(-dt_s / FADE_TAU_S)
        self._fade = keep * self._fade + sqrt(1.0 - keep * keep) * gauss(0.0, 1.0)
        if leak_per_h:
            self._leaked_kb += self._free_kb * min(leak_per_h, FASTEST_PER_H) * dt_s / 3600.0
            if self._free_kb - self._leaked_kb < WATCHDOG_KB:
                self.restart()

    def restart(self) -> None:
        """Restart the firmware: its memory is whole again."""
        self._leaked_kb = 0.0
        self.restarts += 1

    def read(self) -> dict[str, float]:
        """Free memory and Wi-Fi signal, by metric name."""
        gauss = self._random.gauss
        free = self._free_kb - self._leaked_kb + 1.5 * self._used + 0.3 * gauss(0.0, 1.0)
        signal = self._rssi_db + 1.8 * self._fade + gauss(0.0, 0.8)
        return {"free_memory_kb": round(max(0.0, free), 1), "wifi_rssi_db": float(round(signal))}
