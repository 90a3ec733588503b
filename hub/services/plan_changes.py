"""Changes of what an agreement is for: another plan, now or later, and more or fewer add-ons.

1. Now: the unused rest of what ends is credited and the rest of what begins is charged, by seconds, on
   one invoice. What costs money happens once it is paid, as of when it was asked for; if the payment
   fails, nothing happened.
2. Later: the plan changes when the next period begins. Until then it can be undone.
3. A plan that is paid at other intervals begins a period of its own.
4. In a trial, and between plans that are free, nothing is billed.

What must never live here: what follows from a payment (`settlements`).
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.billing.agreements import Item, Period, first_period
from entitlements.status import Status
from entitlements.transitions import Trigger
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.catalogue_tables import Feature, Plan, PlanFeature, PlanVersion
from hub.ports.database.product_tables import Product
from hub.services import agreement_lines, agreements, audit, settlements, subscriptions
from hub.services.agreements import Live
from hub.services.caller import Caller
from hub.services.tokens import Tokens

MOST = 10_000
"""Of one add-on that an agreement can have."""
When = Literal["now", "period_end"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A version of a plan that is on sale."""

    plan: Plan
    version: PlanVersion


def choose(
    session: Session, product_id: str, plan: str, version: int | None, *, addon: bool
) -> Chosen:
    """Return the version of a plan that a product can get.

    Args:
        session: any session.
        product_id: which product.
        plan: name of the plan.
        version: its version; None: the newest on sale.
        addon: whether an add-on is wanted.

    Raises:
        ConflictError: it is withdrawn, an add-on where a plan is wanted or the other way round, or it
            includes nothing that the product's model has.
        NotFoundError: no such plan or version.
    """
    found = subscriptions.plan_version(session, plan, version)
    row = session.get_one(Plan, found.plan_id)
    if row.addon is not addon:
        raise ConflictError(
            f"{plan} is {'an add-on' if row.addon else 'a plan, not an add-on'}. Choose another.",
            plan=plan,
        )
    query = (
        select(PlanFeature.feature)
        .join(Feature, Feature.name == PlanFeature.feature)
        .join(Product, Product.model_number == Feature.model_number)
        .where(PlanFeature.plan_version_id == found.id, Product.id == product_id)
    )
    if session.scalars(query.limit(1)).first() is None:
        raise ConflictError(
            f"Plan {plan} includes nothing that this product can do. Choose one that is offered for "
            "its model.",
            plan=plan,
        )
    return Chosen(row, found)


