"""What holds for decisions on any facts whatever."""

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.codes import Code
from entitlements.decision import decide, explain
from entitlements.facts import Facts
from entitlements.sentences import sentence
from entitlements.spans import spans
from tests.entitlements.products import FEATURES, S, probes, products

features = st.sampled_from(FEATURES)


@settings(max_examples=300)
@given(products(), features, probes, probes)
def test_a_decision_equals_the_span_that_contains_it(
    facts: Facts, feature: str, start: int, at: int
) -> None:
    start, at = sorted((start, at))
    found = [span for span in spans(facts, feature, start) if span.start <= at]
    assert found[-1].decision == decide(facts, feature, at)


@given(products(), features, probes)
def test_spans_touch_and_neighbours_differ(facts: Facts, feature: str, start: int) -> None:
    found = spans(facts, feature, start)
    assert found[0].start == start
    assert found[-1].decision.until is None
    for span, following in pairwise(found):
        assert span.decision.until == following.start > span.start
        assert span.decision._replace(until=None) != following.decision._replace(until=None)


@given(products(), features, probes)
def test_the_end_only_cuts_spans_off(facts: Facts, feature: str, start: int) -> None:
    end = start + 5 * S
    assert spans(facts, feature, start, end) == [
        span for span in spans(facts, feature, start) if span.start < end
    ]


@settings(max_examples=300)
@given(products(), features, probes, st.randoms(use_true_random=False))
def test_the_order_of_facts_does_not_matter(
    facts: Facts, feature: str, at: int, random: Random
) -> None:
    mixed = Facts(
        facts.device,
        facts.model,
        tuple(random.sample(facts.ownership, len(facts.ownership))),
        tuple(random.sample(facts.subscriptions, len(facts.subscriptions))),
        facts.plans,
        tuple(random.sample(facts.holds, len(facts.holds))),
        tuple(random.sample(facts.grants, len(facts.grants))),
    )
    assert explain(mixed, feature, at) == explain(facts, feature, at)


@given(products(), st.sampled_from(["frost_protection", "max_flow_c"]), probes)
def test_only_revocation_takes_a_safe_function_away(facts: Facts, feature: str, at: int) -> None:
    decision = decide(facts, feature, at)
    revoked_at = facts.device.revoked_at
    assert decision.safe
    assert decision.allowed == (revoked_at is None or at < revoked_at)
    assert decision.code in {Code.SAFE_FUNCTION, Code.REVOKED}


@given(products(), features, probes)
def test_explain_agrees_with_decide(facts: Facts, feature: str, at: int) -> None:
    explanation = explain(facts, feature, at)
    assert explanation.decision == decide(facts, feature, at)
    deciding = next(step for step in explanation.steps if step.outcome is not None)
    assert deciding.decided
    assert deciding.rule == explanation.decision.rule


@given(products(), features, probes)
def test_every_outcome_has_a_sentence(facts: Facts, feature: str, at: int) -> None:
    for step in explain(facts, feature, at).steps:
        if step.outcome is not None:
            text = sentence(step.outcome.code, step.outcome.args)
            assert text.endswith(".")
            assert "None" not in text
