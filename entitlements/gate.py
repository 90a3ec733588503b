"""Compiles the facts of products to the arrays that the gate of the pipeline looks up.

1. The arrays are those of the table "Gate snapshot" in docs/architecture.md, and nothing else.
2. A snapshot holds spans, not states: it stays right as time passes, until a fact changes.
3. A product that merely lacks a plan is quarantined, never refused: only a revoked identity, or a
   slot that nobody has, is refused.
4. `verdict_at` says what the arrays mean; the pipeline's kernel must equal it.

Only this module and `gate_table.py` of the package know of numpy.
"""

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from entitlements.budget import Budget, Limits, limits
from entitlements.codes import Code
from entitlements.decision import Question
from entitlements.facts import Facts, Feature, FeatureTerms, HoldKind, Model, PlanVersion
from entitlements.gate_metrics import Arrays
from entitlements.gate_table import Entry, GateSpan, GateTable, Spans
from entitlements.ladder import TELEMETRY, Outcome, ownership

FOREVER_AGO = np.iinfo(np.int64).min
"""Start of each slot's first span, so that a clock that is a little behind finds it too."""

_LAST_INSTANT = np.iinfo(np.int64).max


class Verdict(IntEnum):
    """What the gate does with telemetry of a product (wire.md, "Verdicts")."""

    ACCEPT = 0
    QUARANTINE = 1
    THROTTLE = 2
    REFUSE = 3


class Quarantine(IntEnum):
    """Why telemetry is kept without being shown (wire.md, "Verdicts")."""

    LAPSED = 1
    UNCLAIMED = 2
    CLONE = 3
    HOLD = 4


REFUSED = 7
"""Reject code `refused` of wire.md."""


def gate_verdict(outcome: Outcome) -> tuple[int, int]:
    """Return verdict and reason of the gate for what was decided about telemetry.

    Returns:
        `(Verdict, reason)`: the reason is 0, a `Quarantine` reason or a reject code.
    """
    if outcome.allowed:
        return Verdict.ACCEPT, 0
    if outcome.code is Code.REVOKED:
        return Verdict.REFUSE, REFUSED
    if outcome.code is Code.UNCLAIMED:
        return Verdict.QUARANTINE, Quarantine.UNCLAIMED
    if outcome.code is Code.HOLD:
        clone = outcome.args["kind"] == HoldKind.CLONE
        return Verdict.QUARANTINE, Quarantine.CLONE if clone else Quarantine.HOLD
    return Verdict.QUARANTINE, Quarantine.LAPSED


def gate_spans(facts: Facts, at: int) -> Spans:
    """Return what the gate does with one product's telemetry, and when, from an instant on.

    Args:
        facts: the facts of the product.
        at: the instant, ns UTC. The first span begins at `FOREVER_AGO` and is what holds at it.

    Raises:
        LookupError: the plan version of a subscription is not among the facts.
    """
    question = Question(facts, TELEMETRY)
    outcome = question.moment(at).outcome
    spans = [GateSpan(FOREVER_AGO, *gate_verdict(outcome), budget_of(facts, outcome))]
    for boundary in question.boundaries():
        if at < boundary <= _LAST_INSTANT:
            outcome = question.moment(boundary).outcome
            then = GateSpan(boundary, *gate_verdict(outcome), budget_of(facts, outcome))
            if then[1:] != spans[-1][1:]:
                spans.append(then)
    return tuple(spans)


def budget_of(facts: Facts, outcome: Outcome) -> Limits:
    """Return how much a product may send by what was decided about its telemetry.

    Args:
        facts: the facts of the product.
        outcome: the decision; a plan that covers telemetry brings its budget.
    """
    plan = facts.plans.get((outcome.plan or "", outcome.plan_version or 0))
    covered = plan.budget if outcome.allowed and plan is not None else None
    return limits(covered, facts.model.budget)


def gate_entry(facts: Facts, at: int) -> Entry:
    """Return what the gate knows of one product from an instant (ns UTC) on.

    Raises:
        LookupError: the plan version of a subscription is not among the facts.
    """
    owned = ownership(facts, at)
    return Entry(
        facts.device.slot,
        facts.device.device_id,
        facts.model.number,
        0 if owned is None else owned.epoch,
        "" if owned is None else owned.owner_id,
        gate_spans(facts, at),
        facts.device.cohort,
    )


def gate_table() -> GateTable:
    """Return the table of a hub without products: it refuses everybody."""
    return GateTable((GateSpan(FOREVER_AGO, int(Verdict.REFUSE), REFUSED),))


def compile_gate(facts: Iterable[Facts], models: Iterable[Model], at: int) -> Arrays:
    """Compile the arrays of the gate snapshot.

    Args:
        facts: the facts of every enrolled product, in any order.
        models: the catalogue, for its metrics.
        at: the instant of the compile, ns UTC. What lies before it is not in the snapshot.

    Returns:
        The arrays by name, with dtypes and shapes of the table in docs/architecture.md.

    Raises:
        ValueError: two products have one slot, a slot is 0, or a device id or a metric's name does
            not fit. The message names the product or metric.
        LookupError: the plan version of a subscription is not among the facts.
    """
    table = gate_table()
    table.describe(models)
    table.put([gate_entry(one, at) for one in facts])
    return table.exact()


def gate_terms(
    models: Iterable[Model], plans: Iterable[PlanVersion]
) -> dict[tuple[str, int], tuple[Feature | FeatureTerms | None, Budget | None]]:
    """Return all that the gate's decisions take from the catalogue, by model and plan version.

    Two catalogues that agree in it compile the same facts to the same spans.
    """
    terms: dict[tuple[str, int], tuple[Feature | FeatureTerms | None, Budget | None]] = {
        ("", model.number): (model.features.get(TELEMETRY), model.budget) for model in models
    }
    return terms | {
        (plan.code, plan.version): (plan.features.get(TELEMETRY), plan.budget) for plan in plans
    }


def verdict_at(
    arrays: Arrays,
    slots: npt.NDArray[np.uint32],
    at: int,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Look up what the gate does with telemetry of many products at one instant.

    Args:
        arrays: a compiled snapshot.
        slots: `u32[F]`, device slots. A slot beyond the snapshot is refused like an unused one.
        at: the instant, ns UTC.

    Returns:
        `(verdict u8[F], reason u8[F])`.
    """
    last = _spans_at(arrays, slots, at)
    verdict = arrays["span_verdict"].astype(np.uint8)[last]
    reason = arrays["span_reason"].astype(np.uint8)[last]
    return verdict, reason


def limits_at(arrays: Arrays, slots: npt.NDArray[np.uint32], at: int) -> npt.NDArray[np.int64]:
    """Look up how much many products may send at one instant.

    Args:
        arrays: a compiled snapshot.
        slots: `u32[F]`, device slots.
        at: the instant, ns UTC.

    Returns:
        `i64[F, 5]`, the terms of `Limits`.
    """
    rows = arrays["span_budget"].astype(np.int64)[_spans_at(arrays, slots, at)]
    return arrays["budget"].astype(np.int64)[rows]


def _spans_at(arrays: Arrays, slots: npt.NDArray[np.uint32], at: int) -> npt.NDArray[np.int64]:
    """Of each slot's spans, which rise in time, the last one that has begun. The first always has."""
    span = arrays["span"].astype(np.int64)
    row = np.where(slots < len(span), slots, 0)
    begun = np.concatenate(([0], np.cumsum(arrays["span_from"].astype(np.int64) <= at)))
    first, end = span[row, 0], span[row, 1]
    last: npt.NDArray[np.int64] = first + (begun[end] - begun[first]) - 1
    return last
