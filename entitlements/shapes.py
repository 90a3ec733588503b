"""What the ladder decides for a pattern of facts: once for all products that share it.

1. A pattern is turned back into facts whose instants are 0, 1, 2 s: the ladder itself decides, so
   there is no second set of rules. Only then are the places of instants put in for instants.
2. An outcome names instants, subscriptions, holds and grants by their place in the product.
3. Interval k begins at the instant of place k - 1; interval 0 is before the first.

No numbers of products here, and no arrays: those are `decision_table.py`'s.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from entitlements.codes import Arg, Code
from entitlements.decision import Moment, Question
from entitlements.fact_columns import HOLD_KINDS, Vocabulary
from entitlements.facts import (
    Device,
    Facts,
    Grant,
    Hold,
    Model,
    Ownership,
    PlanVersion,
    Subscription,
    Value,
)
from entitlements.kernels.decision_kernel import (
    ABSENT,
    GRANT_WORDS,
    HEAD,
    HOLD_WORDS,
    NEVER,
    OWN_WORDS,
    SUB_WORDS,
)
from entitlements.status import NS_PER_S

_NOBODY_HERE = "?"
"""An id that none of the product's facts has."""


class Template(NamedTuple):
    """A decision without its product: instants and ids are places.

    Args:
        rule: name of the rung that decided.
        allowed: whether the feature may be used.
        code: stable machine code.
        args: arguments that are no instants, and None for instants that there are not.
        instants: arguments that are instants, as places.
        names_feature: whether the argument `feature` is the name that was asked for.
        plan: plan that decided.
        plan_version: its version.
        subscription: place of the subscription that decided, from 0: subscriptions come first,
        hold: of the hold: then holds,
        grant: of the grant: then grants.
        owner_epoch: owner epoch.
        safe: whether it is a safe function.
        value: value of the feature.
    """

    rule: str
    allowed: bool
    code: Code
    args: tuple[tuple[str, Arg], ...]
    instants: tuple[tuple[str, int], ...]
    names_feature: bool
    plan: str | None
    plan_version: int | None
    subscription: int | None
    hold: int | None
    grant: int | None
    owner_epoch: int
    safe: bool
    value: Value


class Timeline(NamedTuple):
    """How the decision on one feature develops, an entry an interval.

    Args:
        templates: what is decided.
        until: place of the instant at which it changes, `NEVER` if it does not.
    """

    templates: list[Template]
    until: list[int]


def facts_of(
    words: Sequence[int],
    vocabulary: Vocabulary,
    models: Mapping[int, Model],
    plans: Mapping[tuple[str, int], PlanVersion],
) -> tuple[Facts, int]:
    """Return facts with the pattern that words are, and how many instants they have.

    Raises:
        KeyError: the model is not in the catalogue.
    """
    own_count, sub_count, hold_count, grant_count = words[2:HEAD]
    at = HEAD
    own, at = _parts(words, at, own_count, OWN_WORDS)
    subs, at = _parts(words, at, sub_count, SUB_WORDS)
    holds, at = _parts(words, at, hold_count, HOLD_WORDS)
    grants, at = _parts(words, at, grant_count, GRANT_WORDS)
    ranks = [words[1]]
    ranks += [rank for _, *pair, _ in own for rank in pair]
    ranks += [rank for sub in subs for rank in sub[1:11]]
    ranks += [rank for part in (*holds, *grants) for rank in part[1:3]]
    facts = Facts(
        Device(1, "", 0, _end(words[1])),
        models[words[0]],
        tuple(
            Ownership(epoch, _name(owner), _start(start), _end(end))
            for epoch, start, end, owner in own
        ),
        tuple(_subscription(place, part, vocabulary) for place, part in enumerate(subs, 1)),
        plans,
        tuple(
            Hold(
                _name(place),
                HOLD_KINDS[kind],
                _start(start),
                _end(end),
                vocabulary.feature_sets.things[features],
                _reference(subscription),
                owner_id=_reference(owner),
            )
            for place, (kind, start, end, features, subscription, owner) in enumerate(holds, 1)
        ),
        tuple(
            Grant(
                _name(place),
                vocabulary.features.things[feature],
                _start(start),
                _end(end),
                vocabulary.values.things[value],
            )
            for place, (feature, start, end, value) in enumerate(grants, 1)
        ),
    )
    return facts, max(ranks)


def timelines(facts: Facts, instants: int, names: Iterable[str]) -> list[Timeline]:
    """Return the timelines of features of facts that `facts_of` made."""
    return [_timeline(facts, instants, name) for name in names]


def _timeline(facts: Facts, instants: int, name: str) -> Timeline:
    question = Question(facts, name)
    boundaries = question.boundaries()
    moments: list[Moment] = [question.moment(-1)]
    for rank in range(instants):
        instant = rank * NS_PER_S
        at = bisect_left(boundaries, instant)
        changes = at < len(boundaries) and boundaries[at] == instant
        moments.append(question.moment(instant) if changes else moments[-1])
    until = [NEVER] * (instants + 1)
    for at in range(instants - 1, -1, -1):
        until[at] = at if moments[at + 1] != moments[at] else until[at + 1]
    safe = question.feature.safe
    known: dict[int, Template] = {}
    templates = [
        known.setdefault(id(moment), _template(moment, facts, name, safe=safe))
        for moment in moments
    ]
    return Timeline(templates, until)


def _template(moment: Moment, facts: Facts, name: str, *, safe: bool) -> Template:
    outcome = moment.outcome
    holds = len(facts.subscriptions)
    grants = holds + len(facts.holds)
    instants, args = [], []
    for key, value in outcome.args.items():
        if key.endswith("_at") and value is not None:
            instants.append((key, int(value) // NS_PER_S))
        else:
            args.append((key, value))
    return Template(
        moment.rule,
        outcome.allowed,
        outcome.code,
        tuple(args),
        tuple(instants),
        outcome.code is Code.UNKNOWN_FEATURE and not name,
        outcome.plan,
        outcome.plan_version,
        _place(outcome.subscription_id, 0),
        _place(outcome.hold_id, holds),
        _place(outcome.grant_id, grants),
        moment.epoch,
        safe,
        outcome.value,
    )


def _subscription(place: int, part: Sequence[int], vocabulary: Vocabulary) -> Subscription:
    plan, start, trial, paid, retry_end, grace_end, *others, epoch, quantity = part
    cancelled, ends, paused, resumes, withdrawn = others
    code, version = vocabulary.plans.things[plan]
    return Subscription(
        _name(place),
        code,
        version,
        _start(start),
        _end(trial),
        _end(paid),
        grace_end - retry_end,
        _end(cancelled),
        _end(ends),
        None if epoch == ABSENT else epoch,
        retry_end - max(trial, paid),
        _end(paused),
        _end(resumes),
        _end(withdrawn),
        quantity,
    )


def _parts(
    words: Sequence[int], at: int, count: int, width: int
) -> tuple[list[Sequence[int]], int]:
    end = at + count * width
    return [words[first : first + width] for first in range(at, end, width)], end


def _start(rank: int) -> int:
    return (rank - 1) * NS_PER_S


def _end(rank: int) -> int | None:
    return (rank - 1) * NS_PER_S if rank else None


def _name(place: int) -> str:
    """Return an id that sorts as its place does."""
    return f"{place:06d}"


def _reference(place: int) -> str | None:
    return None if place == 0 else _NOBODY_HERE if place < 0 else _name(place)


def _place(name: str | None, before: int) -> int | None:
    return None if name is None else before + int(name) - 1
