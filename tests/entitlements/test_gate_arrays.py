"""The arrays of the gate snapshot against decisions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.budget import DEFAULT, UNLIMITED, Budget, Limits, limits
from entitlements.codes import Code
from entitlements.decision import decide
from entitlements.facts import (
    Device,
    Facts,
    Feature,
    FeatureTerms,
    Hold,
    HoldKind,
    Metric,
    Model,
    Ownership,
    PlanVersion,
    Subscription,
)
from entitlements.gate import (
    FOREVER_AGO,
    compile_gate,
    gate_entry,
    gate_table,
    gate_terms,
    limits_at,
    verdict_at,
)
from entitlements.gate_metrics import Arrays
from entitlements.gate_table import Entry, GateSpan, GateTable, Patch
from entitlements.ladder import owner_epoch
from tests.entitlements.gate_lookup import DTYPES, assert_same_snapshot
from tests.entitlements.products import DAY, MODEL, PLANS, S, probes, product, products

NOW = 100 * DAY
ACCEPT, LAPSED, UNCLAIMED, CLONE, HELD, REFUSED = (0, 0), (1, 1), (1, 2), (1, 3), (1, 4), (3, 7)


def at_slot(slot: int, facts: Facts) -> Facts:
    revoked_at = facts.device.revoked_at
    return replace(facts, device=Device(slot, f"{slot:016d}", 0, revoked_at))


def verdict(facts: Facts, at: int) -> tuple[int, int]:
    arrays = compile_gate([facts], [MODEL], at)
    verdicts, reasons = verdict_at(arrays, np.array([facts.device.slot], np.uint32), at)
    return int(verdicts[0]), int(reasons[0])


def expected(facts: Facts, at: int) -> tuple[int, int]:
    """The same rules once more, from the explained decision."""
    decision = decide(facts, "telemetry", at)
    if decision.allowed:
        return ACCEPT
    if decision.code is Code.HOLD:
        return CLONE if decision.args["kind"] == "clone" else HELD
    return {Code.REVOKED: REFUSED, Code.UNCLAIMED: UNCLAIMED}.get(decision.code, LAPSED)


PAID = Subscription("s", "basic", 1, 0, paid_until=NOW, grace_s=86_400)


@pytest.mark.parametrize(
    ("facts", "at", "pair"),
    [
        (product(subscriptions=(PAID,)), NOW - 1, ACCEPT),
        (product(subscriptions=(PAID,)), NOW + DAY - 1, ACCEPT),
        (product(subscriptions=(PAID,)), NOW + DAY, LAPSED),
        (product(), NOW, LAPSED),
        (product(ownership=()), NOW, UNCLAIMED),
        (product(subscriptions=(PAID,), holds=(Hold("h", HoldKind.CLONE, 0),)), 1, CLONE),
        (product(subscriptions=(PAID,), holds=(Hold("h", HoldKind.THEFT, 0),)), 1, HELD),
        (product(device=Device(1, "0" * 16, 0, revoked_at=NOW)), NOW, REFUSED),
        (
            product(model=Model(7, "free", {"telemetry": Feature("telemetry", safe=True)})),
            1,
            ACCEPT,
        ),
    ],
)
def test_what_the_gate_does(facts: Facts, at: int, pair: tuple[int, int]) -> None:
    assert verdict(facts, at) == pair


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 12), products()), max_size=4, unique_by=lambda one: one[0]),
    probes,
    probes,
)
def test_the_arrays_equal_the_decisions(
    slotted: list[tuple[int, Facts]], compiled: int, at: int
) -> None:
    compiled, at = sorted((compiled, at))
    by_slot = {slot: at_slot(slot, facts) for slot, facts in slotted}
    arrays = compile_gate(by_slot.values(), [MODEL], compiled)
    slots = np.arange(20, dtype=np.uint32)
    verdicts, reasons = verdict_at(arrays, slots, at)
    for slot in range(20):
        facts = by_slot.get(slot)
        pair = REFUSED if facts is None else expected(facts, at)
        assert (verdicts[slot], reasons[slot]) == pair
        if slot < len(arrays["model"]):
            assert arrays["epoch"][slot] == (0 if facts is None else owner_epoch(facts, compiled))


def test_names_shapes_and_dtypes_are_those_of_the_table() -> None:
    arrays = compile_gate([at_slot(3, product(subscriptions=(PAID,)))], [MODEL], 0)
    assert {name: str(array.dtype) for name, array in arrays.items()} == DTYPES
    assert arrays["device_id"].shape == (4, 16)
    assert arrays["device_id"][3].tobytes() == b"0000000000000003"
    assert arrays["model"].tolist() == [0, 0, 0, 7]
    assert arrays["span"].tolist() == [[0, 1], [0, 1], [0, 1], [1, 3]]
    assert arrays["span_from"].tolist() == [FOREVER_AGO, FOREVER_AGO, NOW + DAY]
    assert arrays["span_verdict"].tolist() == [3, 0, 1]
    assert arrays["metric_name"].shape == (2, 48)
    assert arrays["metric_name"][1].tobytes().rstrip(b"\0") == b"energy_kwh"
    assert arrays["metric_model"].tolist() == [7, 7]
    assert arrays["metric_kind"].tolist() == [0, 1]
    assert np.isnan(arrays["metric_high"][1])
    assert arrays["metric_low"].tolist() == [-40.0, 0.0]


def test_an_empty_hub_has_a_snapshot_that_refuses_everybody() -> None:
    arrays = compile_gate([], [], NOW)
    assert {name: str(array.dtype) for name, array in arrays.items()} == DTYPES
    assert arrays["metric_name"].shape == (0, 48)
    verdicts, _ = verdict_at(arrays, np.array([0, 1, 2**32 - 1], np.uint32), NOW)
    assert verdicts.tolist() == [3, 3, 3]


def test_the_order_of_products_does_not_matter() -> None:
    many = [at_slot(slot, product(subscriptions=(PAID,) * (slot % 2))) for slot in range(1, 9)]
    one = compile_gate(many, [MODEL], 0)
    other = compile_gate(reversed(many), [MODEL], 0)
    assert_same_snapshot(one, other)


def test_a_clock_a_little_behind_the_compile_finds_the_first_span() -> None:
    arrays = compile_gate([product(subscriptions=(PAID,))], [MODEL], NOW - DAY)
    verdicts, _ = verdict_at(arrays, np.array([1], np.uint32), -S)
    assert verdicts.tolist() == [0]


@pytest.mark.parametrize(
    ("facts", "models", "message"),
    [
        ([product(), product()], [], "device 0{16} has slot 1, which is taken"),
        ([at_slot(0, product())], [], "slot 0, which is taken or not allowed"),
        ([product(device=Device(1, "short", 0))], [], "'short' does not fit the 16"),
        ([product(device=Device(1, "ä" * 16, 0))], [], "does not fit the 16"),
        ([], [Model(1, "m", {}, (Metric(0, "x" * 49),))], "does not fit the 48"),
    ],
)
def test_facts_that_do_not_fit_are_named(
    facts: list[Facts], models: list[Model], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compile_gate(facts, models, NOW)


def test_plans_are_shared_by_many_products() -> None:
    facts = [at_slot(slot, product(subscriptions=(PAID,))) for slot in range(1, 101)]
    assert all(one.plans is PLANS for one in facts)
    arrays = compile_gate(facts, [MODEL], 0)
    # ... and so are equal spans.
    assert arrays["span"][1:].tolist() == [[1, 3]] * 100
    assert arrays["span_from"].size == 3


def applied(base: Arrays, patch: Patch) -> Arrays:
    arrays = {name: array.copy() for name, array in base.items()}
    for name, (rows, values) in patch.items():
        arrays[name][rows] = values
    return arrays


@settings(max_examples=100)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(1, 12), products()),
            min_size=1,
            max_size=4,
            unique_by=lambda one: one[0],
        ),
        max_size=6,
    ),
    st.lists(st.booleans(), min_size=6, max_size=6),
    probes,
)
def test_patches_lead_where_a_compile_of_everything_leads(
    changes: list[list[tuple[int, Facts]]], wholes: list[bool], at: int
) -> None:
    table = gate_table()
    table.describe([MODEL])
    base = {name: array.copy() for name, array in table.whole().items()}
    by_slot: dict[int, Facts] = {}
    for change, whole in zip(changes, wholes, strict=False):
        now = {slot: at_slot(slot, facts) for slot, facts in change}
        by_slot |= now
        table.put([gate_entry(facts, at) for facts in now.values()])
        assert not table.put([gate_entry(facts, at) for facts in now.values()])
        patch = table.patch()
        assert patch is not None
        fresh = compile_gate(by_slot.values(), [MODEL], at)
        assert_same_snapshot(applied(base, patch), fresh)
        assert_same_snapshot(table.exact(), fresh)
        if whole:
            base = {name: array.copy() for name, array in table.whole().items()}
            assert_same_snapshot(base, fresh)


def entry(slot: int, boundary: int) -> Entry:
    spans = (GateSpan(FOREVER_AGO, 0, 0), GateSpan(boundary, 1, 1))
    return Entry(slot, f"{slot:016d}", 7, 1, "anna", spans)


def test_a_patch_that_does_not_fit_is_not_made() -> None:
    table = gate_table()
    assert table.patch() is None  # of what?
    table.put([entry(slot, slot) for slot in range(1, 500)])
    room = len(table.whole()["model"])
    assert room > 1500
    table.put([entry(slot, 0) for slot in range(500, 1500)])
    patch = table.patch()
    assert patch is not None
    assert len(patch["model"][0]) == 1000
    table.put([entry(slot, 0) for slot in range(1, 50)])
    assert table.patch() is None  # so much that the whole is better
    table.whole()
    table.put([entry(room + 1000, 0)])
    assert table.patch() is None  # a slot beyond the room
    assert table.whole()["device_id"][room + 1000].tobytes() == b"%016d" % (room + 1000)
    for number in range(1000):
        table.put([entry(1, number)])
    assert table.patch() is None  # no room for more spans
    table.whole()
    assert table.patch() is not None
    assert table.describe([MODEL])
    assert table.patch() is None  # another catalogue
    table.whole()
    assert not table.describe([MODEL])
    assert table.patch() is not None


def test_spans_that_nobody_names_any_more_are_dropped() -> None:
    table = gate_table()
    for number in range(5000):
        table.put([entry(number % 3 + 1, number)])
    table.whole()
    assert len(table.exact()["span_from"]) == 1 + 3 * 2


def test_what_cannot_be_taken_in_changes_nothing() -> None:
    table: GateTable = gate_table()
    table.put([entry(1, 1)])
    before = {name: array.copy() for name, array in table.exact().items()}
    thief = entry(1, 2)._replace(device_id="x" * 16)
    for bad in ([thief], [entry(2, 1), entry(2, 1)], [entry(2, 1), entry(0, 1)]):
        with pytest.raises(ValueError, match="is taken or not allowed"):
            table.put(bad)
        for name, array in table.exact().items():
            np.testing.assert_array_equal(array, before[name])


def test_a_catalogue_matters_to_the_gate_by_what_it_says_of_telemetry() -> None:
    terms = gate_terms([MODEL], PLANS.values())
    longer = replace(MODEL, metrics=(*MODEL.metrics, Metric(2, "flow_c")))
    assert gate_terms([longer], PLANS.values()) == terms
    features = {**MODEL.features, "telemetry": Feature("telemetry", safe=True)}
    assert gate_terms([replace(MODEL, features=features)], PLANS.values()) != terms
    budgeted = replace(MODEL, budget=Budget(messages_per_s=1))
    assert gate_terms([budgeted], PLANS.values()) != terms


def test_a_plans_budget_comes_before_the_models_and_that_before_the_hubs_own() -> None:
    assert limits() == limits(None, None) == DEFAULT
    model, plan = Budget(messages_per_s=7, burst_s=3), Budget(messages_per_s=50, bytes_per_s=4096)
    assert limits(None, model) == DEFAULT._replace(messages_per_s=7, burst_s=3)
    assert limits(plan, model) == DEFAULT._replace(messages_per_s=50, bytes_per_s=4096, burst_s=3)


def test_a_budget_holds_while_its_plan_does() -> None:
    model = replace(MODEL, budget=Budget(messages_per_s=7))
    plan = PlanVersion("fast", 1, {"telemetry": FeatureTerms()}, Budget(messages_per_s=50))
    paid = replace(PAID, plan="fast")
    facts = product(model=model, subscriptions=(paid,), plans={("fast", 1): plan})
    arrays = compile_gate([facts], [model], 0)
    slots = np.array([1, 0], np.uint32)
    for at, messages in ((0, 50), (NOW + DAY - 1, 50), (NOW + DAY, 7)):
        rows = [Limits(*row) for row in limits_at(arrays, slots, at).tolist()]
        assert rows == [DEFAULT._replace(messages_per_s=messages), UNLIMITED]


def test_a_budget_that_is_new_needs_a_whole_version() -> None:
    table = gate_table()
    table.put([gate_entry(product(), 0)])
    table.whole()
    budgeted = replace(MODEL, budget=Budget(burst_s=1))
    assert table.put([gate_entry(product(model=budgeted), 0)])
    assert table.patch() is None
    assert table.whole()["budget"].tolist()[-1] == list(DEFAULT._replace(burst_s=1))
    assert table.put([gate_entry(product(), 0)])
    assert table.patch() is not None


def test_products_of_one_owner_have_one_number() -> None:
    def owned(slot: int, *owners: str) -> Facts:
        terms = (Ownership(i + 1, name, i) for i, name in enumerate(owners))
        return at_slot(slot, product(ownership=tuple(terms)))

    facts = [owned(1, "anna"), owned(2, "bert"), owned(3, "bert", "anna"), owned(4)]
    numbers = compile_gate(facts, [MODEL], NOW)["owner"].tolist()
    assert numbers[1] == numbers[3]
    assert len({*numbers[1:]}) == 3
    assert numbers[4] == 0
