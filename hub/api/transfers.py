"""Products that change hands: offers, hand-overs, receipts, letters, and former products.

1. An offer is to an e-mail address or to whoever has its code, which is in no later answer.
2. What is another household's is answered like what does not exist.
"""

import base64
import json
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from hub.api import product_bodies
from hub.api.bodies import (
    ID_PATTERN,
    Answer,
    DeviceId,
    Email,
    Id,
    Line,
    Request,
    Scalar,
    examples,
)
from hub.api.certificates import issuer_of
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.api.paging import DEFAULT_LIMIT, After, Limit, Listing, Page
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Receipt as ReceiptRow
from hub.services import former, letters, ownership, receipts, resets, theft, transfers

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["ownership"])

OfferId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the offer.")]
_ID = "kx3q8m0d5c7r2v1z"


class OfferProduct(Request):
    """Whom a product is offered to, and for how long."""

    email: Email | None = Field(
        default=None, description="Null: whoever has the code in the answer may take it."
    )
    days: int = Field(default=transfers.USUAL_DAYS, ge=1, le=transfers.MOST_DAYS)

    model_config = examples({"email": "bea@example.org"}, {"days": 3})


class Offered(Answer):
    """An offer that was just made."""

    id: str
    product_id: str
    expires_at: Instant
    code: str | None = Field(description="Shown only here; null for an offer to an e-mail address.")

    model_config = examples(
        {
            "id": _ID,
            "product_id": "b7x2m9q4k1v8c3z6",
            "expires_at": "2026-02-14T08:00:00Z",
            "code": "hpt_5f0c9a4be1d27e38...",
        }
    )


class Offer(Answer):
    """An offer, as either side sees it."""

    id: str
    product_id: str
    serial: str
    email: str | None
    mine: bool = Field(description="Whether the caller's household made it.")
    status: str = Field(
        description="`open`, `expired`, or how it ended: `accepted`, `declined`, "
        "`cancelled`, `stale`."
    )
    created_at: Instant
    expires_at: Instant
    closed_at: Instant | None

    model_config = examples(
        {
            "id": _ID,
            "product_id": "b7x2m9q4k1v8c3z6",
            "serial": "HP-2026-000017",
            "email": "bea@example.org",
            "mine": True,
            "status": "open",
            "created_at": "2026-01-31T08:00:00Z",
            "expires_at": "2026-02-14T08:00:00Z",
            "closed_at": None,
        }
    )


class Offers(Answer):
    """Offers, the latest first."""

    offers: list[Offer]


class AcceptOffer(Request):
    """Which offer is accepted: one to the caller's e-mail address, or one by its code."""

    offer_id: Id | None = None
    code: Annotated[str, Field(min_length=1, max_length=128)] | None = None

    model_config = examples({"code": "hpt_5f0c9a4be1d27e38..."})


class HandedOver(Answer):
    """A product that is now the caller's."""

    product_id: str
    serial: str
    epoch: int = Field(description="Owner epoch from now on.")
    receipt_id: str
    certificate_link: str | None = Field(
        description="Secret of the link to the certificate of health and coverage; shown only here."
    )

    model_config = examples(
        {
            "product_id": "b7x2m9q4k1v8c3z6",
            "serial": "HP-2026-000017",
            "epoch": 2,
            "receipt_id": "w2k7f4c9x1m8d3q5",
            "certificate_link": "5f0c9a4be1d27e38...",
        }
    )


class HandOverDays(Request):
    """Within how many days a reset releases the product."""

    days: int = Field(default=resets.USUAL_DAYS, ge=1, le=resets.MOST_DAYS)

    model_config = examples({"days": 14})


class HandOver(Answer):
    """A reset until then releases the product."""

    expires_at: Instant

    model_config = examples({"expires_at": "2026-02-14T08:00:00Z"})


class TheftLock(Answer):
    """The product is locked since then."""

    starts_at: Instant

    model_config = examples({"starts_at": "2026-01-31T08:00:00Z"})


class UndoClaim(Request):
    """Why the present ownership should never have been."""

    reason: Line
    restore: bool = Field(default=True, description="Give it back to the owner before, if any.")

    model_config = examples({"reason": "claimed by the neighbour with the wrong label"})


class Undone(Answer):
    """The ownership that was restored; null where the product is nobody's now."""

    restored: product_bodies.Claimed | None


