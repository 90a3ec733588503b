"""The ladder of rules that every decision climbs.

1. `LADDER` is the only order in which rules are asked. The first that applies decides; where none
   of the others does, the last one applies.
2. A rung looks at one instant and says what it would decide, or `None` if it does not apply.
3. Safe functions come before holds, owners and plans, so that none of these can take one away.
4. Where several facts would do, the choice never depends on the order they are listed in.

No rung looks at another instant; how decisions develop over time is found in `decision.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from entitlements.codes import Arg, Code
from entitlements.facts import (
    Facts,
    Feature,
    FeatureKind,
    Hold,
    HoldKind,
    Ownership,
    PlanVersion,
    Subscription,
    Value,
    in_force,
)
from entitlements.status import (
    ENTITLED,
    Status,
    covered_until,
    ended_at,
    grace_until,
    is_paid,
    past_due_until,
    status,
)

TELEMETRY = "telemetry"
"""The feature that the gate asks for. Every model has it; a catalogue lists it in order to mark it
safe or to include it with the product."""

_TELEMETRY = Feature(TELEMETRY)

_CODE_OF_STATUS = {
    Status.ACTIVE: Code.PLAN,
    Status.CANCELLED: Code.CANCELLED,
    Status.TRIAL: Code.TRIAL,
    Status.GRACE: Code.GRACE,
    Status.SCHEDULED: Code.SCHEDULED,
    Status.LAPSED: Code.LAPSED,
    Status.ENDED: Code.ENDED,
    Status.PAST_DUE: Code.PAST_DUE,
    Status.PAUSED: Code.PAUSED,
    Status.INCOMPLETE: Code.INCOMPLETE,
    Status.WITHDRAWN: Code.WITHDRAWN,
}

# Among subscriptions that grant a feature the most settled one is named, and among refusals the
# one that says most about what to do next.
_GRANT_RANK = {Code.PLAN: 0, Code.CANCELLED: 1, Code.TRIAL: 2, Code.PAST_DUE: 3, Code.GRACE: 4}
_REFUSAL_RANK = {
    Code.HOLD: 0,
    Code.INCOMPLETE: 1,
    Code.PAUSED: 2,
    Code.SCHEDULED: 3,
    Code.LAPSED: 4,
    Code.WITHDRAWN: 5,
    Code.ENDED: 6,
    Code.NOT_IN_PLAN: 7,
}


class Outcome(NamedTuple):
    """What a rung says: the parts of a decision that depend on the rule."""

    allowed: bool
    code: Code
    args: Mapping[str, Arg]
    value: Value = None
    plan: str | None = None
    plan_version: int | None = None
    subscription_id: str | None = None
    hold_id: str | None = None
    grant_id: str | None = None


class View(NamedTuple):
    """One feature of one product at one instant, as the rungs see it.

    Args:
        facts: the facts of the product.
        feature: definition of the feature; a plain switch if nothing defines it.
        known: whether the model, a plan or a grant knows the feature.
        at: the instant, ns UTC.
        epoch: owner epoch at the instant, 0 for nobody.
        owner_id: who owns the product at the instant, empty for nobody.
    """

    facts: Facts
    feature: Feature
    known: bool
    at: int
    epoch: int
    owner_id: str


def owner_epoch(facts: Facts, at: int) -> int:
    """Return the epoch of the owner at an instant, 0 for nobody."""
    owned = ownership(facts, at)
    return 0 if owned is None else owned.epoch


def ownership(facts: Facts, at: int) -> Ownership | None:
    """Return the ownership in force at an instant, `None` if nobody owns the product."""
    found = None
    for owned in facts.ownership:
        if (found is None or owned.epoch > found.epoch) and in_force(owned.start, owned.end, at):
            found = owned
    return found


def entitled(facts: Facts, at: int) -> list[Subscription]:
    """Return the subscriptions that serve the owner at an instant, the one that decides last."""
    epoch = owner_epoch(facts, at)
    states = [
        (status(subscription, at), subscription)
        for subscription in facts.subscriptions
        if subscription.epoch in {None, epoch}
    ]
    serving = [
        (-_GRANT_RANK[_CODE_OF_STATUS[state]], subscription.start, subscription.id, subscription)
        for state, subscription in states
        if state in ENTITLED
    ]
    return [subscription for *_, subscription in sorted(serving, key=lambda one: one[:3])]


def definition(facts: Facts, name: str) -> Feature | None:
    """Return what is known of a feature, `None` if model, plans and grants do not know it.

    A feature that only a plan or a grant knows (a service of the hub, say) is never a safe one.
    """
    feature = facts.model.features.get(name)
    if feature is not None:
        return feature
    if name == TELEMETRY:
        return _TELEMETRY
    plans = (facts.plan_of(subscription) for subscription in facts.subscriptions)
    terms = [plan.features[name] for plan in plans if name in plan.features]
    if terms:
        switch = all(one.value is None or isinstance(one.value, bool) for one in terms)
        return Feature(name, FeatureKind.ON_OFF if switch else FeatureKind.VALUE)
    if any(grant.feature == name for grant in facts.grants):
        return Feature(name)
    return None


def _revoked(view: View) -> Outcome | None:
    revoked_at = view.facts.device.revoked_at
    if revoked_at is None or view.at < revoked_at:
        return None
    return Outcome(allowed=False, code=Code.REVOKED, args={"since_at": revoked_at})


def _unknown_feature(view: View) -> Outcome | None:
    if view.known:
        return None
    args = {"feature": view.feature.name, "model": view.facts.model.code}
    return Outcome(allowed=False, code=Code.UNKNOWN_FEATURE, args=args)


def _safe_function(view: View) -> Outcome | None:
    if not view.feature.safe:
        return None
    value = _value(view.feature, None)
    return Outcome(allowed=True, code=Code.SAFE_FUNCTION, args={}, value=value)


def _hold(view: View) -> Outcome | None:
    hold = _held(view, None)
    return None if hold is None else _refused_by_hold(hold)


def _unclaimed(view: View) -> Outcome | None:
    return None if view.epoch else Outcome(allowed=False, code=Code.UNCLAIMED, args={})


def _grant(view: View) -> Outcome | None:
    best = None
    for grant in view.facts.grants:
        if (
            grant.feature == view.feature.name
            and in_force(grant.start, grant.end, view.at)
            and not _switched_off(view.feature, grant.value)
            and (best is None or (grant.start, grant.id) > (best.start, best.id))
        ):
            best = grant
    if best is None:
        return None
    return Outcome(
        allowed=True,
        code=Code.GRANT,
        args={"until_at": best.end},
        value=_value(view.feature, best.value),
        grant_id=best.id,
    )


def _plan(view: View) -> Outcome | None:
    metered = view.feature.kind is FeatureKind.METERED
    best: tuple[tuple[int, bool, int, str], Subscription, Code, PlanVersion] | None = None
    added: list[tuple[Subscription, PlanVersion]] = []
    for subscription, plan in _subscriptions(view):
        state = status(subscription, view.at)
        if (
            state in ENTITLED
            and _includes(plan, view.feature)
            and _held(view, subscription) is None
        ):
            code = _CODE_OF_STATUS[state]
            # Of equals an add-on decides, as it was bought to have more; a quota is the plan's.
            first = plan.addon is not metered
            order = (-_GRANT_RANK[code], first, subscription.start, subscription.id)
            if best is None or order > best[0]:
                best = (order, subscription, code, plan)
            if plan.addon:
                added.append((subscription, plan))
    if best is None:
        return None
    _, subscription, code, plan = best
    value = _value(view.feature, plan.features[view.feature.name].value)
    return Outcome(
        allowed=True,
        code=code,
        args=_terms(subscription, code),
        value=_with_addons(view.feature, value, subscription, added) if metered else value,
        plan=subscription.plan,
        plan_version=subscription.plan_version,
        subscription_id=subscription.id,
    )


def _included(view: View) -> Outcome | None:
    default = view.feature.default
    if default is None or _switched_off(view.feature, default):
        return None
    args = {"model": view.facts.model.code}
    return Outcome(allowed=True, code=Code.INCLUDED, args=args, value=default)


def _not_covered(view: View) -> Outcome | None:
    best: tuple[tuple[int, int, str], Subscription, Code, Hold | None] | None = None
    for subscription, plan in _subscriptions(view):
        state = status(subscription, view.at)
        hold = None
        if not _includes(plan, view.feature):
            code = Code.NOT_IN_PLAN
        elif state not in ENTITLED:
            code = _CODE_OF_STATUS[state]
        else:
            code = Code.HOLD
            hold = _held(view, subscription)
            if hold is None:
                return None  # this one covers it
        order = (-_REFUSAL_RANK[code], subscription.start, subscription.id)
        if best is None or order > best[0]:
            best = (order, subscription, code, hold)
    if best is None:
        return Outcome(allowed=False, code=Code.NO_SUBSCRIPTION, args={})
    _, subscription, code, hold = best
    refused = (
        Outcome(allowed=False, code=code, args=_terms(subscription, code))
        if hold is None
        else _refused_by_hold(hold)
    )
    return refused._replace(
        plan=subscription.plan,
        plan_version=subscription.plan_version,
        subscription_id=subscription.id,
    )


def _subscriptions(view: View) -> Iterator[tuple[Subscription, PlanVersion]]:
    """Yield the subscriptions that serve the owner at the instant, with their plans."""
    for subscription in view.facts.subscriptions:
        if subscription.epoch is None or subscription.epoch == view.epoch:
            yield subscription, view.facts.plan_of(subscription)


def _held(view: View, subscription: Subscription | None) -> Hold | None:
    """Return the oldest hold on a subscription, or on the product itself for `None`."""
    oldest = None
    for hold in view.facts.holds:
        if (
            in_force(hold.start, hold.end, view.at)
            and (hold.features is None or view.feature.name in hold.features)
            and _is_on(hold, subscription, view)
            and (oldest is None or (hold.start, hold.id) < (oldest.start, oldest.id))
        ):
            oldest = hold
    return oldest


def _is_on(hold: Hold, subscription: Subscription | None, view: View) -> bool:
    """Say whether a hold blocks a subscription, or the product itself for `None`."""
    if hold.owner_id is not None:
        if hold.owner_id != view.owner_id:
            return False
        if hold.kind is HoldKind.PAYMENT:
            return subscription is not None and not is_paid(subscription, view.at)
    return hold.subscription_id == (None if subscription is None else subscription.id)


def _refused_by_hold(hold: Hold) -> Outcome:
    if hold.kind is HoldKind.QUOTA:
        args: dict[str, Arg] = {"since_at": hold.start, "until_at": hold.end}
        return Outcome(allowed=False, code=Code.QUOTA_USED, args=args, hold_id=hold.id)
    return Outcome(
        allowed=False,
        code=Code.HOLD,
        args={"kind": hold.kind.value, "since_at": hold.start, "until_at": hold.end},
        hold_id=hold.id,
    )


def _switched_off(feature: Feature, value: Value) -> bool:
    return feature.kind is FeatureKind.ON_OFF and value is False


def _includes(plan: PlanVersion, feature: Feature) -> bool:
    terms = plan.features.get(feature.name)
    return terms is not None and not _switched_off(feature, terms.value)


def _value(feature: Feature, value: Value) -> Value:
    """Resolve the value of an allowed feature: the given one, else the model's default."""
    if feature.kind is FeatureKind.ON_OFF:
        return True
    return feature.default if value is None else value


