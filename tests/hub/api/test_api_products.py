import pytest
from starlette.testclient import TestClient

from tests.hub.api.api_world import CATALOGUE, HOUR, SECOND, START, World, ok, problem
from tests.hub.api.memory_store import Row


def test_everything_about_a_product_on_one_page(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    world.subscribe("ada", unit, paid_until="2026-03-01T00:00:00Z")
    world.store.rows.append(Row(slot=1, metric=0, time=START - SECOND, value=41.5, seq=0))
    detail = ok(ada.get(f"/api/v1/products/{unit.device_id}"))
    assert detail["serial"] == unit.serial
    assert detail["owner"] == {"owner_id": world.owners["ada"], "name": "ada", "emails": []}
    (subscription,) = detail["subscriptions"]
    assert (subscription["plan"], subscription["status"]) == ("comfort", "active")
    decisions = {decision["feature"]: decision for decision in detail["entitlements"]}
    assert decisions["telemetry"]["allowed"] is True
    assert decisions["telemetry"]["until"] == "2026-03-01T00:00:00Z"
    assert decisions["holiday_mode"]["allowed"] is False
    assert decisions["holiday_mode"]["sentence"]
    assert decisions["frost_protection"]["code"] == "safe_function"
    assert detail["latest"] == [
        {
            "metric": "temp_c",
            "title": "Flow temperature",
            "unit": "Cel",
            "time": "2026-01-31T07:59:59Z",
            "value": 41.5,
        }
    ]
    assert detail["open_alerts"] == []
    assert detail["device"]["enrolled_at"] == "2026-01-31T08:00:00Z"
    by_staff = ok(world.operator.get(f"/api/v1/products/{unit.device_id}"))
    assert by_staff["owner"]["emails"] == ["ada@example.org"]


def test_a_product_that_never_connected_is_known_by_its_product_id(
    world: World, ada: TestClient
) -> None:
    unit = world.unit(ada, enrolled=False)
    detail = ok(ada.get(f"/api/v1/products/{unit.product_id}"))
    assert (detail["device_id"], detail["device"], detail["latest"]) == (None, None, [])
    path = f"/api/v1/products/{unit.product_id}"
    problem(ada.get(f"{path}/telemetry?metric=temp_c"), 409, "conflict")
    problem(ada.patch(f"{path}/configuration", json={"values": {"a": 1}}), 409, "conflict")


def test_customers_list_their_own_and_staff_all(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    mine = {world.unit(ada).serial for _ in range(3)}
    theirs = {world.unit(bob).serial}
    assert {item["serial"] for item in ok(ada.get("/api/v1/products"))["items"]} == mine
    seen: list[str] = []
    after = ""
    for _ in range(2):
        page = ok(world.operator.get(f"/api/v1/products?limit=2{after}"))
        seen += [item["serial"] for item in page["items"]]
        after = f"&after={page['next']}"
    assert page["next"] is None
    assert sorted(seen) == sorted(mine | theirs)


@pytest.mark.parametrize("way", ["serial", "prefix", "email", "order", "device_id"])
def test_staff_look_products_up(
    world: World, ada: TestClient, support: TestClient, way: str
) -> None:
    unit = world.unit(ada)
    ordered = {"model": "heat-pump", "serial": "HP-ORDERED", "order_reference": "SO-4711"}
    ok(world.operator.post("/api/v1/products", json={"products": [ordered]}), 201)
    q, found = {
        "serial": (unit.serial, unit.serial),
        "prefix": ("HP-O", "HP-ORDERED"),
        "email": ("ADA@example.org", unit.serial),
        "order": ("SO-4711", "HP-ORDERED"),
        "device_id": (unit.device_id, unit.serial),
    }[way]
    answer = ok(support.get("/api/v1/products", params={"q": q}))
    assert [item["serial"] for item in answer["items"]] == [found]


def test_a_customer_finds_nobody_elses_product(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    for q in (unit.serial, unit.device_id, "ada@example.org"):
        assert ok(bob.get("/api/v1/products", params={"q": q}))["items"] == []


def test_the_eleventh_claim_try_is_refused_even_with_the_right_code(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit()
    for _ in range(10):
        wrong = ada.post("/api/v1/claims", json={"claim_code": "AAAA-BBBB-CCCC"})
        problem(wrong, 404, "not-found")
    right = ada.post("/api/v1/claims", json={"claim_code": unit.claim_code})
    found = problem(right, 429, "rate-limited")
    assert right.headers["retry-after"] == str(found["retry_after_s"])
    ok(bob.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
    world.clock.now += 2 * HOUR
    other = world.unit()
    ok(ada.post("/api/v1/claims", json={"claim_code": other.claim_code}), 201)


def test_a_claimed_product_cannot_be_claimed_again(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    body = {"claim_code": unit.claim_code, "serial": unit.serial}
    problem(bob.post("/api/v1/claims", json=body), 409, "conflict")
    assert ada.delete(f"/api/v1/claims/{unit.product_id}").status_code == 204
    assert ok(bob.post("/api/v1/claims", json=body), 201)["epoch"] == 2
    problem(ada.get(f"/api/v1/products/{unit.device_id}"), 404, "not-found")


def test_a_decision_is_explained_for_any_instant(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    world.subscribe("ada", unit, paid_until="2026-03-01T00:00:00Z")
    path = f"/api/v1/products/{unit.device_id}/entitlements/telemetry"
    now = ok(ada.get(path))
    assert now["at"] == "2026-01-31T08:00:00Z"
    assert now["decision"]["allowed"] is True
    assert [step["rule"] for step in now["steps"] if step["decided"]] == [now["decision"]["rule"]]
    later = ok(ada.get(path, params={"at": "2026-03-02T01:00:00+01:00"}))
    assert (later["decision"]["allowed"], later["decision"]["code"]) == (False, "lapsed")
    assert later["decision"]["args"]["since_at"] == "2026-03-01T00:00:00Z"
    problem(ada.get(path.replace("telemetry", "teleport")), 404, "not-found")


def test_units_are_registered_all_or_none(world: World) -> None:
    units = [{"model": "heat-pump", "serial": f"HP-B{index}"} for index in range(3)]
    twice = {"products": [*units, units[0]]}
    problem(world.operator.post("/api/v1/products", json=twice), 409, "conflict")
    assert ok(world.operator.get("/api/v1/products"))["items"] == []
    made = ok(world.operator.post("/api/v1/products", json={"products": units}), 201)["products"]
    assert len({unit["claim_code"] for unit in made}) == len({u["enrolment_secret"] for u in made})
    assert len(made) == 3


def test_a_subscription_needs_the_owner_of_the_product(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    body = {"product_id": unit.product_id, "plan": "comfort"}
    path = "/api/v1/owners/{}/subscriptions"
    wrong = world.operator.post(path.format(world.owners["bob"]), json=body)
    problem(wrong, 404, "not-found")
    unknown = {**body, "plan": "luxury"}
    problem(world.operator.post(path.format(world.owners["ada"]), json=unknown), 404, "not-found")
    cancelled = world.subscribe("ada", unit, cancelled_at="2026-01-31T07:00:00Z")
    assert cancelled["cancelled_at"] == "2026-01-31T07:00:00Z"


def test_the_catalogue_in_toml_and_json(world: World) -> None:
    toml = '[models.kettle]\n[[models.kettle.metrics]]\nname = "temp_c"\n'
    header = {"Content-Type": "application/toml; charset=utf-8"}
    tried = ok(world.operator.post("/api/v1/catalogue?dry_run=true", content=toml, headers=header))
    assert tried["dry_run"] is True
    done = ok(world.operator.post("/api/v1/catalogue", content=toml, headers=header))
    assert done["added"] == tried["added"]
    assert "model kettle" in [edit["thing"] for edit in done["added"]]
    assert (tried["applied"], done["applied"]) == (False, True)
    again = ok(world.operator.post("/api/v1/catalogue", json=CATALOGUE))
    assert (again["added"], again["changed"]) == ([], [])


@pytest.mark.parametrize(
    ("content", "media", "status", "code"),
    [
        ("models = ", "application/toml", 422, "invalid-input"),
        (b"\xff", "application/toml", 422, "invalid-input"),
        ('{"models": ', "application/json", 400, "malformed-body"),
        ('{"modles": {}}', "application/json", 422, "invalid-input"),
        ("models: {}", "application/yaml", 422, "invalid-input"),
        ('{"models": {"heat-pump": {"metrics": []}}}', "application/json", 409, "conflict"),
    ],
)
def test_bad_catalogues_change_nothing(
    world: World, content: str | bytes, media: str, status: int, code: str
) -> None:
    world.unit()
    answer = world.operator.post(
        "/api/v1/catalogue", content=content, headers={"Content-Type": media}
    )
    problem(answer, status, code)
    again = ok(world.operator.post("/api/v1/catalogue", json=CATALOGUE))
    assert (again["added"], again["changed"]) == ([], [])


def test_a_product_of_the_past_keeps_its_date(world: World) -> None:
    unit = {"model": "heat-pump", "serial": "HP-OLD", "made_at": "2025-11-03T10:00:00Z"}
    made = ok(world.operator.post("/api/v1/products", json={"products": [unit]}), 201)
    (product,) = made["products"]
    shown = ok(world.operator.get(f"/api/v1/products/{product['product_id']}"))
    assert shown["made_at"] == "2025-11-03T10:00:00Z"
    late = {"model": "heat-pump", "serial": "HP-LATE", "made_at": "2026-01-31T08:00:01Z"}
    problem(
        world.operator.post("/api/v1/products", json={"products": [late]}), 422, "invalid-input"
    )
    assert ok(world.operator.get("/api/v1/products?q=HP-LATE"))["items"] == []
