"""What goes wrong in the running demo: the shipped scenarios by name, several at a time.

1. A scenario acts on products; that something is wrong is for the hub to find.
2. What a scenario is about is the comment on its first line.
3. Never here: the hub, or what an event does.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files

from firmware_sim import scenario_player
from firmware_sim.fleet import Fleet
from firmware_sim.scenario import Event, Scenario
from firmware_sim.scenario_player import ScenarioPlayer
from firmware_sim.simulated import SimulatedProduct


def listed() -> Mapping[str, str]:
    """Return what each scenario is about, by its name."""
    return {name: _about(name) for name in scenario_player.shipped()}


class Playing:
    """The scenarios that play on a fleet.

    Args:
        fleet: to whom they happen; may grow.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._players: list[ScenarioPlayer] = []

    def begin(self, scenario: Scenario, now_ns: int) -> None:
        """Begin a scenario.

        Args:
            scenario: what shall happen.
            now_ns: the instant, ns since 1970 UTC.

        Raises:
            FleetError: an event does not fit the fleet; nothing happens.
        """
        self._players.append(ScenarioPlayer(scenario, self._fleet, now_ns))

    def advance(self, now_ns: int) -> Iterator[tuple[Event, list[SimulatedProduct]]]:
        """Let happen what is due.

        Args:
            now_ns: the instant, ns since 1970 UTC.

        Yields:
            Each event that happened, and the products to which it did.
        """
        for player in self._players:
            yield from player.advance(now_ns)
        self._players = [player for player in self._players if not player.done]


def _about(name: str) -> str:
    text = files("firmware_sim").joinpath("scenarios", f"{name}.txt").read_text(encoding="utf-8")
    return text.partition("\n")[0].lstrip("# ")
