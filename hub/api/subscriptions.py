"""The plan of a product that is paid for here: subscribing, changing, pausing, paying and leaving.

1. Whoever may pay for a household's product may do all of this; staff may for others, with an audit.
2. A product has one such plan, so paths name the product, not the plan.
3. What costs money may be sent with an `Idempotency-Key`, and looked at before with `preview`.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session

from hub.api import subscription_bodies as bodies
from hub.api.bodies import DeviceId
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.lookup import product_id_of
from hub.ports.database.agreement_tables import Agreement
from hub.ports.database.engine import read_session, write_session
from hub.services import (
    agreement_view,
    agreements,
    cancellations,
    plan_changes,
    promotions,
    renewals,
    subscribing,
)
from hub.services.caller import Caller

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["subscriptions"])

_ONE = "/products/{device_id}/subscription"
AddonName = Annotated[
    str, Path(pattern=r"^[a-z][a-z0-9-]{0,47}$", description="Name of the add-on.")
]
Code = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{3,40}$", description="Code of the promotion.")]


@ROUTER.get(_ONE, operation_id="get_subscription", summary="The plan of a product that is paid for")
def get_subscription(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> bodies.PaidPlan:
    """Return the present plan, or the last one of the present owner, with what may be done with it."""
    with write_session(
        hub.engine
    ) as session:  # what is billed next is computed as when it is billed
        product_id = product_id_of(session, device_id)
        return bodies.PaidPlan.of(agreement_view.shown(session, caller, product_id, hub.clock()))


@ROUTER.post(
    _ONE, operation_id="subscribe", summary="Subscribe a product to a plan", status_code=201
)
def subscribe(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: bodies.Subscribe
) -> bodies.Changed:
    """Begin a trial, or collect the first period; the plan holds when that is paid."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return subscribing.subscribe(
            session,
            caller,
            product_id,
            body.plan,
            at,
            hub.tokens,
            version=body.plan_version,
            trial=body.trial,
            promotion=body.promotion,
            addons=body.addons,
        )

    return _carried_out(hub, caller, device_id, do, preview=body.preview)


@ROUTER.post(
    f"{_ONE}/change", operation_id="change_plan", summary="Go over to another plan, now or later"
)
def change_plan(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: bodies.ChangePlan
) -> bodies.Changed:
    """Credit the unused rest and charge the new one by seconds, or change when the period ends."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return plan_changes.change(
            session,
            caller,
            product_id,
            body.plan,
            at,
            hub.tokens,
            version=body.plan_version,
            when=body.when,
        )

    return _carried_out(hub, caller, device_id, do, preview=body.preview)


@ROUTER.delete(
    f"{_ONE}/change", operation_id="undo_plan_change", summary="Keep the present plan after all"
)
def undo_plan_change(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> bodies.Changed:
    """Take back a change that was to happen when the period ends."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return plan_changes.undo_change(session, caller, product_id, at)

    return _carried_out(hub, caller, device_id, do)


@ROUTER.put(
    f"{_ONE}/addons/{{addon}}", operation_id="set_addon", summary="Have so many of an add-on"
)
def set_addon(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, addon: AddonName, body: bodies.SetAddon
) -> bodies.Changed:
    """Buy or give up add-ons from now on; what is paid for and not used is credited."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return plan_changes.set_addon(
            session, caller, product_id, addon, body.quantity, at, hub.tokens
        )

    return _carried_out(hub, caller, device_id, do, preview=body.preview)


@ROUTER.post(
    f"{_ONE}/promotion", operation_id="redeem_promotion", summary="Redeem the code of a promotion"
)
def redeem_promotion(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: bodies.RedeemPromotion
) -> bodies.Changed:
    """Make the periods that are billed from now on cheaper; once for a household."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return promotions.apply(session, caller, product_id, body.code, at)

    return _carried_out(hub, caller, device_id, do, preview=body.preview)


