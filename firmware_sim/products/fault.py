"""Faults: what goes wrong in a product, from when, and how fast.

1. A fault has no effect before its onset; from there its severity rises at its rate until 1.
2. Severity says how far the fault has gone; what that does is the physics of each product.
3. Never here: readings. A fault bends the physics, and the readings follow.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NS_PER_HOUR: Final = 3_600_000_000_000


class FaultKind(StrEnum):
    """Names of the faults, as people type them."""

    BEARING_WEAR = "bearing_wear"
    STUCK_SENSOR = "stuck_sensor"
    REFRIGERANT_LEAK = "refrigerant_leak"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one product.

    Args:
        kind: what goes wrong.
        onset_ns: when it begins, ns since 1970 UTC.
        rate_per_h: severity gained in an hour; `math.inf` is at once.
    """

    kind: FaultKind
    onset_ns: int
    rate_per_h: float

    def severity(self, now_ns: int) -> float:
        """How far the fault has gone at an instant.

        Args:
            now_ns: ns since 1970 UTC.

        Returns:
            0 (none) to 1 (complete).
        """
        if now_ns <= self.onset_ns:
            return 0.0
        return min(1.0, (now_ns - self.onset_ns) / NS_PER_HOUR * self.rate_per_h)
