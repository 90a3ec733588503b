"""The operator's pages of webhooks: adding an endpoint, its log, sending again, pausing, secrets, removal."""

import re

import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import write_session
from hub.ports.webhook.port import Posted
from hub.services import webhook_deliveries, webhook_endpoints
from hub.services.caller import Role
from tests.hub.api.api_world import World, ok
from tests.web.pages_world import browser, text_of

URL = "https://example.org/hooks"


@pytest.fixture
def desk(world: World) -> TestClient:
    return browser(world, world.person("olga", Role.OPERATOR))


def added(world: World, desk: TestClient) -> str:
    page = desk.post(
        "/operator/webhooks", data={"url": URL, "description": "Shop", "type-invoice.paid": "1"}
    )
    assert page.status_code == 201
    (endpoint,) = ok(world.operator.get("/api/v1/webhook-endpoints"))["endpoints"]
    assert (endpoint["url"], endpoint["types"]) == (URL, ["invoice.paid"])
    secret = webhook_endpoints.secret(world.hub.tokens, endpoint["id"], 1)
    assert secret in page.text
    assert page.headers["cache-control"] == "no-store"
    return str(endpoint["id"])


def test_an_endpoint_is_added_and_its_secret_shown_once(world: World, desk: TestClient) -> None:
    endpoint = added(world, desk)
    here = f"/operator/webhooks/{endpoint}"
    assert f"{URL} Shop invoice.paid in use" in text_of(desk.get("/operator/webhooks"))
    assert "whsec_" not in desk.get(here).text
    renewed = desk.post(here, data={"act": "rotate"})
    assert webhook_endpoints.secret(world.hub.tokens, endpoint, 2) in renewed.text
    assert "The former secret signs too until" in text_of(desk.get(here))
    for wrong in ("http://example.org/hooks", "https://a:b@example.org/", ""):
        refused = desk.post("/operator/webhooks", data={"url": wrong})
        assert refused.status_code == 422
        assert "The address must begin with https://" in text_of(refused)


def test_deliveries_are_seen_and_sent_again(world: World, desk: TestClient) -> None:
    here = f"/operator/webhooks/{added(world, desk)}"
    assert desk.post(here, data={"act": "test"}).headers["location"] == here
    shown = desk.get(here)
    assert "webhook.test" in text_of(shown)
    (delivery,) = set(re.findall(r"/operator/deliveries/(\w+)/resend", shown.text))
    at = world.clock.now
    with write_session(world.hub.engine) as session:
        webhook_deliveries.record(session, delivery, Posted(503, duration_ms=84), 1, at, 0.0)
    assert "Nothing was delivered since" in text_of(desk.get(here))
    detail = text_of(desk.get(f"{here}?delivery={delivery}"))
    assert f"msg_{delivery}" in detail
    assert "HTTP 503 · 84 ms" in detail
    assert "One delivery waits." in text_of(desk.get("/operator/webhooks"))
    assert "webhook.test" in text_of(desk.get(f"{here}?show=waiting"))
    assert desk.post(f"/operator/deliveries/{delivery}/resend").status_code == 303
    with write_session(world.hub.engine) as session:
        assert webhook_deliveries.backlog(session).due_since == at
        webhook_deliveries.record(session, delivery, Posted(204), 1, at, 0.0)
    assert "delivered" in text_of(desk.get(here))
    assert "webhook.test" not in text_of(desk.get(f"{here}?show=waiting"))
    assert desk.post(f"/operator/deliveries/{'a' * 16}/resend").status_code == 404


def test_pausing_going_on_and_removal(world: World, desk: TestClient) -> None:
    here = f"/operator/webhooks/{added(world, desk)}"
    assert desk.post(here, data={"act": "pause"}).status_code == 303
    assert "paused by hand" in text_of(desk.get(here))
    refused = desk.post(here, data={"act": "test"})
    assert (refused.status_code, "It is paused." in text_of(refused)) == (409, True)
    assert desk.post(here, data={"act": "go_on"}).status_code == 303
    assert "in use" in text_of(desk.get(here))
    assert desk.post(here, data={"act": "sell"}).status_code == 422
    assert desk.post(here, data={"act": "remove"}).headers["location"] == "/operator/webhooks"
    assert desk.get(here).status_code == 404
    assert "Nobody is told yet." in text_of(desk.get("/operator/webhooks"))


def test_the_pages_are_the_operators(world: World, support: TestClient) -> None:
    client = browser(world, support)
    assert client.get("/operator/webhooks").status_code == 403
    assert client.post("/operator/webhooks", data={"url": URL}).status_code == 403
    assert "/operator/webhooks" not in client.get("/support").text
