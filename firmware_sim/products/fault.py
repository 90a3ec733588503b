"""Faults: what goes wrong in a product, from when, how fast, and until when.

1. A fault has no effect before its onset; from there its severity rises at its rate until 1.
2. Severity says how far the fault has gone; what that does is the physics of each product.
3. Faults of the link (`LINK_FAULTS`) are not physics: whoever runs the device carries them out.
4. Never here: readings. A fault bends the physics, and the readings follow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NS_PER_HOUR: Final = 3_600_000_000_000


class FaultKind(StrEnum):
    """Names of the faults, as people type them."""

    BEARING_WEAR = "bearing_wear"
    STUCK_SENSOR = "stuck_sensor"
    LEAK = "leak"
    FOULED_FILTER = "fouled_filter"
    MEMORY_LEAK = "memory_leak"
    BATTERY_FADE = "battery_fade"
    WIFI_FLAPPING = "wifi_flapping"
    CLOCK_RESET = "clock_reset"
    CLONE = "clone"


LINK_FAULTS: Final = frozenset({FaultKind.WIFI_FLAPPING, FaultKind.CLOCK_RESET, FaultKind.CLONE})
"""Faults of the device and its connection, which any product can have."""


class UnknownFaultError(Exception):
    """A product of this model cannot have this fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one product.

    Args:
        kind: what goes wrong.
        onset_ns: when it begins, ns since 1970 UTC.
        rate_per_h: severity gained in an hour; `math.inf` is at once.
        until_ns: when it is gone by itself; None is never.
    """

    kind: FaultKind
    onset_ns: int
    rate_per_h: float
    until_ns: int | None = None

    def severity(self, now_ns: int) -> float:
        """How far the fault has gone at an instant.

        Args:
            now_ns: ns since 1970 UTC.

        Returns:
            0 (none) to 1 (complete).
        """
        if now_ns <= self.onset_ns or (self.until_ns is not None and now_ns >= self.until_ns):
            return 0.0
        return min(1.0, (now_ns - self.onset_ns) / NS_PER_HOUR * self.rate_per_h)


class Faults:
    """The faults of one product, at most one of each kind.

    Args:
        model: the product's model, for messages.
        possible: kinds that this product can have.
    """

    __slots__ = ("_by_kind", "_model", "_possible")

    def __init__(self, model: str, possible: Iterable[FaultKind]) -> None:
        self._model = model
        self._possible = frozenset(possible)
        self._by_kind: dict[FaultKind, Fault] = {}

    def inject(self, fault: Fault) -> None:
        """Take a fault in; one of the same kind replaces the one before.

        Raises:
            UnknownFaultError: the product cannot have it.
        """
        if fault.kind not in self._possible:
            names = ", ".join(sorted(self._possible))
            raise UnknownFaultError(
                f"A {self._model} cannot have {fault.kind}; it can have {names}."
            )
        self._by_kind[fault.kind] = fault

    def clear(self) -> None:
        """Repair everything."""
        self._by_kind.clear()

    def severity(self, kind: FaultKind, now_ns: int) -> float:
        """How far a kind of fault has gone, 0 (none) to 1; see `Fault.severity`."""
        fault = self._by_kind.get(kind)
        return fault.severity(now_ns) if fault else 0.0

    def rate_per_h(self, kind: FaultKind, now_ns: int) -> float:
        """How fast a kind of fault goes on at an instant, for faults whose effect adds up."""
        fault = self._by_kind.get(kind)
        return fault.rate_per_h if fault and fault.severity(now_ns) else 0.0
