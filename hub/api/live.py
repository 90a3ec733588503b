"""Live events as server-sent events (WHATWG HTML, section 9.2).

1. The caller hears what the broadcaster lets them hear; nothing is filtered in here but by wish.
2. A listener that comes back with `Last-Event-ID` hears what it missed. Where the hub cannot tell
   any more, or a listener was too slow, an event `gap` or `dropped` says so: it should ask anew.
3. A stream ends when the proof it began with ends: sign-out and expiry hold here too.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import StreamingResponse

from hub.api import callers
from hub.api.bodies import ID_PATTERN
from hub.api.callers import Proof
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import text_of
from hub.errors import NotAuthenticatedError
from hub.services.caller import Caller, Scope
from hub.services.events import DROPPED, GAP, Event

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["alerts"])

HEARTBEAT_S = 15.0
RETRY_MS = 3_000
_END = "end"
_OF_THE_STREAM = frozenset({DROPPED, GAP})

_EXAMPLE = """retry: 3000

event: alert
id: 5b0c9ad24e17f386
data: {"at":"2026-01-31T08:00:00.250Z","product_id":"b7x2m9q4k1v8c3z6","state":"opened"}
"""


class EventStream(StreamingResponse):
    """An answer that goes on until the listener leaves."""

    media_type = "text/event-stream"


@ROUTER.get(
    "/events",
    operation_id="stream_events",
    summary="Live events as they happen",
    response_class=EventStream,
    responses={
        200: {
            "description": "Events `alert`, `finding`, `presence`, `reported`, `reply`, `event` "
            "and others as they happen; `gap` and `dropped` where some were missed; `end` when "
            "the session ended. Comments keep the connection alive. Who comes back with the last "
            "`id` as `Last-Event-ID` hears first what happened since, as far as it is kept: the "
            "last 1,000 events of the hub since it started, else `gap`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
async def stream_events(
    hub: HubDep,
    caller: CallerDep,
    request: HttpRequest,
    kind: Annotated[
        list[Annotated[str, Query(max_length=64)]] | None,
        Query(max_length=32, description="Only events of these kinds."),
    ] = None,
    product_id: Annotated[
        str | None, Query(pattern=ID_PATTERN, description="Only events of this product.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=64, description="Sent by browsers that come back.")
    ] = None,
) -> EventStream:
    """Stream what happens to the products the caller sees; staff hear of all."""
    caller.require(Scope.PRODUCTS_READ)
    stream = _Stream(hub, caller, callers.proof_of(request), frozenset(kind or ()), product_id)
    return EventStream(stream.frames(last_event_id), headers={"X-Accel-Buffering": "no"})


class _Stream:
    """One listener's stream."""

    def __init__(
        self,
        hub: Hub,
        caller: Caller,
        proof: Proof | None,
        kinds: frozenset[str],
        product_id: str | None,
    ) -> None:
        self._hub = hub
        self._caller = caller
        self._proof = proof
        self._kinds = kinds
        self._product_id = product_id

    async def frames(self, last_event_id: str | None) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended, and the stream with it
                loop.call_soon_threadsafe(woken.set)

        gauge = self._hub.metrics.live_listeners
        with (
            self._hub.live.listening(self._caller, wake, since=last_event_id) as listener,
            gauge.track_inprogress(),
        ):
            yield f"retry: {RETRY_MS}\n\n".encode()
            beat = loop.time()
            while True:
                # Looked up once more before anything is said, and whenever that may have changed.
                due = loop.time() >= beat
                if (listener.take_stale() or due or self._ended()) and not await self._welcome():
                    yield self._frame(Event(_END, self._hub.clock(), id=listener.reached))
                    return
                for event in listener.drain(self._hub.clock()):
                    if self._wanted(event):
                        yield self._frame(event)
                if due:
                    yield f": still here\nid: {listener.reached}\n\n".encode()
                    beat = loop.time() + HEARTBEAT_S
                with suppress(TimeoutError):  # not `wait_for`, which may swallow a cancellation
                    async with asyncio.timeout_at(beat):
                        await woken.wait()
                woken.clear()

    def _ended(self) -> bool:
        """Say whether a tie of the caller has ended since it was looked up."""
        until = self._caller.until
        return until is not None and self._hub.clock() >= until

    async def _welcome(self) -> bool:
        return await run_in_threadpool(self._still_welcome)

    def _still_welcome(self) -> bool:
        if self._proof is None:
            return False
        try:
            return callers.authenticate(self._hub, self._proof) == self._caller
        except NotAuthenticatedError:
            return False

    def _wanted(self, event: Event) -> bool:
        if event.kind in _OF_THE_STREAM:
            return True
        if self._kinds and event.kind not in self._kinds:
            return False
        return self._product_id is None or event.product_id == self._product_id

    @staticmethod
    def _frame(event: Event) -> bytes:
        at = text_of(event.at)
        data: dict[str, Any] = dict(event.data)
        data |= {"at": at, "product_id": event.product_id}
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
        return f"event: {event.kind}\nid: {event.id}\ndata: {text}\n\n".encode()
