"""What every answer has in common, good or bad."""

import logging
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import write_session
from hub.ports.database.record_tables import DeadLetter
from tests.hub.api.api_world import START, World, ok, problem


def test_unknown_addresses_and_methods(world: World) -> None:
    problem(world.anonymous.get("/api/v2/products"), 404, "not-found")
    problem(world.anonymous.get("/nowhere"), 404, "not-found")
    problem(world.anonymous.get("/api/v1/products/"), 404, "not-found")
    answer = world.anonymous.delete("/api/v1/enroll")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/me", "/nowhere", "/api/v1/openapi.json"])
def test_every_answer_has_safe_headers(world: World, path: str) -> None:
    headers = world.anonymous.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["strict-transport-security"].startswith("max-age=")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"]
    assert "access-control-allow-origin" not in headers


def test_unknown_fields_are_named_and_refused(world: World, ada: TestClient) -> None:
    answer = ada.post("/api/v1/claims", json={"claim_code": "x", "colour": "red"})
    (error,) = problem(answer, 422, "invalid-input")["errors"]
    assert error == {"location": "body", "pointer": "/colour", "detail": "There is no such field"}


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        ("{", "application/json", 400),
        ("\xff\xfe", "application/json", 400),
        ("", "application/json", 422),
        ("[]", "application/json", 422),
        ("null", "application/json", 422),
        ('{"claim_code": 1}', "application/json", 422),
        ('{"claim_code": "x"}', "text/plain", 422),
        ("[" * 100_000, "application/json", 413),
        ("[" * 30_000, "application/json", 400),
    ],
)
def test_bodies_that_are_no_claim(
    world: World, ada: TestClient, content: str, media: str, status: int
) -> None:
    answer = ada.post(
        "/api/v1/claims", content=content.encode("latin-1"), headers={"Content-Type": media}
    )
    code = {400: "malformed-body", 413: "body-too-large", 422: "invalid-input"}[status]
    problem(answer, status, code)


def test_a_body_without_a_length_is_limited_too(world: World, ada: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b'{"claim_code": "' + b"x" * 10_000

    headers = {"Content-Type": "application/json"}
    answer = ada.post("/api/v1/claims", content=endless(), headers=headers)
    problem(answer, 413, "body-too-large")


def test_what_nobody_expected_gives_nothing_away(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("password=hunter2")

    monkeypatch.setattr("hub.services.products.listed", fail)
    with caplog.at_level(logging.ERROR):
        answer = world.operator.get("/api/v1/products")
    found = problem(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert found["instance"].endswith(answer.headers["x-request-id"])


def test_health_and_readiness(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert ok(world.anonymous.get("/healthz")) == {"status": "ok"}
    assert ok(world.anonymous.get("/readyz")) == {"status": "ok", "problems": []}

    def fail(*_: object) -> None:
        raise OSError("no space left on /secret")

    monkeypatch.setattr(type(world.store), "count", fail)
    answer = world.anonymous.get("/readyz")
    assert problem(answer, 503, "storage")["failed"] == ["store"]
    assert "secret" not in answer.text
    assert "secret" in caplog.text
    ok(world.anonymous.get("/healthz"))


def test_metrics_are_for_the_operator(world: World, ada: TestClient) -> None:
    ok(ada.get("/api/v1/me"))
    problem(ada.get("/metrics"), 403, "forbidden")
    text = world.operator.get("/metrics").text
    line = 'homeport_http_requests_total{operation="get_me",process="control",status="200"} 1.0'
    assert line in text


def test_privileged_acts_are_in_the_audit_trail(world: World, ada: TestClient) -> None:
    unit = world.unit(ada)
    path = f"/api/v1/audit?object=product:{unit.product_id}"
    acts = [entry["action"] for entry in ok(world.operator.get(path))["items"]]
    assert acts == ["product.claim", "device.enrol", "product.register"]
    first = ok(world.operator.get(f"{path}&limit=2"))
    second = ok(world.operator.get(f"{path}&limit=2&after={first['next']}"))
    assert [entry["action"] for entry in (*first["items"], *second["items"])] == acts
    assert second["next"] is None


def test_dead_letters_are_paged(world: World, support: TestClient) -> None:
    unit = world.unit()
    with write_session(world.hub.engine) as session:
        session.add_all(
            DeadLetter(
                log="deadletters/0",
                offset=64 * number,
                position=0,
                at=START + number,
                slot=1,
                channel="t",
                reason=1,
                hash=bytes(32),
                size=3,
                sample=b"\xa1\x00\xff",
            )
            for number in range(3)
        )
    path = f"/api/v1/deadletters?device_id={unit.device_id}&limit=2"
    first = ok(support.get(path))
    second = ok(support.get(f"{path}&after={first['next']}"))
    letters = [*first["items"], *second["items"]]
    assert [letter["offset"] for letter in letters] == [128, 64, 0]
    assert (letters[0]["reason"], letters[0]["sample"]) == ("malformed", "a100ff")
    assert second["next"] is None
    assert [letter["id"] for letter in letters] == ["0-128-0", "0-64-0", "0-0-0"]
