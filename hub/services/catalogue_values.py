"""Ranges and choices of the values that features and settings may have.

1. What does not fit is answered with what would, such as `must be from 1 to 10`.
"""

import math


def check_range(low: float | None, high: float | None) -> None:
    """Refuse limits that are not finite or the wrong way round.

    Raises:
        ValueError: they are.
    """
    limits = [limit for limit in (low, high) if limit is not None]
    if not all(map(math.isfinite, limits)) or limits != sorted(limits):
        raise ValueError("low and high must be finite and low not above high")


def check_choices(choices: tuple[int | str, ...]) -> None:
    """Refuse choices that are none, double or of two types.

    Raises:
        ValueError: they are.
    """
    if not choices or len(set(choices)) != len(choices):
        raise ValueError("choices must be at least one, each once")
    if len({type(choice) for choice in choices}) > 1:
        raise ValueError("choices must be all numbers or all texts")


def outside(
    value: float | str, low: float | None, high: float | None, choices: tuple[int | str, ...] | None
) -> str | None:
    """Say why a value is not within a range or one of the choices."""
    if isinstance(value, bool):
        return "must be a whole number or a text"
    if choices is not None:
        listed = ", ".join(map(str, choices))
        return None if value in choices else f"must be one of {listed}"
    if low is None and high is None:
        return None
    if isinstance(value, str):
        return "must be a number"
    fits = (low is None or low <= value) and (high is None or value <= high)
    return None if fits else f"must be {_range(low, high)}"


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def is_number(value: object) -> bool:
    """Say whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_of(value: object) -> str:
    """Say of which type values like this one are."""
    if isinstance(value, bool):
        return "true or false"
    return "a text" if isinstance(value, str) else "a number"
