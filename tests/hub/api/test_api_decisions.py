"""Decisions on many products, the tally of the fleet, the past as it was decided, and settings by layer."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.hub.api.api_world import HOUR, SECOND, Unit, World, ok, problem

DAY = 86_400 * SECOND


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    unit = world.unit(ada)
    world.subscribe("ada", unit)
    return unit


def ask(client: TestClient, *units: Unit, **body: Any) -> Any:
    named = [unit.product_id for unit in units]
    return ok(client.post("/api/v1/decisions", json={"products": named, **body}))["products"]


def test_many_products_are_decided_as_each_is_alone(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    units = [unit, world.unit(ada), world.unit(), world.unit(ada, enrolled=False)]
    for client, seen in ((support, units), (ada, [units[0], units[1], units[3]])):
        answered = ask(client, *seen)
        assert [one["product_id"] for one in answered] == [one.product_id for one in seen]
        for one, decided in zip(seen, answered, strict=True):
            alone = ok(client.get(f"/api/v1/products/{one.device_id or one.product_id}"))
            assert decided["decisions"] == alone["entitlements"]


def test_an_answer_takes_in_what_was_changed_before(
    world: World, support: TestClient, unit: Unit
) -> None:
    def telemetry() -> dict[str, Any]:
        ((one,),) = [one["decisions"] for one in ask(support, unit, features=["telemetry"])]
        return dict(one)

    assert telemetry()["code"] == "plan"
    path = f"/api/v1/products/{unit.device_id}"
    held = ok(support.post(f"{path}/holds", json={"kind": "theft", "reason": "gone"}), 201)
    assert telemetry()["hold_id"] == held["id"]
    ok(support.post(f"/api/v1/holds/{held['id']}/lift"))
    assert telemetry()["code"] == "plan"
    world.clock.now += SECOND
    gift = ok(support.post(f"{path}/grants", json={"feature": "telemetry", "reason": "sorry"}), 201)
    assert telemetry()["grant_id"] == gift["id"]
    assert ok(support.get(f"{path}/grants"))["grants"] == [gift]
    ok(support.post(f"/api/v1/grants/{gift['id']}/withdraw"))
    assert telemetry()["code"] == "plan"


def test_what_is_not_theirs_does_not_exist(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    body = {"products": [unit.product_id]}
    problem(bob.post("/api/v1/decisions", json=body), 404, "not-found")
    problem(world.anonymous.post("/api/v1/decisions", json=body), 401, "not-authenticated")
    problem(ada.get("/api/v1/decisions/tally"), 403, "forbidden")
    wrongs: list[list[str]] = [[], ["x"], body["products"] * 501]
    for wrong in ({"products": products} for products in wrongs):
        problem(ada.post("/api/v1/decisions", json=wrong), 422, "invalid-input")


def test_the_tally_counts_the_fleet_now_and_later(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    paid = world.unit(ada)
    world.subscribe("ada", paid, paid_until="2026-02-10T00:00:00Z")
    world.unit()
    path = "/api/v1/decisions/tally?feature=telemetry&feature=frost_protection"
    telemetry, frost = ok(support.get(path))["features"]
    assert (telemetry["allowed"], telemetry["refused"]) == (2, 1)
    assert telemetry["codes"] == {"plan": 2, "unclaimed": 1}
    assert frost["codes"] == {"safe_function": 3}
    later, _ = ok(support.get(f"{path}&at=2026-06-01T00:00:00Z"))["features"]
    assert later["codes"] == {"plan": 1, "lapsed": 1, "unclaimed": 1}
    assert unit.device_id


def test_the_past_is_explained_as_it_was_decided(world: World, unit: Unit) -> None:
    path = f"/api/v1/products/{unit.device_id}/entitlements/telemetry"
    world.clock.now += DAY
    ok(
        world.operator.post(
            f"/api/v1/products/{unit.device_id}/holds", json={"kind": "theft", "reason": "gone"}
        ),
        201,
    )
    then = ok(world.operator.get(f"{path}?at=2026-01-31T12:00:00Z"))
    assert (then["decision"]["code"], then["known_at"]) == ("plan", "2026-01-31T12:00:00Z")
    assert ok(world.operator.get(path))["decision"]["code"] == "hold"
    before = ok(world.operator.get(f"{path}?at=2026-03-01T00:00:00Z&known_at=2026-01-31T12:00:00Z"))
    assert before["decision"]["code"] == "plan"
    unclaimed = ok(world.operator.get(f"{path}?at=2026-01-30T00:00:00Z"))
    assert unclaimed["decision"]["code"] == "unclaimed"
    assert unclaimed["owner_epoch"] == 0


def test_an_account_and_a_model_are_held(world: World, support: TestClient, unit: Unit) -> None:
    account = f"/api/v1/owners/{world.owners['ada']}/holds"
    body = {"kind": "payment", "reason": "two bills are open", "evidence": "R-17"}
    held = ok(support.post(account, json=body), 201)
    assert (held["owner_id"], held["product_id"]) == (world.owners["ada"], None)
    assert ok(support.get(account)) == {"holds": [held]}
    ((one,),) = [one["decisions"] for one in ask(support, unit, features=["telemetry"])]
    assert one["code"] == "plan"  # open-ended, so nothing of it is owed
    recall = "/api/v1/models/heat-pump/holds"
    called = ok(support.post(recall, json={"reason": "it may leak"}), 201)
    assert ok(support.get(recall)) == {"holds": [called]}
    ((one,),) = [one["decisions"] for one in ask(support, unit, features=["telemetry"])]
    assert one["hold_id"] == called["id"]
    listed = ok(support.get(f"/api/v1/products/{unit.device_id}/holds"))["holds"]
    assert {one["id"] for one in listed} == {held["id"], called["id"]}
    problem(support.post("/api/v1/models/toaster/holds", json={"reason": "x"}), 404, "not-found")
    wrong = {"kind": "recall", "reason": "x"}
    problem(support.post(account, json=wrong), 422, "invalid-input")


def test_settings_of_four_layers(world: World, ada: TestClient, bob: TestClient) -> None:
    catalogue = {
        "models": {
            "heat-pump": {
                **ok(world.operator.get("/api/v1/catalogue"))["models"]["heat-pump"],
                "settings": {"target_c": {"default": 19}, "eco": {"default": False}},
            }
        },
        "plans": {"warm": {"versions": [{"version": 1, "settings": {"target_c": 20}}]}},
    }
    ok(world.operator.post("/api/v1/catalogue", json=catalogue))
    unit = world.unit(ada)
    path = f"/api/v1/products/{unit.device_id}"
    home = f"/api/v1/owners/{world.owners['ada']}/settings"

    def target() -> dict[str, Any]:
        return dict(ok(ada.get(f"{path}/settings"))["settings"]["target_c"])

    assert target() == {"value": 19, "winner": "model", "layers": {"model": 19}}
    subscribed = {"product_id": unit.product_id, "plan": "warm"}
    owner = world.owners["ada"]
    ok(world.operator.post(f"/api/v1/owners/{owner}/subscriptions", json=subscribed), 201)
    assert target()["winner"] == "plan"
    assert ok(ada.patch(home, json={"values": {"target_c": 21}}))["values"] == {"target_c": 21}
    assert ok(ada.get(home))["values"] == {"target_c": 21}
    ok(ada.patch(f"{path}/configuration", json={"values": {"target_c": 22}}))
    assert target() == {
        "value": 22,
        "winner": "device",
        "layers": {"model": 19, "plan": 20, "owner": 21, "device": 22},
    }
    ok(ada.patch(f"{path}/configuration", json={"values": {"target_c": None}}))
    assert target()["value"] == 21
    ok(ada.patch(home, json={"values": {"target_c": None}}))
    assert target()["value"] == 20
    problem(bob.get(home), 404, "not-found")
    problem(bob.patch(home, json={"values": {"eco": True}}), 404, "not-found")
    problem(bob.get(f"{path}/settings"), 404, "not-found")
    problem(ada.patch(home, json={"values": {"Bad Name": 1}}), 422, "invalid-input")


def test_a_new_owner_learns_nothing_of_what_the_former_one_paid(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    path = f"/api/v1/products/{unit.device_id}/entitlements/telemetry"
    world.clock.now += 2 * HOUR
    ok(ada.get(f"{path}?at=2026-01-30T12:00:00Z"))  # the first owner may ask of the time before
    assert ada.delete(f"/api/v1/claims/{unit.device_id}").status_code == 204
    world.clock.now += HOUR
    ok(bob.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
    past = "2026-01-31T09:00:00Z"
    problem(bob.get(f"{path}?at={past}"), 404, "not-found")
    problem(bob.get(f"{path}?at=2026-03-01T00:00:00Z&known_at={past}"), 404, "not-found")
    body = {"products": [unit.product_id], "at": past}
    problem(bob.post("/api/v1/decisions", json=body), 404, "not-found")
    assert ok(bob.get(path))["decision"]["code"] == "no_subscription"
    assert ok(world.operator.get(f"{path}?at={past}"))["decision"]["plan"] == "comfort"
    ok(world.operator.post("/api/v1/decisions", json=body))
