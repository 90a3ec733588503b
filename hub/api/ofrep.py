"""OpenFeature Remote Evaluation Protocol: any OpenFeature client may ask what a product may do.

1. The targeting key is a device id, or a product id. Somebody else's product is answered like one
   that does not exist, as everywhere.
2. What is wrong with an evaluation is answered in the shape of the protocol (400, 404); who may not
   call at all, or calls too often, gets problem details as on every route (401, 403, 429).
3. The answer about all flags has an entity tag: a client that asks again pays for changes only.

Source: OFREP OpenAPI, https://github.com/open-feature/protocol.
"""

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.api import flags
from hub.api.context import Hub
from hub.api.flag_bodies import (
    ErrorCode,
    EvaluationRequest,
    Flag,
    FlagFailure,
    Flags,
    Metadata,
    schema,
)
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.lookup import product_id_of
from hub.errors import NotFoundError
from hub.ports.database.engine import read_session
from hub.services import product_detail
from hub.services.caller import Caller

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/ofrep/v1", tags=["flags"])

_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": schema(EvaluationRequest)}}
_FAILED = {"description": "It cannot be evaluated.", "content": schema(FlagFailure)}


async def _body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_body)]


class _RefusedError(Exception):
    """An evaluation that cannot be done, in the words of the protocol."""

    def __init__(self, code: ErrorCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


@ROUTER.post(
    "/evaluate/flags/{key}",
    operation_id="evaluate_flag",
    summary="Whether a product may use one feature, as a flag",
    response_class=Response,
    responses={
        200: {"description": "The flag.", "content": schema(Flag)},
        400: _FAILED,
        404: {"description": "There is no such flag.", "content": schema(FlagFailure)},
    },
    openapi_extra=_BODY,
)
def evaluate_flag(
    hub: HubDep,
    caller: CallerDep,
    key: Annotated[str, Path(min_length=1, max_length=64, description="Name of the feature.")],
    body: Body,
) -> Response:
    """Decide one feature now; the decision in full is in the metadata."""
    hub.limits.flags.take(caller.actor, hub.clock())
    try:
        found = _named(_evaluated(hub, caller, body), key)
        return JSONResponse(found.model_dump(exclude_unset=True))
    except _RefusedError as error:
        return _failure(error, key)


@ROUTER.post(
    "/evaluate/flags",
    operation_id="evaluate_flags",
    summary="What a product may use, as flags",
    response_class=Response,
    responses={
        200: {
            "description": "All flags.",
            "content": schema(Flags),
            "headers": {
                "ETag": {"description": "Of these flags.", "schema": {"type": "string"}},
            },
        },
        304: {"description": "Nothing has changed."},
        400: _FAILED,
    },
    openapi_extra=_BODY,
)
def evaluate_flags(
    hub: HubDep,
    caller: CallerDep,
    body: Body,
    if_none_match: Annotated[str | None, Header(max_length=1_000)] = None,
) -> Response:
    """Decide all features of a product now."""
    hub.limits.flags.take(caller.actor, hub.clock())
    try:
        found = _evaluated(hub, caller, body)
    except _RefusedError as error:
        return _failure(error, None)
    content = json.dumps(found.model_dump(exclude_unset=True), ensure_ascii=False).encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


def _evaluated(hub: Hub, caller: Caller, body: bytes) -> Flags:
    key = _targeting_key(body)
    try:
        with read_session(hub.engine) as session:
            named = product_id_of(session, key)
            facts, decided = product_detail.decisions(session, caller, named, hub.clock())
    except NotFoundError as error:
        detail = f"There is no product {key!r}, or it is not yours. Name a device or product id."
        raise _RefusedError("INVALID_CONTEXT", detail) from error
    metadata: Metadata = {"product": named, "model": facts.model.code}
    if decided:
        metadata["ownerEpoch"] = decided[0].owner_epoch
    return Flags(flags=[flags.flag(facts, one) for one in decided], metadata=metadata)


def _named(found: Flags, key: str) -> Flag:
    for one in found.flags:
        if one.key == key:
            return one
    model = found.metadata["model"]
    raise _RefusedError("FLAG_NOT_FOUND", f"A {model} has no feature {key!r}.")


def _targeting_key(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _RefusedError("PARSE_ERROR", "The body is not JSON. Correct it.") from error
    if not isinstance(document, dict):
        raise _RefusedError("PARSE_ERROR", "The body must be an object with a context.")
    context = document.get("context")
    if context is None:
        context = {}
    if not isinstance(context, dict):
        raise _RefusedError("INVALID_CONTEXT", "The context must be an object.")
    key = context.get("targetingKey")
    if key is None or key == "":
        raise _RefusedError(
            "TARGETING_KEY_MISSING", "Name the product: context.targetingKey is its device id."
        )
    if not isinstance(key, str) or len(key) > 64:
        raise _RefusedError("INVALID_CONTEXT", "context.targetingKey must be a device id.")
    return key


def _failure(error: _RefusedError, key: str | None) -> Response:
    body = FlagFailure(key=key, errorCode=error.code, errorDetails=error.details)
    status = 404 if error.code == "FLAG_NOT_FOUND" else 400
    return JSONResponse(body.model_dump(exclude_none=True), status)


def _matches(header: str | None, tag: str) -> bool:
    """Compare entity tags weakly (RFC 9110, 13.1.2)."""
    if header is None:
        return False
    tags = {one.strip().removeprefix("W/") for one in header.split(",")}
    return "*" in tags or tag in tags
