"""The OpenAPI document: made from the routes, completed from the access table.

1. Every operation says who may call it (`x-homeport-callers`) and how they prove it (`security`).
2. Every operation declares the problems it can answer with, all in one schema.
3. What FastAPI adds on its own (its 422 and validation schemas) is replaced: the API never
   answers so.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request

from hub.api import access, conditional, problems
from hub.api.access import Role
from hub.api.columns import MEDIA_TYPES
from hub.api.flag_bodies import EvaluationRequest, FlagFailure, Flags
from hub.api.guard import GuardedRoute
from hub.services.catalogue_document import CatalogueDocument

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["operation"])

VERSION = "1.0.0"
"""Of the API, not of the software."""

TAGS = [
    {"name": "devices", "description": "What products call: enrolment and renewal."},
    {"name": "people", "description": "Signing in, and who is signed in."},
    {"name": "products", "description": "Products, their owners and what they are entitled to."},
    {"name": "flags", "description": "What products may do, for OpenFeature clients (OFREP)."},
    {"name": "ownership", "description": "Products that change hands, and disputes about that."},
    {"name": "coverage", "description": "Warranty and support contracts: what covers a product."},
    {"name": "cases", "description": "Requests for help, with the deadlines that were promised."},
    {"name": "certificates", "description": "What a buyer may know of a product, signed."},
    {"name": "telemetry", "description": "What products measured."},
    {"name": "alerts", "description": "What the hub noticed, and what people did about it."},
    {"name": "pushes", "description": "Configuration, notices and commands down to products."},
    {"name": "subscriptions", "description": "Plans that are paid for here, and their changes."},
    {"name": "usage", "description": "What products used, and credit to use more."},
    {"name": "money", "description": "Invoices, payments, credit, and how households pay."},
    {
        "name": "webhooks",
        "description": "Telling other programs what happened (Standard Webhooks).",
    },
    {"name": "operation", "description": "Running the hub."},
]

_ABOUT = """Telemetry and entitlement hub for connected products.

Times are RFC 3339 in UTC. Lists are paged by cursor: pass `next` of one page as `after`.
Errors are problem details (RFC 9457). Somebody else's product answers 404, like one that does not
exist. Programs send `Authorization: Bearer` with a session token, an API key or the operator token;
browsers have a cookie, and send `X-Homeport-Request: 1` with every write.

Writes that list the header `Idempotency-Key` happen once for each key, and what is edited has an
`ETag`: send it as `If-Match`, and the edit is refused if somebody was faster.
"""

_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A session token, an API key or the operator token.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-homeport",
        "description": "A browser's session. Writes need the header `X-Homeport-Request` as well.",
    },
}

_METHODS = frozenset({"get", "put", "post", "delete", "patch"})


@ROUTER.get("/openapi.json", operation_id="get_description", summary="This description")
def get_description(request: Request) -> dict[str, Any]:
    """Return the OpenAPI document of this hub."""
    document: dict[str, Any] = request.app.openapi()
    return document


def install(app: FastAPI) -> None:
    """Make an application describe itself by this module's rules."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation of a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Homeport",
        version=app.version,
        summary="Telemetry and entitlement hub for connected products.",
        description=_ABOUT,
        routes=app.routes,
        tags=TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    # Those that no route names as its body or answer: problems, the catalogue (TOML or JSON), flags.
    for model in (problems.Problem, CatalogueDocument, EvaluationRequest, Flags, FlagFailure):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    components["securitySchemes"] = _SECURITY_SCHEMES
    components["responses"] = {
        "Problem": {
            "description": "What went wrong (RFC 9457).",
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    for path, _, operation in operations(document):
        _complete(path, operation)
    components["schemas"] = dict(sorted(schemas.items()))
    return document


def _complete(path: str, operation: dict[str, Any]) -> None:
    rule = access.RULES[operation["operationId"]]
    operation["x-homeport-callers"] = sorted(rule.roles)
    open_to_all = Role.ANONYMOUS in rule.roles
    operation["security"] = [] if open_to_all else [{"bearer": []}, {"cookie": []}]
    headers, refusals = conditional.described(operation["operationId"], rule)
    if headers:
        operation["parameters"] = [*operation.get("parameters", ()), *headers]
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = {"$ref": "#/components/responses/Problem"}
    declared = refusals | ({"401", "403"} if not open_to_all else set())
    if operation.get("parameters") or operation.get("requestBody"):
        declared.add("422")
    if operation.get("requestBody"):
        declared |= {"400", "413"}
    if "{" in path:
        declared.add("404")
    for status in sorted(declared - responses.keys()):
        responses[status] = {"$ref": "#/components/responses/Problem"}
    operation["responses"] = dict(sorted(responses.items()))


def tables(model: type[Any], meaning: str) -> dict[int | str, dict[str, Any]]:
    """Return the declaration of an answer that is JSON of a model, CSV or Parquet."""
    binary = {"type": "string", "format": "binary"}
    return {
        200: {
            "model": model,
            "description": meaning,
            "content": {
                media: {"schema": {"type": "string"} if media == "text/csv" else binary}
                for media in MEDIA_TYPES.values()
                if media != "application/json"
            },
        }
    }
