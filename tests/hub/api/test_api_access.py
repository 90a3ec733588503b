"""The door of the API; who may call what stands in `relation_table` and is tested from there."""

import json
import re

from starlette.testclient import TestClient

from tests.hub.api.api_world import World, ok, problem


def test_the_live_stream_needs_a_caller(world: World) -> None:
    answer = world.anonymous.get("/api/v1/events")
    problem(answer, 401, "not-authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_somebody_elses_product_looks_like_none(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    for path in ("", "/entitlements/telemetry", "/telemetry?metric=temp_c"):
        theirs = bob.get(f"/api/v1/products/{unit.device_id}{path}")
        none = bob.get(f"/api/v1/products/{'z' * 16}{path}")
        first, second = problem(theirs, 404, "not-found"), problem(none, 404, "not-found")
        # But for the ids that were asked for, the two answers are the same.
        masks = re.compile(f"{unit.product_id}|{unit.device_id}|{'z' * 16}|request:[0-9a-f]+")
        assert masks.sub("#", json.dumps(first)) == masks.sub("#", json.dumps(second))


def test_a_body_is_not_looked_at_for_somebody_who_may_not_call(
    world: World, ada: TestClient
) -> None:
    broken = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    problem(world.anonymous.post("/api/v1/people", **broken), 401, "not-authenticated")
    problem(ada.post("/api/v1/people", **broken), 403, "forbidden")
    problem(world.operator.post("/api/v1/people", **broken), 400, "malformed-body")


def test_an_api_key_permits_what_it_was_given_and_no_more(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    body = {"name": "export", "scopes": ["telemetry:read"]}
    made = ok(ada.post("/api/v1/me/api-keys", json=body), 201)
    program = world.client(made["key"])
    ok(program.get(f"/api/v1/products/{unit.device_id}/telemetry?metric=temp_c"))
    refused = problem(program.get("/api/v1/products"), 403, "forbidden")
    assert refused["scope"] == "products:read"
    problem(program.get("/api/v1/events"), 403, "forbidden")
    assert ada.delete(f"/api/v1/me/api-keys/{made['id']}").status_code == 204
    problem(program.get("/api/v1/me"), 401, "not-authenticated")
    too_much = {"name": "root", "scopes": ["people:write"]}
    problem(ada.post("/api/v1/me/api-keys", json=too_much), 403, "forbidden")
