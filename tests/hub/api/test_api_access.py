"""The door of the API; who may call what stands in `relation_table` and is tested from there."""

import json
import re

from starlette.testclient import TestClient

from hub.api import description
from hub.api.access import RULES, Role
from tests.hub.api.api_world import Unit, World, ok, problem

# Routes of an object: somebody else's must look like none at all.
OF_A_PRODUCT = {
    "release_product",
    "get_product",
    "explain_entitlement",
    "offer_product",
    "prepare_hand_over",
    "withdraw_hand_over",
    "lock_stolen",
    "unlock_found",
    "get_settings",
    "get_telemetry",
    "replace_configuration",
    "change_configuration",
    "send_command",
    "get_coverage",
    "issue_certificate",
    "open_case",
}
BODIES: dict[str, Any] = {
    "enroll": {"serial": "HP-X", "model": "heat-pump", "secret": "x", "csr": "x"},
    "renew": {"device_id": "a" * 16, "csr": "x", "time": "1", "signature": "00" * 8},
    "sign_in": {"email": "nobody@example.org", "password": "x"},
    "change_password": {"old": "x", "new": "a long enough password"},
    "create_api_key": {"name": "export", "scopes": ["telemetry:read"]},
    "create_person": {"email": "new@example.org", "name": "New", "role": "support"},
    "claim_product": {"claim_code": "AAAA-BBBB-CCCC"},
    "offer_product": {},
    "accept_offer": {"code": "hpt_none"},
    "prepare_hand_over": {"days": 3},
    "undo_claim": {"reason": "the wrong label"},
    "open_dispute": {"claim_code": "AAAA-BBBB-CCCC"},
    "decide_dispute": {"to_claimant": False, "reason": "no proof"},
    "register_products": {"products": [{"model": "heat-pump", "serial": "HP-NEW"}]},
    "revoke_device": {"reason": "stolen"},
    "replace_configuration": {"values": {"target_c": 21}},
    "change_configuration": {"values": {"target_c": 21}},
    "place_hold": {"kind": "payment", "reason": "charged back"},
    "extend_warranty": {"months": 12, "reference": "SO-1"},
    "sell_contract": {"plan": "care", "reference": "SO-2"},
    "renew_contract": {"terms": 2},
    "end_contract": {"reason": "scrapped"},
    "reply_to_case": {"message": "E41"},
    "wait_for_customer": {"message": "Which code?"},
    "resolve_case": {"message": "Solved."},
    "assign_case": {"person_id": "a" * 16},
    "close_case": {"chargeable": True},
    "issue_certificate": {},
    "hold_account": {"kind": "payment", "reason": "bills are open"},
    "recall_model": {"reason": "pump may leak"},
    "give_grant": {"feature": "telemetry", "reason": "sorry"},
    "change_owner_settings": {"values": {"target_c": 21}},
    "send_notice": {"code": "service.due"},
    "send_command": {"name": "restart"},
    "put_catalogue": {"models": {}},
    "rotate_signing_keys": {"lead_days": 30},
}
QUERIES = {
    "get_telemetry": "?metric=temp_c",
    "get_fleet_telemetry": "?model=heat-pump&metric=temp_c",
}
ENDLESS = {"stream_events"}


def operations(world: World) -> dict[str, tuple[str, str]]:
    document = world.app.openapi()
    return {
        operation["operationId"]: (method.upper(), path)
        for path, method, operation in description.operations(document)
    }


def call(
    world: World, client: TestClient, operation: str, unit: Unit, owner: str
) -> tuple[int, str]:
    method, path = operations(world)[operation]
    path = path.replace("{device_id}", unit.device_id).replace("{feature}", "telemetry")
    path = path.replace("{alert_id}", "0" * 32).replace("{key_id}", "a" * 16)
    path = path.replace("{offer_id}", "a" * 16).replace("{dispute_id}", "a" * 16)
    path = path.replace("{receipt_id}", "a" * 16)
    path = path.replace("{hold_id}", "a" * 16).replace("{letter_id}", "0-1-1")
    path = path.replace("{model}", "heat-pump").replace("{key}", "telemetry")
    path = path.replace("{contract_id}", "a" * 16).replace("{case_id}", "a" * 16)
    path = path.replace("{link}", "0" * 64)
    path = path.replace("{grant_id}", "a" * 16)
    path = path.replace("{owner_id}", owner) + QUERIES.get(operation, "")
    assert "{" not in path
    body = BODIES.get(operation)
    if operation == "decide_products":
        body = {"products": [unit.product_id]}
    if operation == "create_subscription":
        body = {"product_id": unit.product_id, "plan": "comfort"}
    if operation == "open_case":
        body = {"device_id": unit.device_id, "subject": "Cold", "message": "No hot water."}
    answer = client.request(method, path, json=body)
    code = answer.json().get("code", "") if "json" in answer.headers.get("content-type", "") else ""
    return answer.status_code, code


@pytest.mark.parametrize("operation", sorted(set(RULES) - ENDLESS))
def test_only_those_of_the_table_may_call(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, operation: str
) -> None:
    unit = world.unit(ada)
    owner = world.owners["ada"]
    callers = {
        "bob": (Role.CUSTOMER, bob),
        "support": (Role.SUPPORT, support),
        "anonymous": (Role.ANONYMOUS, world.anonymous),
        "ada": (Role.CUSTOMER, ada),
        "operator": (Role.OPERATOR, world.operator),
    }
    allowed = RULES[operation].roles
    for name, (role, client) in callers.items():
        status, code = call(world, client, operation, unit, owner)
        if role in allowed:
            assert status < 500, (name, status, code)
            if operation not in {"enroll", "sign_in", "renew", "change_password"}:
                assert (status, code) != (401, "not-authenticated"), name
        elif role is Role.ANONYMOUS:
            assert (status, code) == (401, "not-authenticated")
        else:
            assert (status, code) == (403, "forbidden"), name
        if name == "bob" and operation in OF_A_PRODUCT:
            assert (status, code) == (404, "not-found")


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
