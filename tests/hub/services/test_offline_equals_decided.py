"""What a device decides offline is what the hub decides at the same instant, for any facts."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from device_sdk.clock import DRIFT_PPM, HubClock
from device_sdk.wire import offline
from device_sdk.wire.state import EntitlementToken, FeatureGrant, decode_token, encode_token
from entitlements.decision import decide
from entitlements.facts import Facts
from entitlements.grants import feature_grants, feature_names, token_terms
from entitlements.spans import spans
from tests.entitlements.products import S, probes, products

LONGEST = 4 * 365 * 86_400


def token_of(facts: Facts, at: int) -> EntitlementToken:
    """Return the token that a device gets, after its way over the wire."""
    terms = token_terms(facts, at)
    features = {
        name: FeatureGrant(one.allowed, one.code, one.until_s, one.safe, one.args)
        for name, one in feature_grants(facts, at).items()
    }
    token = EntitlementToken(
        "a" * 16,
        bytes(16),
        1,
        1,
        max(at, 0) // S,
        terms.expires_s,
        terms.grace_s,
        bytes(32),
        features,
    )
    return decode_token(encode_token(token))


def turn(facts: Facts, feature: str, at: int) -> int | None:
    """Return the first instant at which the hub would decide otherwise on the facts of `at`."""
    for before, after in pairwise(spans(facts, feature, at)):
        if before.decision.allowed != after.decision.allowed:
            return after.start
    return None


@given(products(), probes, st.integers(0, 20) | st.integers(0, LONGEST))
@settings(max_examples=300)
def test_a_device_decides_as_the_hub_does_while_its_token_is_in_force(
    facts: Facts, issued: int, seconds: int
) -> None:
    issued = max(issued, 0)
    token = token_of(facts, issued)
    now_s = issued // S + seconds
    now = max(issued, now_s * S)
    for name in feature_names(facts):
        device, hub = offline.decide(token, name, now_s), decide(facts, name, now)
        turned = turn(facts, name, issued)
        if device.safe:
            # A safe function is never taken away offline, not even by a revocation to come.
            assert device.allowed == decide(facts, name, issued).allowed
            continue
        if device.allowed:
            assert hub.allowed
        elif turned is None or now_s < turned // S:
            assert not hub.allowed
        ends = offline.ends_s(token, name)
        if ends is not None:
            assert turned is not None
            assert ends == turned // S
            assert not offline.decide(token, name, ends).allowed


@given(
    products(),
    probes,
    st.floats(-DRIFT_PPM, DRIFT_PPM),
    st.lists(st.tuples(st.integers(0, 8) | st.integers(0, LONGEST), st.booleans()), max_size=5),
)
@settings(max_examples=200)
def test_no_clock_within_its_tolerance_takes_away_what_is_paid_for(
    facts: Facts, issued: int, ppm: float, life: list[tuple[int, bool]]
) -> None:
    """However its oscillator drifts, and however often it is off, the device is never early."""
    issued = max(issued, 0)
    token = token_of(facts, issued)
    true, running = 0, 0.0  # seconds since the state was issued
    clock = HubClock(lambda: running * (1 + ppm * 1e-6))
    clock.hear(issued, 0.0)
    for elapsed, on in life:
        true += elapsed
        running += elapsed if on else 0
        earliest = clock.earliest_ns()
        error = clock.error_ns()
        assert earliest is not None
        assert error is not None
        assert earliest <= issued + true * S + 1_000
        assert issued + int(running) * S <= earliest + error + 1_000
        now_s = earliest // S
        for name in feature_names(facts):
            device, turned = offline.decide(token, name, now_s), turn(facts, name, issued)
            if device.safe or not decide(facts, name, issued).allowed:
                continue
            if device.allowed:  # late by no more than the bound and the time it was off
                assert turned is None or now_s < turned // S
            else:
                assert turned is not None
                assert turned // S * S <= issued + true * S + 1_000