class Receipt(Answer):
    """A paper about a change of owner, and the hub's signature of it."""

    id: str
    product_id: str
    at: Instant
    what: str = Field(description="`handed_over` or `taken_over`.")
    content: str = Field(description="JSON, byte for byte as it was signed.")
    signed: str = Field(
        description="COSE_Sign1 over it in base64, external data `homeport/receipt/1`, with the "
        "key that signs states."
    )

    model_config = examples(
        {
            "id": "w2k7f4c9x1m8d3q5",
            "product_id": "b7x2m9q4k1v8c3z6",
            "at": "2026-01-31T08:00:00Z",
            "what": "taken_over",
            "content": '{"at_ns":1769846400000000000,"owner_epoch":2}',
            "signed": "0oRPogEnBEg...",
        }
    )


class Receipts(Answer):
    """Receipts of the caller's household, the latest first."""

    receipts: list[Receipt]


class Letter(Answer):
    """Something that the household must know, as code and arguments."""

    id: int
    product_id: str
    at: Instant
    code: str
    arguments: dict[str, Scalar]

    model_config = examples(
        {
            "id": 17,
            "product_id": "b7x2m9q4k1v8c3z6",
            "at": "2026-01-31T08:00:00Z",
            "code": "transfer.taken_over",
            "arguments": {"serial": "HP-2026-000017"},
        }
    )


class FormerProduct(Answer):
    """A product that was the household's; its telemetry of that time can still be read."""

    product_id: str
    device_id: str | None
    serial: str
    model: str
    model_title: str
    started_at: Instant
    ended_at: Instant

    model_config = examples(
        {
            "product_id": "b7x2m9q4k1v8c3z6",
            "device_id": _ID,
            "serial": "HP-2026-000017",
            "model": "heat-pump",
            "model_title": "Heat pump",
            "started_at": "2025-01-31T08:00:00Z",
            "ended_at": "2026-01-31T08:00:00Z",
        }
    )


class FormerProducts(Answer):
    """Products that the household owned once and does not own now, the latest first."""

    products: list[FormerProduct]


@ROUTER.post(
    "/products/{device_id}/offer",
    operation_id="offer_product",
    summary="Offer a product to its next owner",
    status_code=201,
)
def offer_product(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: OfferProduct
) -> Offered:
    """Offer a product to an e-mail address, or to whoever has the code that this answers."""
    with write_session(hub.engine) as session:
        offered = transfers.offer(
            session,
            caller,
            product_id_of(session, device_id),
            hub.clock(),
            hub.tokens,
            email=body.email,
            days=body.days,
        )
    return Offered.model_validate(offered)


@ROUTER.get("/offers", operation_id="list_offers", summary="Offers by and to the caller")
def list_offers(hub: HubDep, caller: CallerDep) -> Offers:
    """List the offers of the caller's household, and the open ones to the caller."""
    with read_session(hub.engine) as session:
        found = transfers.listed(session, caller, hub.clock())
    return Offers(offers=[Offer.model_validate(one) for one in found])


@ROUTER.delete(
    "/offers/{offer_id}",
    operation_id="cancel_offer",
    summary="Take an offer back",
    status_code=204,
    response_class=Response,
)
def cancel_offer(hub: HubDep, caller: CallerDep, offer_id: OfferId) -> None:
    """Take an offer back that is still open."""
    with write_session(hub.engine) as session:
        transfers.cancel(session, caller, offer_id, hub.clock())


@ROUTER.post(
    "/offers/{offer_id}/decline",
    operation_id="decline_offer",
    summary="Decline an offer",
    status_code=204,
    response_class=Response,
)
def decline_offer(hub: HubDep, caller: CallerDep, offer_id: OfferId) -> None:
    """Decline an offer to the caller's e-mail address."""
    with write_session(hub.engine) as session:
        transfers.decline(session, caller, hub.clock(), offer_id)


@ROUTER.post(
    "/offers/accept", operation_id="accept_offer", summary="Take a product that was offered"
)
def accept_offer(hub: HubDep, caller: CallerDep, body: AcceptOffer) -> HandedOver:
    """Become the owner, at once and in one step; nothing measured before shows."""
    with write_session(hub.engine) as session:
        handed = transfers.accept(
            session,
            caller,
            hub.clock(),
            hub.tokens,
            issuer_of(hub),
            offer_id=body.offer_id,
            code=body.code,
        )
    return HandedOver.model_validate(handed)


