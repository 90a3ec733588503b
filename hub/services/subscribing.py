"""Subscribing: how an agreement begins.

1. With a trial, nothing is paid until it ends. A household gets one trial for each of its products.
2. Without one, it begins when its first payment has come; if that fails, it never began.
3. A product has one agreement at a time, whoever is faster.

What must never live here: what is billed later (`renewals`).
"""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from entitlements.billing.agreements import DAY, Discount, Item, first_period
from entitlements.facts import HoldKind
from entitlements.status import Status
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.billing_tables import BillingAccount
from hub.ports.database.ownership_tables import Ownership, Subscription
from hub.ports.database.product_tables import Product
from hub.services import (
    agreement_lines,
    agreements,
    audit,
    billing_accounts,
    plan_changes,
    promotions,
    settlements,
)
from hub.services.caller import Caller
from hub.services.parties import refuse_if_held
from hub.services.plan_changes import Chosen
from hub.services.tokens import Tokens

_OVER = frozenset({Status.ENDED, Status.WITHDRAWN})


def subscribe(
    session: Session,
    caller: Caller,
    product_id: str,
    plan: str,
    at: int,
    tokens: Tokens,
    *,
    version: int | None = None,
    trial: bool = True,
    promotion: str | None = None,
    addons: Mapping[str, int] | None = None,
) -> Agreement:
    """Subscribe a product to a plan that is paid for here.

    Args:
        session: a writing session.
        caller: who may pay for the product, or staff.
        product_id: which product.
        plan: name of the plan.
        at: now, ns.
        tokens: source of ids.
        version: of the plan; None: the newest.
        trial: take the plan's free trial, if it has one and the household had none for this product.
        promotion: code of a promotion.
        addons: how many of which add-ons.

    Returns:
        The agreement. Its plan is `incomplete` until the first payment has come.

    Raises:
        ConflictError: it has a plan already, is on hold, the plan is not sold for it or in the household's
            currency, or a means of payment is missing.
        ForbiddenError: the caller's role does not permit that.
        NotFoundError: no such product, plan or promotion.
    """
    product, owned = agreements.party(session, caller, product_id)
    refuse_if_held(
        session, product, (HoldKind.THEFT, HoldKind.FRAUD), at, "subscribed", owned.owner_id
    )
    _check_free(session, product, at)
    chosen = plan_changes.choose(session, product.id, plan, version, addon=False)
    account = billing_accounts.of_owner(session, owned.owner_id, at)
    agreement = _begin(session, tokens, product, owned, account, chosen, at, trial=trial)
    if promotion is not None:
        promotions.redeem(session, agreement, chosen.plan.name, promotion, at)
    discount = agreements.discount_of(session, agreement, chosen.plan.name)
    base = agreements.base(session, agreement)
    items = [_item(session, agreement, chosen, 1, at, discount)]
    ids = [base.id]
    agreements.add_subscription(session, agreement, base, items[0])
    for name, quantity in sorted((addons or {}).items()):
        if not 1 <= quantity <= plan_changes.MOST:
            raise InvalidInputError(
                f"A product can have 1 to {plan_changes.MOST} of an add-on.", quantity=quantity
            )
        addon = plan_changes.choose(session, product.id, name, None, addon=True)
        plan_changes.check_interval(session, chosen.version, addon)
        items.append(_item(session, agreement, addon, quantity, at))
        row = settlements.begun(session, tokens, agreement, base, addon.version, items[-1], at, at)
        ids.append(row.id)
    _first(session, tokens, agreement, chosen, list(zip(ids, items, strict=True)), at)
    details = {"plan": plan, "version": chosen.version.version, "product": product.id}
    object_ = f"agreement:{agreement.id}"
    audit.record(session, at, caller.actor, "agreement.subscribe", object_, details)
    return agreement


