"""Certificates of health and coverage: the owner issues one, and whoever has its link reads it.

1. The link is shown once, to who asked for it; the page under it needs nobody to be signed in.
2. The page says what the certificate says, and what only the hub can say: whether the product has
   changed hands since.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import ConflictError
from hub.ports.database.engine import read_session, write_session
from hub.services import health_certificates, products
from hub.services.health_certificates import Issuer
from hub.services.relations import Act
from hub.web.context import Hub, hub_of
from hub.web.guard import PageRoute, visitor_of
from hub.web.languages import N_
from hub.web.pages import pages_of
from hub.web.series import ID

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

METERS: Mapping[str, str] = {"hours": N_("Operating hours"), "cycles": N_("Cycles")}
BLOCKS: Mapping[str, str] = {
    "theft": N_("reported stolen"),
    "fraud": N_("suspicion of fraud"),
    "recall": N_("recall"),
    "clone": N_("suspicion of a copy"),
    "other": N_("a hold"),
}
FAULTS: Mapping[str, str] = {
    "critical": N_("urgent"),
    "warning": N_("need attention"),
    "info": N_("good to know"),
}

Link = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@ROUTER.post("/products/{product_id}/certificate", operation_id="do_certify")
def do_certify(request: Request, product_id: ID) -> Response:
    """Issue a certificate for a buyer and show its link."""
    hub, visitor = hub_of(request), visitor_of(request)
    link = ""
    try:
        with write_session(hub.engine) as session:
            products.visible(session, visitor.known, product_id, Act.TRANSFER)
            issued = health_certificates.issue(
                session,
                visitor.known,
                product_id,
                "sale",
                hub.clock(),
                hub.tokens,
                _issuer(hub),
                store=hub.store,
            )
            link = issued.link
    except ConflictError:
        pass  # many hold already; the page says so
    with read_session(hub.engine) as session:
        summary = products.summary(session, visitor.known, product_id)
    address = str(request.base_url).rstrip("/")
    return pages_of(request).page(
        request,
        "certified.html",
        status=201 if link else 409,
        summary=summary,
        address=f"{address}/certificates/{link}" if link else "",
    )


@ROUTER.get("/certificates/{link}", operation_id="page_certificate")
def page_certificate(request: Request, link: Link) -> Response:
    """Show a certificate to whoever has its link."""
    hub = hub_of(request)
    with read_session(hub.engine) as session:
        shown = health_certificates.shown(session, link, _issuer(hub), hub.clock())
    document: Mapping[str, Any] = shown.document
    return pages_of(request).page(
        request,
        "certificate.html",
        shown=shown,
        said=document,
        at=_instant,
        meters=METERS,
        blocks=BLOCKS,
        faults=FAULTS,
    )


def _instant(text: str) -> int:
    """Return an instant of a certificate as ns."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def _issuer(hub: Hub) -> Issuer:
    return Issuer(hub.signing_keys, hub.place.api)
