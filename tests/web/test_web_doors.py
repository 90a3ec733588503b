"""Who may open which page, and what every page has in common."""

import hashlib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hub.services.caller import Role
from hub.services.sessions import COOKIE
from hub.web import access, application
from hub.web.guard import MAX_FORM, PageRoute
from hub.web.pages import POLICY
from tests.hub.api.api_world import Unit, World, ok
from tests.web.pages_world import ORIGIN, Reader, browser, measured, noticed, text_of

STATIC = Path(application.__file__).parent / "static"
ENDLESS = {"stream_home", "stream_product"}
OF_A_PRODUCT = {
    "page_product",
    "get_series",
    "stream_product",
    "do_acknowledge",
    "do_resolve",
    "page_hand_over",
    "do_offer",
    "do_theft",
    "do_release",
    "do_certify",
    "page_former",
    "page_looks",
    "do_consent",
    "do_ask",
}
NOTHING = dict.fromkeys(
    (
        "offer_id",
        "receipt_id",
        "person_id",
        "invitation_id",
        "invoice_id",
        "grant_id",
        "case_id",
        "endpoint_id",
        "delivery_id",
    ),
    "a" * 16,
)
OF_NOTHING = {
    "do_cancel",
    "do_decline",
    "do_dispute",
    "do_decide",
    "get_receipt_file",
    "do_take",
    "page_former",
    "page_certificate",
    "do_member",
    "do_withdraw_invitation",
    "do_decline_invitation",
    "do_join",
    "do_remove_passkey",
    "do_revoke_key",
    "do_step",
    "do_pay",
    "do_send_again",
    "page_step",
    "page_bill",
    "get_provider",
    "get_provider_back",
    "do_grant",
    "do_end_grant",
    "page_case",
    "do_case",
}
"""Asked here for what there is not."""


def operations() -> dict[str, tuple[str, str]]:
    found = {}
    for router in application._ROUTERS:
        for route in router.routes:
            assert isinstance(route, PageRoute)
            found[str(route.operation_id)] = ("".join(route.methods or ()), route.path)
    return found


def call(
    client: TestClient, operation: str, unit: Unit, alert: str, world: World
) -> tuple[int, str]:
    method, path = operations()[operation]
    path = (
        path.format(
            product_id=unit.product_id,
            alert_id=alert,
            hold_id=hold_of(world, unit) if operation == "do_lift" else "",
            version="x",
            name="app.css",
            owner_id=world.owners["ada"],
            dispute_id="a" * 16,
            answer="refuse",
            link="0" * 64,
            **NOTHING,
        )
        if "{name:path}" not in path
        else f"/static/{world.app.state.pages.assets.version}/app.css"
    )
    if operation == "get_series":
        path += "?metric=temp_c&start=0&end=1000000"
    answer = client.request(method, path)
    return answer.status_code, answer.headers.get("location", "")


def hold_of(world: World, unit: Unit) -> str:
    body = {"kind": "payment", "reason": "charged back"}
    made = ok(world.operator.post(f"/api/v1/products/{unit.product_id}/holds", json=body), 201)
    return str(made["id"])


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    unit = world.unit(ada)
    measured(world, unit)
    return unit


@pytest.mark.parametrize("operation", sorted(set(access.RULES) - ENDLESS))
def test_every_page_by_everybody(
    world: World, ada: TestClient, support: TestClient, unit: Unit, operation: str
) -> None:
    alert = noticed(world)
    roles = access.RULES[operation]
    for client, role in [(None, None), (ada, Role.CUSTOMER), (support, Role.SUPPORT)]:
        status, onward = call(browser(world, client), operation, unit, alert, world)
        if operation in OF_NOTHING and (roles is None or role in roles):
            assert status in {404, 422}, (operation, role)
        elif roles is None or role in roles:
            assert status in {200, 201, 303, 401, 422}, (operation, role)
            assert not onward.startswith("/sign-in") or operation == "do_sign_out"
            assert status != 401 or operation in {"do_sign_in", "do_erase"}  # of a wrong password
        elif role is None:
            assert onward.startswith("/sign-in") if status == 303 else status == 401
        else:
            assert status == 403, (operation, role)


