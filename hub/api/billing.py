"""How households pay: account, means of payment, credit; and the events of the payment provider.

1. Customers give a means of payment on the provider's page; support may name one.
2. An event is believed for its signature alone, over its bytes as they came.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from entitlements.billing.money import DECIMALS, Money
from hub.api.bodies import ID_PATTERN
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.money_bodies import (
    Account,
    Attempt,
    Attempts,
    ChangeAccount,
    GiveMethod,
    MethodPage,
    MoveCredit,
    NameMethod,
)
from hub.errors import InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.ports.payment import stripe_events
from hub.ports.payment.port import Event, known_as
from hub.services import billing_accounts, invoices, ledger, means, provider_events, refunds

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["money"])

OwnerId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the household.")]
_SECOND = 1_000_000_000


@ROUTER.get(
    "/owners/{owner_id}/billing-account",
    operation_id="get_billing_account",
    summary="How a household pays",
)
def get_billing_account(hub: HubDep, caller: CallerDep, owner_id: OwnerId) -> Account:
    """Return how a household pays, and what it has to its credit."""
    with read_session(hub.engine) as session:
        row = billing_accounts.shown(session, caller, owner_id, hub.clock())
        return Account.of(row, ledger.credit(session, owner_id, row.currency))


@ROUTER.patch(
    "/owners/{owner_id}/billing-account",
    operation_id="change_billing_account",
    summary="Change how a household pays",
)
def change_billing_account(
    hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: ChangeAccount
) -> Account:
    """Change how a household pays. Its currency stands while money is owed or to its credit."""
    wanted = body.model_dump(exclude_none=True)
    with write_session(hub.engine) as session:
        row = billing_accounts.change(session, caller, owner_id, hub.clock(), wanted)
        return Account.of(row, ledger.credit(session, owner_id, row.currency))


@ROUTER.post(
    "/owners/{owner_id}/billing-account/method",
    operation_id="give_payment_method",
    summary="Give a means of payment",
)
def give_payment_method(
    hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: GiveMethod
) -> MethodPage:
    """Return the page of the payment provider on which the customer gives a means of payment."""
    url = means.begun(hub.engine, hub.payment, caller, owner_id, body.return_url, hub.clock())
    return MethodPage(url=url)


@ROUTER.put(
    "/owners/{owner_id}/billing-account/method",
    operation_id="name_payment_method",
    summary="Name a means of payment",
)
def name_payment_method(
    hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: NameMethod
) -> Account:
    """Set the provider's reference of a means of payment; what is open is collected now."""
    with write_session(hub.engine) as session:
        row = means.named(session, caller, owner_id, body.method, hub.clock())
        return Account.of(row, ledger.credit(session, owner_id, row.currency))


@ROUTER.post(
    "/owners/{owner_id}/credits",
    operation_id="give_credit",
    summary="Give credit",
    status_code=201,
)
def give_credit(hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: MoveCredit) -> Account:
    """Give a household credit, which pays its next invoice first."""
    with write_session(hub.engine) as session:
        amount = _amount(body)
        invoices.give_credit(session, caller, owner_id, amount, hub.clock(), cause=body.cause)
        row = billing_accounts.of_owner(session, owner_id, hub.clock())
        return Account.of(row, ledger.credit(session, owner_id, row.currency))


@ROUTER.post(
    "/owners/{owner_id}/refunds",
    operation_id="refund_credit",
    summary="Pay credit back",
    status_code=202,
)
def refund_credit(hub: HubDep, caller: CallerDep, owner_id: OwnerId, body: MoveCredit) -> Attempts:
    """Pay back what a household has to its credit, by the means by which it paid."""
    with write_session(hub.engine) as session:
        made = refunds.order(
            session, caller, owner_id, _amount(body), hub.clock(), cause=body.cause
        )
        return Attempts(payments=[Attempt.of(one) for one in made])


@ROUTER.post(
    "/webhooks/stripe",
    operation_id="take_stripe_event",
    summary="An event of Stripe",
    status_code=204,
)
async def take_stripe_event(request: Request, hub: HubDep) -> None:
    """Take an event that Stripe signed. The same one again, or a later one before it, does no harm."""
    body = await request.body()
    header = request.headers.get("Stripe-Signature", "")
    secret = hub.stripe_webhook_secret.get_secret_value()
    stripe_events.verify(secret, body, header, hub.clock() // _SECOND)
    try:
        event = stripe_events.read(body)
    except ValueError as error:
        raise InvalidInputError(f"This is no event: {error}.") from error
    await run_in_threadpool(_take, hub, event)


@ROUTER.delete(
    "/owners/{owner_id}/billing-account/method",
    operation_id="remove_payment_method",
    summary="Remove the means of payment",
)
def remove_payment_method(hub: HubDep, caller: CallerDep, owner_id: OwnerId) -> Account:
    """Take the means of payment away; the provider is told to forget it. Without one: no change."""
    with write_session(hub.engine) as session:
        row = means.removed(session, caller, owner_id, hub.clock())
        return Account.of(row, ledger.credit(session, owner_id, row.currency))


def _take(hub: Hub, event: Event) -> None:
    title = known_as(hub.payment, event.method)
    with write_session(hub.engine) as session:
        provider_events.take(session, event, hub.clock(), hub.payment_hooks, title)


def _amount(body: MoveCredit) -> Money:
    if body.currency not in DECIMALS:
        raise InvalidInputError(f"{body.currency!r} is no currency of ISO 4217, such as EUR.")
    return Money(body.minor, body.currency)
