"""What a product is told about its entitlements in its signed state.

1. The set is always full: every feature of the model, of the plans and of the grants.
2. Seconds, not nanoseconds, and always rounded down: a token never promises more than was agreed.
3. A feature that is allowed stops at `until_s` by itself, also offline. One that is refused stays
   refused until the hub says otherwise, so a new token is needed to open it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from entitlements.codes import Arg
from entitlements.decision import Moment, Question
from entitlements.facts import Facts, FeatureKind
from entitlements.ladder import TELEMETRY
from entitlements.spans import moments_of
from entitlements.status import NS_PER_S


@dataclass(frozen=True, slots=True)
class FeatureGrant:
    """One entry of the token's features: `[allowed, code, until s or null, safe, {args}]`.

    Args:
        allowed: whether the feature may be used.
        code: stable machine code of the decision.
        until_s: second (since 1970 UTC) at which `allowed` turns to the opposite on present facts,
            grace included; `None`: never.
        safe: whether it is a safe function.
        args: arguments of the code, and `value` where the feature has a value that is no switch.
    """

    allowed: bool
    code: str
    until_s: int | None
    safe: bool
    args: Mapping[str, Arg]


class TokenTerms(NamedTuple):
    """How long a token stands by itself.

    Args:
        expires_s: second (since 1970 UTC) at which it expires, `None`: never.
        grace_s: seconds for which it goes on after that.
    """

    expires_s: int | None
    grace_s: int


def feature_names(facts: Facts) -> list[str]:
    """Return the names of all features that anything in the facts knows, sorted."""
    names = {TELEMETRY, *facts.model.features}
    names.update(grant.feature for grant in facts.grants)
    for subscription in facts.subscriptions:
        names.update(facts.plan_of(subscription).features)
    return sorted(names)


def feature_grants(facts: Facts, at: int) -> dict[str, FeatureGrant]:
    """Return what holds for every feature at an instant (ns UTC), by name in rising order.

    Raises:
        LookupError: the plan version of a subscription is not among the facts.
    """
    return {name: _feature_grant(facts, name, at) for name in feature_names(facts)}


def _feature_grant(facts: Facts, name: str, at: int) -> FeatureGrant:
    question = Question(facts, name)
    now, _, until = _stretch(question, at)
    outcome = now.outcome
    args = dict(outcome.args)
    if outcome.value is not None and question.feature.kind is not FeatureKind.ON_OFF:
        args["value"] = outcome.value
    return FeatureGrant(
        allowed=outcome.allowed,
        code=outcome.code.value,
        until_s=None if until is None else until // NS_PER_S,
        safe=question.feature.safe,
        args=args,
    )


def _stretch(question: Question, at: int) -> tuple[Moment, Moment, int | None]:
    """Return the first and the last answer before `allowed` turns, and when it turns."""
    (_, first), *later = moments_of(question, at)
    last = first
    for start, moment in later:
        if moment.outcome.allowed != first.outcome.allowed:
            return first, last, start
        last = moment
    return first, last, None


def token_terms(facts: Facts, at: int) -> TokenTerms:
    """Return when the product's token expires and how much grace follows.

    After both, only safe functions go on. So a token lasts as long as the feature that lasts
    longest: where that one ends in the grace of a subscription, the token expires at the end of
    what was paid and its grace covers the rest. A product that has a feature without end, or
    nothing but safe functions, needs no expiry.

    Args:
        facts: the facts of the product.
        at: the instant of issue, ns UTC.

    Raises:
        LookupError: the plan version of a subscription is not among the facts.
    """
    terms: set[tuple[int, int]] = set()
    for name in feature_names(facts):
        question = Question(facts, name)
        first, last, until = _stretch(question, at)
        if question.feature.safe or not first.outcome.allowed:
            continue
        if until is None:
            return TokenTerms(None, 0)
        paid_until = last.outcome.args.get("paid_until_at")
        expires = until if paid_until is None else int(paid_until)
        terms.add((until // NS_PER_S, expires // NS_PER_S))
    if not terms:
        return TokenTerms(None, 0)
    deadline = max(until for until, _ in terms)
    expires_s = min(expires for until, expires in terms if until == deadline)
    return TokenTerms(expires_s, deadline - expires_s)
