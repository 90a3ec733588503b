"""Everything about one product that its owner or support wants to see at once.

1. Statuses and decisions are derived for the instant asked for, from facts.
2. Who the owner is, and what was agreed about paying, is shown to whom it is permitted; e-mail
   addresses to staff only.
3. What is decided stands beside what the device believes (`beliefs`).
"""

from dataclasses import dataclass, replace

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from entitlements.decision import Decision, Explanation, decide, explain
from entitlements.facts import Facts
from entitlements.grants import feature_names
from entitlements.status import Status, status
from hub.errors import NotFoundError
from hub.ports.database.catalogue_tables import Plan
from hub.ports.database.people_tables import Membership, Owner, Person
from hub.ports.database.product_tables import Certificate, Device
from hub.services import alert_desk, beliefs, looks, products, pushes
from hub.services.alert_desk import AlertView
from hub.services.beliefs import Belief
from hub.services.caller import Caller, Scope
from hub.services.facts import load_one
from hub.services.looks import Part
from hub.services.own_time import is_anothers, ownerships
from hub.services.past import load_known
from hub.services.products import ProductSummary
from hub.services.relations import Act, Relation


@dataclass(frozen=True, slots=True)
class OwnerView:
    """The household that owns a product; `emails` are empty for customers."""

    id: str
    name: str
    emails: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanView:
    """A subscription of the product with its status now; instants in ns."""

    subscription_id: str
    plan: str
    title: str
    version: int
    status: Status
    starts_at: int
    trial_end: int | None
    paid_until: int | None
    grace_s: int
    outage_s: int
    cancelled_at: int | None
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """What the device last said, and its certificate; instants in ns."""

    sdk: str | None
    boot: bytes | None
    enrolled_at: int
    certificate_not_after: int | None
    state_version: int
    state_version_reported: int
    entitlement_version: int
    entitlement_version_reported: int
    belief: Belief
    configuration: pushes.Configuration


@dataclass(frozen=True, slots=True)
class ProductDetail:
    """A product; `device` is None until it enrols, `owner` until it is claimed."""

    summary: ProductSummary
    facts: Facts
    owner: OwnerView | None
    plans: tuple[PlanView, ...]
    entitlements: tuple[Decision, ...]
    device: DeviceView | None
    open_alerts: tuple[AlertView, ...]


def detail(session: Session, caller: Caller, product_id: str, at: int) -> ProductDetail:
    """Return everything about a product.

    Raises:
        NotFoundError: no such product, or not one of the caller's.
    """
    summary = products.summary(session, caller, product_id)
    looks.look(session, caller, product_id, Part.PRODUCT, at)
    facts = load_one(session, product_id)
    people = products.permits(session, caller, product_id, Act.PEOPLE)
    bills = products.permits(session, caller, product_id, Act.BILLS)
    return ProductDetail(
        summary=summary,
        facts=facts,
        owner=_owner(session, caller, summary) if people else None,
        plans=_plans(session, facts, summary.epoch, at) if bills else (),
        entitlements=tuple(decide(facts, name, at) for name in feature_names(facts)),
        device=_device(session, caller, summary, at),
        open_alerts=(
            tuple(alert_desk.unresolved(session, caller, product_id))
            if Scope.ALERTS_READ in caller.scopes
            else ()
        ),
    )


def plans(session: Session, caller: Caller, product_id: str, at: int) -> tuple[PlanView, ...]:
    """Return the subscriptions of a product with their status at an instant.

    Raises:
        ForbiddenError: the caller may not know what was agreed about paying.
        NotFoundError: no such product, or not one of the caller's.
    """
    products.visible(session, caller, product_id, Act.BILLS)
    epoch = products.summary(session, caller, product_id).epoch
    return _plans(session, load_one(session, product_id), epoch, at)


