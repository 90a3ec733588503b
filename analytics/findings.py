"""What detection may say about a series, a product or a cohort: kinds, severities, the sentence.

1. Numbers of `Kind` and `Severity` are stored in logs and databases: append, never renumber or
   reuse.
2. A sentence is a code plus arguments; rendering it in somebody's language is the caller's
   business.
3. A finding is about one instant; `index` says what it is about, in the numbers of whoever made it.
   Owners and alerts must never appear here.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np


class Kind(IntEnum):
    """What was found. Each kind has its own memory, so that one fault never masks another."""

    SPIKE = 1
    """One sample far from what the samples before it made likely."""
    LEVEL_SHIFT = 2
    """The series moved to another level and stayed; the new level is the baseline from then on."""
    DRIFT = 3
    """The series has crept away from its reference over hours or days."""
    STUCK = 4
    """The value has repeated for longer than this series ever does."""
    VARIANCE_CHANGE = 5
    """The noise around the level grew or shrank for good."""
    OUT_OF_LIMITS = 6
    """The value is outside the limits that the product model states."""
    COUNTER_RESET = 7
    """A counter, which can only rise, fell."""
    SILENCE = 8
    """A product that reported regularly does not any more; or a whole cohort, or all of them."""
    COHORT = 9
    """The values stay away from those of the products of the same model and firmware."""
    COHORT_SHIFT = 10
    """The middle of a whole cohort moved: a firmware, a season, not a product."""


class Severity(IntEnum):
    """How much a finding matters, from its surprise (limits and resets have their own, fixed)."""

    NOTICE = 1
    WARNING = 2
    CRITICAL = 3


OVER: Final = 0
"""In place of a severity: what was found before has ended. Kinds from `SILENCE` on say so."""


class SeriesKind(IntEnum):
    """How the values of a series are meant; the numbers of the catalogue's `metric_kind`."""

    GAUGE = 0
    """A quantity."""
    COUNTER = 1
    """Only rises; its rate is judged."""
    STATE = 2
    """One of a few states, numbered (on or off, a mode): no number of them is more than another, so
    only limits are judged."""


FINDING: Final = np.dtype(
    [
        ("sample", np.int64),  # position in the batch
        ("index", np.int64),  # record index of the series
        ("time", np.int64),  # ns since 1970 UTC of the sample that completed the evidence
        ("since", np.int64),  # ns since 1970 UTC at which what was found began
        ("kind", np.uint8),
        ("severity", np.uint8),
        ("surprise", np.float32),  # nats: -ln of the chance of this in ordinary operation
        ("observed", np.float64),  # unit of the metric (counters: unit per second, but for limits)
        ("expected_low", np.float64),  # band of ordinary values, same unit
        ("expected_high", np.float64),
    ],
    align=True,
)
"""One finding; 64 bytes."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence in code form.

    Attributes:
        code: stable name of the sentence, `finding.<kind>` or `finding.<kind>.<variant>`.
        args: its arguments; times in ns since 1970 UTC, values in the unit of the metric.
    """

    code: str
    args: dict[str, float | int]


def sentence(finding: np.void) -> Sentence:
    """Say one finding as a code plus arguments.

    Args:
        finding: one element of an array of dtype `FINDING`.

    Returns:
        The sentence; `above` and `below` variants tell on which side of the band the value was.

    Raises:
        ValueError: the kind is not one of `Kind`.
    """
    kind = Kind(int(finding["kind"]))
    observed = float(finding["observed"])
    low, high = float(finding["expected_low"]), float(finding["expected_high"])
    code = f"finding.{kind.name.lower()}"
    if kind not in {Kind.STUCK, Kind.COUNTER_RESET, Kind.SILENCE}:
        code += ".above" if observed > high else ".below" if observed < low else ""
    return Sentence(
        code,
        {
            "observed": observed,
            "expected_low": low,
            "expected_high": high,
            "since": int(finding["since"]),
            "time": int(finding["time"]),
        },
    )