@ROUTER.post(f"{_ONE}/pause", operation_id="pause_plan", summary="Pause a plan")
def pause_plan(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: bodies.PausePlan
) -> bodies.Changed:
    """Pause from now on; paid time is not lost."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return cancellations.pause(session, caller, product_id, at, resumes_at=body.resumes_at)

    return _carried_out(hub, caller, device_id, do, preview=body.preview)


@ROUTER.post(f"{_ONE}/resume", operation_id="resume_plan", summary="Let a paused plan go on")
def resume_plan(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> bodies.Changed:
    """Resume now, also before the pause was to end."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return cancellations.resume(session, caller, product_id, at)

    return _carried_out(hub, caller, device_id, do)


@ROUTER.post(f"{_ONE}/cancel", operation_id="cancel_plan", summary="Cancel a plan")
def cancel_plan(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: bodies.CancelPlan
) -> bodies.Changed:
    """Cancel at the end of what is covered, or now."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return cancellations.cancel(session, caller, product_id, at, hub.tokens, when=body.when)

    return _carried_out(hub, caller, device_id, do, preview=body.preview)


@ROUTER.delete(
    f"{_ONE}/cancel", operation_id="undo_cancel", summary="Let a cancelled plan go on after all"
)
def undo_cancel(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> bodies.Changed:
    """Take a cancellation back, as long as what is covered runs."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return cancellations.undo_cancel(session, caller, product_id, at)

    return _carried_out(hub, caller, device_id, do)


@ROUTER.post(f"{_ONE}/withdraw", operation_id="withdraw_plan", summary="Withdraw from the contract")
def withdraw_plan(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: bodies.Previewed
) -> bodies.Changed:
    """End the plan now and give back what was paid, within the legal time."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        return cancellations.withdraw(session, caller, product_id, at, hub.tokens)

    return _carried_out(hub, caller, device_id, do, preview=body.preview)


@ROUTER.post(f"{_ONE}/pay", operation_id="pay_plan", summary="Pay what waits for its payment now")
def pay_plan(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> bodies.Changed:
    """Collect the open bill now; a plan that lapsed is reinstated when it is paid."""

    def do(session: Session, product_id: str, at: int) -> Agreement:
        agreement = agreements.own_agreement(session, caller, product_id)
        renewals.pay(session, caller, product_id, at, hub.tokens)
        return agreement

    return _carried_out(hub, caller, device_id, do)


@ROUTER.post(
    "/promotions",
    operation_id="create_promotion",
    summary="Make a promotion",
    status_code=201,
)
def create_promotion(
    hub: HubDep, caller: CallerDep, body: bodies.CreatePromotion
) -> bodies.Promotion:
    """Make a code that takes a share or an amount off plans."""
    with write_session(hub.engine) as session:
        row = promotions.create(
            session,
            caller,
            body.code,
            hub.clock(),
            hub.tokens,
            **body.model_dump(exclude={"code"}),
        )
        return bodies.Promotion.model_validate(row)


@ROUTER.get("/promotions", operation_id="list_promotions", summary="List promotions")
def list_promotions(hub: HubDep, caller: CallerDep) -> bodies.Promotions:
    """Return all promotions, the newest first."""
    with read_session(hub.engine) as session:
        found = promotions.listed(session, caller)
        return bodies.Promotions(promotions=[bodies.Promotion.model_validate(row) for row in found])


@ROUTER.post(
    "/promotions/{code}/end", operation_id="end_promotion", summary="Let nobody redeem it any more"
)
def end_promotion(hub: HubDep, caller: CallerDep, code: Code) -> bodies.Promotion:
    """End a promotion; who has it keeps it."""
    with write_session(hub.engine) as session:
        return bodies.Promotion.model_validate(promotions.end(session, caller, code, hub.clock()))


def _carried_out(
    hub: Hub,
    caller: Caller,
    device_id: str,
    do: Callable[[Session, str, int], Agreement],
    *,
    preview: bool = False,
) -> bodies.Changed:
    at = hub.clock()
    with write_session(hub.engine) as session:
        product_id = product_id_of(session, device_id)
        if preview:
            _, owned = agreements.party(session, caller, product_id)

            def tried() -> Agreement:
                agreement_view.with_method(session, owned.owner_id, at)
                return do(session, product_id, at)

            found = agreement_view.carried_out(session, hub.tokens, tried, at, preview=True)
        else:
            found = agreement_view.carried_out(
                session, hub.tokens, lambda: do(session, product_id, at), at
            )
    return bodies.Changed.of(found)
