"""Products that change hands: one page over all that goes on, and one to hand a product over.

1. What passes on and what does not is said before anybody agrees.
2. A transfer code is shown once, on the page that made it, and in no address.
3. What the services refuse is said on the page that asked, in the visitor's language.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ConflictError, InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.ownership_tables import Dispute, Letter
from hub.ports.database.product_tables import Product
from hub.services import (
    coverage,
    disputes,
    former,
    letters,
    ownership,
    parties,
    products,
    receipts,
    theft,
    transfers,
)
from hub.services.caller import Caller
from hub.services.health_certificates import Issuer
from hub.services.products import ProductSummary
from hub.services.relations import Act
from hub.services.transfers import OfferView
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, local, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_LETTERS = 20

LETTERS: Mapping[str, str] = {
    "transfer.offered": N_("{serial} was offered to you, until {until}."),
    "transfer.cancelled": N_("The offer of {serial} was taken back."),
    "transfer.declined": N_("Your offer of {serial} was declined."),
    "transfer.handed_over": N_("You handed {serial} over."),
    "transfer.taken_over": N_("{serial} is yours now."),
    "dispute.opened": N_(
        "Somebody says that {serial} is theirs. You have until {until} to answer."
    ),
    "dispute.yours": N_("You said that {serial} is yours. Its owner has until {until} to answer."),
    "dispute.refused": N_("The owner of {serial} says that it stays theirs. You can ask support."),
    "dispute.withdrawn": N_("Nobody disputes any more that {serial} is yours."),
    "dispute.owner_keeps": N_("Support decided: {serial} stays with its owner."),
    "support.break_glass": N_(
        "Support looked without consent, in an emergency, at {serial}: {reason}"
    ),
    "support.credit": N_("Support gave you a credit of {amount} for {serial}: {reason}"),
    "support.invoice": N_("You were sent invoice {number} again, about {serial}."),
    "ownership.taken_back": N_("Support took {serial} back."),
    "ownership.undone": N_("Support undid the claim of {serial}."),
    "ownership.restored": N_("Support gave {serial} back to you."),
    "subscription.payment_failed": N_(
        "The payment for plan {plan} of {serial} failed. Check your means of payment."
    ),
    "subscription.not_begun": N_(
        "Plan {plan} of {serial} did not begin, as the first payment failed."
    ),
    "subscription.not_changed": N_(
        "Plan {plan} of {serial} stays as it was, as the payment for the change failed."
    ),
    "order.not_paid": N_(
        "{title} for {serial} could not be paid, so nothing was ordered. Check your means of payment."
    ),
    "subscription.trial_over": N_("The free trial of plan {plan} of {serial} is over."),
    "subscription.reinstated": N_("Your payment came: plan {plan} of {serial} runs again."),
    "product.reset": N_("{serial} was reset to factory settings. It is still yours."),
    "product.reset_released": N_("{serial} was reset and is no longer yours, as you had prepared."),
}
OUTCOMES: Mapping[str, str] = {
    "open": N_("waits for the owner"),
    "due": N_("the owner did not answer"),
    "lapsed": N_("lapsed"),
    "refused": N_("the owner said no"),
    "agreed": N_("the owner agreed"),
    "withdrawn": N_("withdrawn"),
    "given": N_("the claimant got it, as nobody answered"),
    "decided_for_claimant": N_("support decided for the claimant"),
    "decided_for_owner": N_("support decided for the owner"),
}
_EMAIL = N_("This is no e-mail address, or the days are not between 1 and 90.")
_STANDS = N_(
    "This is not possible now: the product is offered or disputed already, on hold, or it would go "
    "to its owner."
)
_NO_OFFER = N_("This offer is not there any more, or the code is not right.")
_NOT_NOW = N_("This is not possible now. The product may be on hold, disputed, or yours already.")
_NO_BUTTON = N_("Press the button on the product first, then try again.")

OfferId = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]


@dataclass(frozen=True, slots=True)
class Disputed:
    """A dispute as one of its sides, or support, sees it; instants in ns."""

    id: str
    product_id: str
    serial: str
    status: str
    mine: bool
    claimed: bool
    opened_at: int
    deadline: int
    going_on: bool
    decidable: bool


@ROUTER.get("/hand-overs", operation_id="page_hands")
def page_hands(request: Request, disputed: str = "") -> Response:
    """Show what changes hands."""
    return _hands(request, done="disputed" if disputed else "")


@ROUTER.post("/hand-overs/take", operation_id="do_take")
def do_take(request: Request) -> Response:
    """Take a product that was offered, by its code or as an offer to the visitor."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    code, offer = form.get("code", "").strip()[:128], form.get("offer", "")
    try:
        with write_session(hub.engine) as session:
            handed = transfers.accept(
                session,
                visitor.known,
                hub.clock(),
                hub.tokens,
                Issuer(hub.signing_keys, hub.place.api),
                offer_id=offer or None,
                code=None if offer else code,
            )
    except NotFoundError:
        return _hands(request, error=visitor.language.text(_NO_OFFER), status=404)
    except (ConflictError, InvalidInputError) as refused:
        return _hands(request, error=visitor.language.text(_NOT_NOW), status=refused.status)
    return RedirectResponse(f"/products/{handed.product_id}?claimed=1", 303)


