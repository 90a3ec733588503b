import pytest
from starlette.testclient import TestClient

from hub.api.callers import COOKIE
from hub.api.guard import INTENT_HEADER
from hub.services.sessions import SESSION_NS
from tests.hub.api.api_world import World, ok, problem

NEW = "a long enough password"


def created(world: World) -> dict[str, str]:
    """Create Eve; return what she signs in with."""
    body = {"email": "eve@example.org", "name": "Eve", "role": "customer"}
    made = ok(world.operator.post("/api/v1/people", json=body), 201)
    return {"email": "EVE@example.org", "password": made["one_time_password"]}


@pytest.fixture
def browser(world: World) -> TestClient:
    """Eve's browser, which keeps her cookie."""
    client = world.client()
    answer = client.post("/api/v1/sessions", json=created(world))
    assert ok(answer, 201)["must_change_password"] is True
    return client


def test_the_cookie_is_for_this_host_only(world: World) -> None:
    answer = world.client().post("/api/v1/sessions", json=created(world))
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=hps_")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes >= {"httponly", "secure", "samesite=strict", "path=/"}
    assert not any(attribute.startswith("domain") for attribute in attributes)


def test_a_browser_signs_in_reads_and_signs_out(browser: TestClient) -> None:
    me = ok(browser.get("/api/v1/me"))
    assert (me["email"], me["role"]) == ("eve@example.org", "customer")
    answer = browser.delete("/api/v1/sessions/current", headers={INTENT_HEADER: "1"})
    assert answer.status_code == 204
    assert COOKIE not in browser.cookies
    problem(browser.get("/api/v1/me"), 401, "not-authenticated")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://testserver.evil"},
    ],
)
def test_another_site_cannot_write_with_the_cookie(
    browser: TestClient, headers: dict[str, str]
) -> None:
    answer = browser.post("/api/v1/claims", json={"claim_code": "x"}, headers=headers)
    problem(answer, 403, "forbidden")
    ok(browser.get("/api/v1/me", headers=headers))


@pytest.mark.parametrize("headers", [{INTENT_HEADER: "1"}, {"Origin": "https://testserver"}])
def test_our_own_pages_can(browser: TestClient, headers: dict[str, str]) -> None:
    answer = browser.post("/api/v1/claims", json={"claim_code": "x"}, headers=headers)
    problem(answer, 404, "not-found")


def test_a_bearer_token_is_stronger_than_the_cookie(world: World, browser: TestClient) -> None:
    wrong = {"Authorization": "Bearer hps_wrong"}
    problem(browser.get("/api/v1/me", headers=wrong), 401, "not-authenticated")
    for malformed in ("Basic YTpi", "Bearer", "Bearer ", "Bearer " + "x" * 1_000):
        answer = browser.get("/api/v1/me", headers={"Authorization": malformed})
        problem(answer, 401, "not-authenticated")


def test_sessions_expire(world: World, ada: TestClient) -> None:
    world.clock.now += SESSION_NS - 1
    ok(ada.get("/api/v1/me"))
    world.clock.now += 1
    problem(ada.get("/api/v1/me"), 401, "not-authenticated")


def test_changing_the_password_ends_all_sessions(world: World) -> None:
    credentials = created(world)
    tokens = [
        ok(world.client().post("/api/v1/sessions", json=credentials), 201)["token"]
        for _ in range(2)
    ]
    first, second = map(world.client, tokens)
    old = credentials["password"]
    for bad, status in ((NEW[:5], 422), (old, 422)):
        answer = first.put("/api/v1/me/password", json={"old": old, "new": bad})
        assert answer.status_code == status
    wrong = first.put("/api/v1/me/password", json={"old": "wrong", "new": NEW})
    problem(wrong, 401, "not-authenticated")
    ok(second.get("/api/v1/me"))
    done = first.put("/api/v1/me/password", json={"old": old, "new": NEW})
    assert done.status_code == 204
    for client in (first, second):
        problem(client.get("/api/v1/me"), 401, "not-authenticated")
    answer = world.client().post("/api/v1/sessions", json={**credentials, "password": NEW})
    assert ok(answer, 201)["must_change_password"] is False


def test_guessing_passwords_is_slowed_down(world: World) -> None:
    body = {"email": "nobody@example.org", "password": "wrong"}
    for _ in range(5):
        problem(world.anonymous.post("/api/v1/sessions", json=body), 401, "not-authenticated")
    answer = world.anonymous.post("/api/v1/sessions", json=body)
    assert problem(answer, 429, "rate-limited")["retry_after_s"] == 30
    assert answer.headers["retry-after"] == "30"


def test_a_refusal_does_not_repeat_the_password(world: World) -> None:
    body = {"email": "x", "password": "do not repeat me", "remember": "do not repeat me"}
    answer = world.anonymous.post("/api/v1/sessions", json=body)
    found = problem(answer, 422, "invalid-input")
    assert "do not repeat me" not in answer.text
    assert {error["pointer"] for error in found["errors"]} == {"/email", "/remember"}


def test_the_operator_token_is_no_person(world: World) -> None:
    me = ok(world.operator.get("/api/v1/me"))
    assert (me["role"], me["person_id"]) == ("operator", None)
    body = {"name": "export", "scopes": ["telemetry:read"]}
    problem(world.operator.post("/api/v1/me/api-keys", json=body), 403, "forbidden")
    passwords = {"old": "x", "new": NEW}
    problem(world.operator.put("/api/v1/me/password", json=passwords), 403, "forbidden")
