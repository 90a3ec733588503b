"""The ladder of rules: which one decides, with which code and arguments."""

from typing import Any

import pytest

from entitlements.codes import Code
from entitlements.decision import decide, explain
from entitlements.facts import (
    Device,
    Facts,
    FeatureTerms,
    Grant,
    Hold,
    HoldKind,
    Ownership,
    PlanVersion,
    Subscription,
)
from entitlements.ladder import LADDER
from tests.entitlements.products import DAY, PLANS, product

NOW = 100 * DAY
REVOKED = {"device": Device(1, "0" * 16, 0, revoked_at=NOW)}
NOBODY: dict[str, Any] = {"ownership": ()}
THEFT = Hold("h1", HoldKind.THEFT, start=NOW - DAY, end=NOW + DAY, reason="police report 7")
UNPAID = Hold("h2", HoldKind.PAYMENT, start=NOW - DAY, subscription_id="paid")
PAID = Subscription("paid", "comfort", 2, start=0, paid_until=NOW + 20 * DAY, grace_s=5 * 86_400)
BASIC = Subscription("basic", "basic", 1, start=0)
GIFT = Grant("g1", "schedule", start=NOW, end=NOW + 9 * DAY)


def subscribed(*subscriptions: Subscription) -> dict[str, Any]:
    return {"subscriptions": subscriptions}


def dated(**dates: Any) -> dict[str, Any]:
    return subscribed(Subscription("x", "comfort", 2, start=0, **dates))


@pytest.mark.parametrize(
    ("facts", "feature", "rule", "code", "allowed"),
    [
        (REVOKED, "schedule", "revoked", Code.REVOKED, False),
        (REVOKED, "frost_protection", "revoked", Code.REVOKED, False),
        (REVOKED | subscribed(PAID), "telemetry", "revoked", Code.REVOKED, False),
        ({}, "no_such_feature", "unknown_feature", Code.UNKNOWN_FEATURE, False),
        (NOBODY, "frost_protection", "safe_function", Code.SAFE_FUNCTION, True),
        ({"holds": (THEFT,)}, "frost_protection", "safe_function", Code.SAFE_FUNCTION, True),
        (subscribed(PAID) | {"holds": (THEFT,)}, "schedule", "hold", Code.HOLD, False),
        ({"holds": (THEFT,)}, "local_panel", "hold", Code.HOLD, False),
        ({"holds": (THEFT,), "grants": (GIFT,)}, "schedule", "hold", Code.HOLD, False),
        (NOBODY | {"holds": (THEFT,)}, "telemetry", "hold", Code.HOLD, False),
        (NOBODY | subscribed(PAID), "schedule", "unclaimed", Code.UNCLAIMED, False),
        (NOBODY, "local_panel", "unclaimed", Code.UNCLAIMED, False),
        ({"grants": (GIFT,)}, "schedule", "grant", Code.GRANT, True),
        (subscribed(PAID) | {"grants": (GIFT,)}, "schedule", "grant", Code.GRANT, True),
        (subscribed(PAID), "schedule", "plan", Code.PLAN, True),
        (subscribed(BASIC), "telemetry", "plan", Code.PLAN, True),
        (subscribed(PAID), "remote_help", "plan", Code.PLAN, True),
        (dated(trial_end=NOW + 1), "schedule", "plan", Code.TRIAL, True),
        (dated(paid_until=NOW, grace_s=1), "schedule", "plan", Code.GRACE, True),
        (dated(paid_until=NOW + 1, cancelled_at=NOW), "schedule", "plan", Code.CANCELLED, True),
        ({}, "local_panel", "included", Code.INCLUDED, True),
        (subscribed(BASIC), "history_days", "included", Code.INCLUDED, True),
        (dated(paid_until=NOW), "schedule", "not_covered", Code.LAPSED, False),
        (dated(paid_until=NOW), "telemetry", "not_covered", Code.LAPSED, False),
        (dated(paid_until=NOW), "history_days", "included", Code.INCLUDED, True),
        (dated(ends_at=NOW), "schedule", "not_covered", Code.ENDED, False),
        (subscribed(BASIC), "schedule", "not_covered", Code.NOT_IN_PLAN, False),
        (subscribed(BASIC), "remote_help", "unknown_feature", Code.UNKNOWN_FEATURE, False),
        ({}, "schedule", "not_covered", Code.NO_SUBSCRIPTION, False),
        ({}, "telemetry", "not_covered", Code.NO_SUBSCRIPTION, False),
        (
            subscribed(Subscription("x", "comfort", 2, start=NOW + 1)),
            "schedule",
            "not_covered",
            Code.SCHEDULED,
            False,
        ),
        (subscribed(PAID) | {"holds": (UNPAID,)}, "schedule", "not_covered", Code.HOLD, False),
        (subscribed(PAID, BASIC) | {"holds": (UNPAID,)}, "telemetry", "plan", Code.PLAN, True),
        (
            subscribed(Subscription("x", "comfort", 1, start=0)),
            "schedule",
            "not_covered",
            Code.NOT_IN_PLAN,
            False,
        ),
    ],
)
def test_which_rule_decides(
    facts: dict[str, Any], feature: str, rule: str, code: Code, *, allowed: bool
) -> None:
    decision = decide(product(**facts), feature, NOW)
    assert (decision.rule, decision.code, decision.allowed) == (rule, code, allowed)
    assert decision.value is None or allowed


