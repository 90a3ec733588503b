"""How one decision develops over time."""

from typing import NamedTuple

from entitlements.decision import Decision
from entitlements.facts import Facts


class Span(NamedTuple):
    """A decision and the instant from which it holds, until the next span's start."""

    start: int
    decision: Decision


def spans(facts: Facts, feature: str, start: int, end: int | None = None) -> list[Span]:
    """Return the decisions for a feature over `[start, end)`, oldest first."""
    raise NotImplementedError
