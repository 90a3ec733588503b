"""The page of a household: its people and their roles, invitations, and who joins with a code.

1. What a role may do is the services' business; the page shows buttons to those who may.
2. The code of an invitation is shown once, on the page that made it.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ConflictError, HubError, InvalidInputError, NotFoundError, RateLimitedError
from hub.ports.database.engine import read_session, write_session
from hub.services import households, invitations, products
from hub.services.caller import Caller
from hub.services.households import Place
from hub.services.relations import Act, Relation
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID
from hub.web.visitor import Visitor

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

DAY_NS = 86_400_000_000_000
MAX_PRODUCTS = 50

RELATIONS: Mapping[Relation, str] = {
    Relation.OWNER: N_("Owner"),
    Relation.MEMBER: N_("Member"),
    Relation.VIEWER: N_("Viewer"),
    Relation.INSTALLER: N_("Installer"),
}
MEANINGS: Mapping[Relation, str] = {
    Relation.OWNER: N_("may do everything, also hand products over and invite people"),
    Relation.MEMBER: N_("uses and sets the products, and looks after alerts"),
    Relation.VIEWER: N_("sees everything and changes nothing"),
    Relation.INSTALLER: N_("sees and sets products, for the days you say"),
}
_INVALID = N_("Check the e-mail address and the days: an installer needs 1 to 366 days.")
_CONFLICT = N_(
    "This is not possible: the person is in the household or invited already, or the household "
    "would be without an owner."
)
_MISSING = N_("There is no such invitation, or it was answered. Ask for a new one.")
_FORBIDDEN = N_("Your role in this household does not permit this. Ask one of its owners.")
_TOO_MANY = N_("Too many wrong codes. Try again in {minutes} min.")

Asked = Annotated[str, Path(pattern="^[a-z0-9]{16}$")]


@ROUTER.get("/household", operation_id="page_household")
def page_household(request: Request, of: str = "") -> Response:
    """Show the people of a household."""
    return _household(request, of)


@ROUTER.post("/household/{owner_id}/invite", operation_id="do_invite")
def do_invite(request: Request, owner_id: ID) -> Response:
    """Invite somebody, by address or by a code that this shows."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    at = hub.clock()
    try:
        place = _place(form, at)
        with write_session(hub.engine) as session:
            invited = invitations.invite(
                session,
                visitor.known,
                owner_id,
                place,
                at,
                hub.tokens,
                email=form.get("email", "").strip() or None,
            )
    except (HubError, ValueError) as refused:
        return _refused(request, owner_id, refused)
    return _household(request, owner_id, code=invited.code or "", invited=True)


@ROUTER.post("/household/{owner_id}/people/{person_id}", operation_id="do_member")
def do_member(request: Request, owner_id: ID, person_id: Asked) -> Response:
    """Give somebody another role, or take them out."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    at = hub.clock()
    try:
        with write_session(hub.engine) as session:
            if form.get("remove"):
                households.remove(session, visitor.known, owner_id, person_id, at, hub.tokens)
            else:
                place = _place(form, at)
                households.give_role(
                    session, visitor.known, owner_id, person_id, place, at, hub.tokens
                )
    except (HubError, ValueError) as refused:
        return _refused(request, owner_id, refused)
    leaves = form.get("remove") and person_id == visitor.known.person_id
    return RedirectResponse("/household" if leaves else f"/household?of={owner_id}", 303)


@ROUTER.post("/invitations/{invitation_id}/withdraw", operation_id="do_withdraw_invitation")
def do_withdraw_invitation(request: Request, invitation_id: Asked) -> Response:
    """Take an invitation back."""
    return _answered(request, lambda s, c, at: invitations.withdraw(s, c, invitation_id, at))


@ROUTER.post("/invitations/{invitation_id}/decline", operation_id="do_decline_invitation")
def do_decline_invitation(request: Request, invitation_id: Asked) -> Response:
    """Turn an invitation down."""
    tokens = hub_of(request).tokens

    def act(session: Session, caller: Caller, at: int) -> None:
        invitations.decline(session, caller, at, tokens, invitation_id=invitation_id)

    return _answered(request, act)


@ROUTER.post("/invitations/join", operation_id="do_join")
def do_join(request: Request) -> Response:
    """Join a household, by a code or by an invitation to the visitor."""
    hub, form = hub_of(request), form_of(request)
    offered, code = form.get("invitation", "")[:16], form.get("code", "").strip()[:64]

    def act(session: Session, caller: Caller, at: int) -> None:
        named: dict[str, str] = {"invitation_id": offered} if offered else {"code": code}
        invitations.accept(session, caller, at, hub.tokens, **named)

    return _answered(request, act, guess=not offered)


def _household(
    request: Request,
    of: str,
    *,
    error: str = "",
    code: str = "",
    invited: bool = False,
    status: int = 200,
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        mine = households.mine(session, caller, at)
        chosen = next((one for one in mine if one.id == of), mine[0] if mine else None)
        if of and chosen is not None and chosen.id != of:
            raise NotFoundError(f"There is no household {of}.")
        context: dict[str, Any] = {
            "mine": mine,
            "chosen": chosen,
            "to_me": invitations.mine(session, caller, at),
            "people": [],
            "open": [],
            "products": [],
            "owns": False,
        }
        if chosen is not None:
            context["owns"] = caller.may(Act.INVITE, chosen.id)
            if caller.may(Act.PEOPLE, chosen.id):
                context["people"] = households.people(session, caller, chosen.id, at)
        if chosen is not None and context["owns"]:
            context["open"] = invitations.of_household(session, caller, chosen.id, at)
            seen = products.listed(session, caller, limit=MAX_PRODUCTS)
            context["products"] = [one for one in seen if one.owner_id == chosen.id]
    return pages_of(request).page(
        request,
        "household.html",
        status=status,
        error=error,
        code=code,
        invited=invited,
        relations=RELATIONS,
        meanings=MEANINGS,
        me=caller.person_id,
        **context,
    )


def _place(form: Mapping[str, str], at: int) -> Place:
    relation = Relation(form.get("relation", ""))
    days = form.get("days", "").strip()
    ends_at = None
    if relation is Relation.INSTALLER and days:
        ends_at = at + int(days[:4]) * DAY_NS
    product = form.get("product", "")[:16]
    named = [product] if product and relation is Relation.INSTALLER else None
    return Place(relation, ends_at, named)


def _answered(
    request: Request, act: Callable[[Session, Caller, int], None], *, guess: bool = False
) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at = hub.clock()
    try:
        if guess:
            hub.limits.invitation_code.take(visitor.known.person_id, at)
        with write_session(hub.engine) as session:
            act(session, visitor.known, at)
    except HubError as refused:
        return _refused(request, "", refused)
    return RedirectResponse("/household", 303)


def _refused(request: Request, owner_id: str, error: HubError | ValueError) -> Response:
    visitor = visitor_of(request)
    status = error.status if isinstance(error, HubError) else 422
    return _household(request, owner_id, error=_said(visitor, error), status=status)


def _said(visitor: Visitor, error: HubError | ValueError) -> str:
    text = visitor.language.text
    match error:
        case RateLimitedError():
            return text(_TOO_MANY, minutes=-(-error.retry_after_s // 60))
        case InvalidInputError() | ValueError():
            return text(_INVALID)
        case ConflictError():
            return text(_CONFLICT)
        case NotFoundError():
            return text(_MISSING)
        case _:
            return text(_FORBIDDEN)
