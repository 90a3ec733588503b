"""Webhooks over the API, as their operator uses them."""

import random

import pytest
from starlette.testclient import TestClient

from hub.app.webhook_sender import WebhookSender
from hub.ports.webhook.port import Posted
from hub.services.webhook_events import watch
from tests.hub.api.api_world import World, ok, problem

URL = "https://example.org/hooks"
ENDPOINTS, DELIVERIES = "/api/v1/webhook-endpoints", "/api/v1/webhook-deliveries"


class Net:
    """What was sent, and what is answered."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204

    def __call__(self, url: str, headers: object, body: bytes) -> Posted:
        assert isinstance(headers, dict)
        self.sent.append((url, headers, body))
        return Posted(self.status, duration_ms=12)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def sender(world: World, net: Net) -> WebhookSender:
    hub = world.hub
    watch(hub.engine, hub.tokens, world.clock)
    return WebhookSender(
        hub.engine,
        net,
        hub.tokens,
        clock=world.clock,
        world=world.clock,
        chance=random.Random(1),  # noqa: S311  seeded, guards nothing
        publish=hub.live.publish,
    )


def made(world: World, *types: str) -> dict[str, str]:
    body = {"url": URL, "types": list(types), "description": "Our shop"}
    found = ok(world.operator.post(ENDPOINTS, json=body), 201)
    assert found["secret"].startswith("whsec_")
    endpoint: dict[str, str] = found["endpoint"]
    return endpoint


def test_an_endpoint_is_made_tested_changed_and_removed(
    world: World, support: TestClient, sender: WebhookSender, net: Net
) -> None:
    endpoint = made(world, "invoice.paid")
    one = f"{ENDPOINTS}/{endpoint['id']}"
    for answer in (support.get(one), support.get(ENDPOINTS)):
        ok(answer)
        assert "whsec_" not in answer.text  # shown once
    ok(world.operator.post(f"{one}/test"), 202)
    assert sender.step() == 1
    assert net.sent[0][0] == URL
    tag = support.get(one).headers["etag"]
    problem(world.operator.patch(one, json={"enabled": False}), 428, "precondition-required")
    sent = {"If-Match": tag}
    changed = ok(world.operator.patch(one, json={"enabled": False}, headers=sent))
    assert changed["disabled_why"] == "by_hand"
    late = world.operator.patch(one, json={"types": []}, headers=sent)
    problem(late, 412, "precondition-failed")
    problem(world.operator.post(f"{one}/test"), 409, "conflict")
    assert world.operator.delete(one).status_code == 204
    problem(support.get(one), 404, "not-found")
    assert ok(support.get(DELIVERIES))["items"] == []


def test_a_secret_is_changed_and_shown_once(world: World) -> None:
    first = ok(world.operator.post(ENDPOINTS, json={"url": URL}), 201)
    one = f"{ENDPOINTS}/{first['endpoint']['id']}"
    second = ok(world.operator.post(f"{one}/rotate-secret", json={"overlap_s": 3_600}))
    assert second["secret"] != first["secret"]
    assert second["endpoint"]["former_until"] == "2026-01-31T09:00:00Z"


def test_the_log_says_what_became_of_a_delivery(
    world: World, ada: TestClient, support: TestClient, sender: WebhookSender, net: Net
) -> None:
    endpoint = made(world)
    unit = world.unit(ada)
    world.subscribe("ada", unit)
    net.status = 500
    sender.step()
    page = ok(support.get(f"{DELIVERIES}?waiting=true&limit=1&endpoint_id={endpoint['id']}"))
    (newest,) = page["items"]
    assert (newest["type"], newest["subject"]) == (
        "subscription.started",
        f"product:{unit.product_id}",
    )
    following = ok(
        support.get(
            f"{DELIVERIES}?waiting=true&limit=1&endpoint_id={endpoint['id']}&after={page['next']}"
        )
    )
    assert following["items"][0]["type"] == "product.claimed"
    net.status = 204
    again = ok(world.operator.post(f"{DELIVERIES}/{newest['id']}/resend"), 202)
    assert again["tries"] == 0
    sender.step()
    log = ok(support.get(f"{DELIVERIES}/{newest['id']}"))
    assert [(one["number"], one["status"]) for one in log["attempts"]] == [(1, 500), (2, 204)]
    assert log["delivery"]["delivered_at"] == "2026-01-31T08:00:00Z"
    assert log["delivery"]["next_at"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://example.org/hooks"},
        {"url": "https://user@example.org/hooks"},
        {"url": URL, "types": ["invoice.eaten"]},
        {"url": URL, "secret": "mine"},
        {},
    ],
)
def test_endpoints_that_are_none(world: World, body: dict[str, object]) -> None:
    problem(world.operator.post(ENDPOINTS, json=body), 422, "invalid-input")
    assert ok(world.operator.get(ENDPOINTS))["endpoints"] == []
