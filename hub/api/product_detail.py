"""All that is known of one product, on one page: what support and its owner look at first.

1. The facts come from the services in one transaction, so its parts agree with one another.
2. Latest values come from the telemetry store, as far as the caller may see them now.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from entitlements import decision
from entitlements.status import Status
from hub.api import decisions
from hub.api.alert_bodies import Alert, shown_alert
from hub.api.bodies import Answer, Scalar, examples
from hub.api.instants import Instant
from hub.api.product_bodies import Decision, ProductSummary
from hub.ports.store.port import TelemetryStore
from hub.services import beliefs, consent, products, telemetry
from hub.services import product_detail as services
from hub.services.caller import Caller, Scope
from hub.services.product_detail import DeviceView, PlanView
from hub.services.relations import Act


class ProductOwner(Answer):
    """The household that owns a product."""

    owner_id: str
    name: str
    emails: list[str] = Field(description="Of its people; shown to staff only.")

    model_config = examples(
        {"owner_id": "h7d2n4v9s0b6j1t5", "name": "Ada", "emails": ["ada@example.org"]}
    )


class Subscription(Answer):
    """A subscription and its status at the instant of the request."""

    id: str
    plan: str
    title: str
    version: int
    status: Status
    starts_at: Instant
    trial_end: Instant | None
    paid_until: Instant | None
    grace_s: int
    outage_s: int = Field(
        description="Seconds of grace that are added because the hub was down while it was unpaid."
    )
    cancelled_at: Instant | None
    ends_at: Instant | None

    model_config = examples(
        {
            "id": "s3k9x0c7w2m5q8r1",
            "plan": "comfort",
            "title": "Comfort",
            "version": 1,
            "status": "active",
            "starts_at": "2026-01-01T00:00:00Z",
            "trial_end": None,
            "paid_until": "2026-03-01T00:00:00Z",
            "grace_s": 1209600,
            "outage_s": 0,
            "cancelled_at": None,
            "ends_at": None,
        }
    )


class LatestValue(Answer):
    """The latest sample of a metric."""

    metric: str
    title: str
    unit: str = Field(description="UCUM code.")
    time: Instant
    value: float

    model_config = examples(
        {
            "metric": "temp_c",
            "title": "Flow temperature",
            "unit": "Cel",
            "time": "2026-01-31T08:00:00Z",
            "value": 41.5,
        }
    )


class BelievedFeature(Answer):
    """What a device does about a feature, by the token that it said it enforces."""

    feature: str
    allowed: bool = Field(description="Whether the device lets it be used now.")
    agrees: bool = Field(description="Whether the hub decides the same now.")
    code: str = Field(description="Code of a decision, or `expired_offline`.")
    args: dict[str, Scalar]
    safe: bool
    ends_at: Instant | None = Field(
        description="When the device stops by itself if it hears nothing more; a clock that is slow "
        "or was off makes it later, never earlier. Null: never, or it does not allow it."
    )

    model_config = examples(
        {
            "feature": "boost_hours",
            "allowed": True,
            "agrees": False,
            "code": "plan",
            "args": {"plan": "comfort", "until_at": "2026-03-01T00:00:00Z"},
            "safe": False,
            "ends_at": "2026-03-15T00:00:00Z",
        }
    )


class Belief(Answer):
    """What a device believes of its entitlements, beside what the hub decides."""

    version: int = Field(description="Token that the device said it enforces; 0: none.")
    latest: bool = Field(description="Whether it is the newest there is.")
    known: bool = Field(description="False if the hub has no record of that version.")
    issued_at: Instant | None = Field(description="When that version was first issued.")
    features: list[BelievedFeature] = Field(description="Empty if it has no token or is not known.")

    model_config = examples(
        {
            "version": 2,
            "latest": False,
            "known": True,
            "issued_at": "2026-02-01T00:00:00Z",
            "features": [],
        }
    )


class DeviceState(Answer):
    """What the hub wants of a device, and what the device said it applied."""

    enrolled_at: Instant
    certificate_not_after: Instant | None
    sdk: str | None
    configuration: dict[str, Any] = Field(description="As the hub wants it.")
    configuration_version: int
    reported: dict[str, Any] = Field(description="In force, as the device said.")
    reported_errors: dict[str, Any] = Field(description="What it could not apply.")
    state_version: int
    state_version_reported: int
    entitlement_version: int
    entitlement_version_reported: int
    belief: Belief

    model_config = examples(
        {
            "enrolled_at": "2026-01-01T00:00:00Z",
            "certificate_not_after": "2026-04-01T00:00:00Z",
            "sdk": "homeport/0.1.0",
            "configuration": {"target_c": 21},
            "configuration_version": 3,
            "reported": {"target_c": 21},
            "reported_errors": {},
            "state_version": 5,
            "state_version_reported": 5,
            "entitlement_version": 2,
            "entitlement_version_reported": 2,
            "belief": {
                "version": 2,
                "latest": True,
                "known": True,
                "issued_at": "2026-02-01T00:00:00Z",
                "features": [],
            },
        }
    )


class ProductDetail(ProductSummary):
    """All that is known of a product."""

    owner: ProductOwner | None
    subscriptions: list[Subscription] = Field(description="The latest first.")
    entitlements: list[Decision]
    device: DeviceState | None = Field(description="Null until the product has enrolled.")
    latest: list[LatestValue] = Field(description="Latest value of each metric.")
    history: Literal["open", "consent_required", "not_permitted"] = Field(
        description="Whether what it measured is shown: `consent_required` where the household "
        "has not consented to support seeing it, `not_permitted` by the caller's role."
    )
    open_alerts: list[Alert] = Field(description="Those not resolved, the newest first.")


def detail(
    session: Session, store: TelemetryStore, caller: Caller, product_id: str, at: int
) -> ProductDetail:
    """Put together all that a caller may know of a product.

    Args:
        session: any session.
        store: the telemetry store.
        caller: who asks.
        product_id: of the product.
        at: the present instant, ns.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    found = services.detail(session, caller, product_id, at)
    permitted = Scope.TELEMETRY_READ in caller.scopes and products.permits(
        session, caller, product_id, Act.HISTORY
    )
    consented = consent.history_open(session, caller, product_id, at)
    readable = permitted and consented
    latest = (
        telemetry.latest(session, store, caller, product_id, at, facts=found.facts)
        if readable
        else []
    )
    owner = found.owner
    return ProductDetail(
        **ProductSummary.model_validate(found.summary).model_dump(),
        owner=owner and ProductOwner(owner_id=owner.id, name=owner.name, emails=list(owner.emails)),
        subscriptions=[shown_plan(plan) for plan in found.plans],
        entitlements=[decisions.shown(decision) for decision in found.entitlements],
        device=None if found.device is None else _device(found.device, found.entitlements),
        latest=[
            LatestValue(
                metric=value.metric.name,
                title=value.metric.title,
                unit=value.metric.unit,
                time=value.time,
                value=value.value,
            )
            for value in latest
        ],
        history="open" if readable else "consent_required" if permitted else "not_permitted",
        open_alerts=[shown_alert(alert) for alert in found.open_alerts],
    )