def test_a_decision_by_plan_names_everything_it_rests_on() -> None:
    decision = decide(product(subscriptions=(PAID,)), "history_days", NOW)
    assert (decision.plan, decision.plan_version) == ("comfort", 2)
    assert decision.subscription_id == "paid"
    assert decision.owner_epoch == 1
    assert decision.value == 365
    assert decision.until == NOW + 20 * DAY
    assert decision.args == {"plan": "comfort", "until_at": NOW + 20 * DAY}


def test_a_decision_by_hold_names_the_oldest_hold_and_keeps_its_reason_private() -> None:
    later = Hold("h0", HoldKind.FRAUD, start=NOW)
    decision = decide(product(subscriptions=(PAID,), holds=(later, THEFT)), "schedule", NOW)
    assert decision.hold_id == "h1"
    assert decision.args == {"kind": "theft", "since_at": NOW - DAY, "until_at": NOW + DAY}
    after = decide(product(subscriptions=(PAID,), holds=(later, THEFT)), "schedule", NOW + DAY)
    assert (decision.until, after.hold_id) == (NOW + DAY, "h0")


def test_a_hold_of_some_features_leaves_the_others_alone() -> None:
    recall = Hold("h", HoldKind.RECALL, start=0, features=frozenset({"schedule"}))
    facts = product(subscriptions=(PAID,), holds=(recall,))
    assert decide(facts, "schedule", NOW).code is Code.HOLD
    assert decide(facts, "reports", NOW).allowed
    assert decide(facts, "reports", NOW).value == 12


def test_a_hold_on_one_subscription_does_not_cut_what_another_paid_for() -> None:
    prepaid = Subscription("prepaid", "comfort", 2, start=0, ends_at=NOW + DAY)
    facts = product(subscriptions=(PAID, prepaid), holds=(UNPAID,))
    decision = decide(facts, "schedule", NOW)
    assert (decision.allowed, decision.subscription_id) == (True, "prepaid")


def test_a_subscription_of_the_previous_owner_does_not_serve_the_next() -> None:
    sold = (Ownership(1, "anna", 0, NOW), Ownership(2, "ben", NOW))
    personal = Subscription("p", "comfort", 2, start=0, epoch=1)
    facts = product(ownership=sold, subscriptions=(personal,))
    assert decide(facts, "schedule", NOW - 1).allowed
    assert decide(facts, "schedule", NOW - 1).until == NOW
    assert decide(facts, "schedule", NOW).code is Code.NO_SUBSCRIPTION
    assert decide(facts, "schedule", NOW).owner_epoch == 2
    passed_on = product(
        ownership=sold,
        subscriptions=(Subscription("p", "comfort", 2, start=0),),
    )
    assert decide(passed_on, "schedule", NOW).allowed


def test_the_most_settled_subscription_is_named() -> None:
    trial = Subscription("trial", "comfort", 2, start=NOW - DAY, trial_end=NOW + DAY)
    grace = Subscription("grace", "comfort", 2, start=0, paid_until=NOW, grace_s=86_400)
    facts = product(subscriptions=(trial, grace, PAID))
    assert decide(facts, "schedule", NOW).subscription_id == "paid"
    assert decide(product(subscriptions=(grace, trial)), "schedule", NOW).code is Code.TRIAL


def test_the_value_of_a_safe_function_comes_from_the_model_alone() -> None:
    plan = PlanVersion("odd", 1, {"max_flow_c": FeatureTerms(80)})
    facts = product(
        plans={("odd", 1): plan},
        subscriptions=(Subscription("x", "odd", 1, start=0),),
    )
    assert decide(facts, "max_flow_c", NOW).value == 55


def test_until_skips_boundaries_at_which_nothing_changes() -> None:
    other = Hold("h", HoldKind.RECALL, start=NOW + DAY, features=frozenset({"reports"}))
    unrelated = Subscription("later", "basic", 1, start=NOW + 2 * DAY)
    facts = product(subscriptions=(PAID, unrelated), holds=(other,))
    assert decide(facts, "schedule", NOW).until == NOW + 20 * DAY
    assert decide(facts, "frost_protection", NOW).until is None


def test_a_missing_plan_version_is_named() -> None:
    facts = product(plans={}, subscriptions=(PAID,))
    with pytest.raises(LookupError, match=r"subscription paid of device .* plan comfort version 2"):
        decide(facts, "schedule", NOW)


def test_explain_shows_every_rung_and_what_lies_below_the_one_that_decided() -> None:
    facts = product(**dated(paid_until=NOW), holds=(THEFT,), grants=(GIFT,))
    explanation = explain(facts, "schedule", NOW)
    assert explanation.decision == decide(facts, "schedule", NOW)
    assert [step.rule for step in explanation.steps] == [rung.rule for rung in LADDER]
    said = {step.rule: step.outcome.code for step in explanation.steps if step.outcome}
    assert said == {"hold": Code.HOLD, "grant": Code.GRANT, "not_covered": Code.LAPSED}
    assert [step.rule for step in explanation.steps if step.decided] == ["hold"]


def test_explain_does_not_refuse_what_a_plan_covers() -> None:
    last = explain(product(subscriptions=(PAID,)), "schedule", NOW).steps[-1]
    assert last.outcome is None


def test_plan_versions_stay_with_their_subscribers() -> None:
    def on_version(version: int) -> Facts:
        return product(subscriptions=(Subscription("x", "comfort", version, start=0),))

    assert set(PLANS["comfort", 1].features) != set(PLANS["comfort", 2].features)
    assert decide(on_version(1), "reports", NOW).code is Code.NOT_IN_PLAN
    assert decide(on_version(2), "reports", NOW).allowed
