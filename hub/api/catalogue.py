"""The vendor's catalogue, as a document in TOML or JSON.

1. A document is applied as a whole or not at all; `dry_run` says what would change.
2. The form of the document is the services' (`catalogue_document`); both media types mean the same.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError
from starlette.requests import Request as HttpRequest

from hub.api.bodies import Answer, examples
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.errors import InvalidInputError
from hub.ports.database.engine import write_session
from hub.services import catalogue
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
        "description": "The whole document. Metrics are only ever appended.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/CatalogueDocument"}},
            "application/toml": {"schema": {"type": "string"}, "example": _EXAMPLE},
        },
    }
}


class CatalogueChange(Answer):
    """What applying the document changed, or would change."""

    dry_run: bool
    added: list[str] = Field(description="Such as `metric heat-pump.temp_c`.")
    changed: list[str]

    model_config = examples({"dry_run": False, "added": ["metric heat-pump.temp_c"], "changed": []})


async def _body(request: HttpRequest) -> bytes:
    return await request.body()


def _document(request: HttpRequest, body: Annotated[bytes, Depends(_body)]) -> CatalogueDocument:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json":
        try:
            return CatalogueDocument.model_validate_json(body)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)
            located = [{**item, "loc": ("body", *item["loc"])} for item in found]
            raise RequestValidationError(located) from error
    if media == "application/toml":
        try:
            return catalogue.parse(body.decode())
        except UnicodeDecodeError as error:
            raise InvalidInputError("The catalogue is not UTF-8. Save it as UTF-8.") from error
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
    document: Annotated[CatalogueDocument, Depends(_document)],
    dry_run: Annotated[bool, Query(description="Only say what would change.")] = False,  # noqa: FBT002  a query parameter
) -> CatalogueChange:
    """Add models, metrics, features and plans; what a document leaves out stays."""
    with write_session(hub.engine) as session:
        difference = catalogue.apply(session, caller, document, hub.clock(), dry_run=dry_run)
    return CatalogueChange(dry_run=dry_run, added=difference.added, changed=difference.changed)
