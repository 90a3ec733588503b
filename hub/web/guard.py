"""The door of every page: who is it, may they, did they mean it, and what went wrong.

1. The door comes before everything else; a form is not read for somebody who may not send it.
2. Browsers send cookies on their own, so every form must also show that it comes from our own
   pages: an `Origin` that is this host, or the header `X-Homeport-Request`.
3. Whoever must sign in first is led there and back; programs and fragments get the bare status.
4. What goes wrong is a page in the visitor's language, never a bare line.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.errors import ForbiddenError, HubError, InvalidInputError, NotFoundError
from hub.web import access, visitor
from hub.web.context import hub_of
from hub.web.visitor import Visitor

INTENT_HEADER = "X-Homeport-Request"
MAX_FORM = 32_768
_MAX_FIELDS = 64
_log = logging.getLogger("homeport.web")


class PageRoute(APIRoute):
    """A page that asks the access table before it does anything."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the door in front of the page."""
        handle = super().get_route_handler()
        roles = access.RULES[str(self.operation_id)]
        public = self.operation_id == "get_static"
        page = str(self.operation_id).startswith("page_")

        async def guarded(request: Request) -> Response:
            if public:
                return await _plain(handle, request)
            pages = request.app.state.pages
            request.state.visitor = await run_in_threadpool(
                visitor.arrived, request, hub_of(request), pages
            )
            try:
                refused = _refused(request, roles, page=page)
                if refused is not None:
                    return refused
                if request.method == "POST":
                    _check_intent(request)
                    request.state.form = await _read_form(request)
                return await handle(request)
            except HubError as error:
                return await run_in_threadpool(problem_page, request, error)
            except RequestValidationError:
                missing = NotFoundError("There is nothing at this address.")
                return await run_in_threadpool(problem_page, request, missing)

        return guarded


def visitor_of(request: Request) -> Visitor:
    """Return who the guard let in."""
    found: Visitor = request.state.visitor
    return found


def form_of(request: Request) -> Mapping[str, str]:
    """Return the fields of the form that was sent."""
    form: Mapping[str, str] = request.state.form
    return form


def local(address: str | None) -> str:
    """Return an address to go on to if it is one of this host's, else the first page."""
    if address and address.startswith("/") and not address.startswith(("//", "/\\")):
        return address.replace("\r", "").replace("\n", "")
    return "/"


async def _plain(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request
) -> Response:
    try:
        return await handle(request)
    except HubError as error:
        return Response(error.detail, error.status, media_type="text/plain")


def _refused(request: Request, roles: access.Roles, *, page: bool) -> Response | None:
    if roles is None:
        return None
    caller = visitor_of(request).caller
    if caller is None:
        if page:
            address = visitor_of(request).address
            back = "" if address == "/" else f"?next={quote(address, safe='')}"
            # htmx follows a redirect of its own only by this header.
            if "hx-request" in request.headers:
                return Response(status_code=401, headers={"HX-Redirect": f"/sign-in{back}"})
            return RedirectResponse(f"/sign-in{back}", 303)
        return Response(status_code=401)
    if caller.role not in roles:
        raise ForbiddenError("This page is not for your kind of account.")
    return None


def _check_intent(request: Request) -> None:
    if INTENT_HEADER in request.headers:
        return  # another site cannot set it without asking us first (CORS), and we never allow it
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc == request.headers.get("host"):
        return
    raise ForbiddenError("This form did not come from a page of this hub. Open the page again.")


async def _read_form(request: Request) -> Mapping[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise InvalidInputError(f"The form is larger than {MAX_FORM} bytes. Send less.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise InvalidInputError("The form cannot be read. Open the page again.") from error
    return dict(pairs)


def problem_page(request: Request, error: HubError) -> Response:
    """Say what went wrong, in the visitor's language."""
    if error.status >= 500:
        _log.error("page %s failed", request.url.path, exc_info=error)
    response: Response = request.app.state.pages.page(
        request, "problem.html", status=error.status, code=error.code
    )
    return response
