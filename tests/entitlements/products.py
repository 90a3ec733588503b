"""Facts for the tests of entitlements: one small catalogue and hypothesis strategies over it."""

from typing import Any

from hypothesis import strategies as st

from entitlements.facts import (
    Device,
    Facts,
    Feature,
    FeatureKind,
    FeatureTerms,
    Grant,
    Hold,
    HoldKind,
    Metric,
    MetricKind,
    Model,
    Ownership,
    PlanVersion,
    Subscription,
)

S = 1_000_000_000
DAY = 86_400 * S

MODEL = Model(
    number=7,
    code="heat-pump",
    features={
        "frost_protection": Feature("frost_protection", safe=True),
        "max_flow_c": Feature("max_flow_c", FeatureKind.VALUE, safe=True, default=55),
        "local_panel": Feature("local_panel", default=True),
        "schedule": Feature("schedule"),
        "history_days": Feature("history_days", FeatureKind.VALUE, default=7),
        "reports": Feature("reports", FeatureKind.METERED),
    },
    metrics=(
        Metric(0, "temp_c", "Cel", -40.0, 120.0),
        Metric(1, "energy_kwh", "kW.h", 0.0, None, MetricKind.COUNTER),
    ),
)

PLANS = {
    (plan.code, plan.version): plan
    for plan in (
        PlanVersion("basic", 1, {"telemetry": FeatureTerms()}),
        PlanVersion(
            "comfort",
            2,
            {
                "telemetry": FeatureTerms(),
                "schedule": FeatureTerms(),
                "history_days": FeatureTerms(365),
                "reports": FeatureTerms(12),
                "remote_help": FeatureTerms(),
            },
        ),
        PlanVersion("comfort", 1, {"telemetry": FeatureTerms(), "schedule": FeatureTerms(False)}),
        PlanVersion(
            "more_reports",
            1,
            {"reports": FeatureTerms(5), "history_days": FeatureTerms(900)},
            addon=True,
        ),
    )
}

FEATURES = (*MODEL.features, "telemetry", "remote_help", "no_such_feature")


def product(**facts: Any) -> Facts:
    """Return facts of a product that is owned from instant 0 unless told otherwise."""
    given: dict[str, Any] = {
        "device": Device(1, "0" * 16, 0),
        "model": MODEL,
        "plans": PLANS,
        "ownership": (Ownership(1, "anna", 0),),
    }
    return Facts(**{**given, **facts})


# A coarse, small time line lets boundaries of different facts meet often.
instants = st.integers(-2, 14).map(lambda tick: tick * S)
ends = st.none() | instants
# Where to look: at the ticks, just before and just after them.
probes = st.tuples(instants, st.integers(-1, 1)).map(sum)

owned = st.builds(
    Ownership,
    epoch=st.integers(1, 3),
    owner_id=st.sampled_from(["anna", "bert"]),
    start=instants,
    end=ends,
)

subscribed = st.sampled_from(sorted(PLANS)).flatmap(
    lambda plan: st.builds(
        Subscription,
        id=st.sampled_from("stuv"),
        plan=st.just(plan[0]),
        plan_version=st.just(plan[1]),
        start=instants,
        trial_end=ends,
        paid_until=ends,
        grace_s=st.integers(0, 3),
        cancelled_at=ends,
        ends_at=ends,
        epoch=st.none() | st.integers(1, 3),
        retry_s=st.integers(0, 2),
        paused_at=ends,
        resumes_at=ends,
        withdrawn_at=st.none() | ends,
        quantity=st.integers(1, 3),
    ),
)

held = st.builds(
    Hold,
    id=st.sampled_from("hij"),
    kind=st.sampled_from(HoldKind),
    start=instants,
    end=ends,
    features=st.none() | st.frozensets(st.sampled_from(FEATURES), max_size=3),
    subscription_id=st.none() | st.sampled_from("stuv"),
    owner_id=st.none() | st.sampled_from(["anna", "bert"]),
)

granted = st.builds(
    Grant,
    id=st.sampled_from("ghi"),
    feature=st.sampled_from(FEATURES),
    start=instants,
    end=ends,
    value=st.none() | st.integers(1, 9) | st.booleans(),
)


def products() -> st.SearchStrategy[Facts]:
    """Any facts at all, sensible or not, over the small catalogue."""
    return st.builds(
        lambda revoked_at, ownership, subscriptions, holds, grants: Facts(
            device=Device(1, "0" * 16, 0, revoked_at),
            model=MODEL,
            ownership=tuple(ownership),
            subscriptions=tuple(subscriptions),
            plans=PLANS,
            holds=tuple(holds),
            grants=tuple(grants),
        ),
        ends,
        st.lists(owned, max_size=3, unique_by=lambda one: one.epoch),
        st.lists(subscribed, max_size=3, unique_by=lambda one: one.id),
        st.lists(held, max_size=3, unique_by=lambda one: one.id),
        st.lists(granted, max_size=2, unique_by=lambda one: one.id),
    )
