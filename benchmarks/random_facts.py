"""Facts of products at random, sensible or not, and the array form of decisions held against the explained one.

1. Everything follows from a seed. Instants are drawn from few, so that facts begin and end together often.
2. A case is one product, one feature and one instant: code, allowed, value, until, and by the scalar look-up every
   field of the decision.
What must never live here: a second opinion on what is allowed; the ladder is the oracle.
"""

from random import Random
from typing import Final

import numpy as np

from entitlements.decision import decide
from entitlements.decision_arrays import CODES
from entitlements.decision_table import DecisionTable
from entitlements.fact_columns import columns_of
from entitlements.facts import (
    Device,
    Facts,
    Feature,
    FeatureKind,
    FeatureTerms,
    Grant,
    Hold,
    HoldKind,
    Model,
    Ownership,
    PlanVersion,
    Subscription,
    Value,
)

SECOND: Final = 1_000_000_000
NEVER: Final = int(np.iinfo(np.int64).max)
FEATURES: Final = tuple(f"feature_{number:02d}" for number in range(19))
MODELS: Final = {
    number: Model(
        number,
        f"model-{number}",
        {
            name: Feature(
                name,
                (FeatureKind.ON_OFF, FeatureKind.VALUE, FeatureKind.METERED)[at % 3],
                safe=at % 7 == number % 7,
                default=(None, True, 5, "eco", False)[at % 5] if at % 3 else (None, True)[at % 2],
            )
            for at, name in enumerate(FEATURES)
            if (at + number) % 6
        },
    )
    for number in (1, 2, 3)
}
PLANS: Final = {
    (code, version): PlanVersion(
        code,
        version,
        {
            name: FeatureTerms((None, True, 1, False, 30, "comfort")[(at + version) % 6])
            for at, name in enumerate((*FEATURES, "telemetry"))
            if (at * version + len(code)) % 3
        },
        addon=code == "more",
    )
    for code in ("basic", "comfort", "more")
    for version in (1, 2, 3)
}
ASKED: Final = (*FEATURES, "telemetry", "no_such_feature")
_OWNERS: Final = ("anna", "bert", "cleo")
_TICKS: Final = 16


def products(chance: Random, count: int) -> list[Facts]:
    """Return facts of so many products, with slots from 1."""
    return [_product(chance, slot) for slot in range(1, count + 1)]


def compare(seed: int, count: int, instants: int) -> int:
    """Decide at random in both forms and compare every part.

    Args:
        seed: of everything.
        count: products.
        instants: instants at which each feature of `ASKED` of each product is asked for.

    Returns:
        How many cases were compared.

    Raises:
        AssertionError: the forms differ; says the seed and the case.
    """
    chance = Random(seed)
    every = products(chance, count)
    table = DecisionTable(MODELS, PLANS)
    table.put(columns_of(every, table.vocabulary))
    decisions = table.decisions()
    columns = decisions.columns(ASKED)
    slots = np.arange(1, count + 1, dtype=np.uint32)
    for _ in range(instants):
        at = chance.randrange(-1, _TICKS + 1) * SECOND + chance.choice((-1, 0, 1))
        found = decisions.decide_all(slots, columns, at)
        for case in range(count * len(ASKED)):
            facts, name = every[case // len(ASKED)], ASKED[case % len(ASKED)]
            expected = decide(facts, name, at)
            until = NEVER if expected.until is None else expected.until
            value = decisions.values[found.value[case]]
            same = (
                decisions.decide(facts.device.slot, name, at) == expected
                and found.allowed[case] == expected.allowed
                and CODES[found.code[case]] == expected.code
                and found.until[case] == until
                and _same(value, expected.value)
            )
            if not same:
                raise AssertionError(f"seed {seed}: {name} at {at} of {facts}: expected {expected}")
    return count * instants * len(ASKED)


def _same(one: Value, other: Value) -> bool:
    return one == other and type(one) is type(other)


def _product(chance: Random, slot: int) -> Facts:
    owners = [
        Ownership(epoch, chance.choice(_OWNERS), _instant(chance), _perhaps(chance))
        for epoch in range(1, chance.choice((1, 2, 2, 3, 4)))
    ]
    subscriptions = [
        Subscription(
            f"s{number}",
            *chance.choice(tuple(PLANS)),
            _instant(chance),
            _perhaps(chance),
            _perhaps(chance),
            chance.randrange(4),
            _perhaps(chance, 0.3),
            _perhaps(chance, 0.3),
            chance.choice((None, 1, 2)),
            chance.choice((0, 0, 1, 3)),
            _perhaps(chance, 0.2),
            _perhaps(chance, 0.5),
            _perhaps(chance, 0.1),
            chance.choice((1, 1, 2, 3)),
        )
        for number in range(chance.choice((0, 1, 1, 2, 3)))
    ]
    named = [subscription.id for subscription in subscriptions]
    holds = [
        Hold(
            f"h{number}",
            chance.choice(tuple(HoldKind)),
            _instant(chance),
            _perhaps(chance),
            None if chance.random() < 0.6 else frozenset(chance.sample(ASKED, 4)),
            chance.choice([None, *named, "elsewhere"]),
            owner_id=chance.choice((None, None, *_OWNERS)),
        )
        for number in range(chance.choice((0, 0, 0, 1, 2)))
    ]
    grants = [
        Grant(
            f"g{number}",
            chance.choice(ASKED),
            _instant(chance),
            _perhaps(chance),
            chance.choice((None, True, False, 1, 9)),
        )
        for number in range(chance.choice((0, 0, 1, 2)))
    ]
    for facts in (owners, subscriptions, holds, grants):
        chance.shuffle(facts)
    return Facts(
        Device(slot, f"{slot:016d}", 0, _perhaps(chance, 0.05)),
        MODELS[chance.randrange(1, 4)],
        tuple(owners),
        tuple(subscriptions),
        PLANS,
        tuple(holds),
        tuple(grants),
    )


def _instant(chance: Random) -> int:
    return chance.randrange(_TICKS) * SECOND


def _perhaps(chance: Random, likely: float = 0.6) -> int | None:
    return _instant(chance) if chance.random() < likely else None
