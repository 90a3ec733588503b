"""How one decision develops over time.

1. The decision at any instant equals the one of the span that contains it.
2. Neighbouring spans differ in more than their `until`, so a list of spans is as short as can be.
"""

from typing import NamedTuple

from entitlements.decision import Decision, Moment, Question
from entitlements.facts import Facts


class Span(NamedTuple):
    """A decision that holds from `start` until the next span's start or `decision.until`."""

    start: int
    decision: Decision


def spans(facts: Facts, feature: str, start: int, end: int | None = None) -> list[Span]:
    """Return the decisions for a feature over `[start, end)`, oldest first.

    Args:
        facts: the facts of the product.
        feature: name of the feature.
        start: first instant, ns UTC; the first span starts here.
        end: end of the time looked at, `None` for ever. The last span's `until` may lie beyond.

    Raises:
        ValueError: `end` is not after `start`.
        LookupError: the plan version of a subscription is not among the facts.
    """
    if end is not None and end <= start:
        raise ValueError(f"end {end} must be after start {start}; swap them or widen the time")
    question = Question(facts, feature)
    moments = moments_of(question, start)
    starts: list[int | None] = [instant for instant, _ in moments]
    return [
        Span(begin, question.decision(moment, until))
        for (begin, moment), until in zip(moments, [*starts[1:], None], strict=True)
        if end is None or begin < end
    ]


def moments_of(question: Question, start: int) -> list[tuple[int, Moment]]:
    """Return `start` and every later instant at which the answer changes, with the answers."""
    moments = [(start, question.moment(start))]
    for boundary in question.boundaries():
        if boundary > start:
            moment = question.moment(boundary)
            if moment != moments[-1][1]:
                moments.append((boundary, moment))
    return moments
