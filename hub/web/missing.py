"""Addresses that do not exist: a page for people, the API's answer for programs.

1. Only a browser that asks for a page outside the API gets a page; everything else is as it was.
"""

from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.errors import NotFoundError
from hub.web import visitor
from hub.web.context import hub_of
from hub.web.guard import problem_page
from hub.web.pages import pages_of

_NOT_FOUND = 404


def install(app: FastAPI) -> None:
    """Answer browsers with a page where there is nothing; the handler that is there stays."""
    answer: Any = app.exception_handlers[HTTPException]

    async def missing(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == _NOT_FOUND and _wants(request):
            return await run_in_threadpool(_page, request)
        response: Response = await answer(request, error)
        return response

    app.add_exception_handler(HTTPException, missing)


def _wants(request: Request) -> bool:
    """Whether a browser asks for a page."""
    path = request.url.path
    accepts = request.headers.get("accept", "")
    return request.method == "GET" and "text/html" in accepts and not path.startswith("/api/")


def _page(request: Request) -> Response:
    request.state.visitor = visitor.arrived(request, hub_of(request), pages_of(request))
    return problem_page(request, NotFoundError(f"There is nothing at {request.url.path}."))
