"""Households over HTTP: roles, invitations, partners; and what goes wrong."""

import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from hub.services.caller import Role
from tests.hub.api.api_world import DAY, HOUR, START, World, ok, problem
from tests.hub.api.memory_store import Row

LATER = "2026-02-14T08:00:00Z"


def home(world: World, name: str, rest: str = "") -> str:
    return f"/api/v1/households/{world.owners[name]}{rest}"


def joined(world: World, owner: TestClient, name: str, guest: TestClient, **place: Any) -> None:
    made = ok(owner.post(home(world, name, "/invitations"), json=place), 201)
    ok(guest.post("/api/v1/invitations/accept", json={"code": made["code"]}))


def roles(world: World, client: TestClient, name: str) -> dict[str, str]:
    people = ok(client.get(home(world, name, "/people")))["people"]
    return {one["name"]: one["relation"] for one in people}


def test_a_member_uses_what_is_the_households_and_owns_nothing(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    problem(bob.get(f"/api/v1/products/{unit.device_id}"), 404, "not-found")
    joined(world, ada, "ada", bob, relation="member")
    assert [one["name"] for one in ok(bob.get("/api/v1/households"))["households"]] == [
        "bob",
        "ada",
    ]
    ok(bob.get(f"/api/v1/products/{unit.device_id}"))
    ok(bob.post(f"/api/v1/products/{unit.device_id}/commands", json={"name": "restart"}), 201)
    problem(bob.delete(f"/api/v1/claims/{unit.device_id}"), 403, "forbidden")
    problem(
        bob.post(home(world, "ada", "/invitations"), json={"relation": "viewer"}), 403, "forbidden"
    )
    own = world.unit(bob)  # what bob claims is still his own
    assert own.product_id not in {
        one["product_id"] for one in ok(ada.get("/api/v1/products"))["items"]
    }
    assert bob.delete(home(world, "ada", f"/people/{world.people['bob']}")).status_code == 204
    problem(bob.get(f"/api/v1/products/{unit.device_id}"), 404, "not-found")


def test_an_installer_sees_what_was_measured_since_and_nothing_after_the_end(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit, hidden = world.unit(ada), world.unit(ada)
    world.store.rows.append(Row(1, 0, START + HOUR, 30.0, 1))
    world.clock.now += 2 * HOUR
    place = {
        "relation": "installer",
        "ends_at": "2026-01-31T16:00:00Z",
        "product_ids": [unit.product_id],
    }
    joined(world, ada, "ada", bob, **place)
    world.store.rows.append(Row(1, 0, world.clock.now + HOUR, 40.0, 2))
    world.clock.now += 2 * HOUR
    path = f"/api/v1/products/{unit.device_id}"
    assert ok(bob.get(f"{path}/telemetry?metric=temp_c&from=2026-01-01T00:00:00Z"))["seq"] == [2]
    found = ok(bob.get(path))
    assert [one["value"] for one in found["latest"]] == [40.0]
    assert found["owner"] is None
    assert found["subscriptions"] == []
    problem(bob.get(f"/api/v1/products/{hidden.device_id}"), 404, "not-found")
    problem(bob.get(home(world, "ada", "/people")), 403, "forbidden")
    world.clock.now = START + 8 * HOUR - 1
    ok(bob.get(path))
    world.clock.now += 1
    problem(bob.get(path), 404, "not-found")
    assert "bob" not in roles(world, ada, "ada")


def test_invitations_that_cannot_be(world: World, ada: TestClient, bob: TestClient) -> None:
    path = home(world, "ada", "/invitations")
    for body in (
        {"relation": "installer"},
        {"relation": "installer", "ends_at": "2026-01-01T00:00:00Z"},
        {"relation": "owner", "ends_at": LATER},
        {"relation": "member", "product_ids": ["z" * 16]},
        {"relation": "member", "email": "ada@example.org"},
        {"relation": "member", "expires_at": "2026-01-01T00:00:00Z"},
    ):
        problem(ada.post(path, json=body), 422, "invalid-input")
    strange = {"relation": "installer", "ends_at": LATER, "product_ids": ["z" * 16]}
    problem(ada.post(path, json=strange), 404, "not-found")
    to_bob = {"relation": "member", "email": "BOB@example.org"}
    ok(ada.post(path, json=to_bob), 201)
    problem(ada.post(path, json=to_bob), 409, "conflict")
    (mine,) = ok(bob.get("/api/v1/me/invitations"))["invitations"]
    ok(bob.post("/api/v1/invitations/accept", json={"invitation_id": mine["id"]}))
    problem(ada.post(path, json=to_bob), 409, "conflict")
    problem(
        bob.post("/api/v1/invitations/accept", json={"invitation_id": mine["id"]}), 404, "not-found"
    )


def test_a_code_is_good_once_and_for_a_time(world: World, ada: TestClient, bob: TestClient) -> None:
    eve = world.person("eve", Role.CUSTOMER)
    path = home(world, "ada", "/invitations")
    made = ok(ada.post(path, json={"relation": "viewer"}), 201)
    late = ok(ada.post(path, json={"relation": "viewer"}), 201)
    taken_back = ok(ada.post(path, json={"relation": "viewer"}), 201)
    problem(eve.delete(f"/api/v1/invitations/{taken_back['id']}"), 404, "not-found")
    assert ada.delete(f"/api/v1/invitations/{taken_back['id']}").status_code == 204
    accept = "/api/v1/invitations/accept"
    problem(eve.post(accept, json={"code": taken_back["code"]}), 404, "not-found")
    ok(bob.post(accept, json={"code": made["code"].lower().replace("-", " ")}))
    problem(eve.post(accept, json={"code": made["code"]}), 404, "not-found")
    problem(bob.post(accept, json={"code": late["code"]}), 409, "conflict")  # is in already
    world.clock.now += 7 * DAY
    eve = world.person("eva", Role.CUSTOMER)
    answer = problem(eve.post(accept, json={"code": late["code"]}), 409, "conflict")
    assert "expired" in answer["detail"]


def test_a_household_always_has_an_owner(world: World, ada: TestClient, bob: TestClient) -> None:
    world.unit(ada)
    me, him = (home(world, "ada", f"/people/{world.people[name]}") for name in ("ada", "bob"))
    problem(ada.delete(me), 409, "conflict")
    problem(ada.put(me, json={"relation": "member"}), 409, "conflict")
    disable = f"/api/v1/people/{world.people['ada']}/disable"
    assert "last owner" in problem(world.operator.post(disable), 409, "conflict")["detail"]
    joined(world, ada, "ada", bob, relation="member")
    over = home(world, "ada", "/hand-over")
    assert ada.post(over, json={"person_id": world.people["bob"]}).status_code == 204
    assert roles(world, bob, "ada") == {"ada": "member", "bob": "owner"}
    problem(ada.put(him, json={"relation": "viewer"}), 403, "forbidden")
    problem(bob.delete(him), 409, "conflict")
    assert ada.delete(me).status_code == 204  # a member may go, and has a household of their own
    assert [one["relation"] for one in ok(ada.get("/api/v1/households"))["households"]] == ["owner"]
    assert world.operator.post(disable).status_code == 204
    problem(ada.get("/api/v1/me"), 401, "not-authenticated")


def test_of_two_last_owners_who_leave_at_once_one_stays(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    joined(world, ada, "ada", bob, relation="owner")
    start, answers = threading.Barrier(2), dict[str, int]()

    def leave(name: str, client: TestClient) -> None:
        start.wait()
        path = home(world, "ada", f"/people/{world.people[name]}")
        answers[name] = client.delete(path).status_code

    threads = [
        threading.Thread(target=leave, args=(name, client))
        for name, client in (("ada", ada), ("bob", bob))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers.values()) == [204, 409]


@pytest.mark.parametrize("by", ["operator", "ada"])
def test_a_partner_sees_what_was_granted_until_it_ends(
    world: World, ada: TestClient, bob: TestClient, by: str
) -> None:
    giver = {"operator": world.operator, "ada": ada}[by]
    unit, other = world.unit(ada), world.unit(bob)
    org = ok(world.operator.post("/api/v1/partners", json={"name": "Huber"}), 201)["partner_id"]
    dealer = world.person("huber", Role.PARTNER, org)
    problem(dealer.get(f"/api/v1/products/{unit.device_id}"), 404, "not-found")
    body = {
        "partner_id": org,
        "acts": ["alerts", "command"],
        "reason": "service",
        "ends_at": "2026-01-31T17:00:00Z",
        "product_ids": [unit.product_id],
    }
    made = ok(giver.post("/api/v1/partner-grants", json=body), 201)
    (shown,) = ok(ada.get("/api/v1/partner-grants"))["grants"]  # its owner sees it in any case
    assert (shown["partner"], shown["acts"]) == ("Huber", ["alerts", "command", "see"])
    assert ok(bob.get("/api/v1/partner-grants"))["grants"] == []
    path = f"/api/v1/products/{unit.device_id}"
    found = ok(dealer.get(path))
    assert (found["owner"], found["latest"]) == (None, [])
    assert [one["product_id"] for one in ok(dealer.get("/api/v1/products"))["items"]] == [
        unit.product_id
    ]
    ok(dealer.post(f"{path}/commands", json={"name": "restart"}), 201)
    problem(dealer.get(f"{path}/telemetry?metric=temp_c"), 403, "forbidden")
    problem(dealer.get(f"/api/v1/products/{other.device_id}"), 404, "not-found")
    problem(dealer.get("/api/v1/events"), 403, "forbidden")
    gone = giver.delete(f"/api/v1/partner-grants/{made['id']}")
    assert gone.status_code == 204
    problem(dealer.get(path), 404, "not-found")
    ok(giver.post("/api/v1/partner-grants", json=body), 201)
    ok(dealer.get(path))
    world.clock.now = START + 9 * HOUR - 1
    ok(dealer.get(path))
    world.clock.now += 1
    problem(dealer.get(path), 404, "not-found")


def test_what_was_measured_only_a_household_gives_away(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    org = ok(world.operator.post("/api/v1/partners", json={"name": "Huber"}), 201)["partner_id"]
    body = {"partner_id": org, "acts": ["history"], "reason": "service", "ends_at": LATER}
    by_id = {**body, "product_ids": [unit.product_id]}
    problem(world.operator.post("/api/v1/partner-grants", json=by_id), 422, "invalid-input")
    whole = {**body, "acts": ["see"]}
    problem(world.operator.post("/api/v1/partner-grants", json=whole), 422, "invalid-input")
    problem(bob.post("/api/v1/partner-grants", json=by_id), 404, "not-found")
    ok(ada.post("/api/v1/partner-grants", json=body), 201)
    dealer = world.person("huber", Role.PARTNER, org)
    world.store.rows.append(Row(1, 0, START - HOUR, 30.0, 1))  # from before the grant
    assert ok(dealer.get(f"/api/v1/products/{unit.device_id}/telemetry?metric=temp_c"))["seq"] == []


def test_what_a_former_owner_of_the_household_gave_out_is_void(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    joined(world, ada, "ada", bob, relation="owner")
    back = ok(bob.post(home(world, "ada", "/invitations"), json={"relation": "owner"}), 201)
    offered = ok(bob.post(f"/api/v1/products/{unit.device_id}/offer", json={}), 201)
    assert ada.delete(home(world, "ada", f"/people/{world.people['bob']}")).status_code == 204
    problem(bob.post("/api/v1/invitations/accept", json={"code": back["code"]}), 404, "not-found")
    problem(bob.post("/api/v1/offers/accept", json={"code": offered["code"]}), 409, "conflict")
    assert roles(world, ada, "ada") == {"ada": "owner"}


def test_a_household_is_not_handed_to_somebody_who_cannot_sign_in(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    joined(world, ada, "ada", bob, relation="member")
    disabled = world.operator.post(f"/api/v1/people/{world.people['bob']}/disable")
    assert disabled.status_code == 204
    body = {"person_id": world.people["bob"]}
    problem(ada.post(home(world, "ada", "/hand-over"), json=body), 409, "conflict")
    assert roles(world, ada, "ada")["ada"] == "owner"


def test_a_narrow_key_changes_no_household(world: World, ada: TestClient, bob: TestClient) -> None:
    made = ok(ada.post("/api/v1/me/api-keys", json={"name": "x", "scopes": ["alerts:read"]}), 201)
    key = world.client(made["key"])
    partner = ok(world.operator.post("/api/v1/partners", json={"name": "Dealer"}), 201)
    joined(world, ada, "ada", bob, relation="member")
    grant = {
        "partner_id": partner["partner_id"],
        "acts": ["alerts"],
        "reason": "x",
        "ends_at": LATER,
    }
    person = home(world, "ada", f"/people/{world.people['bob']}")
    answers = (
        key.get(home(world, "ada", "/people")),
        key.get("/api/v1/households"),
        key.put(person, json={"relation": "owner"}),
        key.delete(person),
        key.post(home(world, "ada", "/hand-over"), json={"person_id": world.people["bob"]}),
        key.post(home(world, "ada", "/invitations"), json={"relation": "owner"}),
        key.get(home(world, "ada", "/invitations")),
        key.get("/api/v1/me/invitations"),
        key.post("/api/v1/invitations/accept", json={"code": "ABCD-EFGH-JKMN"}),
        key.post("/api/v1/partner-grants", json=grant),
        key.get("/api/v1/partner-grants"),
    )
    assert [answer.status_code for answer in answers] == [403] * len(answers)
    assert roles(world, ada, "ada") == {"ada": "owner", "bob": "member"}
