"""What can be made to go wrong in the running demo, by name.

1. A scenario acts on products; that something is wrong is for the hub to find.
2. It takes a product that lives and has nothing wrong yet, so scenarios can follow one another.
3. Never here: the hub.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from firmware_sim.fleet import SimulatedProduct
from firmware_sim.products.fault import Fault, FaultKind


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that goes wrong.

    Args:
        about: one line for people.
        kind: what goes wrong.
        rate_per_h: how fast, severity gained in an hour.
    """

    about: str
    kind: FaultKind
    rate_per_h: float


# Bearings live for years; these are gone in half a minute, as nobody would wait.
SCENARIOS: Final[Mapping[str, Scenario]] = {
    "bearing-wear": Scenario(
        "a compressor bearing fails: vibration rises", FaultKind.BEARING_WEAR, 120.0
    ),
    "refrigerant-leak": Scenario(
        "the refrigerant leaks out: heat output falls", FaultKind.REFRIGERANT_LEAK, 120.0
    ),
    "stuck-sensor": Scenario(
        "the flow temperature sensor sticks at its last reading", FaultKind.STUCK_SENSOR, inf
    ),
}


class UnknownScenarioError(Exception):
    """There is no such scenario, or nothing it could happen to; the message says what to do."""


class Mishaps:
    """Lets scenarios happen to products.

    Args:
        products: those that live; may grow.
    """

    def __init__(self, products: Sequence[SimulatedProduct]) -> None:
        self._products = products
        self._broken: set[str] = set()

    def happen(
        self, name: str, now_ns: int, product: SimulatedProduct | None = None
    ) -> SimulatedProduct:
        """Let a scenario happen.

        Args:
            name: of the scenario.
            now_ns: the instant, ns since 1970 UTC.
            product: to which product; None takes a fit one.

        Returns:
            The product it happens to.

        Raises:
            UnknownScenarioError: no such scenario, or no product is fit for it.
        """
        scenario = SCENARIOS.get(name)
        if scenario is None:
            raise UnknownScenarioError(
                f"There is no scenario {name!r}. There are: {', '.join(SCENARIOS)}."
            )
        chosen = product or self._fit()
        if chosen is None:
            raise UnknownScenarioError(
                "No product is running and sound at this moment. Try again in a minute."
            )
        chosen.inject(Fault(scenario.kind, now_ns, scenario.rate_per_h))
        self._broken.add(chosen.serial)
        return chosen

    def _fit(self) -> SimulatedProduct | None:
        sound = [product for product in self._products if product.serial not in self._broken]
        running = (p for p in sound if p.latest.get("compressor_hz", 0.0) > 0.0)
        return next(running, None)
