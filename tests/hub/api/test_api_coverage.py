"""Warranty, contracts, cases and certificates over the API, as their people use them."""

import copy
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from analytics import findings as f
from hub.api.instants import instant_of, text_of
from hub.ports.database.coverage_tables import LifetimeReading
from hub.ports.database.engine import write_session
from hub.services import alerts
from hub.services.caller import ROLE_SCOPES, Role
from hub.services.found import Found
from tests.hub.api.api_world import CATALOGUE, DAY, HOUR, SECOND, START, Unit, World, ok, problem
from tests.hub.api.memory_store import Row

MINUTE = 60 * SECOND
PROMISES: dict[str, Any] = copy.deepcopy(CATALOGUE)
PROMISES["models"]["heat-pump"]["metrics"].append(
    {"name": "operating_h", "unit": "h", "kind": "counter"}
)
PROMISES["models"]["heat-pump"]["warranty"] = [
    {
        "version": 1,
        "months": 24,
        "hours": {"metric": "operating_h", "at_most": 1000.0},
    }
]
OFFICE = ["08:00-12:00", "13:00-17:00"]
PROMISES["calendars"] = {
    "office": {"zone": "UTC", "hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), OFFICE)}
}
PROMISES["contracts"] = {
    "care": {
        "title": "Care",
        "versions": [
            {
                "version": 1,
                "incidents": 1,
                "calendar": "office",
                "targets": {"critical": {"response_min": 60, "resolution_min": 240}},
            }
        ],
    },
    "always": {"versions": [{"version": 1, "transferable": True}]},
}
PAST_WARRANTY = 800 * DAY


def lasting(world: World, name: str, role: Role) -> TestClient:
    """Somebody with an API key: in these tests years go by, and sessions end."""
    body = {"name": "tests", "scopes": sorted(map(str, ROLE_SCOPES[role]))}
    made = ok(world.person(name, role).post("/api/v1/me/api-keys", json=body), 201)
    return world.client(made["key"])


@pytest.fixture
def ada(world: World) -> TestClient:
    return lasting(world, "ada", Role.CUSTOMER)


@pytest.fixture
def bob(world: World) -> TestClient:
    return lasting(world, "bob", Role.CUSTOMER)


@pytest.fixture
def support(world: World) -> TestClient:
    return lasting(world, "support", Role.SUPPORT)


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    ok(world.operator.post("/api/v1/catalogue", json=PROMISES))
    return world.unit(ada)


def coverage(client: TestClient, unit: Unit, at: int | None = None) -> Any:
    when = "" if at is None else f"?at={text_of(at)}"
    return ok(client.get(f"/api/v1/products/{unit.device_id}/coverage{when}"))


def sell(client: TestClient, unit: Unit, plan: str = "care", **more: Any) -> Any:
    body = {"plan": plan, "reference": "SO-1", **more}
    return ok(client.post(f"/api/v1/products/{unit.device_id}/contracts", json=body), 201)


def open_case(client: TestClient, unit: Unit, **more: Any) -> Any:
    body = {"subject": "No hot water", "message": "It shows E41.", "severity": "critical"}
    return ok(client.post("/api/v1/cases", json={"device_id": unit.device_id, **body, **more}), 201)


def step(client: TestClient, case: Any, what: str, **body: Any) -> Any:
    return ok(client.post(f"/api/v1/cases/{case['id']}/{what}", json=body or None))


def fault(world: World, *, slot: int = 1, since: int, number: int = 1) -> str:
    found = Found(
        id=number.to_bytes(16),
        slot=slot,
        metric=0,
        kind=f.Kind.LEVEL_SHIFT,
        severity=f.Severity.WARNING,
        time=world.clock.now,
        since=since,
        surprise=20.0,
        observed=61.0,
        low=30.0,
        high=55.0,
    )
    with write_session(world.hub.engine) as session:
        alerts.apply_findings(session, [found], world.clock.now)
    return found.id.hex()


def test_coverage_at_any_instant(world: World, ada: TestClient, unit: Unit) -> None:
    now = coverage(ada, unit)
    assert now["covered"] is True
    assert now["begins_at"] == now["first_use_at"] == text_of(START)
    assert now["warranty"] == now["by"]
    assert now["warranty"]["code"] == "warranty_hours"
    assert now["warranty"]["arguments"] == {
        "until_at": "2028-02-01T00:00:00Z",
        "hours_left": 1000,
    }
    assert now["until"] == "2028-02-01T00:00:00Z"
    assert "2028-02-01" in now["warranty"]["sentence"]
    assert now["meters"] == [{"name": "hours", "total": 0, "at_most": 1000, "read_at": None}]
    then = coverage(ada, unit, START + PAST_WARRANTY)
    assert (then["covered"], then["by"], then["until"]) == (False, None, None)
    assert then["warranty"]["code"] == "warranty_ended"
    before = coverage(ada, unit, START - DAY)
    assert before["warranty"]["code"] == "warranty_not_yet"


def test_a_former_owners_counters_are_not_the_next_ones(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    counter = len(PROMISES["models"]["heat-pump"]["metrics"]) - 1
    with write_session(world.hub.engine) as session:
        for days, total in ((10, 100.0), (20, 250.0)):
            reading = LifetimeReading(
                product_id=unit.product_id, metric=counter, at=START + days * DAY, total=total
            )
            session.add(reading)
    world.clock.now = sold = START + 30 * DAY
    offer = f"/api/v1/products/{unit.device_id}/offer"
    offered = ok(ada.post(offer, json={"email": "bob@example.org"}), 201)
    ok(bob.post("/api/v1/offers/accept", json={"offer_id": offered["id"]}))
    hours = {"name": "hours", "total": 250, "at_most": 1000, "read_at": None}
    assert coverage(bob, unit, sold)["meters"] == [hours]  # what counts on, but not since when
    for at in (START - DAY, START, START + 15 * DAY, sold - 1):
        when = f"/api/v1/products/{unit.device_id}/coverage?at={text_of(at)}"
        problem(bob.get(when), 404, "not-found")
    seen = coverage(support, unit, START + 15 * DAY)["meters"]
    assert seen == [{**hours, "total": 100, "read_at": text_of(START + 10 * DAY)}]
    then = {**hours, "read_at": text_of(START + 20 * DAY)}
    assert coverage(support, unit, sold)["meters"] == [then]


def test_more_warranty_is_bought_once(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    path = f"/api/v1/products/{unit.device_id}/warranty/extensions"
    body = {"months": 12, "hours": 500, "reference": "SO-9"}
    problem(ada.post(path, json=body), 403, "forbidden")
    made = ok(support.post(path, json=body), 201)
    assert coverage(ada, unit)["extensions"] == [made]
    assert coverage(ada, unit)["warranty"]["arguments"] == {
        "until_at": "2029-02-01T00:00:00Z",
        "hours_left": 1500,
    }
    assert problem(support.post(path, json=body), 409, "conflict")["id"] == made["id"]
    for wrong in (
        {"months": 0, "reference": "a"},
        {"months": 1, "cycles": 5, "reference": "b"},
    ):
        problem(support.post(path, json=wrong), 422, "invalid-input")
    problem(support.post(path, json={"months": -1, "reference": "c"}), 422, "invalid-input")
    world.clock.now += 2 * PAST_WARRANTY
    late = problem(support.post(path, json={"months": 1, "reference": "d"}), 409, "conflict")
    assert "The warranty ended on" in late["detail"]


def test_a_contract_is_sold_renewed_and_ended(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    sold = sell(support, unit)
    assert sold["cover"]["arguments"]["incidents_left"] == 1
    assert sold["ends_at"] == "2027-01-31T00:00:00Z"
    path = f"/api/v1/products/{unit.device_id}/contracts"
    problem(support.post(path, json={"plan": "care", "reference": "SO-1"}), 409, "conflict")
    problem(support.post(path, json={"plan": "gold", "reference": "SO-2"}), 404, "not-found")
    past = {"plan": "care", "reference": "SO-3", "starts_at": text_of(START - DAY)}
    problem(support.post(path, json=past), 422, "invalid-input")
    one = f"/api/v1/contracts/{sold['id']}"
    for _ in range(2):
        renewed = ok(support.post(f"{one}/renew", json={"terms": 2}))
        assert renewed["ends_at"] == "2028-01-31T00:00:00Z"
    problem(support.post(f"{one}/renew", json={"terms": 1}), 409, "conflict")
    world.clock.now += DAY
    ended = ok(support.post(f"{one}/end", json={"reason": "scrapped"}))
    assert ended["cover"]["code"] == "contract_ended"
    problem(support.post(f"{one}/end", json={"reason": "again"}), 409, "conflict")
    problem(
        support.post(f"/api/v1/contracts/{'a' * 16}/end", json={"reason": "x"}), 404, "not-found"
    )
    assert [one["id"] for one in coverage(ada, unit)["contracts"]] == [sold["id"]]
    audited = ok(world.operator.get("/api/v1/audit"))["items"]
    assert [one["action"] for one in audited if one["action"].startswith("contract.")] == [
        "contract.end",
        "contract.renew",
        "contract.sell",
    ]


def test_a_case_from_the_opening_to_the_close(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    world.clock.now = instant_of("2028-03-03T15:00:00Z")  # a Friday, past the warranty
    sell(support, unit)
    case = open_case(ada, unit)
    assert (case["status"], case["covered"], case["takes_place"]) == ("open", True, True)
    assert case["code"] == "contract_incidents"
    assert case["response_due"] == case["due_at"] == "2028-03-03T16:00:00Z"
    assert case["resolution_due"] == "2028-03-06T10:00:00Z"
    assert [one["kind"] for one in case["steps"]] == ["opened"]

    world.clock.now += 30 * MINUTE
    me = ok(support.get("/api/v1/me"))["person_id"]
    step(support, case, "assign", person_id=me)
    answered = step(support, case, "reply", message="We are on it.")
    assert (answered["status"], answered["assigned_to"]) == ("working", me)
    assert answered["due_at"] == "2028-03-06T10:00:00Z"
    waiting = step(support, case, "wait", message="Which firmware?")
    assert (waiting["status"], waiting["due_at"], waiting["resolution_due"]) == (
        "waiting",
        None,
        None,
    )
    world.clock.now = instant_of(
        "2028-03-06T09:00:00Z"
    )  # 90 open minutes of that Friday, an hour now
    back = step(ada, case, "reply", message="1.4.2")
    assert back["status"] == "working"
    assert back["resolution_due"] == "2028-03-06T13:30:00Z"
    assert back["assigned_to"] is None, "who it is, is for staff"
    assert {one["actor"] for one in back["steps"] if one["by_staff"]} == {""}
    world.clock.now = instant_of("2028-03-06T13:30:00Z")
    assert ok(ada.get(f"/api/v1/cases/{case['id']}"))["overdue"] is False
    world.clock.now += SECOND
    assert ok(support.get("/api/v1/cases"))["items"][0]["overdue"] is True

    solved = step(support, case, "resolve", message="Replaced the pump.")
    assert (solved["status"], solved["due_at"], solved["overdue"]) == ("resolved", None, True)
    again = step(ada, case, "reply", message="It is cold again.")
    assert again["status"] == "working"
    closed = step(support, case, "close", chargeable=False, message="A mistake of ours.")
    assert (closed["status"], closed["takes_place"]) == ("closed", False)
    for what, body in (("reply", {"message": "x"}), ("close", {"chargeable": True})):
        problem(support.post(f"/api/v1/cases/{case['id']}/{what}", json=body), 409, "conflict")
    assert ok(ada.get("/api/v1/cases"))["items"] == []
    assert [one["id"] for one in ok(ada.get("/api/v1/cases?closed=true"))["items"]] == [case["id"]]


def test_cases_of_a_term_are_used_up_and_given_back(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    world.clock.now += PAST_WARRANTY
    sell(support, unit)
    first = open_case(ada, unit)
    world.clock.now += MINUTE
    second = open_case(ada, unit)
    assert (second["covered"], second["code"]) == (False, "contract_used_up")
    assert coverage(ada, unit)["covered"] is False
    step(support, first, "close", chargeable=False)
    assert coverage(ada, unit)["covered"] is True
    third = open_case(ada, unit)
    assert third["covered"] is True
    assert ok(support.get(f"/api/v1/cases/{second['id']}"))["covered"] is False, "it was decided"


def test_under_warranty_a_case_uses_up_nothing_but_has_the_deadlines(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    sell(support, unit)
    case = open_case(ada, unit)
    assert (case["covered"], case["code"], case["takes_place"]) == (True, "warranty_hours", False)
    assert case["response_due"] == "2026-02-02T09:00:00Z"
    assert coverage(ada, unit)["contracts"][0]["cover"]["arguments"]["incidents_left"] == 1


def test_staff_see_what_is_due_next_first(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    sell(support, unit, "care")
    late = open_case(ada, unit, severity="notice", subject="no deadline")
    world.clock.now = instant_of("2026-02-03T09:00:00Z")
    second = open_case(ada, unit, subject="second")
    world.clock.now -= HOUR
    first = open_case(ada, unit, subject="first")
    expected = [first["id"], second["id"], late["id"]]
    assert [one["id"] for one in ok(support.get("/api/v1/cases"))["items"]] == expected
    page = ok(support.get("/api/v1/cases?limit=2"))
    rest = ok(support.get(f"/api/v1/cases?limit=2&after={page['next']}"))
    assert [one["id"] for one in page["items"] + rest["items"]] == expected
    assert rest["next"] is None


def test_other_peoples_cases_do_not_exist(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    case = open_case(ada, unit)
    problem(bob.get(f"/api/v1/cases/{case['id']}"), 404, "not-found")
    problem(bob.post(f"/api/v1/cases/{case['id']}/reply", json={"message": "x"}), 404, "not-found")
    problem(bob.get(f"/api/v1/cases?device_id={unit.device_id}"), 404, "not-found")
    assert ok(bob.get("/api/v1/cases"))["items"] == []
    problem(
        ada.post(f"/api/v1/cases/{case['id']}/assign", json={"person_id": "a" * 16}),
        403,
        "forbidden",
    )
    body = {"person_id": "a" * 16}
    problem(support.post(f"/api/v1/cases/{case['id']}/assign", json=body), 404, "not-found")
    problem(ada.post("/api/v1/cases", json={"subject": "x", "message": "y"}), 422, "invalid-input")
    body = {"alert_id": "0" * 32, "subject": "x", "message": "y"}
    problem(ada.post("/api/v1/cases", json=body), 404, "not-found")


def test_a_new_owner_sees_nothing_of_the_former_ones_cases(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    sell(support, unit)
    case = open_case(ada, unit)
    answer = support.delete(f"/api/v1/claims/{unit.device_id}")
    assert answer.status_code < 300
    world.clock.now += DAY
    ok(bob.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
    problem(bob.get(f"/api/v1/cases/{case['id']}"), 404, "not-found")
    assert ok(bob.get("/api/v1/cases"))["items"] == []
    assert coverage(bob, unit)["contracts"] == []
    assert coverage(bob, unit)["warranty"]["covered"] is True, "it passed on"
    assert ok(ada.get(f"/api/v1/cases/{case['id']}"))["id"] == case["id"], "it stays hers"
    seen = coverage(support, unit)["contracts"]
    assert seen[0]["cover"]["code"] == "contract_ended_owner"


def test_an_alert_is_marked_by_when_the_fault_began(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    end = instant_of("2028-02-01T00:00:00Z")
    world.clock.now = end + DAY
    inside = fault(world, since=end - 1)
    marked = {one["id"]: one["cover"] for one in ok(ada.get("/api/v1/alerts"))["items"]}
    assert marked[inside]["covered"] is True
    assert (marked[inside]["kind"], marked[inside]["code"]) == ("warranty", "warranty_hours")
    ok(support.post(f"/api/v1/alerts/{inside}/resolve"))
    world.clock.now += 8 * DAY
    outside = fault(world, since=end, number=2)
    marked = {one["id"]: one["cover"] for one in ok(ada.get("/api/v1/alerts"))["items"]}
    assert (marked[outside]["covered"], marked[outside]["code"]) == (False, "warranty_ended")
    case = open_case(ada, unit, alert_id=inside)
    assert (case["covered"], case["alert_id"]) == (True, inside)
    body = {"alert_id": inside, "subject": "x", "message": "y"}
    busy = problem(ada.post("/api/v1/cases", json=body), 409, "conflict")
    assert busy["case"] == case["id"]
    step(support, case, "close", chargeable=True)
    ok(ada.post("/api/v1/cases", json=body), 201)


def test_what_began_inside_stays_covered_whatever_is_read_later(
    world: World, ada: TestClient, unit: Unit
) -> None:
    world.clock.now += 100 * DAY
    alert = fault(world, since=world.clock.now - DAY)
    # Only now it says how long it had been running.
    world.store.rows.append(Row(1, 2, world.clock.now - 2 * DAY, 5_000.0, 1))
    certificate(ada, unit)
    assert coverage(ada, unit, world.clock.now - DAY)["warranty"]["code"] == "warranty_ended_hours"
    shown = ok(ada.get("/api/v1/alerts"))["items"][0]
    assert (shown["id"], shown["cover"]["covered"]) == (alert, True)
    assert open_case(ada, unit, alert_id=alert)["covered"] is True
    assert open_case(ada, unit)["covered"] is False


def certificate(client: TestClient, unit: Unit, **body: Any) -> Any:
    path = f"/api/v1/products/{unit.device_id}/certificates"
    return ok(client.post(path, json=body), 201)


def test_a_certificate_says_what_a_buyer_needs_and_nothing_of_people(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    world.clock.now += 10 * DAY
    world.store.rows.append(Row(1, 2, world.clock.now - DAY, 212.5, 1))
    fault(world, since=world.clock.now)
    sell(support, unit, "care")
    sell(support, unit, "always", reference="SO-2")
    hold = {"kind": "recall", "reason": "loose fan, see Ada's letter"}
    ok(support.post(f"/api/v1/products/{unit.device_id}/holds", json=hold), 201)
    unpaid = {"kind": "payment", "reason": "she does not pay"}
    ok(support.post(f"/api/v1/products/{unit.device_id}/holds", json=unpaid), 201)
    made = certificate(ada, unit, days=7)
    document = made["document"]
    assert document["product"]["serial"] == unit.serial
    assert document["product"]["first_use_at"] == text_of(START)
    assert document["counters"]["hours"]["total"] == 212.5
    assert document["open_faults"] == {"notice": 0, "warning": 1, "critical": 0}
    assert document["warranty"]["covered"] is True
    assert document["warranty"]["ends_at"] == "2028-02-01T00:00:00Z"
    assert [one["plan"] for one in document["contracts"]] == ["always"]
    assert document["transfer_blocked_by"] == ["other", "recall"]
    assert document["iss"] == world.hub.place.api
    assert made["expires_at"] == text_of(world.clock.now + 7 * DAY)
    text = json.dumps(made).lower()
    for secret in ("ada", "payment", "letter", world.owners["ada"], unit.product_id):
        assert secret not in text.replace(made["certificate"].lower(), ""), secret

    shown = ok(world.anonymous.get(made["path"]))
    assert shown["document"] == document
    assert (shown["certificate"], shown["changed_hands"]) == (made["certificate"], False)
    assert "id" not in shown
    ok(world.anonymous.get("/api/v1/certificate-keys"))
    support.delete(f"/api/v1/claims/{unit.device_id}")
    assert ok(world.anonymous.get(made["path"]))["changed_hands"] is True
    world.clock.now += 7 * DAY
    problem(world.anonymous.get(made["path"]), 404, "not-found")
    problem(world.anonymous.get(f"/api/v1/certificates/{'0' * 64}"), 404, "not-found")


def test_who_may_have_a_certificate_issued(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    path = f"/api/v1/products/{unit.device_id}/certificates"
    problem(bob.post(path, json={}), 404, "not-found")
    problem(ada.post(path, json={"days": 91}), 422, "invalid-input")
    for _ in range(20):
        certificate(ada, unit)
    problem(ada.post(path, json={}), 409, "conflict")


def test_names_of_zones_that_are_none_do_no_harm(world: World, unit: Unit) -> None:
    body = {"products": [{"model": "heat-pump", "serial": "HP-Z", "zone": "Mars/Olympus"}]}
    answer = world.operator.post("/api/v1/products", json=body)
    if answer.status_code == 201:
        product = answer.json()["products"][0]["product_id"]
        ok(world.operator.get(f"/api/v1/products/{product}/coverage"))


def test_only_people_of_the_staff_are_given_cases(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    case = open_case(ada, unit)
    customer = ok(ada.get("/api/v1/me"))["person_id"]
    body = {"person_id": customer}
    problem(support.post(f"/api/v1/cases/{case['id']}/assign", json=body), 404, "not-found")
    other = lasting(world, "second", Role.SUPPORT)
    me = ok(other.get("/api/v1/me"))["person_id"]
    assert step(support, case, "assign", person_id=me)["assigned_to"] == me
    mine = ok(support.get(f"/api/v1/cases?assigned_to={me}"))["items"]
    assert [one["id"] for one in mine] == [case["id"]]
