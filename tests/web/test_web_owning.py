"""Pages of ownership: claiming with the button, handing over, theft, former products, certificates."""

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import write_session
from hub.services import possession
from hub.services.consent import Policy, set_policy
from tests.hub.api.api_world import CATALOGUE, DAY, Unit, World, ok
from tests.web.pages_world import browser, measured, text_of

WINDOW = {
    "models": {"heat-pump": {**CATALOGUE["models"]["heat-pump"], "possession": "window"}},
}


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    return world.unit(ada)


def press(world: World, unit: Unit) -> None:
    with write_session(world.hub.engine) as session:
        possession.open_window(session, unit.product_id, {}, world.clock.now)


def test_claiming_waits_for_the_button(world: World, bob: TestClient) -> None:
    ok(world.operator.post("/api/v1/catalogue", json=WINDOW))
    unit = world.unit()
    client = browser(world, bob)
    form = {"serial": unit.serial, "code": unit.claim_code}
    waiting = client.post("/claim", data=form)
    assert waiting.status_code == 200
    text = text_of(waiting)
    assert "Press its button" in text
    assert "5:00" in text
    until = re.search(r'name="until" value="(\d+)"', waiting.text)
    assert until is not None
    form["until"] = until[1]
    world.clock.now += 60_000_000_000
    polled = client.post("/claim", data=form, headers={"HX-Request": "true"})
    assert "4:00" in text_of(polled)
    world.clock.now += 300_000_000_000
    late = client.post("/claim", data=form)
    assert late.status_code == 409
    assert "was not pressed in time" in text_of(late)
    press(world, unit)
    claimed = client.post("/claim", data=form, headers={"HX-Request": "true"})
    assert claimed.headers["hx-redirect"] == f"/products/{unit.product_id}?claimed=1"


def test_the_page_says_how_the_button_is_pressed(world: World, bob: TestClient) -> None:
    ok(world.operator.post("/api/v1/catalogue", json=WINDOW))
    unit = world.unit()
    world.app.state.hub = replace(
        world.hub, button_hints={"de": "Die Taste von {serial} ist <hinten>.", "en": "At the back."}
    )
    client = browser(world, bob)
    form = {"serial": unit.serial, "code": unit.claim_code}
    assert "At the back." in text_of(client.post("/claim", data=form))
    client.headers["Cookie"] += "; __Host-homeport-language=de"
    said = client.post("/claim", data=form).text
    assert f"Die Taste von {unit.serial} ist &lt;hinten&gt;." in said