def explanation(
    session: Session,
    caller: Caller,
    product_id: str,
    feature: str,
    at: int,
    known_at: int,
) -> Explanation:
    """Explain the decision on one feature of a product, rung by rung.

    Args:
        session: any session.
        caller: sees the product.
        product_id: which.
        feature: name of the feature.
        at: the instant that is decided on, ns.
        known_at: from the facts as they were known then, ns.

    Raises:
        NotFoundError: no such product of the caller's, no such feature, or it was another
            household's at one of the instants.
    """
    caller.require(Scope.PRODUCTS_READ)
    product = products.visible(session, caller, product_id)
    if not caller.is_staff:
        rows = ownerships(session, product.id)
        if is_anothers(rows, at) or is_anothers(rows, known_at):
            raise NotFoundError(
                f"Product {product.serial} was somebody else's then. Ask about your own time.",
                product=product_id,
            )
    facts = load_known(session, product.id, known_at)
    if feature not in feature_names(load_one(session, product.id)):
        raise NotFoundError(f"A {facts.model.code} has no feature {feature!r}.", feature=feature)
    return explain(facts, feature, at)


def decisions(
    session: Session, caller: Caller, product_id: str, at: int
) -> tuple[Facts, tuple[Decision, ...]]:
    """Decide every feature of a product at an instant, in the order of their names.

    Raises:
        NotFoundError: no such product of the caller's.
    """
    caller.require(Scope.PRODUCTS_READ)
    facts = load_one(session, products.visible(session, caller, product_id).id)
    return facts, tuple(decide(facts, name, at) for name in feature_names(facts))


def _owner(session: Session, caller: Caller, summary: ProductSummary) -> OwnerView | None:
    if summary.owner_id is None:
        return None
    query = (
        select(Owner.name, Person.email)
        .outerjoin(
            Membership,
            and_(
                Membership.owner_id == Owner.id,
                Membership.ended_at.is_(None),
                Membership.relation.in_((Relation.OWNER, Relation.MEMBER)),
            ),
        )
        .outerjoin(Person, Person.id == Membership.person_id)
        .where(Owner.id == summary.owner_id)
        .order_by(Person.email)
    )
    rows = session.execute(query).all()
    emails = tuple(row.email for row in rows if row.email) if caller.is_staff else ()
    return OwnerView(summary.owner_id, rows[0].name, emails)


def _plans(session: Session, facts: Facts, epoch: int, at: int) -> tuple[PlanView, ...]:
    """Return the subscriptions that concern the present owner, the latest first."""
    if not facts.subscriptions:
        return ()
    names = {subscription.plan for subscription in facts.subscriptions}
    query = select(Plan.name, Plan.title).where(Plan.name.in_(names))
    titles = {row.name: row.title for row in session.execute(query)}
    rows = [one for one in facts.subscriptions if one.epoch in {None, epoch}]
    rows.sort(key=lambda one: (one.start, one.id), reverse=True)
    return tuple(
        PlanView(
            subscription_id=one.id,
            plan=one.plan,
            title=titles[one.plan],
            version=one.plan_version,
            status=status(one, at),
            starts_at=one.start,
            trial_end=one.trial_end,
            paid_until=one.paid_until,
            grace_s=one.grace_s,
            outage_s=one.outage_s,
            cancelled_at=one.cancelled_at,
            ends_at=one.ends_at,
        )
        for one in rows
    )


def _belief(session: Session, caller: Caller, device: Device, epoch: int, at: int) -> Belief:
    """Return what a device believes; of a token for a former owner only staff see what it says."""
    found = beliefs.belief(session, device, at)
    others = found.epoch not in {None, epoch}
    return replace(found, features=()) if others and not caller.is_staff else found


def _device(
    session: Session, caller: Caller, summary: ProductSummary, at: int
) -> DeviceView | None:
    if summary.slot is None:
        return None
    device = session.get_one(Device, summary.slot)
    not_after = session.scalar(
        select(Certificate.not_after)
        .where(Certificate.slot == device.slot)
        .order_by(Certificate.not_after.desc())
        .limit(1)
    )
    return DeviceView(
        sdk=device.sdk,
        boot=device.boot,
        enrolled_at=device.enrolled_at,
        certificate_not_after=not_after,
        state_version=device.state_version,
        state_version_reported=device.state_version_reported,
        entitlement_version=device.entitlement_version,
        entitlement_version_reported=device.entitlement_version_reported,
        belief=_belief(session, caller, device, summary.epoch, at),
        configuration=pushes.configuration_of(device),
    )
