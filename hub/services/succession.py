"""What becomes of an agreement when the product changes its owner, and when such a change is undone.

1. An agreement is over when the ownership is: nobody pays for what is somebody else's.
2. What was paid for and not used is given back by seconds if the plan gives it back to who cancels. While
   staff can undo the change, that waits.
3. A change that is undone was none: the agreement that it ended goes on, and what was not granted meanwhile
   moves the period.

What must never live here: whether a change may be undone (`ownership`).
"""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.status import Status
from hub.ports.database.agreement_tables import Agreement, AgreementItem
from hub.ports.database.catalogue_tables import Plan, PlanVersion
from hub.ports.database.ownership_tables import Ownership, Subscription
from hub.services import agreements, audit, cancellations, settlements
from hub.services.agreements import Live
from hub.services.caller import Caller
from hub.services.parties import UNDO_NS
from hub.services.tokens import Tokens


def end(session: Session, product_id: str, at: int, *, undoable: bool) -> None:
    """Close the agreement about a product whose ownership ends; what it grants is not touched here.

    Args:
        session: a writing session.
        product_id: which product.
        at: now, ns.
        undoable: whether somebody else owns the product from now on, which staff can undo for a while.
    """
    agreement = agreements.open_agreement(session, product_id, lock=True)
    if agreement is None:
        return
    agreements.drop_bill(session, agreement, at)
    agreements.close(session, agreement, at)
    agreement.next_at = at + UNDO_NS if undoable else at
    session.flush()


def wind_up(session: Session, tokens: Tokens, agreement: Agreement, at: int) -> None:
    """Give back what of a closed agreement is paid for and was not used, if its plan does; once.

    Args:
        session: a writing session.
        tokens: source of ids.
        agreement: closed by a change of owner.
        at: now, ns.
    """
    agreement.next_at = None
    closed_at = agreement.closed_at
    period, base = agreements.period_of(agreement), agreements.base(session, agreement)
    version = session.get_one(PlanVersion, base.plan_version_id)
    unused = agreements.terms_of(version).cancel_refund == "unused"
    if closed_at is None or period is None or not unused or (base.paid_until or 0) <= closed_at:
        return
    items = [
        (one.row.id, one.priced(agreement.currency))
        for one in _ended(session, agreement, closed_at)
    ]
    lines = cancellations.unused(session, agreement, items, closed_at)
    cause = f"succession:{agreement.id}"
    settlements.give_back(session, tokens, agreement, lines, at, cause=cause)


def undo(
    session: Session,
    caller: Caller,
    undone: Ownership,
    before: Ownership,
    restored: Ownership,
    goes_on: Mapping[str, Subscription],
) -> None:
    """Let the agreement go on that was ended by a change of owner that is undone.

    One whose payment was missing stays closed: nothing was covered any more.

    Args:
        session: a writing session.
        caller: who undoes it.
        undone: the ownership that should never have been, ended.
        before: that of the owner before.
        restored: the new one of the same owner.
        goes_on: the subscriptions of the time before as they go on, by the ids of those before.
    """
    query = select(Agreement).where(
        Agreement.product_id == before.product_id,
        Agreement.epoch == before.epoch,
        Agreement.closed_at == undone.started_at,
    )
    agreement = session.scalars(query.with_for_update()).first()
    if agreement is None or agreement.subscription_id not in goes_on:
        return
    at, closed_at = restored.started_at, undone.started_at
    state = agreements.state(session, agreement, closed_at)
    if state not in {Status.TRIAL, Status.ACTIVE, Status.CANCELLED, Status.PAUSED}:
        return
    for one in _ended(session, agreement, closed_at):
        if one.row.id in goes_on:
            _go_on(session, agreement, one.item, goes_on[one.row.id])
    agreement.subscription_id = goes_on[agreement.subscription_id].id
    agreement.epoch, agreement.closed_at, agreement.next_at = restored.epoch, None, None
    session.flush()
    _catch_up(session, agreement, 0 if state is Status.PAUSED else at - closed_at, at)
    object_ = f"agreement:{agreement.id}"
    details = {"product": agreement.product_id, "epoch": restored.epoch}
    audit.record(session, at, caller.actor, "agreement.reinstate", object_, details)


def _go_on(session: Session, agreement: Agreement, item: AgreementItem, row: Subscription) -> None:
    session.add(
        AgreementItem(
            subscription_id=row.id,
            agreement_id=agreement.id,
            amount=item.amount,
            tax_ppm=item.tax_ppm,
            inclusive=item.inclusive,
        )
    )


def _catch_up(session: Session, agreement: Agreement, by: int, at: int) -> None:
    """Move what was covered, and the next bill with it, by the time that was not granted."""
    base = agreements.base(session, agreement)
    dates: dict[str, int | None] = {}
    if base.trial_end is not None and base.trial_end > at - by:
        dates["trial_end"] = agreement.next_at = base.trial_end + by
    period = agreements.period_of(agreement)
    if period is not None:
        moved = period.moved(by)
        agreements.set_period(agreement, moved)
        dates["paid_until"] = moved.end
    elif base.cancelled_at is not None:
        agreement.next_at = at
    if dates:
        agreements.set_dates(session, agreement, at, **dates)


def _ended(session: Session, agreement: Agreement, at: int) -> list[Live]:
    """Return the subscriptions of an agreement that ended with it, that of the plan first."""
    query = (
        select(AgreementItem, Subscription, PlanVersion, Plan)
        .join(Subscription, Subscription.id == AgreementItem.subscription_id)
        .join(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
        .join(Plan, Plan.id == PlanVersion.plan_id)
        .where(AgreementItem.agreement_id == agreement.id, AgreementItem.ended_at == at)
        .order_by(Plan.addon, Plan.id)
    )
    return [Live(*row) for row in session.execute(query)]
