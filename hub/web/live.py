"""Pages that stay up to date: server-sent events for one product or for all of a customer's.

1. `changed` says that something happened and the page should ask again; `values` carries the latest
   values as the page shows them, when they are new. A stream begins where the page was made: it says
   what happened since, or `changed` where nobody can tell.
2. A listener hears what the broadcaster lets them hear. A stream ends when its session does.
3. Values are looked up every `VALUES_S` for as long as somebody looks at them, and never else.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.errors import HubError
from hub.ports.database.engine import read_session
from hub.services import products, telemetry
from hub.services.events import DROPPED, GAP, Listener
from hub.web.context import Hub, hub_of
from hub.web.guard import PageRoute, visitor_of
from hub.web.pages import Pages, pages_of
from hub.web.series import ID
from hub.web.visitor import Visitor, authenticated

ROUTER = APIRouter(route_class=PageRoute, include_in_schema=False)

VALUES_S = 2.0
BEAT_S = 15.0
_RETRY = b"retry: 3000\n\n"
_OF_THE_STREAM = frozenset({DROPPED, GAP})
_KINDS = frozenset({"alert", "presence", "reported", "reply", "event"})


class EventStream(StreamingResponse):
    """An answer that goes on until the listener leaves."""

    media_type = "text/event-stream"


@ROUTER.get("/live", operation_id="stream_home")
async def stream_home(request: Request) -> Response:
    """Tell when something happens to any product the visitor sees."""
    stream = _Stream(request, None)
    return EventStream(stream.frames(), headers={"X-Accel-Buffering": "no"})


@ROUTER.get("/products/{product_id}/live", operation_id="stream_product")
async def stream_product(request: Request, product_id: ID) -> Response:
    """Tell when something happens to a product, and its latest values."""
    await run_in_threadpool(_check, hub_of(request), visitor_of(request), product_id)
    stream = _Stream(request, product_id)
    return EventStream(stream.frames(), headers={"X-Accel-Buffering": "no"})


class _Stream:
    """One listener's stream; `product_id` None: of all products the visitor sees."""

    def __init__(self, request: Request, product_id: str | None) -> None:
        self._hub: Hub = hub_of(request)
        self._pages: Pages = pages_of(request)
        self._visitor: Visitor = visitor_of(request)
        self._product_id = product_id
        # A browser that comes back knows more than the page did.
        self._since = (
            request.headers.get("last-event-id") or request.query_params.get("since") or ""
        )
        self._shown = ""

    async def frames(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended, and the stream with it
                loop.call_soon_threadsafe(woken.set)

        caller, hub = self._visitor.known, self._hub
        pause = BEAT_S if self._product_id is None else VALUES_S
        with (
            hub.live.listening(caller, wake, since=self._since) as listener,
            hub.metrics.live_listeners.track_inprogress(),
        ):
            yield _RETRY
            beat = loop.time()
            while True:
                due = loop.time() >= beat
                if listener.take_stale() or due or self._ended():
                    found, _ = await run_in_threadpool(authenticated, hub, self._visitor.token)
                    if found != caller:
                        yield b"event: end\ndata: 1\n\n"
                        return
                if self._heard(listener):
                    yield f"event: changed\nid: {listener.reached}\ndata: 1\n\n".encode()
                if due:
                    yield f": still here\nid: {listener.reached}\n\n".encode()
                    beat = loop.time() + BEAT_S
                if self._product_id is not None:
                    values = await run_in_threadpool(self._values)
                    if values:
                        yield values
                with suppress(TimeoutError):  # not `wait_for`, which may swallow a cancellation
                    async with asyncio.timeout(pause):
                        await woken.wait()
                woken.clear()

    def _ended(self) -> bool:
        """Say whether a tie of the visitor has ended since it was looked up."""
        until = self._visitor.known.until
        return until is not None and self._hub.clock() >= until

    def _heard(self, listener: Listener) -> bool:
        """Say whether something happened that the page shows."""
        events = listener.drain(self._hub.clock())
        return any(
            event.kind in _OF_THE_STREAM
            or (event.kind in _KINDS and self._product_id in {None, event.product_id})
            for event in events
        )

    def _values(self) -> bytes:
        """Return an event with the latest values if they differ from those shown last."""
        at = self._hub.clock()
        try:
            with read_session(self._hub.engine) as session:
                latest = telemetry.latest(
                    session, self._hub.store, self._visitor.known, str(self._product_id), at
                )
        except HubError:  # released while somebody looked; `changed` follows
            return b""
        text = self._pages.text(
            self._visitor.language,
            "values.html",
            latest=latest,
            formats=self._visitor.formats,
            now=at,
        )
        if text == self._shown:
            return b""
        self._shown = text
        data = "\n".join(f"data: {line}" for line in text.splitlines() if line.strip())
        return f"event: values\n{data}\n\n".encode()


def _check(hub: Hub, visitor: Visitor, product_id: str) -> None:
    with read_session(hub.engine) as session:
        products.visible(session, visitor.known, product_id)
