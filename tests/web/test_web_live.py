"""Streams of pages, read frame by frame."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from hub.services.events import QUEUE, Event
from hub.services.sessions import COOKIE
from hub.web import live, visitor
from tests.hub.api.api_world import START, Unit, World
from tests.hub.api.memory_store import Row
from tests.web.pages_world import browser, measured


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    unit = world.unit(ada)
    world.subscribe("ada", unit)
    measured(world, unit, 3)
    return unit


def frames(
    world: World, client: TestClient, product_id: str | None, since: str = "", known: str = ""
) -> AsyncIterator[bytes]:
    """Return the frames of a stream, as its page would read them.

    `since` is what the page says, `known` what a browser says that comes back.
    """
    token = client.headers["Authorization"].removeprefix("Bearer ")
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/live",
        "query_string": f"since={since or world.hub.live.newest}".encode(),
        "headers": [
            (b"cookie", f"{COOKIE}={token}".encode()),
            *([(b"last-event-id", known.encode())] if known else []),
        ],
        "app": world.app,
    }
    request = Request(scope)
    request.state.visitor = visitor.arrived(request, world.hub, world.app.state.pages)
    return live._Stream(request, product_id).frames()


async def following(stream: AsyncIterator[bytes]) -> str:
    async def found() -> str:
        async for frame in stream:
            if frame.startswith(b"event:"):
                return frame.decode()
        return "over"

    return await asyncio.wait_for(found(), 20)


def test_values_come_when_they_are_new(
    world: World, ada: TestClient, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "VALUES_S", 0.01)

    async def story() -> None:
        stream = frames(world, ada, unit.product_id)
        first = await following(stream)
        assert first.startswith("event: values\ndata: <dl")
        assert "40.2" in first
        world.store.rows.append(Row(slot=1, metric=0, time=START, value=51.5, seq=99))
        second = await following(stream)
        assert "51.5" in second
        assert all(line.startswith(("event:", "data:")) for line in second.strip().split("\n"))

    asyncio.run(story())


def test_what_happens_is_told_to_those_whom_it_concerns(
    world: World, ada: TestClient, bob: TestClient, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)

    async def story() -> None:
        streams = [frames(world, ada, None), frames(world, bob, None)]
        for stream in streams:  # the first frame comes when it listens
            assert (await anext(stream)).startswith(b"retry")
        tasks = [asyncio.ensure_future(following(stream)) for stream in streams]
        happened(world, unit)
        assert (await tasks[0]).startswith("event: changed")
        assert not tasks[1].done()
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)

    asyncio.run(story())


def happened(world: World, unit: Unit, who: str = "ada") -> None:
    world.hub.live.publish(
        Event("presence", START, unit.product_id, world.owners[who], {"online": False})
    )


async def first(stream: AsyncIterator[bytes]) -> tuple[str, str]:
    """Return what a stream says first, and the id that a browser keeps of it."""
    async for frame in stream:
        lines = dict(line.split(": ", 1) for line in frame.decode().strip().splitlines())
        if "id" in lines:
            return lines.get("event", "nothing"), lines["id"]
    raise AssertionError


@pytest.mark.parametrize("address", ["/", "/products/{}", "/support/products/{}"])
def test_what_happens_between_a_page_and_its_stream_is_told(
    world: World, ada: TestClient, support: TestClient, unit: Unit, address: str
) -> None:
    visitor = support if "support" in address else ada
    product_id = None if address == "/" else unit.product_id

    async def said(since: str, known: str = "") -> tuple[str, str]:
        return await first(frames(world, visitor, product_id, since, known))

    happened(world, unit)  # the page shows it
    page = browser(world, visitor).get(address.format(unit.product_id)).text
    (since,) = re.findall(r'sse-connect="[^"]*/live\?since=([0-9a-f]+)"', page)
    assert asyncio.run(said(since))[0] == "nothing"
    happened(world, unit)
    told, known = asyncio.run(said(since))
    assert told == "changed"
    # A browser that comes back brings the id, and the address of the page again.
    assert asyncio.run(said(since, known))[0] == "nothing"
    happened(world, unit)
    assert asyncio.run(said(since, known))[0] == "changed"


def test_a_page_of_a_past_that_is_not_kept_asks_once(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    since = world.hub.live.newest
    for _ in range(QUEUE):
        happened(world, unit, "bob")

    async def story() -> None:
        assert (await first(frames(world, ada, None, since)))[0] == "nothing"  # of others only
        happened(world, unit, "bob")
        for unknown in (since, "of a hub before this one"):
            stream = frames(world, ada, None, unknown)
            told, known = await first(stream)
            assert told == "changed"
            assert await first(stream) == ("nothing", known)
            assert (await first(frames(world, ada, None, unknown, known)))[0] == "nothing"

    asyncio.run(story())


def test_a_stream_ends_with_its_session(
    world: World, ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.01)

    async def story() -> None:
        stream = frames(world, ada, None)
        assert (await anext(stream)).startswith(b"retry")
        browser(world, ada).post("/sign-out")
        assert (await following(stream)).startswith("event: end")
        assert await following(stream) == "over"

    asyncio.run(story())
    assert len(world.hub.live) == 0


def test_a_session_that_ended_before_its_stream_began_hears_nothing(
    world: World, ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 600.0)

    async def story() -> None:
        stream = frames(world, ada, None)
        browser(world, ada).post("/sign-out")
        assert (await anext(stream)).startswith(b"retry")
        assert (await following(stream)).startswith("event: end")

    asyncio.run(story())


def test_streams_of_others_are_not_found(world: World, bob: TestClient, unit: Unit) -> None:
    assert browser(world, bob).get(f"/products/{unit.product_id}/live").status_code == 404
    assert browser(world).get("/live").status_code == 401
