"""Whether one product may use one feature at one instant, why, and until when.

1. Which rule decides is settled by `ladder.py` alone; this module adds time to it.
2. Between two neighbouring `boundaries` of the facts nothing changes, so a decision holds from one
   to another of them.
3. A decision is a code with arguments; sentences are made elsewhere (`sentences.py`).

No clock, no database: the instant is an argument and everything else is in `Facts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from entitlements import status
from entitlements.codes import Arg, Code
from entitlements.facts import Facts, Feature, Value
from entitlements.ladder import LADDER, Outcome, View, definition, ownership


class Decision(NamedTuple):
    """The answer for one feature at one instant.

    A named tuple, as making one is most of the cost of looking a decision up.

    Args:
        feature: name of the feature.
        allowed: whether it may be used.
        code: stable machine code.
        args: arguments of the code's sentence.
        until: next instant (ns UTC) at which any other part of this decision changes on present
            facts; `None`: never.
        rule: name of the rung of the ladder that decided.
        plan: plan that decided, `None` if none did.
        plan_version: its version.
        subscription_id: subscription that decided, `None` if none did.
        hold_id: hold that decided, `None` if none did.
        grant_id: grant that decided, `None` if none did.
        owner_epoch: owner epoch at the instant, 0 for nobody.
        safe: whether the feature is a safe function of the model.
        value: `True` for a switch that is on, configuration value, or quota (`None`: unlimited);
            always `None` when not allowed.
    """

    feature: str
    allowed: bool
    code: Code
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
        decided: whether this rung decided. Rungs below it say what they would have decided.
        outcome: what the rung says, `None` if it does not apply.
    """

    rule: str
    decided: bool
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all steps that led to it.

    Args:
        decision: the decision.
        steps: every rung of the ladder, from the top.
    """

    decision: Decision
    steps: tuple[Step, ...]


class Moment(NamedTuple):
    """What is decided at one instant, before it is known until when.

    Args:
        rule: name of the rung that decided.
        outcome: what it says.
        epoch: owner epoch, 0 for nobody.
    """

    rule: str
    outcome: Outcome
    epoch: int


class Question:
    """One feature of one product, to be asked about instants.

    Args:
        facts: the facts of the product.
        name: name of the feature.

    Attributes:
        feature: definition of the feature; a plain switch if nothing in the facts defines it.
    """

    __slots__ = ("_facts", "_known", "feature")

    def __init__(self, facts: Facts, name: str) -> None:
        feature = definition(facts, name)
        self._facts = facts
        self._known = feature is not None
        self.feature = Feature(name) if feature is None else feature

    def view(self, at: int) -> View:
        """Return what the rungs look at."""
        owned = ownership(self._facts, at)
        epoch, owner_id = (0, "") if owned is None else (owned.epoch, owned.owner_id)
        return View(self._facts, self.feature, self._known, at, epoch, owner_id)

    def moment(self, at: int) -> Moment:
        """Climb the ladder at one instant."""
        view = self.view(at)
        for rung in LADDER:
            outcome = rung.says(view)
            if outcome is not None:
                return Moment(rung.rule, outcome, view.epoch)
        raise AssertionError("a rung always applies, if only the last")

    def boundaries(self) -> list[int]:
        """Return all instants at which the answer may change, rising."""
        facts = self._facts
        name = self.feature.name
        instants: set[int | None] = {facts.device.revoked_at}
        for owned in facts.ownership:
            instants.update((owned.start, owned.end))
        if self._known and not self.feature.safe:
            for hold in facts.holds:
                if hold.features is None or name in hold.features:
                    instants.update((hold.start, hold.end))
            for grant in facts.grants:
                if grant.feature == name:
                    instants.update((grant.start, grant.end))
            for subscription in facts.subscriptions:
                instants.update(status.boundaries(subscription))
        return sorted(instant for instant in instants if instant is not None)

    def change_after(self, at: int, moment: Moment) -> int | None:
        """Return the first instant after `at` with another answer than `moment`, or `None`."""
        for boundary in self.boundaries():
            if boundary > at and self.moment(boundary) != moment:
                return boundary
        return None

    def decision(self, moment: Moment, until: int | None) -> Decision:
        """Put together the decision that holds until an instant."""
        outcome = moment.outcome
        return Decision(
            feature=self.feature.name,
            allowed=outcome.allowed,
            code=outcome.code,
            args=outcome.args,
            until=until,
            rule=moment.rule,
            plan=outcome.plan,
            plan_version=outcome.plan_version,
            subscription_id=outcome.subscription_id,
            hold_id=outcome.hold_id,
            grant_id=outcome.grant_id,
            owner_epoch=moment.epoch,
            safe=self.feature.safe,
            value=outcome.value,
        )


def decide(facts: Facts, feature: str, at: int) -> Decision:
    """Decide whether the product may use a feature at an instant (ns UTC).

    Args:
        facts: the facts of the product.
        feature: name of the feature; one that nobody knows is refused with `unknown_feature`.
        at: the instant, past, present or future.

    Raises:
        LookupError: the plan version of a subscription is not among the facts.
    """
    question = Question(facts, feature)
    moment = question.moment(at)
    return question.decision(moment, question.change_after(at, moment))


def explain(facts: Facts, feature: str, at: int) -> Explanation:
    """Decide like `decide` and return every rung of the ladder with what it says.

    Raises:
        LookupError: the plan version of a subscription is not among the facts.
    """
    question = Question(facts, feature)
    view = question.view(at)
    steps: list[Step] = []
    found: Moment | None = None
    for rung in LADDER:
        outcome = rung.says(view)
        decided = outcome is not None and found is None
        if outcome is not None and found is None:
            found = Moment(rung.rule, outcome, view.epoch)
        steps.append(Step(rung.rule, decided, outcome))
    if found is None:
        raise AssertionError("a rung always applies, if only the last")
    decision = question.decision(found, question.change_after(at, found))
    return Explanation(decision, tuple(steps))
