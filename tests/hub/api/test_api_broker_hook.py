"""EMQX's questions, as its documentation says it asks them."""

from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from device_sdk.wire.topics import shard_of
from hub.api.broker_hook import HOOK_HEADER
from hub.app.http import create_app
from hub.services.tokens import secret_hash
from tests.hub.api.api_world import World, ok, problem

SECRET = "s" * 32


@pytest.fixture
def device_id(world: World) -> str:
    return world.unit().device_id


@pytest.fixture
def emqx(world: World) -> TestClient:
    app = create_app(replace(world.hub, hook_secret_hash=secret_hash(SECRET)))
    return TestClient(app, base_url="https://testserver", headers={HOOK_HEADER: SECRET})


def auth(emqx: TestClient, clientid: Any, name: Any) -> str:
    body = {"clientid": clientid, "cert_common_name": name}
    return str(ok(emqx.post("/api/v1/broker/emqx/auth", json=body))["result"])


def acl(emqx: TestClient, name: str, action: str, topic: str) -> str:
    body = {"clientid": name, "cert_common_name": name, "action": action, "topic": topic}
    return str(ok(emqx.post("/api/v1/broker/emqx/acl", json=body))["result"])


def test_without_a_secret_in_the_settings_there_is_no_hook(world: World) -> None:
    client = TestClient(create_app(world.hub), headers={HOOK_HEADER: ""})
    for path in ("auth", "acl"):
        problem(client.post(f"/api/v1/broker/emqx/{path}", json={}), 404, "not-found")


@pytest.mark.parametrize("shown", [None, "", "s" * 31, "s" * 33, "S" * 32])
def test_a_wrong_secret_gets_no_answer(emqx: TestClient, shown: str | None) -> None:
    del emqx.headers[HOOK_HEADER]
    headers = {} if shown is None else {HOOK_HEADER: shown}
    for path in ("auth", "acl"):
        answer = emqx.post(f"/api/v1/broker/emqx/{path}", json={}, headers=headers)
        problem(answer, 401, "not-authenticated")


def test_a_known_device_comes_in_under_its_own_name_only(emqx: TestClient, device_id: str) -> None:
    assert auth(emqx, device_id, device_id) == "allow"
    assert auth(emqx, "somebodyelse0000", device_id) == "deny"
    assert auth(emqx, device_id, "somebodyelse0000") == "deny"
    assert auth(emqx, "somebodyelse0000", "somebodyelse0000") == "deny"
    assert auth(emqx, "hub-control", device_id) == "deny"
    assert auth(emqx, "hub-control", "hub-control") == "allow"
    assert auth(emqx, "hub-stranger", "hub-stranger") == "deny"
    for nobody in ("", None, 1, [device_id], "undefined"):
        assert auth(emqx, nobody, nobody) == "deny"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"\xff", b'"x"'])
def test_a_question_that_is_none_is_denied_and_never_an_error(
    emqx: TestClient, body: bytes
) -> None:
    for path in ("auth", "acl"):
        answer = emqx.post(f"/api/v1/broker/emqx/{path}", content=body)
        assert ok(answer) == {"result": "deny", "is_superuser": False}


def test_topics_are_those_of_the_grants(emqx: TestClient, device_id: str) -> None:
    own = f"hp/1/{shard_of(device_id)}/{device_id}"
    wrong_shard = f"hp/1/{(int(shard_of(device_id), 16) + 1) % 256:02x}/{device_id}"
    other = f"hp/1/{shard_of('b' * 16)}/{'b' * 16}"
    allowed = [("publish", f"{own}/up/t"), ("publish", f"{own}/up/presence")]
    allowed += [("subscribe", f"{own}/down/+"), ("subscribe", f"{own}/down/state")]
    denied = [("publish", f"{own}/down/state"), ("subscribe", f"{own}/up/t")]
    denied += [("publish", f"{other}/up/t"), ("subscribe", f"{other}/down/+")]
    denied += [("publish", f"{wrong_shard}/up/t"), ("publish", f"{own}/up/+")]
    denied += [("subscribe", t) for t in ("#", "hp/#", f"{own}/#", f"hp/1/+/{device_id}/down/+")]
    denied += [("subscribe", f"{own}/down/*"), ("publish", f"{own}/up"), ("publish", "")]
    denied += [("everything", f"{own}/up/t"), ("publish", f"{own}/up/t/more")]
    for action, topic in allowed:
        assert acl(emqx, device_id, action, topic) == "allow", topic
    for action, topic in denied:
        assert acl(emqx, device_id, action, topic) == "deny", topic
    assert acl(emqx, "hub-control", "subscribe", "hp/1/+/+/up/get") == "allow"
    assert acl(emqx, "hub-control", "subscribe", "hp/1/+/+/up/t") == "deny"
    assert acl(emqx, "hub-ingest-0", "subscribe", "hp/1/+/+/up/t") == "allow"
    assert acl(emqx, "hub-ingest-0", "publish", f"{own}/down/receipt") == "allow"


def test_a_revoked_device_loses_door_and_topics(
    world: World, emqx: TestClient, device_id: str
) -> None:
    path = f"/api/v1/products/{device_id}/revoke"
    world.operator.post(path, json={"reason": "stolen"}).raise_for_status()
    assert auth(emqx, device_id, device_id) == "deny"
    own = f"hp/1/{shard_of(device_id)}/{device_id}"
    assert acl(emqx, device_id, "publish", f"{own}/up/t") == "deny"
