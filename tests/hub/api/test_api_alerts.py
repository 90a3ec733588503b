import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import write_session
from hub.services.alerts import apply_findings
from hub.services.found import Found
from tests.hub.api.api_world import SECOND, START, Unit, World, ok, problem


def find(world: World, slot: int, count: int = 1, kind: int = 2) -> None:
    """Let the detector have found something on the first metric of a device."""
    findings = [
        Found(
            id=bytes([slot, kind, index]).ljust(16, b"\0"),
            slot=slot,
            metric=0,
            kind=kind,
            severity=2,
            time=START + index * SECOND,
            since=START,
            surprise=14.0,
            observed=61.0,
            low=30.0,
            high=55.0,
        )
        for index in range(count)
    ]
    with write_session(world.hub.engine) as session:
        apply_findings(session, findings, world.clock.now)


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    unit = world.unit(ada)
    find(world, 1, count=3)
    return unit


def test_an_alert_from_opening_to_resolving(world: World, ada: TestClient, unit: Unit) -> None:
    (alert,) = ok(ada.get("/api/v1/alerts"))["items"]
    assert (alert["device_id"], alert["status"], alert["count"]) == (unit.device_id, "open", 3)
    assert "Flow temperature" in alert["sentence"]
    (shown,) = ok(ada.get(f"/api/v1/products/{unit.device_id}"))["open_alerts"]
    assert shown == alert
    path = f"/api/v1/alerts/{alert['id']}"
    acknowledged = ok(ada.post(f"{path}/acknowledge"))
    assert acknowledged["status"] == "acknowledged"
    assert acknowledged["acknowledged_at"] == "2026-01-31T08:00:00Z"
    assert ok(ada.post(f"{path}/resolve"))["status"] == "resolved"
    assert ok(ada.post(f"{path}/resolve"))["status"] == "resolved"
    problem(ada.post(f"{path}/acknowledge"), 409, "conflict")
    assert ok(ada.get("/api/v1/alerts?status=open"))["items"] == []
    assert len(ok(ada.get("/api/v1/alerts?status=resolved"))["items"]) == 1


def test_findings_are_paged_newest_first(world: World, ada: TestClient, unit: Unit) -> None:
    seen: list[str] = []
    after = ""
    for _ in range(2):
        page = ok(ada.get(f"/api/v1/findings?device_id={unit.device_id}&limit=2{after}"))
        seen += [item["at"] for item in page["items"]]
        after = f"&after={page['next']}"
    assert page["next"] is None
    assert seen == [f"2026-01-31T08:00:0{second}Z" for second in (2, 1, 0)]


def test_somebody_elses_alert_does_not_exist(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    alert = ok(ada.get("/api/v1/alerts"))["items"][0]["id"]
    for act in ("acknowledge", "resolve"):
        problem(bob.post(f"/api/v1/alerts/{alert}/{act}"), 404, "not-found")
    assert ok(bob.get("/api/v1/alerts"))["items"] == []
    assert ok(bob.get("/api/v1/findings"))["items"] == []
    for listing in ("alerts", "findings"):
        answer = bob.get(f"/api/v1/{listing}?device_id={unit.device_id}")
        problem(answer, 404, "not-found")
    (still,) = ok(ada.get("/api/v1/alerts"))["items"]
    assert still["status"] == "open"


def test_alerts_are_paged(world: World, ada: TestClient) -> None:
    world.unit(ada)
    for kind in (1, 2, 3):
        find(world, 1, kind=kind)
    first = ok(ada.get("/api/v1/alerts?limit=2"))
    second = ok(ada.get(f"/api/v1/alerts?limit=2&after={first['next']}"))
    kinds = [item["kind"] for item in (*first["items"], *second["items"])]
    assert len(set(kinds)) == 3
    assert second["next"] is None
    # Somebody who changes the filter does not go on in the middle of another list.
    wrong = ada.get(f"/api/v1/alerts?limit=2&status=open&after={first['next']}")
    problem(wrong, 422, "invalid-input")
