"""The products that can be simulated: one entry for each model of the catalogue.

1. Whoever needs a product by the name of its model asks here; nobody else names the classes.
2. Never here: fleets, or what a product is sold with.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from firmware_sim.products.climate import Climate
from firmware_sim.products.ev_charger import EvCharger
from firmware_sim.products.fault import FaultKind
from firmware_sim.products.heat_pump import HeatPump
from firmware_sim.products.product import Product
from firmware_sim.products.robot_vacuum import RobotVacuum


class Maker(Protocol):
    """Makes one product."""

    def __call__(self, seed: int | str, *, climate: Climate, zone: str) -> Product:
        """Make a product that stands in `climate` and keeps the hours of `zone` (IANA)."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A model.

    Attributes:
        name: as the catalogue names it.
        prefix: of its serial numbers.
        one: what people call one of them,
        many: and several.
        faults: what its physics can suffer.
        make: makes one.
    """

    name: str
    prefix: str
    one: str
    many: str
    faults: frozenset[FaultKind]
    make: Maker


MODELS: Final = {
    model.name: model
    for model in (
        Model("heat-pump", "HP", "heat pump", "heat pumps", HeatPump.faults, HeatPump),
        Model("ev-charger", "EV", "charger", "chargers", EvCharger.faults, EvCharger),
        Model("robot-vacuum", "RV", "vacuum", "vacuums", RobotVacuum.faults, RobotVacuum),
    )
}
