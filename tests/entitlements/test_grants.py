"""What the signed state tells a product."""

from typing import Any

from hypothesis import given

from entitlements.decision import decide
from entitlements.facts import Device, Facts, Grant, Hold, HoldKind, Subscription
from entitlements.grants import FeatureGrant, TokenTerms, feature_grants, token_terms
from entitlements.status import NS_PER_S
from tests.entitlements.products import DAY, FEATURES, probes, product, products

NOW = 100 * DAY
PAID_UNTIL = NOW + 20 * DAY
GRACE_S = 5 * 86_400
TELEMETRY_ONLY = Subscription("b", "basic", 1, 0, paid_until=PAID_UNTIL, grace_s=GRACE_S)


def without_included(**facts: Any) -> Facts:
    """A product whose model includes nothing but safe functions."""
    base = product(**facts)
    safe = {name: one for name, one in base.model.features.items() if one.safe}
    model = type(base.model)(7, "heat-pump", safe)
    return product(**{**facts, "model": model})


def test_a_full_set_is_granted() -> None:
    paid = Subscription("c", "comfort", 2, 0, paid_until=PAID_UNTIL, grace_s=GRACE_S)
    grants = feature_grants(product(subscriptions=(paid,)), NOW)
    assert list(grants) == sorted(set(FEATURES) - {"no_such_feature"})
    end_s = PAID_UNTIL // NS_PER_S + GRACE_S
    plan: dict[str, Any] = {"plan": "comfort", "until_at": PAID_UNTIL}
    assert grants["schedule"] == FeatureGrant(True, "plan", end_s, False, plan)
    assert grants["history_days"].args["value"] == 365
    assert grants["history_days"].until_s is None  # the model's own seven days remain
    assert grants["max_flow_c"] == FeatureGrant(True, "safe_function", None, True, {"value": 55})


def test_a_refused_feature_says_when_it_may_open() -> None:
    soon = Subscription("c", "comfort", 2, NOW + DAY)
    grant = feature_grants(product(subscriptions=(soon,)), NOW)["schedule"]
    assert (grant.allowed, grant.code) == (False, "scheduled")
    assert grant.until_s == (NOW + DAY) // NS_PER_S


def test_the_token_expires_with_what_is_paid_and_goes_on_through_the_grace() -> None:
    expected = TokenTerms(PAID_UNTIL // NS_PER_S, GRACE_S)
    facts = without_included(subscriptions=(TELEMETRY_ONLY,))
    assert token_terms(facts, NOW) == expected
    assert token_terms(facts, PAID_UNTIL + DAY) == expected


def test_the_longest_cover_counts() -> None:
    longer = Subscription("c", "comfort", 2, 0, ends_at=PAID_UNTIL + 30 * DAY)
    facts = without_included(subscriptions=(TELEMETRY_ONLY, longer))
    assert token_terms(facts, NOW) == TokenTerms((PAID_UNTIL + 30 * DAY) // NS_PER_S, 0)


def test_a_cancelled_subscription_has_no_grace() -> None:
    cancelled = Subscription(
        "b", "basic", 1, 0, paid_until=PAID_UNTIL, grace_s=GRACE_S, cancelled_at=NOW
    )
    facts = without_included(subscriptions=(cancelled,))
    assert token_terms(facts, NOW) == TokenTerms(PAID_UNTIL // NS_PER_S, 0)


def test_features_without_end_keep_the_token_from_expiring() -> None:
    assert token_terms(product(subscriptions=(TELEMETRY_ONLY,)), NOW) == (None, 0)
    gift = Grant("g", "schedule", 0)
    facts = without_included(subscriptions=(TELEMETRY_ONLY,), grants=(gift,))
    assert token_terms(facts, NOW) == (None, 0)


def test_a_product_with_nothing_but_safe_functions_has_a_token_without_expiry() -> None:
    facts = without_included(subscriptions=(), holds=(Hold("h", HoldKind.FRAUD, 0),))
    assert token_terms(facts, NOW) == (None, 0)


def test_seconds_are_rounded_down() -> None:
    odd = Subscription("b", "basic", 1, 0, paid_until=7 * NS_PER_S + 999, grace_s=2)
    facts = without_included(subscriptions=(odd,))
    assert token_terms(facts, 0) == (7, 2)
    assert feature_grants(facts, 0)["telemetry"].until_s == 9


def test_a_revoked_product_is_granted_nothing() -> None:
    revoked = product(device=Device(1, "0" * 16, 0, revoked_at=NOW))
    assert not any(grant.allowed for grant in feature_grants(revoked, NOW).values())


@given(products(), probes, probes)
def test_an_offline_product_never_enjoys_more_than_was_agreed(
    facts: Facts, issued: int, later: int
) -> None:
    issued, later = sorted((issued, later))
    grants = feature_grants(facts, issued)
    terms = token_terms(facts, issued)
    for name, grant in grants.items():
        assert grant.allowed == decide(facts, name, issued).allowed
        over = terms.expires_s is not None and later // NS_PER_S >= terms.expires_s + terms.grace_s
        ended = grant.until_s is not None and later // NS_PER_S >= grant.until_s
        believed = grant.allowed and not ended and (grant.safe or not over)
        if believed:
            assert decide(facts, name, later).allowed
        elif grant.allowed:
            # The token as a whole never takes away what a feature's own end would leave.
            assert ended
