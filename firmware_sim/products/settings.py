"""Pushed settings: numbers within a range, by name.

1. What is wrong changes nothing and is told by name; everything else is in force.
2. What is not given goes back to its default.
3. Never here: what a setting does.
"""

from collections.abc import Mapping

from firmware_sim.products.product import Setting

Ranges = Mapping[str, tuple[float, float]]


def accept(
    settings: Mapping[str, Setting], ranges: Ranges, present: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, str]]:
    """Sort pushed settings into good and bad.

    Args:
        settings: value by name, as pushed.
        ranges: least and greatest value, by name of each setting that there is.
        present: values in force, which stay where the new one is wrong.

    Returns:
        Values of the settings that were named and exist, and what is wrong, by name.
    """
    accepted: dict[str, float] = {}
    errors: dict[str, str] = {}
    for name, value in settings.items():
        if name not in ranges:
            errors[name] = "this product has no such setting"
            continue
        low, high = ranges[name]
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            errors[name] = f"must be a number from {low:g} to {high:g}"
            accepted[name] = present[name]
        else:
            accepted[name] = float(value)
    return accepted, errors
