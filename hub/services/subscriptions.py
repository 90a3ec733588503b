"""Subscriptions of products to plans: what was agreed, as dates.

1. Nothing here decides what a subscription allows: `entitlements` derives that from the dates.
2. A subscription stays on the plan version it started with. Changing the plan ends it and starts
   another, so the past stays as it was.
3. What the hub bills itself is an agreement (`agreements`), whose subscriptions are not changed here.
4. Terms that are replaced are kept (`past.py`), so what was decided by them can be told.
5. It belongs to the household that owned the product when it started, and does not pass on to the
   next owner unless it is transferable.
"""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.agreement_tables import AgreementItem
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.ports.database.ownership_tables import Subscription
from hub.services import audit, changes, parties, past, products
from hub.services.caller import Caller, Scope
from hub.services.tokens import Tokens


def start(
    session: Session,
    caller: Caller,
    product_id: str,
    plan: str,
    at: int,
    tokens: Tokens,
    *,
    version: int | None = None,
    starts_at: int | None = None,
    trial_end: int | None = None,
    paid_until: int | None = None,
    cancelled_at: int | None = None,
    ends_at: int | None = None,
    grace_s: int | None = None,
    transferable: bool = False,
) -> Subscription:
    """Subscribe a product to a plan.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        product_id: which product; somebody must own it.
        plan: name of the plan.
        at: now, ns.
        tokens: source of the id.
        version: version of the plan; None: the newest.
        starts_at: first instant, ns; None: now.
        trial_end: end of the free trial.
        paid_until: end of what is paid for; None (without a trial): open-ended.
        cancelled_at: when it was cancelled; for one that is brought over from elsewhere.
        ends_at: fixed end.
        grace_s: seconds after the end of the cover; None: what the plan version gives.
        transferable: whether it passes on to the next owner.

    Raises:
        ConflictError: nobody owns the product.
        InvalidInputError: a date lies before the start.
        NotFoundError: no such product, plan or version.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    product = products.visible(session, caller, product_id)
    owner = parties.open_ownership(session, product.id)
    if owner is None:
        raise ConflictError(
            f"Nobody owns product {product.serial} yet, so nobody can subscribe it to a plan. "
            "Have it claimed first.",
            product=product_id,
        )
    terms = plan_version(session, plan, version)
    starts_at = at if starts_at is None else starts_at
    for name, instant in (("trial", trial_end), ("paid time", paid_until), ("term", ends_at)):
        if instant is not None and instant < starts_at:
            raise InvalidInputError(
                f"The {name} would end before the subscription starts. Correct the dates."
            )
    row = Subscription(
        id=tokens.new_id(),
        product_id=product.id,
        owner_id=owner.owner_id,
        plan_version_id=terms.id,
        starts_at=starts_at,
        trial_end=trial_end,
        paid_until=paid_until,
        grace_s=terms.grace_s if grace_s is None else grace_s,
        cancelled_at=cancelled_at,
        ends_at=ends_at,
        epoch=None if transferable else owner.epoch,
        created_at=at,
    )
    session.add(row)
    session.flush()
    details = {"plan": plan, "version": terms.version, "product": product.id}
    if cancelled_at is not None:
        details["cancelled_at"] = cancelled_at
    _record(session, caller, row, "start", at, details)
    return row


def extend(
    session: Session, caller: Caller, subscription_id: str, paid_until: int | None, at: int
) -> Subscription:
    """Set until when a subscription is paid for (ns); None: open-ended.

    Raises:
        ConflictError: it is cancelled.
        InvalidInputError: that is before its start.
        NotFoundError: no such subscription.
    """
    row = _subscription(session, caller, subscription_id)
    if row.cancelled_at is not None:
        raise ConflictError(
            f"Subscription {row.id} is cancelled. Start a new one instead.", subscription=row.id
        )
    if paid_until is not None and paid_until < row.starts_at:
        raise InvalidInputError("The paid time would end before the subscription starts.")
    past.keep_terms(session, row, at)
    row.paid_until = paid_until
    session.flush()
    _record(session, caller, row, "extend", at, {"paid_until": paid_until})
    return row


def change(
    session: Session,
    caller: Caller,
    subscription_id: str,
    plan: str,
    at: int,
    tokens: Tokens,
    *,
    version: int | None = None,
    from_at: int | None = None,
) -> Subscription:
    """Go over to another plan: end the subscription and start one with the same dates.

    Args:
        session: a writing session.
        caller: needs `entitlements:write`.
        subscription_id: the one to end.
        plan: name of the new plan.
        at: now, ns.
        tokens: source of the id.
        version: version of the new plan; None: the newest.
        from_at: when, ns; None: now.

    Returns:
        The new subscription.

    Raises:
        ConflictError: the subscription is cancelled or ends before.
        InvalidInputError: the change would be before the subscription starts.
        NotFoundError: no such subscription, plan or version.
    """
    row = _subscription(session, caller, subscription_id)
    from_at = at if from_at is None else from_at
    if row.cancelled_at is not None or (row.ends_at is not None and row.ends_at <= from_at):
        raise ConflictError(
            f"Subscription {row.id} is cancelled or over. Start a new one instead.",
            subscription=row.id,
        )
    if from_at < row.starts_at:
        raise InvalidInputError("The change would be before the subscription starts.")
    terms = plan_version(session, plan, version)
    new = Subscription(
        id=tokens.new_id(),
        product_id=row.product_id,
        owner_id=row.owner_id,
        plan_version_id=terms.id,
        starts_at=from_at,
        trial_end=row.trial_end,
        paid_until=row.paid_until,
        grace_s=terms.grace_s,
        ends_at=row.ends_at,
        epoch=row.epoch,
        created_at=at,
    )
    past.keep_terms(session, row, at)
    row.ends_at = from_at
    session.add(new)
    session.flush()
    details = {"plan": plan, "version": terms.version, "replaces": row.id}
    _record(session, caller, new, "change", at, details)
    return new


def cancel(session: Session, caller: Caller, subscription_id: str, at: int) -> Subscription:
    """Cancel a subscription: what is covered stays so, nothing follows. Again: no change.

    Raises:
        NotFoundError: no such subscription.
    """
    row = _subscription(session, caller, subscription_id)
    if row.cancelled_at is None:
        past.keep_terms(session, row, at)
        row.cancelled_at = at
        session.flush()
        _record(session, caller, row, "cancel", at, {})
    return row


def plan_version(session: Session, plan: str, version: int | None) -> PlanVersion:
    """Return a version of a plan that is not withdrawn, the newest if none is given.

    Raises:
        ConflictError: the version, or every version of the plan, is withdrawn.
        NotFoundError: no such plan or version.
    """
    query = (
        select(PlanVersion)
        .join(Plan, Plan.id == PlanVersion.plan_id)
        .where(Plan.name == plan)
        .order_by(PlanVersion.withdrawn, PlanVersion.version.desc())
        .limit(1)
    )
    if version is not None:
        query = query.where(PlanVersion.version == version)
    found = session.scalars(query).first()
    if found is None:
        which = plan if version is None else f"{plan} version {version}"
        raise NotFoundError(f"There is no plan {which}. See the catalogue.", plan=plan)
    if found.withdrawn:
        raise ConflictError(
            f"Version {found.version} of plan {plan} is withdrawn: who has it keeps it, and nobody "
            "new gets it. Choose another version or plan.",
            plan=plan,
            version=found.version,
        )
    return found


def _subscription(session: Session, caller: Caller, subscription_id: str) -> Subscription:
    """Return a subscription whose dates staff may set: none that an agreement sets.

    Raises:
        ConflictError: it is billed by this hub.
        NotFoundError: there is none of that id.
    """
    caller.require(Scope.ENTITLEMENTS_WRITE)
    billed = select(AgreementItem.subscription_id).where(
        AgreementItem.subscription_id == subscription_id, AgreementItem.ended_at.is_(None)
    )
    if session.scalar(billed) is not None:
        raise ConflictError(
            f"Subscription {subscription_id} is billed here, so its dates follow from its bills. Change "
            "the plan of its product instead.",
            subscription=subscription_id,
        )
    row = session.get(Subscription, subscription_id)
    if row is None:
        raise NotFoundError(
            f"There is no subscription {subscription_id}.", subscription=subscription_id
        )
    products.visible(session, caller, row.product_id)
    return row


def _record(
    session: Session,
    caller: Caller,
    row: Subscription,
    what: str,
    at: int,
    details: Mapping[str, object],
) -> None:
    object_ = f"subscription:{row.id}"
    audit.record(session, at, caller.actor, f"subscription.{what}", object_, details)
    changes.note(session, row.product_id)
