"""Pages of partners: a household lets one in and ends it, the partner sees what it was given."""

import re

import pytest
from starlette.testclient import TestClient

from hub.ports.database.engine import write_session
from hub.services import consent
from hub.services.caller import Role
from hub.services.consent import Policy
from tests.hub.api.api_world import DAY, Unit, World, ok
from tests.web.pages_world import browser, measured, noticed, text_of


@pytest.fixture
def unit(world: World, ada: TestClient) -> Unit:
    made = world.unit(ada)
    measured(world, made)
    noticed(world)
    return made


def organisation(world: World, name: str = "Heating Huber") -> str:
    made = ok(world.operator.post("/api/v1/partners", json={"name": name}), 201)
    return str(made["partner_id"])


def test_a_household_lets_a_partner_in_and_ends_it(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    number, home = organisation(world), world.owners["ada"]
    dealer = browser(world, world.person("huber", Role.PARTNER, number))
    assert dealer.get("/").headers["location"] == "/partner"
    empty = text_of(dealer.get("/partner"))
    assert number in dealer.get("/partner").text
    assert "None at present" in empty
    owner, page = browser(world, ada), f"/household/{home}/partners"
    assert "Nobody but your household" in text_of(owner.get(page))
    form = {"partner": "heating huber", "days": "14", "reason": "yearly service"}
    for wrong in ({"days": "0"}, {"days": "733"}, {"days": "x"}, {"reason": " "}):
        assert owner.post(page, data=form | wrong).status_code == 422
    unknown = owner.post(page, data=form | {"partner": "Huber", "reason": "kept"})
    assert unknown.status_code == 404
    assert "Ask them for their number" in text_of(unknown)
    assert 'value="kept"' in unknown.text
    assert owner.post(page, data=form | {"product": "a" * 16}).status_code == 404
    assert browser(world, bob).post(page, data=form).status_code == 404
    assert browser(world, bob).get(page).status_code == 404
    assert owner.post(page, data=form | {"may-cases": "1"}).status_code == 303
    shown = text_of(owner.get(page))
    assert "Heating Huber" in shown
    assert "opens cases with support" in shown
    assert "yearly service" in shown
    assert unit.serial in text_of(dealer.get("/partner"))
    seen = dealer.get(f"/products/{unit.product_id}")
    assert seen.status_code == 200
    for hidden in ("What was noticed", "Usage", "Report it stolen", "Notices", "sse-connect"):
        assert hidden not in seen.text.replace("Usage and history", "")
    assert "yearly service" in text_of(owner.get(f"/products/{unit.product_id}/looks"))
    (grant,) = set(re.findall(rf"{page}/([a-z0-9]{{16}})/end", owner.get(page).text))
    assert browser(world, bob).post(f"{page}/{grant}/end").status_code == 404
    assert dealer.post(f"{page}/{grant}/end").status_code == 403
    assert owner.post(f"{page}/{grant}/end").status_code == 303
    assert dealer.get(f"/products/{unit.product_id}").status_code == 404
    assert "Nobody but your household" in text_of(owner.get(page))


def test_a_partner_sees_and_does_what_was_granted(
    world: World, ada: TestClient, unit: Unit
) -> None:
    number, page = organisation(world), f"/household/{world.owners['ada']}/partners"
    organisation(world)  # of the same name: only the number tells them apart
    form = {"partner": "Heating Huber", "days": "3", "reason": "repair", "may-alerts": "1"}
    owner = browser(world, ada)
    assert owner.post(page, data=form).status_code == 404
    form |= {"partner": number, "product": unit.product_id, "may-history": "1"}
    assert owner.post(page, data=form).status_code == 303
    assert unit.serial in text_of(owner.get(page))
    dealer = browser(world, world.person("huber", Role.PARTNER, number))
    seen = text_of(dealer.get(f"/products/{unit.product_id}"))
    assert "above its limit of 70" in seen
    assert "I look after it" not in seen
    series = f"/products/{unit.product_id}/series?metric=temp_c&start=0&end=1000000"
    assert dealer.get(series).status_code == 200
    assert dealer.get(f"/products/{unit.product_id}/live").status_code == 403
    assert owner.post(page, data=form | {"may-acknowledge": "1"}).status_code == 303
    assert "I look after it" in text_of(dealer.get(f"/products/{unit.product_id}"))
    world.clock.now += 3 * DAY
    fresh = browser(world, world.person("hans", Role.PARTNER, number))
    assert fresh.get(f"/products/{unit.product_id}").status_code == 404


def test_a_household_reads_the_operators_grants_without_others_products(
    world: World, ada: TestClient, bob: TestClient, unit: Unit
) -> None:
    others = world.unit(bob)
    body = {
        "partner_id": organisation(world),
        "acts": ["alerts"],
        "reason": "recall",
        "ends_at": "2026-06-01T00:00:00Z",
        "product_ids": [unit.product_id, others.product_id],
    }
    ok(world.operator.post("/api/v1/partner-grants", json=body), 201)
    (grant,) = ok(ada.get("/api/v1/partner-grants"))["grants"]
    assert grant["product_ids"] == [unit.product_id]
    shown = browser(world, ada).get(f"/household/{world.owners['ada']}/partners")
    assert "from the manufacturer" in text_of(shown)
    assert others.product_id not in shown.text
    assert "End now" not in text_of(shown)
    end = f"/household/{world.owners['ada']}/partners/{grant['id']}/end"
    assert browser(world, ada).post(end).status_code == 404


def test_in_an_emergency_support_looks_without_consent(
    world: World, ada: TestClient, support: TestClient, unit: Unit
) -> None:
    with write_session(world.hub.engine) as session:
        consent.set_policy(session, Policy.REQUIRED)
    del support.headers["X-Homeport-Reason"]
    staff, page = browser(world, support), f"/support/products/{unit.product_id}"
    assert staff.post(f"{page}/reason", data={"reason": "gas alarm"}).status_code == 303
    assert "look without consent" in text_of(staff.get(page))
    short = staff.post(f"{page}/break-glass", data={"reason": "?"})
    assert short.headers["location"] == f"{page}?glass_failed=1#now"
    assert "Say why in 3 to 200" in text_of(staff.get(short.headers["location"]))
    broken = staff.post(f"{page}/break-glass", data={"reason": "Gas alarm, nobody answers"})
    assert broken.headers["location"] == f"{page}#now"
    seen = text_of(staff.get(page))
    assert "You see this without consent" in seen
    assert "look without consent" not in seen
    told = text_of(browser(world, ada).get(f"/products/{unit.product_id}/looks"))
    assert "Support saw for an hour what it measured." in told
    assert "Gas alarm, nobody answers" in told
    assert "Gas alarm" in text_of(browser(world, ada).get("/hand-overs"))
    world.clock.now += 3_600_000_000_000
    assert "look without consent" in text_of(staff.get(page))