@ROUTER.put(
    "/products/{device_id}/hand-over",
    operation_id="prepare_hand_over",
    summary="Have a reset release the product",
)
def prepare_hand_over(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: HandOverDays
) -> HandOver:
    """Release the product as soon as it is reset to factory settings within some days."""
    with write_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        row = resets.prepare(session, caller, named, hub.clock(), days=body.days)
        return HandOver.model_validate(row)


@ROUTER.delete(
    "/products/{device_id}/hand-over",
    operation_id="withdraw_hand_over",
    summary="Keep the product after all",
    status_code=204,
    response_class=Response,
)
def withdraw_hand_over(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> None:
    """Withdraw a hand-over that was prepared."""
    with write_session(hub.engine) as session:
        resets.withdraw(session, caller, product_id_of(session, device_id), hub.clock())


@ROUTER.put(
    "/products/{device_id}/theft-lock",
    operation_id="lock_stolen",
    summary="Lock a product that was stolen",
)
def lock_stolen(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> TheftLock:
    """Block all but the safe functions, and every change of owner, until the owner lifts it."""
    with write_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        return TheftLock.model_validate(theft.lock(session, caller, named, hub.clock(), hub.tokens))


@ROUTER.delete(
    "/products/{device_id}/theft-lock",
    operation_id="unlock_found",
    summary="Lift the theft lock",
    status_code=204,
    response_class=Response,
)
def unlock_found(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> None:
    """Lift the theft lock that the household placed."""
    with write_session(hub.engine) as session:
        theft.unlock(session, caller, product_id_of(session, device_id), hub.clock())


@ROUTER.post(
    "/products/{device_id}/undo-claim",
    operation_id="undo_claim",
    summary="Undo a wrong change of owner",
)
def undo_claim(hub: HubDep, caller: CallerDep, device_id: DeviceId, body: UndoClaim) -> Undone:
    """Undo the present ownership within 30 days of its beginning; audited."""
    with write_session(hub.engine) as session:
        named = product_id_of(session, device_id)
        restored = ownership.undo(
            session, caller, named, body.reason, hub.clock(), hub.tokens, restore=body.restore
        )
    claimed = None if restored is None else product_bodies.Claimed.model_validate(restored)
    return Undone(restored=claimed)


@ROUTER.get("/receipts", operation_id="list_receipts", summary="Papers of changes of owner")
def list_receipts(hub: HubDep, caller: CallerDep) -> Receipts:
    """List the receipts of the caller's household."""
    with read_session(hub.engine) as session:
        return Receipts(receipts=[_receipt(row) for row in receipts.listed(session, caller)])


@ROUTER.get("/receipts/{receipt_id}", operation_id="get_receipt", summary="One receipt")
def get_receipt(
    hub: HubDep, caller: CallerDep, receipt_id: Annotated[str, Path(pattern=ID_PATTERN)]
) -> Receipt:
    """Return a receipt of the caller's household; staff may read all."""
    with read_session(hub.engine) as session:
        return _receipt(receipts.one(session, caller, receipt_id))


@ROUTER.get("/letters", operation_id="list_letters", summary="What the household must know")
def list_letters(
    hub: HubDep, caller: CallerDep, limit: Limit = DEFAULT_LIMIT, after: After = None
) -> Page[Letter]:
    """List the letters to the caller's household, the newest first."""
    listing = Listing("list_letters", (int,))
    key = listing.key(after)
    before = None if key is None else int(key[0])
    with read_session(hub.engine) as session:
        rows = letters.listed(session, caller, before=before, limit=limit + 1)
        items = [Letter.model_validate(row) for row in rows[:limit]]
        following = listing.following([(row.id,) for row in rows], limit)
    return Page(items=items, next=following)


@ROUTER.get(
    "/former-products",
    operation_id="list_former_products",
    summary="Products that were the household's",
)
def list_former_products(hub: HubDep, caller: CallerDep) -> FormerProducts:
    """List them; `/products/{device_id}/telemetry` answers what was measured in their time."""
    with read_session(hub.engine) as session:
        found = former.listed(session, caller)
    return FormerProducts(products=[FormerProduct.model_validate(one) for one in found])


def _receipt(row: ReceiptRow) -> Receipt:
    return Receipt(
        id=row.id,
        product_id=row.product_id,
        at=row.at,
        what=json.loads(row.content)["what"],
        content=row.content,
        signed=base64.b64encode(row.signed).decode(),
    )