def change(
    session: Session,
    caller: Caller,
    product_id: str,
    plan: str,
    at: int,
    tokens: Tokens,
    *,
    version: int | None = None,
    when: When | None = None,
) -> Agreement:
    """Go over to another plan.

    Args:
        session: a writing session.
        caller: who may pay for the product, or staff.
        product_id: which product.
        plan: name of the plan.
        at: now, ns.
        tokens: source of ids.
        version: of the plan; None: the newest.
        when: None: now if it costs as much or more, else when the period ends.

    Raises:
        ConflictError: the state does not permit it, it has that plan, or something is to be paid and
            there is no means of payment.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product, agreement or plan.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    chosen = choose(session, agreement.product_id, plan, version, addon=False)
    present = agreements.live(session, agreement)
    if present[0].version.id == chosen.version.id:
        raise ConflictError(f"The product has plan {plan} already.", plan=plan)
    item = _priced(session, agreement, chosen, 1, at)
    if when is None:
        cheaper = item.amount.minor * _interval(session, present[0].version) < present[
            0
        ].item.amount * _interval(session, chosen.version)
        when = "period_end" if cheaper and agreement.period_end is not None else "now"
    _check_intervals(session, chosen.version, present[1:], when)
    if when == "now":
        agreements.require(session, agreement, Trigger.CHANGE_NOW, at)
        _now(session, tokens, agreement, present[:1], [item], at)
    else:
        agreements.require(session, agreement, Trigger.CHANGE_LATER, at)
        waiting = agreements.waiting_bill(session, agreement)
        if waiting is not None and waiting.kind == "change":
            agreements.require_settled(session, agreement)
        if agreement.period_end is None and agreement.next_at is None:
            raise ConflictError("The present plan has no end of a period. Change it now.")
        agreement.next_version_id = chosen.version.id
        session.flush()
    _record(session, caller, agreement, "change", at, plan=plan, when=when)
    return agreement


def undo_change(session: Session, caller: Caller, product_id: str, at: int) -> Agreement:
    """Keep the present plan after all; again: no change.

    Raises:
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product or agreement.
    """
    agreement = agreements.own_agreement(session, caller, product_id)
    if agreement.next_version_id is not None:
        agreement.next_version_id = None
        session.flush()
        _record(session, caller, agreement, "undo_change", at)
    return agreement


def set_addon(
    session: Session,
    caller: Caller,
    product_id: str,
    plan: str,
    quantity: int,
    at: int,
    tokens: Tokens,
) -> Agreement:
    """Have so many of an add-on from now on; 0: none.

    An add-on that the product has keeps its version.

    Raises:
        ConflictError: the state does not permit it, it is paid at other intervals than the plan, or
            something is to be paid and there is no means of payment.
        ForbiddenError: the caller's role does not permit that.
        InvalidInputError: a quantity out of range.
        NotFoundError: no such product, agreement or add-on.
    """
    if not 0 <= quantity <= MOST:
        raise InvalidInputError(f"A product can have 0 to {MOST} of an add-on.", quantity=quantity)
    agreement = agreements.own_agreement(session, caller, product_id)
    present = agreements.live(session, agreement)
    having = [one for one in present[1:] if one.plan.name == plan]
    if (having[0].row.quantity if having else 0) == quantity:
        return agreement
    agreements.require(session, agreement, Trigger.CHANGE_NOW, at)
    if having:
        chosen = Chosen(having[0].plan, having[0].version)
    else:
        chosen = choose(session, agreement.product_id, plan, None, addon=True)
    check_interval(session, present[0].version, chosen)
    if agreement.next_version_id is not None and quantity:
        following = session.get_one(PlanVersion, agreement.next_version_id)
        check_interval(session, following, chosen)
    items = [_priced(session, agreement, chosen, quantity, at)] if quantity else []
    _now(session, tokens, agreement, having, items, at)
    _record(session, caller, agreement, "addon", at, plan=plan, quantity=quantity)
    return agreement


def check_interval(session: Session, base: PlanVersion, addon: Chosen) -> None:
    """Raise unless an add-on is paid at the intervals of the plan.

    Raises:
        ConflictError: it is not.
    """
    if _interval(session, base) != _interval(session, addon.version):
        raise ConflictError(
            f"Add-on {addon.plan.name} is paid at other intervals than the plan. Choose another.",
            plan=addon.plan.name,
        )


def _now(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    ended: list[Live],
    begun: list[Item],
    at: int,
) -> None:
    """Change at once, or as soon as it is paid."""
    agreements.require_settled(session, agreement)
    state = agreements.state(session, agreement, at)
    old, new = _periods(session, agreement, begun, at, trial=state is Status.TRIAL)
    if new is not None and new != old and old is not None:  # what goes on is paid anew, too
        others = [one for one in agreements.live(session, agreement) if one not in ended]
        ended, begun = ended + others, begun + [one.priced(agreement.currency) for one in others]
    gone = [(one.row.id, one.priced(agreement.currency)) for one in ended]
    rest = () if old is None else agreement_lines.of_rest(agreement, gone, at, old)
    more = () if new is None else agreement_lines.of_begun(agreement, begun, at, new)
    settlements.ask(
        session,
        tokens,
        agreement,
        [*rest, *more],
        "change",
        at,
        settlements.change_wanted(new, [one.row.id for one in ended], begun),
        cause=agreements.next_cause(session, agreement),
        at=at,
    )


def _periods(
    session: Session, agreement: Agreement, begun: list[Item], at: int, *, trial: bool
) -> tuple[Period | None, Period | None]:
    """Return the periods in which an agreement is before and after a change."""
    old = agreements.period_of(agreement)
    if trial:
        return None, None
    plan = next((item for item in begun if not item.addon), None)
    first, *addons = agreements.live(session, agreement)
    before = _interval(session, first.version)
    if plan is None:  # add-ons alone; to a plan that is free they begin a period
        costs = any(item.amount for item in begun)
        return old, first_period(agreement.zone, at, before) if old is None and costs else old
    interval = _interval(session, session.get_one(PlanVersion, plan.version))
    if not plan.amount and not plan.off and not any(one.item.amount for one in addons):
        return old, None
    if old is None or interval != before:
        return old, first_period(agreement.zone, at, interval)
    return old, old


def _priced(session: Session, agreement: Agreement, chosen: Chosen, quantity: int, at: int) -> Item:
    return agreements.priced(
        session,
        agreement.owner_id,
        agreement.currency,
        chosen.version,
        chosen.plan,
        at,
        quantity=quantity,
        discount=agreements.discount_of(session, agreement, chosen.plan.name),
    )


def _check_intervals(
    session: Session, version: PlanVersion, addons: list[Live], when: When
) -> None:
    interval = _interval(session, version)
    other = [one.plan.name for one in addons if _interval(session, one.version) != interval]
    if other:
        raise ConflictError(
            f"Add-ons {', '.join(other)} are paid at other intervals than that plan. Give them up "
            "first.",
            when=when,
        )


def _interval(session: Session, version: PlanVersion) -> int:
    return agreements.interval_of(session, version)


def _record(
    session: Session, caller: Caller, agreement: Agreement, what: str, at: int, **details: object
) -> None:
    object_ = f"agreement:{agreement.id}"
    details["product"] = agreement.product_id
    audit.record(session, at, caller.actor, f"agreement.{what}", object_, details)
