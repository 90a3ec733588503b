"""Whether one product may use one feature at one instant, and why.

1. `LADDER` is the only order in which rules are asked; the first that applies decides.
2. Every decision has a stable code with arguments; sentences are made elsewhere (`sentences.py`).
   Arguments whose name ends in `_at` are instants, ns UTC.
3. A safe function is allowed unless the product is revoked: no lapse and no hold reaches it.
4. Of several facts that would do, the choice never depends on the order they are listed in.

No clock, no database: the instant is an argument and everything else is in `Facts`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from entitlements import status as statuses
from entitlements.facts import (
    Facts,
    Feature,
    FeatureKind,
    Hold,
    Ownership,
    PlanVersion,
    Subscription,
    Value,
    in_force,
)
from entitlements.status import Status

TELEMETRY = "telemetry"
"""The feature that the gate asks for. Every model has it; a catalogue may list it to mark it safe
or to include it with the product."""

Arg = bool | int | str | None


class Code:
    """Stable machine codes of decisions. They are on the wire and in databases: only add."""

    REVOKED = "revoked"
    UNKNOWN_FEATURE = "unknown_feature"
    SAFE_FUNCTION = "safe_function"
    HOLD = "hold"
    UNCLAIMED = "unclaimed"
    GRANT = "grant"
    PLAN = "plan"
    TRIAL = "trial"
    CANCELLED = "cancelled"
    GRACE = "grace"
    INCLUDED = "included"
    SCHEDULED = "scheduled"
    LAPSED = "lapsed"
    ENDED = "ended"
    NOT_IN_PLAN = "not_in_plan"
    NO_SUBSCRIPTION = "no_subscription"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one feature at one instant.

    Args:
        feature: name of the feature.
        allowed: whether it may be used.
        code: stable machine code, one of `Code`.
        args: arguments of the code's sentence.
        until: next instant at which any other part of this decision changes on present facts;
            `None`: never.
        rule: name of the rung of the ladder that decided.
        plan: plan that decided, `None` if none did.
        plan_version: its version.
        subscription_id: subscription that decided, `None` if none did.
        hold_id: hold that decided, `None` if none did.
        grant_id: grant that decided, `None` if none did.
        owner_epoch: owner epoch at the instant, 0 for nobody.
        safe: whether the feature is a safe function of the model.
        value: configuration value or quota in force, `True` for a switch that is on, `None` when
            not allowed or without limit.
    """

    feature: str
    allowed: bool
    code: str
    args: Mapping[str, Arg]
    until: int | None
    rule: str
    plan: str | None
    plan_version: int | None
    subscription_id: str | None
    hold_id: str | None
    grant_id: str | None
    owner_epoch: int
    safe: bool
    value: Value


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of the ladder as `explain` shows it.

    Args:
        rule: name of the rung.
        decided: whether this rung decided. Rungs after it say what they would have decided.
        outcome: what the rung says, `None` if it does not apply.
    """

    rule: str
    decided: bool
    outcome: Decision | None


def decide(facts: Facts, feature: str, at: int) -> Decision:
    """Decide whether the product may use a feature at an instant (ns UTC)."""
    raise NotImplementedError


def explain(facts: Facts, feature: str, at: int) -> tuple[Step, ...]:
    """Return every rung of the ladder with what it says at an instant (ns UTC)."""
    raise NotImplementedError
