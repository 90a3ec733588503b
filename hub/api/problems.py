"""Problem details (RFC 9457): the one shape in which the API says no.

1. Every error answer has media type `application/problem+json`, a stable `code`, and an
   `instance` that names the request in the hub's log.
2. What the caller sent is never repeated: it may hold a password.
3. What the hub did not expect is logged in full and answered with a bare 500.
"""

import http
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import (
    ForbiddenError,
    HubError,
    NotAuthenticatedError,
    NotFoundError,
    RateLimitedError,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:homeport:problem:"
REQUEST_PREFIX = "urn:homeport:request:"

_LOG = logging.getLogger(__name__)


class MethodNotAllowedError(HubError):
    """The address exists, but not with this method."""

    code = "method-not-allowed"
    title = "Method not allowed"
    status = 405


class MalformedBodyError(HubError):
    """The body cannot be read at all."""

    code = "malformed-body"
    title = "The body cannot be read"
    status = 400


class BodyTooLargeError(HubError):
    """The body is larger than this operation takes."""

    code = "body-too-large"
    title = "The body is too large"
    status = 413


class NotAcceptableError(HubError):
    """None of the media types that the caller accepts can be produced."""

    code = "not-acceptable"
    title = "No acceptable representation"
    status = 406


class FieldProblem(BaseModel):
    """What is wrong with one part of a request."""

    location: str = Field(description="`body`, `query`, `path`, `header` or `cookie`.")
    pointer: str = Field(description="JSON pointer into the body, or the parameter's name.")
    detail: str

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "location": "body",
                    "pointer": "/serial",
                    "detail": "String should have at least 1 character",
                }
            ]
        }
    )


class Problem(BaseModel):
    """A problem (RFC 9457). Further members depend on the code."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable machine code; the last part of `type`.")
    instance: str | None = Field(default=None, description="Names the request in the hub's log.")
    errors: list[FieldProblem] | None = Field(
        default=None, description="For requests that are not valid: each part that is wrong."
    )

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:homeport:problem:not-found",
                    "title": "Not found",
                    "status": 404,
                    "detail": "There is no product kx3q8m0d5c7r2v1z, or it is not yours.",
                    "code": "not-found",
                    "instance": "urn:homeport:request:5f0c9a4be1d27e38",
                }
            ]
        },
    )


def render(
    error: HubError,
    request_id: str | None,
    errors: Iterable[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer for an error.

    Args:
        error: what went wrong.
        request_id: names the request in the log.
        errors: parts of the request that are wrong, in the shape of `FieldProblem`.
        headers: further headers of the answer.
    """
    members: dict[str, Any] = dict(error.context)
    members |= {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if request_id is not None:
        members["instance"] = REQUEST_PREFIX + request_id
    if listed := list(errors):
        members["errors"] = listed
    sent = dict(headers or {})
    if isinstance(error, NotAuthenticatedError):
        sent["WWW-Authenticate"] = 'Bearer realm="homeport"'
    if isinstance(error, RateLimitedError):
        sent["Retry-After"] = str(error.retry_after_s)
    body = json.dumps(members, ensure_ascii=False, default=_plain).encode()
    return Response(body, error.status, sent, MEDIA_TYPE)


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def _request_id(request: Request) -> str | None:
    found: str | None = request.scope.get("homeport.request_id")
    return found


async def _on_hub_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HubError):
        raise error
    if error.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.error("request %s failed", _request_id(request), exc_info=error)
    return render(error, _request_id(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        unreadable = MalformedBodyError("The body is not valid JSON. Correct it and send it again.")
        return render(unreadable, _request_id(request))
    errors = [_field_problem(item["loc"], item["type"], item["msg"]) for item in found]
    named = ", ".join(dict.fromkeys(item["pointer"] or item["location"] for item in errors))
    problem = _InvalidRequestError(f"The request is not valid: see errors ({named}).")
    return render(problem, _request_id(request), errors)


class _InvalidRequestError(HubError):
    code = "invalid-input"
    title = "The request is not valid"
    status = 422


def _field_problem(loc: tuple[str | int, ...], kind: str, message: str) -> dict[str, str]:
    location, rest = str(loc[0]), loc[1:]
    if location == "body":
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in rest)
    else:
        pointer = ".".join(str(part) for part in rest)
    detail = message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        detail = "There is no such field"
    return {"location": location, "pointer": pointer, "detail": detail}


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    where = f"{request.method} {request.url.path}"
    problem: HubError
    match error.status_code:
        case 401:
            problem = NotAuthenticatedError(error.detail)
        case 403:
            problem = ForbiddenError(error.detail)
        case 404:
            problem = NotFoundError(
                f"There is nothing at {request.url.path}. The API's description is at "
                "/api/v1/openapi.json."
            )
        case 405:
            allowed = (error.headers or {}).get("Allow", "")
            problem = MethodNotAllowedError(f"{where} does not exist; use {allowed}.")
        case 400:
            problem = MalformedBodyError("The body cannot be read. Correct it and send it again.")
        case 413:
            problem = BodyTooLargeError(error.detail)
        case _:
            problem = HubError(f"{where} failed.")
    return render(problem, _request_id(request), headers=error.headers)


def unexpected(request_id: str, error: Exception) -> Response:
    """Log an error that nobody expected and return the answer that gives nothing away."""
    _LOG.error("request %s failed unexpectedly", request_id, exc_info=error)
    problem = HubError("The hub could not do this. Its log has the reason under this request.")
    return render(problem, request_id)


def install(app: FastAPI) -> None:
    """Make an application answer every error with problem details."""
    app.add_exception_handler(HubError, _on_hub_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
