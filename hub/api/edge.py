"""What every answer has in common: a request id, safe headers, and an end that is never bare.

1. Outermost of the application: nothing leaves without passing here.
2. Answers are not to be stored unless a route says otherwise: nearly all hold personal data.
3. The API serves no documents, so its content policy allows nothing.
Who may call what is not decided here.
"""

from collections.abc import Callable
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api import problems
from hub.metrics import Metrics

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Edge:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        metrics: where requests are counted.
        random_bytes: source of request ids.
        monotonic: seconds of a clock that never steps back.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        random_bytes: Callable[[int], bytes],
        monotonic: Callable[[], float],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._random_bytes = random_bytes
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._random_bytes(8).hex()
        scope["homeport.request_id"] = request_id
        began = self._monotonic()
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                self._count(scope, message["status"], self._monotonic() - began)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if started:
                raise  # too late for an answer: the server cuts the connection
            answer = problems.unexpected(request_id, error)
            await answer(scope, receive, send_with_headers)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        operation = operation_of(scope.get("route"))
        self._metrics.http_requests.labels(operation, str(status)).inc()
        self._metrics.http_seconds.labels(operation).observe(seconds)


def operation_of(route: BaseRoute | None) -> str:
    """Return the operation id of a route, `none` where no route matched."""
    found: Any = getattr(route, "operation_id", None)
    return str(found) if found else "none"
