"""What a product is configured to: the values of several layers, and which of them wins.

1. A higher layer wins for the settings that it names, and says nothing of the others: the model's
   default, then the plan, then the household, then the product itself.
2. A layer that names no value for a setting is not among the setting's layers.
3. Holds change no configuration: they block features, and cancel nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Scalar = bool | int | float | str | None
"""What a setting can be set to."""


class Layer(StrEnum):
    """Who says what a setting is, the weakest first."""

    MODEL = "model"
    PLAN = "plan"
    OWNER = "owner"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a product.

    Args:
        value: what it is set to.
        winner: the layer that says so.
        layers: what each layer says that says anything, the weakest first.
    """

    value: Scalar
    winner: Layer
    layers: Mapping[Layer, Scalar]


def resolve(layers: Mapping[Layer, Mapping[str, Scalar]]) -> dict[str, Setting]:
    """Return the settings of a product by name, in the order of names.

    Args:
        layers: settings by name for each layer; a layer may be missing.
    """
    said: dict[str, dict[Layer, Scalar]] = {}
    for layer in Layer:
        for name, value in layers.get(layer, {}).items():
            said.setdefault(name, {})[layer] = value
    return {
        name: Setting(says[winner := list(says)[-1]], winner, says)
        for name, says in sorted(said.items())
    }