def _check_free(session: Session, product: Product, at: int) -> None:
    """Raise if a product has an agreement that goes on; one that is over is closed."""
    present = agreements.open_agreement(session, product.id, lock=True)
    if present is None:
        return
    state = agreements.state(session, present, at)
    if state in _OVER:
        agreements.close(session, present, at)
        return
    hint = {
        Status.LAPSED: "It lapsed: pay what is open, or cancel it now.",
        Status.INCOMPLETE: "Its first payment is being collected.",
        Status.CANCELLED: "Undo the cancellation instead.",
    }.get(state, "Change the plan instead.")
    raise ConflictError(
        f"Product {product.serial} has a plan already. {hint}",
        product=product.id,
        status=str(state),
    )


def _begin(
    session: Session,
    tokens: Tokens,
    product: Product,
    owned: Ownership,
    account: BillingAccount,
    chosen: Chosen,
    at: int,
    *,
    trial: bool,
) -> Agreement:
    """Write down the agreement and the subscription of its plan."""
    terms = agreements.terms_of(chosen.version)
    item = agreements.priced(
        session, owned.owner_id, account.currency, chosen.version, chosen.plan, at
    )
    free = not item.amount
    days = terms.trial_days if trial and not free and not _tried(session, product, owned) else 0
    if not account.method and not free and (not days or terms.trial_method == "required"):
        billing_accounts.with_method(session, owned.owner_id, at)
    trial_end = at + days * DAY if days else None
    paying = bool(days) and bool(account.method)
    base = Subscription(
        id=tokens.new_id(),
        product_id=product.id,
        owner_id=owned.owner_id,
        plan_version_id=chosen.version.id,
        starts_at=at,
        trial_end=trial_end,
        paid_until=None if free or days else at,
        grace_s=chosen.version.grace_s if paying else 0,
        retry_s=terms.retry_s if paying else 0,
        epoch=owned.epoch,
        quantity=1,
        created_at=at,
    )
    session.add(base)
    session.flush()
    agreement = Agreement(
        id=tokens.new_id(),
        product_id=product.id,
        owner_id=owned.owner_id,
        epoch=owned.epoch,
        subscription_id=base.id,
        currency=account.currency,
        zone=account.zone,
        concluded_at=at,
        anchor_at=at,
        anchor_months=0,
        billed=0,
        next_at=trial_end,
    )
    try:
        with session.begin_nested():
            session.add(agreement)
    except IntegrityError as error:  # where writers do not queue, the index decides who was first
        raise ConflictError(
            f"Somebody subscribed product {product.serial} at the same time.", product=product.id
        ) from error
    return agreement


def _tried(session: Session, product: Product, owned: Ownership) -> bool:
    """Say whether the household had an agreement about the product before."""
    query = select(func.count()).where(
        Agreement.product_id == product.id, Agreement.owner_id == owned.owner_id
    )
    return bool(session.scalar(query))


def _item(
    session: Session,
    agreement: Agreement,
    chosen: Chosen,
    quantity: int,
    at: int,
    discount: Discount | None = None,
) -> Item:
    return agreements.priced(
        session,
        agreement.owner_id,
        agreement.currency,
        chosen.version,
        chosen.plan,
        at,
        quantity=quantity,
        discount=discount,
    )


def _first(
    session: Session,
    tokens: Tokens,
    agreement: Agreement,
    chosen: Chosen,
    items: list[tuple[str, Item]],
    at: int,
) -> None:
    """Bill the first period, unless there is a trial, or nothing to pay."""
    base = agreements.base(session, agreement)
    if base.trial_end is not None:
        return
    if base.paid_until is None and not any(item.amount for _, item in items):
        agreement.billed = 1
        session.flush()
        return
    interval = agreements.interval_of(session, chosen.version)
    period = first_period(agreement.zone, at, interval)
    promotion = promotions.title_of(session, agreement)
    settlements.ask(
        session,
        tokens,
        agreement,
        agreement_lines.of_period(agreement, items, period, promotion),
        "first",
        at,
        settlements.period_wanted(period, items),
        cause=f"agreement:{agreement.id}:first",
        at=at,
    )
