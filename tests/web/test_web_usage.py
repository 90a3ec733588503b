"""The page of what a product uses: quotas, resets, periods before, and whose they are."""

from copy import deepcopy

import pytest
from starlette.testclient import TestClient

from hub.web.formats import DASH
from tests.hub.api.api_world import CATALOGUE, DAY, START, World, ok
from tests.hub.api.memory_store import Row
from tests.web.pages_world import browser, text_of, travel

ENERGY = 1
"""Index of the counter."""


@pytest.fixture
def metered(world: World) -> World:
    catalogue = deepcopy(CATALOGUE)
    pump = catalogue["models"]["heat-pump"]
    pump["meters"] = {
        "energy": {
            "title": "Energy",
            "metric": "energy_kwh",
            "aggregation": "increase",
            "decimals": 1,
        },
        "readings": {"title": "Readings", "metric": "temp_c", "aggregation": "count"},
        "calls": {"title": "Calls", "aggregation": "sum", "unit": "1"},
    }
    pump["features"]["boost"] = {
        "title": "Boost",
        "kind": "metered",
        "unit": "kW.h",
        "meter": "energy",
    }
    versions = catalogue["plans"]["comfort"]["versions"]
    features = {"telemetry": {}, "boost": {"value": 100}}
    catalogue["plans"]["comfort"]["versions"] = [*versions, {"version": 2, "features": features}]
    ok(world.operator.post("/api/v1/catalogue", json=catalogue))
    return world


def read(world: World, at: int, counter: float) -> None:
    world.store.rows.append(Row(slot=1, metric=ENERGY, time=at, value=counter, seq=at // DAY))


def test_this_period_with_its_quota_and_the_periods_before(metered: World, ada: TestClient) -> None:
    unit = metered.unit(ada)
    metered.subscribe("ada", unit, starts_at="2026-01-31T08:00:00Z")
    read(metered, START + DAY, 1_000.0)
    read(metered, START + 20 * DAY, 1_060.25)  # the first period, until 28 February
    read(metered, START + 60 * DAY, 1_100.0)  # the third, from 31 March; nothing in the second
    read(metered, START + 101 * DAY, 1_185.0)  # the fourth, from 30 April
    travel(metered, START + 104 * DAY)
    text = text_of(browser(metered, ada).get(f"/products/{unit.product_id}/usage"))
    assert "Boost 85 kWh of 100 kWh" in text
    assert "30 Apr 2026 · starts anew on 31 May 2026" in text
    assert "If it goes on like this, the quota lasts until the period starts anew." in text
    assert "Counts by how much “energy_kwh” went up." in text
    lines = [
        f"31 Mar 2026 {DASH} 30 Apr 2026 39.8 kWh 100 kWh",
        f"28 Feb 2026 {DASH} 31 Mar 2026 no data 100 kWh",
        f"31 Jan 2026 {DASH} 28 Feb 2026 60.2 kWh 100 kWh",
    ]
    assert " ".join(lines) in text
    assert "Readings 0 Since" in text  # without a quota, and so without a bar
    assert "Calls 0 Since" in text
    assert "Counts what other programs report." in text
    assert "Used up" not in text


def test_a_period_that_was_over_at_once_is_no_line(metered: World, ada: TestClient) -> None:
    unit = metered.unit(ada)
    metered.subscribe("ada", unit, starts_at="2026-01-31T08:05:00Z")  # claimed a while before
    travel(metered, START + 3 * DAY)
    text = text_of(browser(metered, ada).get(f"/products/{unit.product_id}/usage"))
    assert "Boost 0 kWh of 100 kWh" in text
    assert "no data" not in text


def test_a_quota_that_is_used_up_says_when_it_comes_back(metered: World, ada: TestClient) -> None:
    unit = metered.unit(ada)
    metered.subscribe("ada", unit, starts_at="2026-01-31T08:00:00Z")
    read(metered, START + DAY, 1_000.0)
    read(metered, START + 2 * DAY, 1_100.0)
    travel(metered, START + 3 * DAY)
    text = text_of(browser(metered, ada).get(f"/products/{unit.product_id}/usage"))
    assert "Used up" in text
    assert "It comes back when the period starts anew" in text


def test_what_a_former_owner_used_is_theirs(
    metered: World, ada: TestClient, bob: TestClient
) -> None:
    unit = metered.unit(ada)
    read(metered, START + DAY, 1_000.0)
    read(metered, START + 50 * DAY, 1_060.0)
    travel(metered, START + 60 * DAY)
    code = ok(ada.post(f"/api/v1/products/{unit.device_id}/offer", json={}), 201)["code"]
    ok(bob.post("/api/v1/offers/accept", json={"code": code}))
    read(metered, START + 61 * DAY, 1_061.0)
    travel(metered, START + 62 * DAY)
    path = f"/products/{unit.product_id}/usage"
    theirs = text_of(browser(metered, bob).get(path))
    assert "60" not in theirs.replace("HP-0001", "")
    assert browser(metered, ada).get(path).status_code == 404


def test_a_product_without_meters_and_other_peoples(
    world: World, ada: TestClient, bob: TestClient
) -> None:
    unit = world.unit(ada)
    path = f"/products/{unit.product_id}/usage"
    assert "Nothing of this product is counted." in text_of(browser(world, ada).get(path))
    assert browser(world, bob).get(path).status_code == 404
    assert browser(world).get(path).headers["location"].startswith("/sign-in")