def _with_addons(
    feature: Feature,
    quota: Value,
    deciding: Subscription,
    added: Iterable[tuple[Subscription, PlanVersion]],
) -> Value:
    """Return a quota with those of add-ons, each as often as it was bought; `None`: unlimited."""
    if type(quota) is not int:
        return quota
    total = quota
    for subscription, plan in added:
        more = _value(feature, plan.features[feature.name].value)
        if more is None:
            return None
        if type(more) is int:
            times = subscription.quantity - (subscription is deciding)
            total += more * times
    return total


def _terms(subscription: Subscription, code: Code) -> dict[str, Arg]:
    """Return the arguments that a code takes from the subscription it is about."""
    args: dict[str, Arg] = {"plan": subscription.plan}
    end = ended_at(subscription)
    if code is Code.TRIAL:
        args["until_at"] = _earlier(subscription.trial_end, end)
    elif code in {Code.PLAN, Code.CANCELLED}:
        args["until_at"] = _earlier(covered_until(subscription), end)
    elif code in {Code.PAST_DUE, Code.GRACE}:
        until = past_due_until if code is Code.PAST_DUE else grace_until
        args["paid_until_at"] = covered_until(subscription)
        args["until_at"] = _earlier(until(subscription), end)
    elif code is Code.PAUSED:
        args["since_at"] = subscription.paused_at
        args["until_at"] = _earlier(subscription.resumes_at, end)
    elif code is Code.WITHDRAWN:
        args["since_at"] = subscription.withdrawn_at
    elif code is Code.LAPSED:
        args["since_at"] = grace_until(subscription)
    elif code is Code.ENDED:
        args["since_at"] = end
    elif code is Code.SCHEDULED:
        args["from_at"] = subscription.start
    return args


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


class Rung(NamedTuple):
    """One rule of the ladder."""

    rule: str
    says: Callable[[View], Outcome | None]


LADDER: tuple[Rung, ...] = (
    Rung("revoked", _revoked),
    Rung("unknown_feature", _unknown_feature),
    Rung("safe_function", _safe_function),
    Rung("hold", _hold),
    Rung("unclaimed", _unclaimed),
    Rung("grant", _grant),
    Rung("plan", _plan),
    Rung("included", _included),
    Rung("not_covered", _not_covered),
)
