"""The demo manufacturer's catalogue: models with their metrics and features, and plans.

1. `catalogue.toml` beside this module is the document; the hub gets it as it is.
2. Never here: what the hub makes of it.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def document() -> dict[str, Any]:
    """The catalogue as the hub takes it; callers must not change it."""
    text = files("firmware_sim").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def metrics(model: str) -> tuple[str, ...]:
    """Names of the metrics of a model; empty if there is no such model."""
    entry = document()["models"].get(model, {})
    return tuple(metric["name"] for metric in entry.get("metrics", ()))


def has_button(model: str) -> bool:
    """Whether somebody who claims a product of a model must press its button; see `possession`."""
    return bool(document()["models"].get(model, {}).get("possession") == "window")


def models() -> tuple[str, ...]:
    """Names of all models."""
    return tuple(document()["models"])
