"""Who looked at a product and why, and consent; also what is left of a process that was killed."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from entitlements.billing.money import Money
from hub.ports.database.access_tables import Look
from hub.ports.database.engine import read_session, write_session
from hub.services import consent, invoice_book, invoices, looks
from hub.services.caller import Role
from hub.services.consent import Policy
from hub.services.invoices import Line
from hub.services.look_book import LookBook
from hub.services.looks import QUARTER_NS
from tests.hub.api.api_world import DAY, HOUR, START, Unit, World, ok, problem
from tests.hub.api.memory_store import Row


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    world.store.rows.append(Row(1, 0, START - HOUR, 30.0, 1))
    return world.unit(ada)


def required(world: World) -> None:
    with write_session(world.hub.engine) as session:
        consent.set_policy(session, Policy.REQUIRED)


def silent(client: TestClient) -> TestClient:
    """Return a member of the staff who does not say why."""
    del client.headers["X-Homeport-Reason"]
    return client


def looked(client: TestClient, unit: Unit) -> list[tuple[str, str, str]]:
    items = ok(client.get(f"/api/v1/products/{unit.device_id}/looks"))["items"]
    return [(one["role"], one["part"], one["reason"]) for one in items]


def test_staff_say_why_and_the_owner_reads_it(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    path, support = f"/api/v1/products/{unit.device_id}", silent(support)
    for rest in ("", "/telemetry?metric=temp_c"):
        problem(support.get(path + rest), 403, "reason-required")
    assert looked(ada, unit) == []
    for short in ({"reason": "?"}, {}, {"reason": "x" * 201}):
        problem(support.post(f"{path}/reason", json=short), 422, "invalid-input")
    ok(support.post(f"{path}/reason", json={"case": "4711"}))
    for _ in range(3):
        ok(support.get(path))
    found = ok(ada.get(f"{path}/looks"))["items"]
    assert sorted(one["part"] for one in found) == ["product", "telemetry"]
    only = found[0]
    assert (only["reason"], only["case_reference"]) == ("case 4711", "4711")
    assert "support" not in only["who"]
    world.clock.now += QUARTER_NS
    ok(support.get(path))
    found = ok(ada.get(f"{path}/looks"))["items"]
    assert len({one["who"] for one in found}) == 1
    assert sum(one["part"] == "product" for one in found) == 2
    world.clock.now += looks.REMEMBERED_NS
    problem(support.get(path), 403, "reason-required")


def test_staff_who_read_bills_say_why_and_the_household_reads_it(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    hers, his = world.owners["ada"], world.owners["bob"]
    support = silent(support)
    product = f"/api/v1/products/{unit.device_id}"
    made: list[str] = []
    with write_session(world.hub.engine) as session:
        for owner in (hers, his):
            line = Line(None, None, "plan", "plan.period", {}, Money(999, "EUR"), 190_000)
            cause = f"test:{owner}"
            issued = invoices.issue(session, world.hub.tokens, owner, [line], START, cause=cause)
            made.append(issued.id)
    bills = [
        f"/api/v1/invoices?owner_id={hers}",
        f"/api/v1/invoices/{made[0]}",
        f"/api/v1/invoices/{made[0]}/text",
        f"/api/v1/owners/{hers}/billing-account",
    ]
    for path in bills:
        problem(support.get(path), 403, "reason-required")
        assert ada.get(path).status_code == 200
    ok(support.post(f"{product}/reason", json={"reason": "they called"}))
    problem(support.get(f"/api/v1/invoices?owner_id={his}"), 403, "reason-required")
    assert looked(ada, unit) == []
    for path in bills:
        assert support.get(path).status_code == 200
        assert looked(ada, unit) == [("support", "money", "they called")]
    # Of a household without a product it is kept too, and leaves with its export.
    ok(support.get(f"/api/v1/invoices/{made[1]}", headers={"X-Homeport-Reason": "late payment"}))
    assert looked(ada, unit) == [("support", "money", "they called")]
    with zipfile.ZipFile(io.BytesIO(bob.get("/api/v1/me/export").content)) as archive:
        (kept,) = json.loads(archive.read("records/looks.json"))
    assert (kept["product_id"], kept["part"], kept["reason"]) == (None, "money", "late payment")
    with write_session(world.hub.engine) as session:
        assert looks.verify(session) is None
        caller = world.caller(support)
        looks.look(session, caller, unit.product_id, looks.Part.MONEY, world.clock.now)
        invoice_book.of_household(session, caller, hers, world.clock.now)
        assert len(looks.noted(session.info)) == 1  # whose product's money was shown


def test_the_next_owner_does_not_read_who_looked_before(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    ok(support.get(f"/api/v1/products/{unit.device_id}"))
    assert looked(ada, unit)
    problem(bob.get(f"/api/v1/products/{unit.device_id}/looks"), 404, "not-found")
    world.clock.now += HOUR
    assert ada.delete(f"/api/v1/claims/{unit.device_id}").status_code == 204
    ok(bob.post("/api/v1/claims", json={"claim_code": unit.claim_code}), 201)
    assert looked(bob, unit) == []


def test_without_consent_support_sees_the_status_only(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    required(world)
    path = f"/api/v1/products/{unit.device_id}"
    found = ok(support.get(path))
    assert (found["history"], found["latest"]) == ("consent_required", [])
    assert found["entitlements"]
    telemetry = f"{path}/telemetry?metric=temp_c"
    problem(support.get(telemetry), 403, "consent-required")
    problem(support.get(f"/api/v1/findings?device_id={unit.device_id}"), 403, "consent-required")
    consents = f"/api/v1/households/{world.owners['ada']}/consents"
    for wrong in ("2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z"):
        problem(ada.post(consents, json={"ends_at": wrong}), 422, "invalid-input")
    made = ok(ada.post(consents, json={"ends_at": "2026-01-31T10:00:00Z"}), 201)
    assert ok(support.get(telemetry))["seq"] == [1]
    assert ok(support.get(path))["history"] == "open"
    assert ada.delete(f"/api/v1/consents/{made['id']}").status_code == 204
    problem(support.get(telemetry), 403, "consent-required")
    ok(ada.post(consents, json={"ends_at": "2026-01-31T10:00:00Z", "case": "4711"}), 201)
    problem(support.get(telemetry), 403, "consent-required")
    ok(support.get(telemetry, headers={"X-Homeport-Case": "4711"}))
    world.clock.now = START + 2 * HOUR
    with_case = support.get(telemetry, headers={"X-Homeport-Case": "4711"})
    problem(with_case, 403, "consent-required")


def test_glass_is_broken_for_an_hour_by_one_and_the_owner_is_told(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    required(world)
    path = f"/api/v1/products/{unit.device_id}"
    problem(support.post(f"{path}/break-glass", json={"reason": " "}), 422, "invalid-input")
    ok(support.post(f"{path}/break-glass", json={"reason": "gas alarm"}), 201)
    ok(support.get(f"{path}/telemetry?metric=temp_c"))
    other = world.person("sam", Role.SUPPORT)
    problem(other.get(f"{path}/telemetry?metric=temp_c"), 403, "consent-required")
    (letter,) = ok(ada.get("/api/v1/letters"))["items"]
    assert letter["code"] == "support.break_glass"
    assert letter["arguments"]["reason"] == "gas alarm"
    trail = ok(world.operator.get("/api/v1/audit"))["items"]
    assert "consent.break_glass" in {one["action"] for one in trail}
    world.clock.now += HOUR
    problem(support.get(f"{path}/telemetry?metric=temp_c"), 403, "consent-required")


def test_a_partner_s_look_names_what_was_granted(world: World, ada: TestClient, unit: Unit) -> None:
    org = ok(world.operator.post("/api/v1/partners", json={"name": "Huber"}), 201)["partner_id"]
    dealer = world.person("huber", Role.PARTNER, org)
    body = {
        "partner_id": org,
        "acts": ["see"],
        "reason": "service contract",
        "ends_at": "2026-02-14T08:00:00Z",
    }
    ok(ada.post("/api/v1/partner-grants", json=body), 201)
    ok(dealer.get(f"/api/v1/products/{unit.device_id}"))
    assert looked(ada, unit) == [("partner", "product", "service contract")]


def test_looks_are_a_chain_that_goes_on_when_the_oldest_are_pruned(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    engine = world.hub.engine
    for _ in range(4):
        ok(support.get(f"/api/v1/products/{unit.device_id}"))
        world.clock.now += QUARTER_NS
    with write_session(engine) as session:
        assert looks.verify(session) is None
        assert looks.prune(session, START + 2 * QUARTER_NS, world.clock.now) >= 2
        assert looks.verify(session) is None
    ok(support.get(f"/api/v1/products/{unit.device_id}"))
    with read_session(engine) as session:
        assert looks.verify(session) is None
    with write_session(engine) as session:
        row = session.query(Look).order_by(Look.id).first()
        assert row is not None
        row.reason = "nothing"
        session.flush()
        assert looks.verify(session) == row.id


def test_a_look_outlives_the_process_that_was_killed_before_it_was_written(
    world: World, tmp_path: Path, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    file = tmp_path / "looks.jsonl"
    LookBook(world.hub.engine, file)  # hears, and is never asked to write
    with write_session(world.hub.engine) as session:
        caller = world.caller(support)
        looks.state(session, caller, unit.product_id, "they called", None, START)
    with read_session(world.hub.engine) as session:
        looks.look(session, caller, unit.product_id, looks.Part.CASES, START + DAY // 24)
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(file.read_text() + '{"torn')
    with write_session(world.hub.engine) as session:
        session.query(Look).delete()
    assert LookBook(world.hub.engine, file).flush() == 1
    assert file.read_text() == ""
    assert looked(ada, unit) == [("support", "cases", "they called")]
