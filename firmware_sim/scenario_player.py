"""Plays a scenario on a fleet: each event when its time has come, once.

1. What does not fit the fleet is refused before anything has happened.
2. Time is an argument.
3. Never here: what an event does.
"""

from collections.abc import Sequence
from importlib.resources import files

from firmware_sim import scenario
from firmware_sim.fleet import Fleet
from firmware_sim.scenario import Event, Scenario
from firmware_sim.simulated import SimulatedProduct


class UnknownScenarioError(Exception):
    """No scenario of this name ships with Homeport."""


def shipped() -> tuple[str, ...]:
    """Names of the scenarios that ship with Homeport."""
    folder = files("firmware_sim").joinpath("scenarios")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".txt") for name in names if name.endswith(".txt")))


def load_shipped(name: str) -> Scenario:
    """Read a scenario that ships with Homeport.

    Args:
        name: its name, such as `bearing_wear`.

    Raises:
        UnknownScenarioError: there is none of this name.
    """
    if name not in shipped():
        raise UnknownScenarioError(
            f"There is no scenario {name!r}. There are: {', '.join(shipped())}."
        )
    text = files("firmware_sim").joinpath("scenarios", f"{name}.txt").read_text(encoding="utf-8")
    return scenario.parse(text, name)


class ScenarioPlayer:
    """Plays one scenario on one fleet.

    Args:
        scenario: what shall happen.
        fleet: to whom.
        start_ns: when the scenario begins, ns since 1970 UTC.

    Raises:
        FleetError: an event does not fit the fleet; nothing has happened.
    """

    def __init__(self, scenario: Scenario, fleet: Fleet, start_ns: int) -> None:
        for event in scenario.events:
            fleet.meant(event)
        self._fleet, self._start_ns = fleet, start_ns
        self._left = list(scenario.events)

    @property
    def done(self) -> bool:
        """Whether every event has happened."""
        return not self._left

    def advance(self, now_ns: int) -> Sequence[tuple[Event, list[SimulatedProduct]]]:
        """Let happen what is due.

        Args:
            now_ns: ns since 1970 UTC.

        Returns:
            Each event that happened, and the products to which it did.
        """
        happened = []
        while self._left and self._start_ns + self._left[0].at_ns <= now_ns:
            event = self._left.pop(0)
            happened.append((event, self._fleet.apply(event, now_ns)))
        return happened
