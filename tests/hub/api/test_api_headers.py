"""Headers that protect, on every kind of answer: one table."""

import datetime as dt

import pytest
from starlette.testclient import TestClient

from hub.config import SecuritySettings
from tests.hub.api.api_world import DAY, World

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "cross-origin-resource-policy": "same-origin",
}
OF_PROGRAMS = EVERYWHERE | {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
OF_PAGES = EVERYWHERE | {
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
ANSWERS = {
    # method, path, body: status, headers
    ("GET", "/api/v1/me", None): (200, OF_PROGRAMS),
    ("GET", "/api/v1/products/" + "x" * 16, None): (404, OF_PROGRAMS),
    ("GET", "/api/v1/nothing", None): (404, OF_PROGRAMS),
    ("PATCH", "/api/v1/me", None): (405, OF_PROGRAMS),
    ("POST", "/api/v1/sessions", "{"): (422, OF_PROGRAMS),
    ("POST", "/api/v1/sessions", "x" * 70_000): (413, OF_PROGRAMS),
    ("GET", "/api/v1/openapi.json", None): (200, EVERYWHERE),
    ("GET", "/healthz", None): (200, OF_PROGRAMS),
    ("GET", "/metrics", None): (403, OF_PROGRAMS),
    ("GET", "/.well-known/security.txt", None): (404, OF_PROGRAMS),
    ("GET", "/sign-in", None): (200, OF_PAGES),
    ("GET", "/", None): (303, EVERYWHERE | {"cache-control": "no-store"}),
    ("GET", "/nothing", None): (404, OF_PROGRAMS),
    ("POST", "/sign-in", "email=x"): (403, OF_PAGES),
}


@pytest.mark.parametrize("asked", ANSWERS, ids=lambda asked: f"{asked[0]} {asked[1]}")
def test_every_answer_protects(
    world: World, ada: TestClient, asked: tuple[str, str, str | None]
) -> None:
    method, path, body = asked
    status, wanted = ANSWERS[asked]
    answer = ada.request(method, path, content=body, follow_redirects=False)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in wanted} == wanted
    assert "server" not in answer.headers
    if wanted is OF_PAGES:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_whom_to_tell_of_a_weakness(world: World) -> None:
    said = SecuritySettings(contact="mailto:security@example.org", policy="https://example.org/p")
    object.__setattr__(world.hub, "security", said)
    answer = world.anonymous.get("/.well-known/security.txt")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert fields["Contact"] == "mailto:security@example.org"
    assert fields["Expires"] == "2026-05-01T00:00:00Z"
    assert fields["Canonical"].endswith("/.well-known/security.txt")
    ended = dt.date(2026, 2, 2)
    object.__setattr__(
        world.hub, "security", SecuritySettings(contact="https://x.org", expires=ended)
    )
    assert "Expires: 2026-02-02T00:00:00Z" in world.anonymous.get("/.well-known/security.txt").text
    world.clock.now += 2 * DAY
    assert world.anonymous.get("/.well-known/security.txt").status_code == 404


def test_a_contact_is_an_address() -> None:
    with pytest.raises(ValueError, match="mailto"):
        SecuritySettings(contact="security@example.org")
