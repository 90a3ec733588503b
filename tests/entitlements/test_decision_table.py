"""The array form of decisions against the explained form, whatever the facts and whatever happens to them."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import random_facts
from entitlements.decision import decide
from entitlements.decision_arrays import CODES, Decisions
from entitlements.decision_table import DecisionTable
from entitlements.fact_columns import columns_of, id_pair, id_pairs, id_texts
from entitlements.facts import Device, Facts, Feature, Grant, Hold, HoldKind, Model, Subscription
from entitlements.gate import compile_gate, gate_table, limits_at, verdict_at
from entitlements.gate_fleet import GateFleet
from entitlements.ladder import ownership
from tests.entitlements.products import FEATURES, MODEL, PLANS, S, probes, product, products

NEVER = np.iinfo(np.int64).max
MODELS = {MODEL.number: MODEL}


def at_slot(slot: int, facts: Facts) -> Facts:
    return replace(facts, device=Device(slot, f"{slot:016d}", 0, facts.device.revoked_at))


def compiled(*facts: Facts) -> DecisionTable:
    table = DecisionTable(MODELS, PLANS)
    table.put(columns_of(facts, table.vocabulary))
    return table


def assert_equal(decisions: Decisions, facts: Facts, at: int, names: tuple[str, ...]) -> None:
    slot = facts.device.slot
    columns = decisions.columns(names)
    slots = np.full(len(names), slot, np.uint32)
    pairs = decisions.decide_many(slots, columns, at)
    every = decisions.decide_all(slots[:1], columns, at)
    for number, name in enumerate(names):
        expected = decide(facts, name, at)
        found = decisions.decide(slot, name, at)
        assert found == expected
        assert type(found.value) is type(expected.value)
        for answers in (pairs, every):
            assert answers.allowed[number] == expected.allowed
            assert CODES[answers.code[number]] == expected.code
            assert decisions.values[answers.value[number]] == expected.value
            until = NEVER if expected.until is None else expected.until
            assert answers.until[number] == until


@settings(max_examples=150, deadline=None)
@given(st.lists(products(), min_size=1, max_size=3), st.lists(probes, min_size=2, max_size=4))
def test_arrays_equal_explanations(found: list[Facts], instants: list[int]) -> None:
    every = [at_slot(2 * slot, facts) for slot, facts in enumerate(found, 1)]
    decisions = compiled(*every).decisions()
    for facts in every:
        for at in instants:
            assert_equal(decisions, facts, at, FEATURES)


def test_arrays_equal_explanations_in_many_random_cases() -> None:
    assert random_facts.compare(seed=20261122, count=150, instants=6) == 150 * 6 * 21


def test_changes_of_single_products_leave_what_was_given_out_as_it_was() -> None:
    chance = Random(7)  # noqa: S311  the same in every run
    table = DecisionTable(random_facts.MODELS, random_facts.PLANS)
    now: dict[int, Facts] = {}
    given_out: list[tuple[Decisions, dict[int, Facts]]] = []
    for _ in range(60):
        changed = random_facts.products(chance, 40)
        some = [one for one in changed if chance.random() < 0.5]
        table.put(columns_of(some, table.vocabulary))
        now = {**now, **{one.device.slot: one for one in some}}
        given_out.append((table.decisions(), now))
    assert given_out[-1][0].arrays["instant"].size < 3_000  # what nobody names any more is dropped
    for decisions, facts in given_out[::6]:
        assert decisions.slots.tolist() == sorted(facts)
        for slot in chance.sample(sorted(facts), 4):
            at = chance.randrange(16) * S
            assert_equal(decisions, facts[slot], at, random_facts.ASKED)


@pytest.mark.parametrize("seed", range(3))
def test_the_gate_of_a_fleet_is_that_of_its_products(seed: int) -> None:
    chance = Random(seed)  # noqa: S311  the same in every run
    every = [at_slot(one.device.slot, one) for one in random_facts.products(chance, 60)]
    at = chance.randrange(16) * S
    table, gate = DecisionTable(random_facts.MODELS, random_facts.PLANS), gate_table()
    fleet = GateFleet(table, gate, at)
    for part in (every[:25], every[25:]):
        columns = columns_of(part, table.vocabulary)
        table.put(columns)
        ids = np.array([one.device.device_id for one in part], "S16").view(np.uint8)
        fleet.put(columns, ids.reshape(-1, 16), np.arange(len(part), dtype=np.uint32))
    found, expected = gate.exact(), compile_gate(every, random_facts.MODELS.values(), at)
    for name in ("device_id", "model", "epoch"):
        assert (found[name] == expected[name]).all()
    slots = np.arange(len(every) + 1, dtype=np.uint32)
    for moment in range(at, 17 * S, S // 2):
        for one, other in zip(
            verdict_at(found, slots, moment), verdict_at(expected, slots, moment), strict=True
        ):
            assert (one == other).all()
        assert (limits_at(found, slots, moment) == limits_at(expected, slots, moment)).all()
    owners = {facts.device.slot: ownership(facts, at) for facts in every}
    numbers = dict(zip(slots.tolist(), found["owner"].tolist(), strict=True))
    names: dict[int, str] = {0: ""}
    for slot, owned in owners.items():
        owner_id = "" if owned is None else owned.owner_id
        assert names.setdefault(numbers[slot], owner_id) == owner_id


def test_another_catalogue_decides_anew_without_the_facts() -> None:
    chance = Random(3)  # noqa: S311  the same in every run
    before = [at_slot(slot, one) for slot, one in enumerate(random_facts.products(chance, 20), 1)]
    table = DecisionTable(random_facts.MODELS, random_facts.PLANS)
    table.put(columns_of(before, table.vocabulary))
    models = {
        number: Model(number, model.code, {**model.features, "extra": Feature("extra", safe=True)})
        for number, model in random_facts.MODELS.items()
    }
    table.describe(models, random_facts.PLANS)
    decisions = table.decisions()
    for one in before:
        now = replace(one, model=models[one.model.number])
        assert_equal(decisions, now, 5 * S, (*random_facts.ASKED, "extra"))


def test_a_feature_that_only_a_later_grant_knows() -> None:
    table = compiled(at_slot(1, product()))
    other = Grant("g", "brand_new", 0)
    table.put(columns_of([at_slot(2, product(grants=(other,)))], table.vocabulary))
    decisions = table.decisions()
    assert_equal(decisions, at_slot(1, product()), S, (*FEATURES, "brand_new"))
    assert decisions.decide(2, "brand_new", S).grant_id == "g"


def test_slots_without_a_product() -> None:
    decisions = compiled(at_slot(3, product())).decisions()
    for slot in (0, 1, 4, 1_000_000):
        with pytest.raises(LookupError, match=f"slot {slot}"):
            decisions.decide(slot, "telemetry", 0)
    slots = np.array([0, 1, 3, 4, 2**32 - 1], np.uint32)
    answers = decisions.decide_many(slots, decisions.columns(["local_panel"] * 5), 0)
    assert answers.allowed.tolist() == [False, False, True, False, False]
    assert [CODES[code] for code in answers.code] == [None, None, "included", None, None]


@pytest.mark.parametrize("slots", [(0,), (2, 2)])
def test_bad_slots_change_nothing(slots: tuple[int, ...]) -> None:
    table = compiled(at_slot(1, product()))
    with pytest.raises(ValueError, match="slot"):
        table.put(columns_of([at_slot(slot, product()) for slot in slots], table.vocabulary))
    assert table.decisions().slots.tolist() == [1]


def test_a_plan_version_that_is_missing_changes_nothing() -> None:
    table = compiled(at_slot(1, product()))
    lost = Subscription("s", "gone", 1, 0)
    with pytest.raises(LookupError, match="gone"):
        table.put(columns_of([at_slot(2, product(subscriptions=(lost,)))], table.vocabulary))
    assert table.decisions().slots.tolist() == [1]


def test_pairs_must_be_pairs() -> None:
    decisions = compiled(at_slot(1, product())).decisions()
    with pytest.raises(ValueError, match="not pairs"):
        decisions.decide_many(np.ones(2, np.uint32), decisions.columns(["schedule"]), 0)


def test_ids_sort_as_their_text() -> None:
    ids = ["", "a", "a0", "aa", "b", "0123456789abcdef", "zzzzzzzzzzzzzzzz"]
    pairs = [tuple(pair) for pair in id_pairs(ids).tolist()]
    assert pairs == [id_pair(text) for text in ids]
    assert sorted(ids) == id_texts(np.array(sorted(pairs), np.int64))
    with pytest.raises(ValueError, match="longer than 16"):
        id_pair("a" * 17)
    with pytest.raises(ValueError, match="longer than 16"):
        id_pairs(["a" * 17])


@settings(max_examples=200, deadline=None)
@given(products(), st.sampled_from(FEATURES), probes, st.sampled_from(HoldKind))
def test_any_one_hold_wins(facts: Facts, feature: str, at: int, kind: HoldKind) -> None:
    """A hold on the product refuses whatever else is true of it, but for a safe function."""
    held = replace(facts, holds=(*facts.holds, Hold("z", kind, at, at + 1)))
    free, blocked = decide(facts, feature, at), decide(held, feature, at)
    if free.safe or free.rule in {"revoked", "unknown_feature"}:
        assert blocked._replace(until=None) == free._replace(until=None)
    else:
        assert not blocked.allowed
        assert blocked.code in {"hold", "quota_used"}  # the oldest hold is named
    after = decide(held, feature, at + 1)._replace(until=None)
    assert after == decide(facts, feature, at + 1)._replace(until=None)