def test_somebody_elses_product_can_be_disputed_and_decided(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    client, owner, staff = browser(world, bob), browser(world, ada), browser(world, support)
    form = {"serial": unit.serial, "code": unit.claim_code}
    taken = client.post("/claim", data=form)
    assert taken.status_code == 409
    assert "has an owner already" in text_of(taken)
    form["aim"] = "dispute"
    assert "Press its button" in text_of(client.post("/claim", data=form))
    press(world, unit)
    done = client.post("/claim", data=form)
    assert done.headers["location"] == "/hand-overs?disputed=1"
    assert "You say that HP-0001 is yours." in text_of(client.get("/hand-overs?disputed=1"))
    assert "One hand-over waits for your answer." in text_of(owner.get("/"))
    asked = owner.get("/hand-overs").text
    (dispute,) = set(re.findall(r"/disputes/([a-z0-9]{16})/refuse", asked))
    assert client.post(f"/disputes/{dispute}/refuse").status_code == 404
    assert owner.post(f"/disputes/{dispute}/refuse").status_code == 303
    assert "the owner said no" in text_of(client.get("/hand-overs"))
    listed = text_of(staff.get("/support/disputes"))
    assert "Hand it to the claimant" in listed
    refused = staff.post(f"/support/disputes/{dispute}", data={"to": "claimant", "reason": ""})
    assert refused.status_code == 422
    decided = {"to": "claimant", "reason": "showed the bill of sale"}
    assert staff.post(f"/support/disputes/{dispute}", data=decided).status_code == 303
    assert client.get(f"/products/{unit.product_id}").status_code == 200
    assert owner.get(f"/products/{unit.product_id}").status_code == 404
    undone = staff.post(f"/support/products/{unit.product_id}/undo", data={"reason": ""})
    assert "undo_failed" in undone.headers["location"]
    undo = {"reason": "forged bill", "restore": "1"}
    assert staff.post(f"/support/products/{unit.product_id}/undo", data=undo).status_code == 303
    assert owner.get(f"/products/{unit.product_id}").status_code == 200
    assert "undone" in text_of(staff.get(f"/support/products/{unit.product_id}"))


def test_from_one_household_to_another_by_a_code(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    measured(world, unit)
    giver, taker = browser(world, ada), browser(world, bob)
    page = f"/products/{unit.product_id}/hand-over"
    assert "What does not pass on" in text_of(giver.get(page))
    assert taker.get(page).status_code == 404
    offered = giver.post(page, data={"email": "", "days": "14"})
    code = re.search(r"hpt_\w+", offered.text)
    assert code is not None
    assert code[0] not in giver.get(page).text, "it is shown once"
    assert giver.post(page, data={"email": "", "days": "14"}).status_code == 409
    wrong = taker.post("/hand-overs/take", data={"code": "hpt_wrong"})
    assert wrong.status_code == 404
    assert "the code is not right" in text_of(wrong)
    assert giver.post("/hand-overs/take", data={"code": code[0]}).status_code == 409
    taken = taker.post("/hand-overs/take", data={"code": code[0]})
    assert taken.headers["location"] == f"/products/{unit.product_id}?claimed=1"
    assert "It is yours now." in text_of(taker.get(taken.headers["location"]))
    assert giver.get(f"/products/{unit.product_id}").status_code == 404
    hands = giver.get("/hand-overs").text
    (paper,) = set(re.findall(r"/receipts/([a-z0-9]{16})", hands))
    assert giver.get(f"/receipts/{paper}").headers["content-type"] == "application/cose"
    assert taker.get(f"/receipts/{paper}").status_code == 404
    former = giver.get(f"/former/{unit.product_id}")
    assert "You see what it measured in that time" in text_of(former)
    assert taker.get(f"/former/{unit.product_id}").status_code == 404


def test_an_offer_to_an_address_is_declined_or_taken_back(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    giver, taker = browser(world, ada), browser(world, bob)
    page = f"/products/{unit.product_id}/hand-over"
    assert giver.post(page, data={"email": "bob@example.org", "days": "0"}).status_code == 422
    for act in ("decline", "cancel"):
        offered = giver.post(page, data={"email": "bob@example.org", "days": "7"})
        (offer,) = set(re.findall(r"/hand-overs/([a-z0-9]{16})/cancel", offered.text))
        assert "HP-0001 was offered to you." in text_of(taker.get("/hand-overs"))
        client = taker if act == "decline" else giver
        assert client.post(f"/hand-overs/{offer}/{act}").status_code == 303
        assert "was offered to you. Until" not in text_of(taker.get("/hand-overs"))
    world.clock.now += DAY // 24


def test_stolen_and_found(world: World, ada: TestClient, bob: TestClient, unit: Unit) -> None:
    owner = browser(world, ada)
    page = f"/products/{unit.product_id}"
    assert browser(world, bob).post(f"{page}/theft").status_code == 404
    assert owner.post(f"{page}/theft").headers["location"] == f"{page}#owning"
    assert "Reported stolen" in text_of(owner.get(page))
    assert owner.post(f"{page}/release").status_code == 409
    assert owner.post(f"{page}/theft", data={"found": "1"}).status_code == 303
    assert "Reported stolen" not in text_of(owner.get(page))
    assert owner.post(f"{page}/release").status_code == 303
    assert owner.get(page).status_code == 404


def test_a_certificate_for_the_buyer(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    owner, nobody = browser(world, ada), browser(world)
    page = f"/products/{unit.product_id}/certificate"
    assert browser(world, bob).post(page).status_code == 404
    issued = owner.post(page)
    assert issued.status_code == 201
    link = re.search(r"/certificates/[0-9a-f]{64}", issued.text)
    assert link is not None
    shown = nobody.get(link[0])
    assert "Certificate of health and coverage" in text_of(shown)
    assert "ada" not in shown.text
    assert nobody.get(f"/certificates/{'0' * 64}").status_code == 404


def test_who_looked_and_consent_for_a_time(
    world: World, ada: TestClient, bob: TestClient, support: TestClient, unit: Unit
) -> None:
    measured(world, unit)
    owner, staff = browser(world, ada), browser(world, support)
    page, theirs = f"/products/{unit.product_id}/looks", f"/support/products/{unit.product_id}"
    assert "All about this product" in text_of(owner.get(page))
    with write_session(world.hub.engine) as session:
        set_policy(session, Policy.REQUIRED)
    assert "At present support does not see" in text_of(owner.get(page))
    assert browser(world, bob).get(page).status_code == 404
    del staff.headers["X-Homeport-Reason"]  # as real browsers have none
    asked = staff.get(theirs)
    assert asked.status_code == 403
    assert "Why do you look?" in text_of(asked)
    staff.post(f"{theirs}/reason", data={"reason": "called about noise"})
    assert "its household has not consented" in text_of(staff.get(theirs))
    assert "called about noise" in text_of(owner.get(page))
    consent = f"/products/{unit.product_id}/consent"
    assert "failed" in owner.post(consent, data={"days": "0"}).headers["location"]
    assert owner.post(consent, data={"days": "7"}).headers["location"] == page
    given = owner.get(page)
    assert "Support may see what was measured" in text_of(given)
    assert "its household has not consented" not in text_of(staff.get(theirs))
    (one,) = set(re.findall(r'name="withdraw" value="([a-z0-9]{16})"', given.text))
    assert browser(world, bob).post(consent, data={"withdraw": one}).status_code == 404
    assert owner.post(consent, data={"withdraw": one}).status_code == 303
    assert "At present support does not see" in text_of(owner.get(page))