@ROUTER.post("/hand-overs/{offer_id}/decline", operation_id="do_decline")
def do_decline(request: Request, offer_id: OfferId) -> Response:
    """Decline an offer."""
    return _acted(request, lambda s, c, at: transfers.decline(s, c, at, offer_id))


@ROUTER.post("/hand-overs/{offer_id}/cancel", operation_id="do_cancel")
def do_cancel(request: Request, offer_id: OfferId) -> Response:
    """Take an offer back."""
    return _acted(request, lambda s, c, at: transfers.cancel(s, c, offer_id, at))


@ROUTER.post("/disputes/{dispute_id}/{answer}", operation_id="do_dispute")
def do_dispute(
    request: Request,
    dispute_id: OfferId,
    answer: Annotated[str, Path(pattern="^(refuse|agree|withdraw|complete)$")],
) -> Response:
    """Answer a dispute: the owner's yes or no, the claimant's end."""
    hub = hub_of(request)

    def act(session: Session, caller: Caller, at: int) -> None:
        match answer:
            case "refuse":
                disputes.refuse(session, caller, dispute_id, at)
            case "withdraw":
                disputes.withdraw(session, caller, dispute_id, at)
            case "agree":
                disputes.agree(
                    session,
                    caller,
                    dispute_id,
                    at,
                    hub.tokens,
                    Issuer(hub.signing_keys, hub.place.api),
                )
            case _:
                disputes.complete(
                    session,
                    caller,
                    dispute_id,
                    at,
                    hub.tokens,
                    Issuer(hub.signing_keys, hub.place.api),
                )

    return _acted(request, act)


@ROUTER.get("/products/{product_id}/hand-over", operation_id="page_hand_over")
def page_hand_over(request: Request, product_id: ID) -> Response:
    """Show what handing a product over means, and how to do it."""
    return _hand_over(request, product_id)


@ROUTER.post("/products/{product_id}/hand-over", operation_id="do_offer")
def do_offer(request: Request, product_id: ID) -> Response:
    """Offer a product to an address, or to whoever has the code that this shows."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    email, days = form.get("email", "").strip(), form.get("days", "")
    text = visitor.language.text
    try:
        with write_session(hub.engine) as session:
            offered = transfers.offer(
                session,
                visitor.known,
                product_id,
                hub.clock(),
                hub.tokens,
                email=email or None,
                days=int(days) if days.isdecimal() and len(days) < 4 else 0,
            )
    except InvalidInputError:
        return _hand_over(request, product_id, error=text(_EMAIL), status=422)
    except ConflictError:
        return _hand_over(request, product_id, error=text(_STANDS), status=409)
    return _hand_over(request, product_id, code=offered.code or "")


@ROUTER.post("/products/{product_id}/theft", operation_id="do_theft")
def do_theft(request: Request, product_id: ID) -> Response:
    """Report a product stolen, or found."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    with write_session(hub.engine) as session:
        if form.get("found"):
            theft.unlock(session, visitor.known, product_id, hub.clock())
        else:
            theft.lock(session, visitor.known, product_id, hub.clock(), hub.tokens)
    return RedirectResponse(f"/products/{product_id}#owning", 303)


@ROUTER.post("/products/{product_id}/release", operation_id="do_release")
def do_release(request: Request, product_id: ID) -> Response:
    """Give a product up."""
    hub, visitor = hub_of(request), visitor_of(request)
    with write_session(hub.engine) as session:
        ownership.release(session, visitor.known, product_id, hub.clock())
    return RedirectResponse("/hand-overs?released=1", 303)


