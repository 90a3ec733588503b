"""What every simulated product can do, whatever it is.

1. `step` is deterministic: the same seed, settings, faults and calls give the same bytes.
2. Time comes in as an argument; a product never reads a clock and never speaks to a network.
3. Never here: a particular product.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from firmware_sim.products.fault import Fault, FaultKind
from firmware_sim.products.module import Module

COMMANDS: Final = ("identify", "restart")
"""Commands that every product knows."""

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

    @property
    def faults(self) -> frozenset[FaultKind]:
        """Faults of its physics that it can have."""
        ...

    @property
    def meter(self) -> float:
        """Reading of its counter, which survives a power cut as that of a real meter does."""
        ...

    @meter.setter
    def meter(self, reading: float) -> None: ...

    @property
    def module(self) -> Module:
        """Its connectivity module."""
        ...

    def step(self, dt_s: float, now_ns: int) -> dict[str, float]:
        """Live until an instant and read every sensor there.

        Args:
            dt_s: seconds since the instant before.
            now_ns: the instant, ns since 1970 UTC.

        Returns:
            Value by metric name, in the units of the catalogue; what cannot be read is left out.
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
        """Let something go wrong; a fault of the same kind replaces the one before.

        Args:
            fault: one of `faults`.

        Raises:
            UnknownFaultError: a product of this model cannot have it.
        """
        ...

    def repair(self) -> None:
        """Mend everything that is wrong; what broke on the way stays as it is."""
        ...

    def use(self, now_ns: int) -> None:
        """Put it to use now, as its owner would: a bath, a car that arrives, a cleaning run.

        Args:
            now_ns: ns since 1970 UTC.
        """
        ...


def obey(product: Product, command: str, arguments: Mapping[str, Setting]) -> dict[str, Setting]:
    """Obey a command that every product knows.

    Args:
        product: who obeys.
        command: `identify` (the display blinks for `seconds`) or `restart` (its firmware).
        arguments: the command's arguments.

    Returns:
        What the product answers.

    Raises:
        UnknownCommandError: there is no such command.
    """
    if command == "identify":
        return {"blinking_s": arguments.get("seconds", 30)}
    if command == "restart":
        product.module.restart()
        return {"restarts": product.module.restarts}
    known = ", ".join(product.commands)
    raise UnknownCommandError(
        f"a product of the model {product.model} has no command {command!r}; it knows: {known}"
    )
