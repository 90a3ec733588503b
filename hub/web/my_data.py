"""What the hub keeps of somebody: to take along, to have erased, and who looked at it.

1. Erasing is said beforehand in full: what goes, what stays and why, what becomes of products, and
   what takes longer; it takes the password once more.
2. Afterwards nobody is signed in any more, and the page that says so is the last one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.errors import NotAuthenticatedError, RateLimitedError
from hub.ports.database.engine import read_session
from hub.services import erasure, export, products
from hub.services.erasure import Outcome
from hub.services.erasure_parts import Part
from hub.services.export_words import FILES
from hub.services.relations import Act
from hub.web.context import hub_of
from hub.web.guard import PageRoute, form_of, visitor_of
from hub.web.languages import N_, Language
from hub.web.pages import pages_of
from hub.web.visitor import drop_session

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

MAX_PRODUCTS = 50
PARTS: Mapping[Part, str] = {
    Part.TELEMETRY: N_("what your products measured, in journal and archive"),
    Part.LOGS: N_("logs between the parts of the hub"),
    Part.DATABASE: N_("freed pages of the database"),
    Part.MIRROR: N_("copies in the time-series database"),
    Part.PROVIDER: N_("your means of payment, at the payment provider"),
    Part.BACKUPS: N_("backups; one that is restored is erased again"),
}
_WRONG = N_("This is not your password. Nothing was erased.")
_TOO_MANY = N_("Too many attempts. Try again in {minutes} min.")
UNFILED: Mapping[str, str] = {
    "stated_reason": N_("Why support looked, in its own words"),
    "kept_answer": N_("Answers that are kept in case a request is repeated"),
    "claim_attempt": N_("Claim codes that did not fit"),
}
"""What records are called that go and are in no file of an export, by table."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one kind: what they are, how many go, or why they stay."""

    title: str
    count: int = 0
    why: str = ""


@ROUTER.get("/my-data", operation_id="page_my_data")
def page_my_data(request: Request) -> Response:
    """Show what somebody can do about what is kept of them."""
    hub, visitor = hub_of(request), visitor_of(request)
    caller = visitor.known
    with read_session(hub.engine) as session:
        listed = products.listed(session, caller, limit=MAX_PRODUCTS)
        seen = [
            one for one in listed if products.permits(session, caller, one.product_id, Act.PEOPLE)
        ]
    return pages_of(request).page(request, "my_data.html", products=seen)


@ROUTER.get("/my-data/export", operation_id="get_my_data")
def get_my_data(request: Request) -> Response:
    """Give everything that is kept of the visitor as one archive."""
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    hub.limits.export.take(caller.person_id, at)
    hub.looks.flush()
    store = hub.archive or hub.store
    made = export.export(hub.engine, store, hub.accounts, caller, caller.person_id, at, hub.tokens)
    headers = {
        "Content-Disposition": f'attachment; filename="{made.file_name}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(made.pieces, media_type="application/zip", headers=headers)


@ROUTER.get("/my-data/erase", operation_id="page_erase")
def page_erase(request: Request) -> Response:
    """Show what erasing the visitor would do."""
    return _previewed(request)


@ROUTER.post("/my-data/erase", operation_id="do_erase")
def do_erase(request: Request) -> Response:
    """Erase the visitor, who gives the password once more."""
    hub, visitor, form = hub_of(request), visitor_of(request), form_of(request)
    at, text = hub.clock(), visitor.language.text
    try:
        hub.looks.flush()
        done = erasure.erase_own(
            hub.engine, visitor.known, form.get("password", ""), at, hub.tokens, hub.horizon
        )
    except RateLimitedError as refused:
        minutes = -(-refused.retry_after_s // 60)
        return _previewed(request, error=text(_TOO_MANY, minutes=minutes), status=429)
    except NotAuthenticatedError:
        return _previewed(request, error=text(_WRONG), status=401)
    request.state.visitor = visitor.left()
    response = pages_of(request).page(request, "erased.html", outcome=done, parts=PARTS)
    drop_session(response)
    return response


def _previewed(request: Request, *, error: str = "", status: int = 200) -> Response:
    hub, visitor = hub_of(request), visitor_of(request)
    at, caller = hub.clock(), visitor.known
    with read_session(hub.engine) as session:
        found = erasure.preview(session, caller, caller.person_id, at, hub.horizon)
    return pages_of(request).page(
        request,
        "erase.html",
        status=status,
        outcome=found,
        going=_going(found, visitor.language),
        staying=_staying(found, visitor.language),
        parts=PARTS,
        error=error,
    )


def _going(found: Outcome, language: Language) -> Sequence[Records]:
    return [Records(_title(name, language), count) for name, count in found.removed.items()]


def _staying(found: Outcome, language: Language) -> Sequence[Records]:
    return [
        Records(_title(name, language), why=language.text(why)) for name, why in found.kept.items()
    ]


def _title(name: str, language: Language) -> str:
    """Return what records are called."""
    if name in UNFILED:
        return language.text(UNFILED[name])
    english, german = FILES[name]
    return (german if language.tag == "de" else english).rstrip(".")
