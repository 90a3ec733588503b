"""The facts about one product that every entitlement decision is made from.

1. Facts are immutable. They say what was agreed and when, never what follows from it: no status.
2. Instants are `int` nanoseconds since 1970 UTC. Intervals are half-open, `[start, end)`; no end
   means open. An interval that ends before it starts holds nothing.
3. The order in which facts are listed never matters.

No clock, no database, no sentences here; money does not decide anything and is not here either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from entitlements.budget import Budget
from entitlements.quotas import PLAIN, QuotaTerms

Value = bool | int | str | None
"""What a feature is set to: a switch, a number (a limit, a quota) or a text."""


class FeatureKind(StrEnum):
    """How a feature is sold."""

    ON_OFF = "on_off"
    VALUE = "value"
    METERED = "metered"


class MetricKind(StrEnum):
    """How a metric behaves over time."""

    GAUGE = "gauge"
    COUNTER = "counter"
    STATE = "state"


class HoldKind(StrEnum):
    """Why something is blocked for the time being."""

    PAYMENT = "payment"
    FRAUD = "fraud"
    THEFT = "theft"
    RECALL = "recall"
    CLONE = "clone"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class Feature:
    """Something a product model can do.

    Args:
        name: machine name, unique in the model.
        kind: on/off, a configuration value, or metered (its value is the quota).
        safe: a safe function (safety, local control, security updates). No plan, lapse or hold
            takes it away, and its value comes from the model alone.
        default: what holds without any plan. `None` or `False`: nothing, the feature has to be
            granted or subscribed to. Anything else: it comes with the product.
        meter: name of the meter that counts against its quota, `None` if nothing does.
    """

    name: str
    kind: FeatureKind = FeatureKind.ON_OFF
    safe: bool = False
    default: Value = None
    meter: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A quantity that a product model reports.

    Args:
        index: position in the model; models only ever append.
        name: name on the wire.
        unit: UCUM code, empty when the quantity has none.
        low: lower limit, `None` for none.
        high: upper limit, `None` for none.
        kind: gauge or counter.
    """

    index: int
    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    kind: MetricKind = MetricKind.GAUGE


@dataclass(frozen=True, slots=True)
class Model:
    """A product model of the catalogue; one object is shared by all of its products.

    Args:
        number: number of the model, 1 to 65,535.
        code: name of the model, such as `heat-pump`.
        features: what the model can do, by feature name.
        metrics: what the model reports.
        budget: how much its products may send; `None` says nothing.
    """

    number: int
    code: str
    features: Mapping[str, Feature] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class FeatureTerms:
    """On which terms a plan includes a feature.

    Args:
        value: value of a configuration feature or quota of a metered one. `None` takes the
            model's default; a metered feature without either is unlimited.
        quota: what else is agreed of a quota.
    """

    value: Value = None
    quota: QuotaTerms = PLAIN


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """One version of a plan. A version never changes; subscribers keep theirs.

    Args:
        code: name of the plan, such as `comfort`.
        version: version of the plan, from 1.
        features: the features it includes, by name. What is not listed is not included.
        budget: how much products on it may send; `None` says nothing.
        addon: whether it is sold beside a plan: its quotas add to those of the plan, as often as
            its subscription says, and its values take the place of the plan's.
    """

    code: str
    version: int
    features: Mapping[str, FeatureTerms]
    budget: Budget | None = None
    addon: bool = False


