"""Compiles the facts of all products to the arrays that the gate of the pipeline looks up.

1. The arrays are those of the table "Gate snapshot" in docs/architecture.md, and nothing else.
2. A snapshot holds spans, not states: it stays right as time passes, until a fact changes.
3. A product that merely lacks a plan is quarantined, never refused: only a revoked identity, or a
   slot that nobody has, is refused.
4. `verdict_at` says what the arrays mean; the pipeline's kernel must equal it.

Only this module of the package knows of numpy.
"""

from collections.abc import Iterable
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from entitlements.codes import Code
from entitlements.decision import Question
from entitlements.facts import Facts, HoldKind, MetricKind, Model
from entitlements.ladder import TELEMETRY, Outcome, owner_epoch

FOREVER_AGO = np.iinfo(np.int64).min
"""Start of each slot's first span, so that a clock that is a little behind finds it too."""

NAME_BYTES = 48
UNIT_BYTES = 48
ID_BYTES = 16
_LAST_INSTANT = np.iinfo(np.int64).max

Arrays = dict[str, npt.NDArray[np.generic]]


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

_METRIC_KIND = {MetricKind.GAUGE: 0, MetricKind.COUNTER: 1}


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


def gate_spans(facts: Facts, at: int) -> list[tuple[int, int, int]]:
    """Return `(from, verdict, reason)` of one product's telemetry from an instant on.

    Args:
        facts: the facts of the product.
        at: the instant, ns UTC. The first span begins at `FOREVER_AGO` and is what holds at it.

    Raises:
        LookupError: the plan version of a subscription is not among the facts.
    """
    question = Question(facts, TELEMETRY)
    verdict, reason = gate_verdict(question.moment(at).outcome)
    spans = [(FOREVER_AGO, verdict, reason)]
    for boundary in question.boundaries():
        if at < boundary <= _LAST_INSTANT:
            then = gate_verdict(question.moment(boundary).outcome)
            if then != (verdict, reason):
                verdict, reason = then
                spans.append((boundary, verdict, reason))
    return spans


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
    by_slot: dict[int, Facts] = {}
    for one in facts:
        slot = one.device.slot
        if slot < 1 or slot in by_slot:
            raise ValueError(
                f"device {one.device.device_id} has slot {slot}, which is taken or not allowed;"
                " slots are unique and start at 1",
            )
        by_slot[slot] = one
    count = max(by_slot, default=0) + 1
    device_id = np.zeros((count, ID_BYTES), np.uint8)
    model = np.zeros(count, np.uint16)
    epoch = np.zeros(count, np.uint32)
    span = np.zeros(count + 1, np.uint32)
    rows: list[tuple[int, int, int]] = []
    unused = (FOREVER_AGO, int(Verdict.REFUSE), REFUSED)
    for slot in range(count):
        product = by_slot.get(slot)
        if product is None:
            rows.append(unused)
        else:
            device_id[slot] = _fixed(product.device.device_id, ID_BYTES, exact=True)
            model[slot] = product.model.number
            epoch[slot] = owner_epoch(product, at)
            rows.extend(gate_spans(product, at))
        span[slot + 1] = len(rows)
    starts, verdicts, reasons = zip(*rows, strict=True)
    return {
        "device_id": device_id,
        "model": model,
        "epoch": epoch,
        "span": span,
        "span_from": np.array(starts, np.int64),
        "span_verdict": np.array(verdicts, np.uint8),
        "span_reason": np.array(reasons, np.uint8),
        **_metrics(models),
    }


def _metrics(models: Iterable[Model]) -> Arrays:
    rows = sorted(
        ((model.number, metric.index, metric) for model in models for metric in model.metrics),
        key=lambda row: row[:2],
    )
    names = [_fixed(metric.name, NAME_BYTES, exact=False) for _, _, metric in rows]
    units = [_fixed(metric.unit, UNIT_BYTES, exact=False) for _, _, metric in rows]
    nan = float("nan")
    lows = [nan if metric.low is None else metric.low for _, _, metric in rows]
    highs = [nan if metric.high is None else metric.high for _, _, metric in rows]
    return {
        "metric_model": np.array([number for number, _, _ in rows], np.uint16),
        "metric_index": np.array([index for _, index, _ in rows], np.uint16),
        "metric_name": np.array(names, np.uint8).reshape(len(rows), NAME_BYTES),
        "metric_unit": np.array(units, np.uint8).reshape(len(rows), UNIT_BYTES),
        "metric_low": np.array(lows, np.float64),
        "metric_high": np.array(highs, np.float64),
        "metric_kind": np.array([_METRIC_KIND[metric.kind] for _, _, metric in rows], np.uint8),
    }


def _fixed(text: str, size: int, *, exact: bool) -> npt.NDArray[np.uint8]:
    """Return ASCII text as `size` bytes, padded with zeros."""
    data = text.encode("ascii", "replace")
    if len(data) > size or (exact and len(data) != size) or not text.isascii():
        raise ValueError(f"{text!r} does not fit the {size} ASCII bytes that the gate has for it")
    return np.frombuffer(data.ljust(size, b"\0"), np.uint8)


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
    span = arrays["span"].astype(np.int64)
    known = slots < len(span) - 1
    row = np.where(known, slots, 0)
    # Of each slot's spans, which rise in time, the last one that has begun. The first always has.
    begun = np.concatenate(([0], np.cumsum(arrays["span_from"].astype(np.int64) <= at)))
    first = span[row]
    last = first + (begun[span[row + 1]] - begun[first]) - 1
    verdict = arrays["span_verdict"].astype(np.uint8)[last]
    reason = arrays["span_reason"].astype(np.uint8)[last]
    return verdict, reason
