"""What every simulated product can do, whatever it is.

1. `step` is deterministic: the same seed, settings, faults and calls give the same bytes.
2. Time comes in as an argument; a product never reads a clock and never speaks to a network.
3. Never here: a particular product.
"""

from collections.abc import Mapping
from typing import Protocol

from firmware_sim.products.fault import Fault

Setting = bool | int | float | str | None


class UnknownCommandError(Exception):
    """The product has no such command."""


class Product(Protocol):
    """A product as fleets and demos see it."""

    @property
    def model(self) -> str:
        """Name of its model in the catalogue."""
        ...

    @property
    def commands(self) -> tuple[str, ...]:
        """Names of the commands it knows."""
        ...

    def step(self, dt_s: float, now_ns: int) -> dict[str, float]:
        """Live until an instant and read every sensor there.

        Args:
            dt_s: seconds since the instant before.
            now_ns: the instant, ns since 1970 UTC.

        Returns:
            Value by metric name, in the units of the catalogue.
        """
        ...

    def configure(self, settings: Mapping[str, Setting]) -> dict[str, str]:
        """Apply a pushed configuration; what is not given goes back to its default.

        Args:
            settings: value by name.

        Returns:
            What is wrong, by name of the setting; every other setting is in force.
        """
        ...

    def perform(self, command: str, arguments: Mapping[str, Setting]) -> dict[str, Setting]:
        """Obey a command.

        Args:
            command: its name.
            arguments: its arguments.

        Returns:
            What the product answers.

        Raises:
            UnknownCommandError: the product has no such command.
        """
        ...

    def inject(self, fault: Fault) -> None:
        """Let something go wrong; a fault of the same kind replaces the one before."""
        ...
