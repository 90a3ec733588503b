"""Entitlement decisions as the API shows them: codes, arguments and a sentence.

1. Deciding is the business of `entitlements`; here is only its shape in JSON.
2. Arguments whose names end in `_at` are instants and leave as RFC 3339.
"""

from collections.abc import Mapping

from entitlements import decision as decisions
from entitlements.codes import Arg
from entitlements.decision import Step
from entitlements.sentences import sentence
from hub.api.bodies import Scalar
from hub.api.instants import text_of
from hub.api.product_bodies import Decision, Explanation, ExplanationStep


def explanation(explained: decisions.Explanation, at: int, known_at: int) -> Explanation:
    """Return a decision with every rung of the ladder as it goes out."""
    return Explanation(
        at=at,
        known_at=known_at,
        owner_epoch=explained.decision.owner_epoch,
        decision=shown(explained.decision),
        steps=[_step(step) for step in explained.steps],
    )


def shown(decided: decisions.Decision) -> Decision:
    """Return a decision as it goes out."""
    return Decision(
        feature=decided.feature,
        allowed=decided.allowed,
        code=decided.code,
        args=arguments(decided.args),
        sentence=sentence(decided.code, decided.args),
        until=decided.until,
        rule=decided.rule,
        value=decided.value,
        plan=decided.plan,
        plan_version=decided.plan_version,
        subscription_id=decided.subscription_id,
        hold_id=decided.hold_id,
        grant_id=decided.grant_id,
        safe=decided.safe,
    )


def _step(step: Step) -> ExplanationStep:
    outcome = step.outcome
    return ExplanationStep(
        rule=step.rule,
        decided=step.decided,
        applies=outcome is not None,
        allowed=None if outcome is None else outcome.allowed,
        code=None if outcome is None else outcome.code,
        args={} if outcome is None else arguments(outcome.args),
        sentence=None if outcome is None else sentence(outcome.code, outcome.args),
    )


def arguments(args: Mapping[str, Arg]) -> dict[str, Scalar]:
    """Return the arguments of a code as they go out."""
    return {
        name: text_of(value) if name.endswith("_at") and type(value) is int else value
        for name, value in args.items()
    }
