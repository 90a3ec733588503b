"""A finding as a worker logged it, and the sentence it makes.

1. Findings about single devices have a slot; those about a cohort have none and name the cohort.
2. Instants are ns. A bound that is not there is `None`, in arguments it is left out: JSON has no NaN.
What must never live here: the database.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np

from analytics import findings as f
from device_sdk.wire.trace import trace_id
from hub.services.alert_kinds import FIRST_OF_HUB, kind_word

NO_METRIC = 0xFFFF
"""In place of a metric index: about the whole product."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding as the worker logged it; instants are ns, missing bounds are None."""

    id: bytes
    slot: int
    metric: int
    kind: int
    severity: int
    time: int
    since: int
    surprise: float
    observed: float
    low: float | None
    high: float | None
    historical: bool = False
    hidden: bool = False
    cohort: int = 0
    members: int = 0
    evidence: str = ""
    """What a suspicion of the hub's own rests on; not of the log."""
    stream: bytes = b""
    seq: int = 0
    """The row that completed the evidence; without a stream, none did."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Take a record of the findings log."""
        return cls(**{name: record[name] for name in cls.__slots__ if name != "evidence"})

    def trace(self, device_id: str) -> str:
        """Return the trace id of the row that completed the evidence; empty if none did."""
        return trace_id(device_id, self.stream, self.seq) if self.stream else ""


class Resolution(StrEnum):
    """Why an alert was resolved, if no person did it."""

    OVER = "over"
    QUIET = "quiet"
    INCIDENT = "incident"
    OWNER = "owner"
    """The product went to another owner, or its owner gave it up."""


def sentence_of(found: Found) -> tuple[str, dict[str, Any]]:
    """Return code and arguments of the sentence that a finding makes."""
    if found.kind >= FIRST_OF_HUB:
        word = kind_word(found.kind)
        return f"finding.{word}", {"rows": found.observed, "time": found.time}
    element = np.zeros(1, f.FINDING)
    for name in ("time", "since", "kind", "severity", "surprise", "observed"):
        element[name] = getattr(found, name)
    element["expected_low"] = math.nan if found.low is None else found.low
    element["expected_high"] = math.nan if found.high is None else found.high
    said = f.sentence(element[0])
    # JSON has no NaN: a bound that is not there is left out.
    return said.code, {name: value for name, value in said.args.items() if math.isfinite(value)}