@dataclass(frozen=True, slots=True)
class Ownership:
    """Somebody owned the product for a while. Should two overlap, the higher epoch holds.

    Args:
        epoch: owner epoch, from 1, rising with each change of owner.
        owner_id: who.
        start: when the ownership began.
        end: when it ended, `None` while it lasts.
    """

    epoch: int
    owner_id: str
    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """What was agreed about paying for a plan: dates only. `status.py` derives the rest.

    Args:
        id: identity of the subscription.
        plan: code of the plan.
        plan_version: version of the plan.
        start: first instant of the subscription.
        trial_end: end of the free trial, `None` without one.
        paid_until: end of what is paid for. `None` without a trial: open-ended (free of charge or
            billed elsewhere); `None` with a trial: nothing was paid after the trial yet.
        grace_s: seconds for which an unpaid subscription goes on after the end of its cover.
        cancelled_at: when it was cancelled. What is covered stays covered, grace is not given; an
            open-ended subscription stops at this instant.
        ends_at: fixed end; nothing of the subscription reaches beyond it.
        epoch: owner epoch it belongs to, for subscriptions that do not pass on to the next owner;
            `None` goes with the product.
        retry_s: seconds after the end of the cover for which its payment is being collected; the
            grace follows.
        paused_at: when it was paused, last. What was paid for does not run on meanwhile: who pauses
            moves `paid_until` by as long.
        resumes_at: when that pause ends or ended, `None` while nobody knows.
        withdrawn_at: when the customer withdrew from the contract, as the law allows for a while.
        quantity: how many times it was bought; more than one only of add-ons.
        outage_s: seconds of grace that are given for times in which the hub was down while the
            subscription was unpaid; follows from the other dates and the outages
            (`billing.outages.with_outages`).
    """

    id: str
    plan: str
    plan_version: int
    start: int
    trial_end: int | None = None
    paid_until: int | None = None
    grace_s: int = 0
    cancelled_at: int | None = None
    ends_at: int | None = None
    epoch: int | None = None
    retry_s: int = 0
    paused_at: int | None = None
    resumes_at: int | None = None
    withdrawn_at: int | None = None
    quantity: int = 1
    outage_s: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """A reversible block. It cancels nothing, and any one of several is enough.

    Args:
        id: identity of the hold.
        kind: why.
        start: first instant of the block.
        end: when it ends by itself or was lifted, `None` while open.
        features: the features it blocks, `None` for all.
        subscription_id: block only what this subscription grants, so that an unpaid bill does not
            cut what was paid for elsewhere; `None` blocks the product itself.
        owner_id: the account it is on; it holds while that owner has the product. For unpaid bills
            it blocks only what subscriptions grant without being paid for at the instant, for any
            other reason the product itself. `None`: it is not on an account.
        reason: what support wrote down.
        author: who placed it.
    """

    id: str
    kind: HoldKind
    start: int
    end: int | None = None
    features: frozenset[str] | None = None
    subscription_id: str | None = None
    reason: str = ""
    author: str = ""
    owner_id: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A feature given to one product beside any plan: goodwill, a dealer's promise, a test.

    Args:
        id: identity of the grant.
        feature: name of the feature.
        start: first instant.
        end: end, `None` for good.
        value: value or quota; `None` takes the model's default.
        reason: what support wrote down.
        author: who gave it.
    """

    id: str
    feature: str
    start: int
    end: int | None = None
    value: Value = None
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """The product itself.

    Args:
        slot: device slot, from 1.
        device_id: 16 characters of `[a-z0-9]`.
        enrolled_at: when it enrolled.
        revoked_at: when its identity was revoked, `None` if it is valid.
        cohort: number of the products that detection compares it with, 0 for none. It decides
            nothing; the gate's snapshot carries it to the pipeline.
    """

    slot: int
    device_id: str
    enrolled_at: int
    revoked_at: int | None = None
    cohort: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that decides what one product may do.

    Args:
        device: the product.
        model: its model; the object is shared among products.
        ownership: who owned it when.
        subscriptions: all subscriptions that ever covered it, lapsed and future ones too.
        plans: plan versions by `(code, version)`; at least those the subscriptions name. One
            mapping of the whole catalogue is shared among products.
        holds: all holds, lifted ones too.
        grants: all grants, expired ones too.
    """

    device: Device
    model: Model
    ownership: tuple[Ownership, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    plans: Mapping[tuple[str, int], PlanVersion] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    grants: tuple[Grant, ...] = ()

    def plan_of(self, subscription: Subscription) -> PlanVersion:
        """Return the plan version a subscription is on.

        Raises:
            LookupError: the facts were assembled without that plan version.
        """
        try:
            return self.plans[subscription.plan, subscription.plan_version]
        except KeyError:
            raise LookupError(
                f"subscription {subscription.id} of device {self.device.device_id} is on plan"
                f" {subscription.plan} version {subscription.plan_version}, which is not among the"
                " facts; add that plan version to Facts.plans",
            ) from None


def in_force(start: int, end: int | None, at: int) -> bool:
    """Say whether the half-open interval `[start, end)` contains the instant."""
    return start <= at and (end is None or at < end)