@ROUTER.get("/receipts/{receipt_id}", operation_id="get_receipt_file")
def get_receipt_file(request: Request, receipt_id: OfferId) -> Response:
    """Give a receipt as the file that was signed."""
    hub, visitor = hub_of(request), visitor_of(request)
    with read_session(hub.engine) as session:
        row = receipts.one(session, visitor.known, receipt_id)
    return Response(
        row.signed,
        media_type="application/cose",
        headers={"Content-Disposition": f'attachment; filename="receipt-{row.id}.cose"'},
    )


def disputed(session: Session, caller: Caller, at: int) -> list[Disputed]:
    """Return the disputes that the visitor is part of; staff see all."""
    rows = disputes.listed(session, caller)
    serials = _serials(session, {row.product_id for row in rows})
    return [_disputed(row, serials[row.product_id], caller, at) for row in rows]


def said(letter: Letter, visitor: Visitor) -> str:
    """Say what a letter tells."""
    arguments = dict(letter.arguments)
    until = arguments.get("until_at")
    shown = {"until": visitor.formats.day(int(until))} if until is not None else {}
    template = LETTERS.get(letter.code)
    if template is None:
        return str(arguments["serial"])
    return visitor.language.text(template, **arguments, **shown)


def _hands(request: Request, *, error: str = "", done: str = "", status: int = 200) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        offers = transfers.listed(session, caller, at)
        told = letters.listed(session, caller, limit=MAX_LETTERS)
        papers = receipts.listed(session, caller)
        serials = _serials(session, {one.product_id for one in papers})
        context = {
            "to_me": [one for one in offers if not one.mine and one.status == "open"],
            "by_me": [one for one in offers if one.mine and one.status == "open"],
            "disputes": disputed(session, caller, at),
            "letters": [(one.at, said(one, visitor)) for one in told],
            "receipts": [(one, serials[one.product_id]) for one in papers],
            "former": former.listed(session, caller),
        }
    return pages_of(request).page(
        request, "hands.html", status=status, error=error, done=done, outcomes=OUTCOMES, **context
    )


def _hand_over(
    request: Request, product_id: str, *, error: str = "", code: str = "", status: int = 200
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        products.visible(session, caller, product_id, Act.TRANSFER)
        summary = products.summary(session, caller, product_id)
        offer = _open_offer(session, caller, summary, at)
        passing = coverage.split(session, product_id, at)
    return pages_of(request).page(
        request,
        "hand_over.html",
        status=status,
        summary=summary,
        offer=offer,
        passing=passing,
        code=code,
        error=error,
    )


def _open_offer(
    session: Session, caller: Caller, summary: ProductSummary, at: int
) -> OfferView | None:
    for one in transfers.listed(session, caller, at):
        if one.mine and one.status == "open" and one.product_id == summary.product_id:
            return one
    return None


def _acted(request: Request, act: Callable[[Session, Caller, int], None]) -> Response:
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    text = visitor.language.text
    try:
        with write_session(hub.engine) as session:
            act(session, visitor.known, hub.clock())
    except NotFoundError:
        return _hands(request, error=text(_NO_OFFER), status=404)
    except ConflictError as refused:
        button = refused.context.get("possession") == "window"
        return _hands(request, error=text(_NO_BUTTON if button else _NOT_NOW), status=409)
    return RedirectResponse(local(form.get("next") or "/hand-overs"), 303)


def _disputed(row: Dispute, serial: str, caller: Caller, at: int) -> Disputed:
    status = disputes.status(row, at)
    ended_by_no = status == "refused" and at < (row.closed_at or 0) + disputes.DECIDE_NS
    return Disputed(
        id=row.id,
        product_id=row.product_id,
        serial=serial,
        status=status,
        mine=not caller.is_staff and parties.may_act_for(caller, row.owner_id, Act.TRANSFER),
        claimed=not caller.is_staff and parties.may_act_for(caller, row.claimant_id, Act.CLAIM),
        opened_at=row.opened_at,
        deadline=row.deadline,
        going_on=status in {"open", "due"},
        decidable=status in {"open", "due"} or ended_by_no,
    )


def _serials(session: Session, product_ids: set[str]) -> dict[str, str]:
    query = select(Product.id, Product.serial).where(Product.id.in_(product_ids))
    return {row.id: row.serial for row in session.execute(query)}