def shown_plan(plan: PlanView) -> Subscription:
    """Return a subscription as it goes out."""
    return Subscription(
        id=plan.subscription_id,
        plan=plan.plan,
        title=plan.title,
        version=plan.version,
        status=plan.status,
        starts_at=plan.starts_at,
        trial_end=plan.trial_end,
        paid_until=plan.paid_until,
        grace_s=plan.grace_s,
        outage_s=plan.outage_s,
        cancelled_at=plan.cancelled_at,
        ends_at=plan.ends_at,
    )


def _belief(belief: beliefs.Belief, decided: Sequence[decision.Decision]) -> Belief:
    allowed = {one.feature for one in decided if one.allowed}
    return Belief(
        version=belief.version,
        latest=belief.latest,
        known=belief.known,
        issued_at=belief.issued_at,
        features=[
            BelievedFeature(
                feature=one.feature,
                allowed=one.allowed,
                agrees=one.allowed == (one.feature in allowed),
                code=one.code,
                args=decisions.arguments(one.args),
                safe=one.safe,
                ends_at=one.ends_at,
            )
            for one in belief.features
        ],
    )


def _device(device: DeviceView, decided: Sequence[decision.Decision]) -> DeviceState:
    return DeviceState(
        enrolled_at=device.enrolled_at,
        certificate_not_after=device.certificate_not_after,
        sdk=device.sdk,
        configuration=device.configuration.desired,
        configuration_version=device.configuration.version,
        reported=device.configuration.reported,
        reported_errors=device.configuration.errors,
        state_version=device.state_version,
        state_version_reported=device.state_version_reported,
        entitlement_version=device.entitlement_version,
        entitlement_version_reported=device.entitlement_version_reported,
        belief=_belief(device.belief, decided),
    )
