"""The vendor's catalogue, as a document in TOML or JSON.

1. A document is applied as a whole or not at all; `dry_run` says what would change.
2. The form of the document is the services' (`catalogue_document`); both media types mean the same.
3. Staff see the catalogue as it is, customers what their products can do and which plans there are.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from hub.api import catalogue_bodies as bodies
from hub.api.catalogue_bodies import CatalogueChange, ProductModel, ProductModels
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.errors import InvalidInputError
from hub.ports.database.engine import read_session, write_session
from hub.services import catalogue, catalogue_offers, catalogue_toml
from hub.services.catalogue_document import CatalogueDocument

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["operation"])

_EXAMPLE = """[models.heat-pump]
title = "Heat pump"
[[models.heat-pump.metrics]]
name = "temp_c"
unit = "Cel"
"""
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Models and plans, each complete. Metrics are only ever appended.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/CatalogueDocument"}},
            "application/toml": {"schema": {"type": "string"}, "example": _EXAMPLE},
        },
    }
}


@dataclass(frozen=True, slots=True)
class _Sent:
    """A document as it came; `text` if it was TOML."""

    document: CatalogueDocument
    text: str = ""


async def _body(request: HttpRequest) -> bytes:
    return await request.body()


def _document(request: HttpRequest, body: Annotated[bytes, Depends(_body)]) -> _Sent:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json":
        try:
            return _Sent(CatalogueDocument.model_validate_json(body))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            located = [{**item, "loc": ("body", *item["loc"])} for item in found]
            raise RequestValidationError(located) from error
    if media == "application/toml":
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise InvalidInputError("The catalogue is not UTF-8. Save it as UTF-8.") from error
        return _Sent(catalogue.parse(text), text)
    raise InvalidInputError(
        "The catalogue comes as application/json or application/toml; say which in Content-Type."
    )


@ROUTER.post(
    "/catalogue",
    operation_id="put_catalogue",
    summary="Bring the catalogue to what a document says",
    openapi_extra=_BODY,
)
def put_catalogue(
    hub: HubDep,
    caller: CallerDep,
    request: HttpRequest,  # noqa: ARG001  its Accept says of which form the ETag is
    sent: Annotated[_Sent, Depends(_document)],
    dry_run: Annotated[bool, Query(description="Only say what would change.")] = False,  # noqa: FBT002  a query parameter
    whole: Annotated[  # noqa: FBT002  a query parameter
        bool, Query(description="Models and plans that the document leaves out go.")
    ] = False,
) -> CatalogueChange:
    """Add, change and remove models, metrics, features and plans, all or nothing.

    Within a model or plan that the document names it is complete: what it leaves out goes, unless
    somebody uses it. Models and plans that it does not name stay. An edit that would strand
    somebody is refused (409), with what to do instead; `dry_run` lists those under `refused`.
    """
    with write_session(hub.engine) as session:
        difference = catalogue.apply(
            session,
            caller,
            sent.document,
            hub.clock(),
            dry_run=dry_run,
            whole=whole,
            text=sent.text,
        )
    return bodies.change(difference, sent.text, dry_run=dry_run)


@ROUTER.get(
    "/catalogue",
    operation_id="get_catalogue",
    summary="The whole catalogue as a document",
    response_class=Response,
    responses={
        200: {
            "description": "The document; applied again, it changes nothing.",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/CatalogueDocument"}},
                "application/toml": {"schema": {"type": "string"}, "example": _EXAMPLE},
            },
        }
    },
)
def get_catalogue(hub: HubDep, caller: CallerDep, request: HttpRequest) -> Response:
    """Return models and plans in the form in which they are applied, as JSON or TOML (Accept)."""
    with read_session(hub.engine) as session:
        document = catalogue.show(session, caller)
    if "application/toml" in request.headers.get("accept", ""):
        return Response(catalogue_toml.written(document), media_type="application/toml")
    return JSONResponse(catalogue_toml.plain(document))


@ROUTER.get("/models", operation_id="list_models", summary="Product models and plans on sale")
def list_models(hub: HubDep, caller: CallerDep) -> ProductModels:
    """List all models with their features, data sheets and the plans on sale for them."""
    with read_session(hub.engine) as session:
        found = catalogue_offers.models(session, caller)
    return ProductModels(items=[bodies.model(view) for view in found])


@ROUTER.get("/models/{model}", operation_id="get_model", summary="One product model")
def get_model(
    hub: HubDep,
    caller: CallerDep,
    model: Annotated[str, Path(pattern="^[a-z][a-z0-9-]{0,47}$", examples=["heat-pump"])],
) -> ProductModel:
    """Return a model with its features, its data sheet and the plans on sale for it."""
    with read_session(hub.engine) as session:
        return bodies.model(catalogue_offers.model(session, caller, model))
