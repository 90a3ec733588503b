"""The page of a household: invitations, roles, leaving; and what members and viewers see."""

import re

import pytest
from starlette.testclient import TestClient

from tests.hub.api.api_world import CATALOGUE, Unit, World, ok
from tests.web.pages_world import browser, measured, noticed, text_of


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    made = world.unit(ada)
    measured(world, made)
    return made


def invited_code(text: str) -> str:
    found = re.search(r'class="secret"[^>]*>([^<]+)<', text)
    assert found is not None
    return found[1]


def test_inviting_somebody_by_a_code_and_taking_them_out(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    owner, guest = browser(world, ada), browser(world, bob)
    home = world.owners["ada"]
    assert "Invite somebody" in text_of(owner.get("/household"))
    made = owner.post(f"/household/{home}/invite", data={"email": "", "relation": "viewer"})
    code = invited_code(made.text)
    assert code not in owner.get("/household").text
    assert "Whoever has the code" in text_of(owner.get("/household"))
    assert guest.get(f"/household?of={home}").status_code == 404
    wrong = guest.post("/invitations/join", data={"code": "AAAA-BBBB-CCCC"})
    assert wrong.status_code == 404
    assert "Ask for a new one" in text_of(wrong)
    assert guest.post("/invitations/join", data={"code": code}).status_code == 303
    shown = text_of(guest.get(f"/household?of={home}"))
    assert "Viewer" in shown
    assert "Invite somebody" not in shown
    page = guest.get(f"/products/{unit.product_id}")
    assert page.status_code == 200
    assert "Report it stolen" not in text_of(page)
    assert guest.post(f"/products/{unit.product_id}/theft").status_code in {403, 404}
    theirs = guest.get(f"/household?of={home}").text  # where they can leave, and nothing else
    (other,) = set(re.findall(rf"/household/{home}/people/([a-z0-9]{{16}})", theirs))
    role = {"relation": "member"}
    assert owner.post(f"/household/{home}/people/{other}", data=role).status_code == 303
    assert "Member" in text_of(guest.get(f"/household?of={home}"))
    assert owner.post(f"/household/{home}/people/{other}", data={"remove": "1"}).status_code == 303
    assert guest.get(f"/products/{unit.product_id}").status_code == 404


def test_an_installer_comes_for_days(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    owner, guest = browser(world, ada), browser(world, bob)
    home = world.owners["ada"]
    form = {"email": "bob@example.org", "relation": "installer", "product": unit.product_id}
    assert owner.post(f"/household/{home}/invite", data=form).status_code == 422
    form["days"] = "2"
    invited = owner.post(f"/household/{home}/invite", data=form)
    assert "They find the invitation" in text_of(invited)
    assert owner.post(f"/household/{home}/invite", data=form).status_code == 409
    assert "You are invited to a household." in text_of(guest.get("/"))
    offered = guest.get("/household").text
    (invitation,) = set(re.findall(r'name="invitation" value="([a-z0-9]{16})"', offered))
    assert guest.post("/invitations/join", data={"invitation": invitation}).status_code == 303
    assert guest.get(f"/products/{unit.product_id}").status_code == 200
    assert "for one product" in text_of(owner.get("/household"))


def test_the_last_owner_stays_and_invitations_are_withdrawn(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    owner, guest = browser(world, ada), browser(world, bob)
    home = world.owners["ada"]
    page = owner.get("/household").text
    (me,) = set(re.findall(rf"/household/{home}/people/([a-z0-9]{{16}})", page))
    refused = owner.post(f"/household/{home}/people/{me}", data={"remove": "1"})
    assert refused.status_code == 409
    assert "without an owner" in text_of(refused)
    form = {"email": "bob@example.org", "relation": "member"}
    for act in ("withdraw", "decline"):
        assert owner.post(f"/household/{home}/invite", data=form).status_code == 200
        source = owner if act == "withdraw" else guest
        (one,) = set(
            re.findall(rf"/invitations/([a-z0-9]{{16}})/{act}", source.get("/household").text)
        )
        assert source.post(f"/invitations/{one}/{act}").status_code == 303
    assert "You are invited" not in text_of(guest.get("/household"))
    assert guest.post(f"/household/{home}/invite", data=form).status_code == 404


def test_coverage_values_and_settings_on_the_product_page(
    world: World, ada: TestClient, support: TestClient
) -> None:
    model = {
        **CATALOGUE["models"]["heat-pump"],
        "support_until": "2036-12-31",
        "data_sheet": {"link": "https://example.org/hp.pdf", "facts": {"Rated power": "8 kW"}},
        "warranty": [{"version": 1, "months": 24}],
        "settings": {
            "target_c": {"default": 20.5, "unit": "Cel", "title": "Room temperature"},
            "quiet": {"default": False},
        },
    }
    model["features"] = {
        **model["features"],
        "boost_hours": {"kind": "metered", "unit": "h", "title": "Boost"},
    }
    terms = {"telemetry": {}, "boost_hours": {"value": 20}}
    plan = {"versions": [{"version": 1, "features": terms, "settings": {"target_c": 21}}]}
    document = {"models": {"heat-pump": model}, "plans": {"pro": plan}}
    ok(world.operator.post("/api/v1/catalogue", json=document))
    unit = world.unit(ada)
    world.subscribe("ada", unit, plan="pro")
    noticed(world)
    text = text_of(browser(world, ada).get(f"/products/{unit.product_id}"))
    assert "Under warranty" in text
    assert "31 Dec 2036" in text
    assert "Rated power 8 kW" in text
    assert "Boost 20" in text
    assert "Room temperature 21" in text
    assert "Set by your plan · Usual for this model: 20.5" in text
    assert "Quiet off Usual for this model" in text
    assert text.count("Under warranty") == 2, "in its card, and beside the alert"
    staff = text_of(browser(world, support).get(f"/support/products/{unit.product_id}"))
    assert "Under warranty" in staff
    case = {"subject": "It is cold", "message": "Please help", "device_id": unit.device_id}
    made = ada.post("/api/v1/cases", json=case)
    assert made.status_code == 201, made.text
    for page in ("/support/cases", f"/support/products/{unit.product_id}"):
        assert "It is cold" in text_of(browser(world, support).get(page))
