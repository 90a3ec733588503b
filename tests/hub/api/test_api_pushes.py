import math

import pytest
from starlette.testclient import TestClient

from device_sdk.wire.messages import Command, Notice
from tests.hub.api.api_world import SECOND, START, World, ok, problem


def test_a_configuration_is_merged_and_replaced(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    path = f"/api/v1/products/{unit.device_id}/configuration"
    first = ok(ada.patch(path, json={"values": {"target_c": 21, "mode": "eco"}}))
    assert (first["version"], first["changed"]) == (1, True)
    merged = ok(ada.patch(path, json={"values": {"mode": None, "boost": True}}))
    assert merged["desired"] == {"boost": True, "target_c": 21}
    same = ok(ada.put(path, json={"values": {"boost": True, "target_c": 21}}))
    assert (same["version"], same["changed"]) == (2, False)
    stale = {"values": {"boost": False}, "expected_version": 1}
    assert problem(ada.put(path, json=stale), 409, "conflict")["version"] == 2
    replaced = ok(ada.put(path, json={"values": {}, "expected_version": 2}))
    assert replaced["desired"] == {}


@pytest.mark.parametrize(
    "values",
    [{"a": [1]}, {"a": {"b": 1}}, {"": 1}, {"x" * 65: 1}, {"a": 2**64}, {"A-B": 1}, [1], None],
)
def test_what_a_device_cannot_hold_is_refused(
    world: World, ada: TestClient, values: object
) -> None:
    unit = world.unit(ada)
    path = f"/api/v1/products/{unit.device_id}/configuration"
    problem(ada.patch(path, json={"values": values}), 422, "invalid-input")
    assert ok(ada.get(f"/api/v1/products/{unit.device_id}"))["device"]["configuration"] == {}


def test_numbers_that_json_does_not_have_are_refused(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    path = f"/api/v1/products/{unit.device_id}/configuration"
    for text in ("NaN", "Infinity", "-Infinity", "1e999"):
        answer = ada.patch(
            path,
            content=f'{{"values": {{"a": {text}}}}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in {400, 422}
        assert math.isfinite(answer.json()["status"])


def test_a_notice_reaches_the_device_once(world: World, support: TestClient) -> None:
    unit = world.unit()
    path = f"/api/v1/products/{unit.device_id}/notices"
    body = {"code": "service.due", "arguments": {"days": 14}, "severity": "warning"}
    headers = {"Idempotency-Key": "service-2026"}
    first = ok(support.post(path, json=body, headers=headers), 201)
    again = ok(support.post(path, json=body, headers=headers), 201)
    assert first == again
    assert first["delivered"] is True
    (device, channel, payload), _ = world.devices.pushed
    assert (device, channel) == (unit.device_id, "notice")
    notice = Notice.decode(payload)
    assert notice.id.hex() == first["notice_id"]
    assert (notice.code, dict(notice.arguments)) == ("service.due", {"days": 14})
    assert notice.severity == 1


def test_a_command_says_whether_it_went_out(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    world.devices.reachable = False
    path = f"/api/v1/products/{unit.device_id}/commands"
    answer = ok(ada.post(path, json={"name": "restart"}), 201)
    assert answer["delivered"] is False
    assert answer["expires_at"] == "2026-01-31T08:05:00Z"
    ((_, channel, payload),) = world.devices.pushed
    command = Command.decode(payload)
    assert (channel, command.name) == ("command", "restart")
    assert command.expiry == START + 300 * SECOND
    late = {"name": "restart", "expires_at": "2026-01-31T07:59:59Z"}
    problem(ada.post(path, json=late), 422, "invalid-input")
    assert len(world.devices.pushed) == 1