@pytest.mark.parametrize("operation", sorted(OF_A_PRODUCT))
def test_somebody_elses_product_does_not_exist(
    world: World, bob: TestClient, unit: Unit, operation: str
) -> None:
    alert = noticed(world)
    assert call(browser(world, bob), operation, unit, alert, world)[0] == 404
    nobody = Unit("a" * 16, "", "", "")
    assert call(browser(world, bob), operation, nobody, "0" * 32, world)[0] == 404


@pytest.mark.parametrize(
    "operation", [name for name, (method, _) in operations().items() if method == "POST"]
)
def test_a_form_from_elsewhere_is_refused(
    world: World, ada: TestClient, unit: Unit, operation: str
) -> None:
    client = browser(world, ada)
    alert = noticed(world)
    for origin in ("https://evil.example", "null", ""):
        del client.headers["Origin"]
        client.headers["Origin"] = origin
        assert call(client, operation, unit, alert, world)[0] == 403
    assert "Welcome home" not in client.get("/").text  # and nobody was signed out


def test_an_api_key_is_no_session(world: World, ada: TestClient) -> None:
    made = ada.post("/api/v1/me/api-keys", json={"name": "x", "scopes": ["products:read"]})
    client = browser(world)
    client.headers["Cookie"] = f"{COOKIE}={made.json()['key']}"
    assert client.get("/").headers["location"] == "/sign-in"


@pytest.mark.parametrize("path", ["/", "/claim", "/password", "/products/{}", "/nothing-here"])
def test_pages_are_safe(world: World, ada: TestClient, unit: Unit, path: str) -> None:
    noticed(world)
    answer = browser(world, ada).get(path.format(unit.product_id))
    if answer.headers["content-type"].startswith("text/html"):
        assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    reader = Reader()
    reader.feed(answer.text)
    assert reader.inline == []


def test_names_of_products_are_escaped(world: World, ada: TestClient) -> None:
    answer = browser(world, ada).get("/claim?serial=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_files_are_kept_for_good_under_their_version(world: World) -> None:
    client = browser(world)
    address = world.app.state.pages.assets.address("app.css")
    answer = client.get(address)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert client.get("/static/old/app.css").headers["cache-control"] == "no-cache"
    for wrong in ["/static/x/../pages.py", "/static/x/%2e%2e/pages.py", "/static/x/nothing.css"]:
        assert client.get(wrong).status_code == 404


def test_vendored_files_are_those_of_the_manifest() -> None:
    lines = (STATIC / "MANIFEST.sha256").read_text().split("\n")
    listed = {name: digest for digest, name in (line.split("  ") for line in lines if line)}
    found = {
        str(path.relative_to(STATIC)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (STATIC / "vendor").iterdir()
    }
    assert found == listed


def test_a_form_that_is_too_large_is_refused(world: World) -> None:
    answer = browser(world).post("/sign-in", content=b"email=" + b"x" * MAX_FORM)
    assert answer.status_code == 422
    assert "Not understood" in text_of(answer)


def test_the_way_back_stays_on_this_host(world: World, ada: TestClient) -> None:
    client = browser(world, ada)
    for wish in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"]:
        assert client.get("/sign-in", params={"next": wish}).headers["location"] == "/"
    assert client.get("/sign-in?next=/claim").headers["location"] == "/claim"
    assert ORIGIN.startswith("https")


def test_an_address_that_does_not_exist_is_a_page_for_people_and_a_problem_for_programs(
    world: World, ada: TestClient
) -> None:
    person = browser(world, ada)
    page = person.get("/nowhere")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"] == POLICY
    for client, path in ((person, "/api/v1/nowhere"), (ada, "/nowhere")):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["code"] == "not-found"
    assert person.get("/api/v1/claims").status_code == 405
