"""Holds over the API: placed, listed, lifted, and what they do meanwhile."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.hub.api.api_world import SECOND, Unit, World, ok, problem

NOBODY = "a" * 16


def allowed(client: TestClient, unit: Unit) -> dict[str, tuple[bool, str]]:
    decisions = ok(client.get(f"/api/v1/products/{unit.device_id}"))["entitlements"]
    return {one["feature"]: (one["allowed"], one["code"]) for one in decisions}


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    unit = world.unit(ada)
    world.subscribe("ada", unit)
    return unit


def test_a_hold_blocks_until_it_is_lifted(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    path = f"/api/v1/products/{unit.device_id}/holds"
    before = allowed(ada, unit)
    assert before["telemetry"] == (True, "plan")
    placed = ok(support.post(path, json={"kind": "theft", "reason": "reported stolen"}), 201)
    assert placed == {
        "id": placed["id"],
        "kind": "theft",
        "reason": "reported stolen",
        "author": placed["author"],
        "starts_at": "2026-01-31T08:00:00Z",
        "ends_at": None,
        "features": None,
        "evidence": None,
        "product_id": unit.product_id,
        "subscription_id": None,
        "owner_id": None,
        "model_number": None,
        "firmware": None,
        "hardware_lot": None,
    }
    assert placed["author"].startswith("person:")
    during = allowed(ada, unit)
    assert during["telemetry"] == (False, "hold")
    assert during["frost_protection"] == (True, "safe_function")
    world.clock.now += 60 * SECOND
    lifted = ok(support.post(f"/api/v1/holds/{placed['id']}/lift"))
    assert lifted == {**placed, "ends_at": "2026-01-31T08:01:00Z"}
    assert allowed(ada, unit) == before
    world.clock.now += 60 * SECOND
    assert ok(support.post(f"/api/v1/holds/{placed['id']}/lift")) == lifted  # once
    assert ok(world.operator.get(path)) == {"holds": [lifted]}
    audited = ok(world.operator.get("/api/v1/audit"))["items"]
    assert [one["action"] for one in audited if one["action"].startswith("hold.")] == [
        "hold.lift",
        "hold.place",
    ]


def test_a_hold_of_some_features_ends_by_itself(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    path = f"/api/v1/products/{unit.device_id}/holds"
    body = {
        "kind": "recall",
        "reason": "lot B",
        "features": ["telemetry"],
        "ends_at": "2026-01-31T09:00:00Z",
    }
    ok(support.post(path, json=body), 201)
    assert allowed(ada, unit)["telemetry"] == (False, "hold")
    assert allowed(ada, unit)["holiday_mode"] == (False, "not_in_plan")
    world.clock.now += 3_600 * SECOND
    assert allowed(ada, unit)["telemetry"] == (True, "plan")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"kind": "mood"}, 422, "invalid-input"),
        ({"reason": ""}, 422, "invalid-input"),
        ({"reason": " "}, 422, "invalid-input"),
        ({"features": []}, 422, "invalid-input"),
        ({"features": ["nothing"]}, 422, "invalid-input"),
        ({"features": ["frost_protection"]}, 422, "invalid-input"),
        ({"ends_at": "2026-01-31T08:00:00Z"}, 422, "invalid-input"),
    ],
)
def test_bad_holds_change_nothing(
    support: TestClient, unit: Unit, change: dict[str, Any], status: int, code: str
) -> None:
    path = f"/api/v1/products/{unit.device_id}/holds"
    body = {"kind": "payment", "reason": "charged back", **change}
    problem(support.post(path, json=body), status, code)
    assert ok(support.get(path)) == {"holds": []}


def test_holds_of_nothing_are_not_found(support: TestClient, ada: TestClient, unit: Unit) -> None:
    body = {"kind": "payment", "reason": "charged back"}
    problem(support.post(f"/api/v1/products/{NOBODY}/holds", json=body), 404, "not-found")
    problem(support.get(f"/api/v1/products/{NOBODY}/holds"), 404, "not-found")
    problem(support.post(f"/api/v1/holds/{NOBODY}/lift"), 404, "not-found")
    problem(ada.get(f"/api/v1/products/{unit.device_id}/holds"), 403, "forbidden")
