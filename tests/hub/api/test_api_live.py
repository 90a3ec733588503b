"""Streams of live events, driven as ASGI so that the test decides when the listener leaves."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Self

import pytest
from starlette.testclient import TestClient

from hub.api import live
from hub.ports.database.engine import write_session
from hub.services import sessions
from hub.services.events import Event
from tests.hub.api.api_world import START, World, ok, problem

Message = MutableMapping[str, Any]


class Listener:
    """One open stream."""

    def __init__(self, world: World, client: TestClient, query: str = "", **headers: str) -> None:
        self._world = world
        given = {**client.headers, "host": "testserver", **headers}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": "/api/v1/events",
            "raw_path": b"/api/v1/events",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), text.encode()) for name, text in given.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("testserver", 443),
        }
        self.last_id = ""
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async def receive() -> Message:
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await self._arrived.put(message)

        app: Callable[..., Awaitable[None]] = self._world.app
        self._task = asyncio.ensure_future(app(self._scope, receive, send))
        self.start = await self.message()
        assert (await self.text()).startswith("retry: ")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def message(self) -> Message:
        return await asyncio.wait_for(self._arrived.get(), 20)

    async def text(self) -> str:
        message = await self.message()
        return str(message.get("body", b"").decode())

    async def event(self) -> tuple[str, dict[str, Any]]:
        """Return kind and data of the next event, passing over comments."""
        while True:
            text = await self.text()
            lines = dict(line.split(": ", 1) for line in text.strip().splitlines())
            self.last_id = lines["id"]
            if not text.startswith(":"):
                return lines["event"], json.loads(lines["data"])


def happened(kind: str, world: World, owner: str | None, **data: Any) -> None:
    owner_id = None if owner is None else world.owners[owner]
    world.hub.live.publish(Event(kind, START, "p" * 16, owner_id, data))


def test_customers_hear_of_their_own_and_staff_of_all(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    async def scene() -> None:
        async with Listener(world, ada) as hers, Listener(world, world.operator) as staffs:
            assert hers.start["status"] == 200
            headers = dict(hers.start["headers"])
            assert headers[b"content-type"].startswith(b"text/event-stream")
            assert headers[b"cache-control"] == b"no-store"
            happened("alert", world, "bob", number=1)
            happened("alert", world, None, number=2)
            happened("presence", world, "ada", online=True)
            assert await hers.event() == (
                "presence",
                {"online": True, "at": "2026-01-31T08:00:00Z", "product_id": "p" * 16},
            )
            assert [(await staffs.event())[0] for _ in range(3)] == ["alert", "alert", "presence"]
        assert len(world.hub.live) == 0

    asyncio.run(scene())


def test_only_the_kinds_that_were_asked_for(world: World, ada: TestClient) -> None:
    async def scene() -> None:
        async with Listener(world, ada, "kind=alert&kind=finding") as hers:
            happened("presence", world, "ada")
            happened("finding", world, "ada")
            assert (await hers.event())[0] == "finding"

    asyncio.run(scene())


def test_who_comes_back_hears_what_was_missed(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    async def scene() -> None:
        async with Listener(world, ada) as hers:
            happened("alert", world, "ada", number=1)
            happened("alert", world, "ada", number=2)
            assert (await hers.event())[1]["number"] == 1
        happened("alert", world, "bob", number=3)
        happened("alert", world, "ada", number=4)
        async with Listener(world, ada, **{"last-event-id": hers.last_id}) as again:
            happened("alert", world, "ada", number=5)
            assert [(await again.event())[1]["number"] for _ in range(3)] == [2, 4, 5]

    asyncio.run(scene())


def test_who_comes_back_to_another_hub_is_told_of_the_gap(world: World, ada: TestClient) -> None:
    async def scene() -> None:
        last = {"last-event-id": "2026-01-31T07:00:00Z"}
        async with Listener(world, ada, **last) as hers:
            kind, data = await hers.event()
            assert (kind, data["after"]) == ("gap", "2026-01-31T07:00:00Z")

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["by an operator", "disabled", "everywhere"])
def test_a_stream_ends_at_once_when_sessions_are_revoked(
    world: World, ada: TestClient, how: str
) -> None:
    assert live.HEARTBEAT_S > 10  # which is not waited for
    person = f"/api/v1/people/{world.people['ada']}"

    def revoke() -> None:
        if how == "by an operator":
            ok(world.operator.delete(f"{person}/sessions"))
        elif how == "disabled":
            assert world.operator.post(f"{person}/disable").status_code == 204
        else:
            with write_session(world.hub.engine) as session:
                sessions.revoke_all(session, world.people["ada"], START)

    async def scene() -> None:
        async with Listener(world, ada) as hers:
            happened("alert", world, "ada", number=1)
            assert (await hers.event())[1]["number"] == 1
            await asyncio.to_thread(revoke)
            assert (await hers.event())[0] == "end"

    asyncio.run(scene())


def test_a_stream_ends_with_its_session(
    world: World, ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)

    async def scene() -> None:
        async with Listener(world, ada) as hers:
            assert (await hers.text()).startswith(":")
            await asyncio.to_thread(ada.delete, "/api/v1/sessions/current")
            assert (await hers.event())[0] == "end"
            assert (await hers.message())["more_body"] is False

    asyncio.run(scene())


def test_acknowledging_an_alert_is_heard(world: World, ada: TestClient) -> None:
    from tests.hub.api.test_api_alerts import find

    world.unit(ada)
    find(world, 1)
    alert = ok(ada.get("/api/v1/alerts"))["items"][0]["id"]

    async def scene() -> None:
        async with Listener(world, ada) as hers:
            await asyncio.to_thread(ada.post, f"/api/v1/alerts/{alert}/acknowledge")
            kind, data = await hers.event()
            assert (kind, data["change"], data["alert_id"]) == ("alert", "acknowledged", alert)

    asyncio.run(scene())


def test_bad_filters_are_refused(world: World, ada: TestClient) -> None:
    problem(ada.get("/api/v1/events?product_id=x"), 422, "invalid-input")
