"""Comparing plans: on the page and over the API, and that it equals the catalogue's prices."""

from copy import deepcopy
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.hub.api.api_world import CATALOGUE, DAY, START, World, ok, problem
from tests.hub.api.memory_store import Row
from tests.web.pages_world import browser, text_of, travel

ENERGY = 1
"""Index of the counter."""


def version(number: int, quota: int | None, **more: Any) -> dict[str, Any]:
    features: dict[str, Any] = {"telemetry": {}}
    if quota is not None:
        features["boost"] = {"value": quota, "limit": "soft" if "overage" in more else "hard"}
    return {"version": number, "features": features, "tax": "standard", **more}


@pytest.fixture
def priced(world: World) -> World:
    catalogue = deepcopy(CATALOGUE)
    pump = catalogue["models"]["heat-pump"]
    pump["meters"] = {
        "energy": {
            "title": "Energy",
            "metric": "energy_kwh",
            "aggregation": "increase",
            "decimals": 1,
        }
    }
    pump["features"]["boost"] = {"kind": "metered", "unit": "kW.h", "meter": "energy"}
    catalogue["taxes"] = {"DE": {"title": "MwSt.", "rates": {"standard": "19"}}}
    overage = {"energy": {"EUR": "0.10"}}
    catalogue["plans"] = {
        "comfort": {
            "title": "Comfort",
            "versions": [
                *catalogue["plans"]["comfort"]["versions"],
                version(2, 100, price={"EUR": "10.00"}, overage=overage),
            ],
        },
        "small": {"title": "Small", "versions": [version(1, 50, price={"EUR": "4.00"})]},
        "year": {
            "title": "Year",
            "versions": [version(1, 1_000, price={"EUR": "96.00"}, interval_months=12)],
        },
        "yen": {"title": "Yen", "versions": [version(1, 1_000, price={"JPY": 900})]},
        "beside": {
            "title": "Beside",
            "addon": True,
            "versions": [version(1, 10, price={"EUR": "1.00"})],
        },
    }
    ok(world.operator.post("/api/v1/catalogue", json=catalogue))
    return world


def read(world: World, at: int, counter: float) -> None:
    world.store.rows.append(Row(slot=1, metric=ENERGY, time=at, value=counter, seq=at // DAY))


@pytest.fixture
def months(priced: World, ada: TestClient) -> str:
    """Three months: 60 kWh, nothing stored, 125.5 kWh; returns the product."""
    unit = priced.unit(ada)
    priced.subscribe("ada", unit, starts_at="2026-01-31T08:00:00Z")
    read(priced, START + DAY, 1_000.0)
    read(priced, START + 20 * DAY, 1_060.0)
    read(priced, START + 65 * DAY, 1_185.5)
    travel(priced, START + 100 * DAY)
    return unit.product_id


def test_each_plan_is_laid_over_what_was_used(priced: World, ada: TestClient, months: str) -> None:
    found = ok(ada.get(f"/api/v1/products/{months}/plan-simulation"))
    assert (found["currency"], found["running"]) == ("EUR", False)
    assert found["without_data"] == {"energy": ["2026-02-28T08:00:00Z"]}
    plans = {one["plan"]: one for one in found["plans"]}
    assert plans.keys() == {"comfort", "small", "year", "yen"}
    comfort = plans["comfort"]
    assert found["plans"][0] == comfort
    assert [one["gross"] for one in comfort["months"]] == ["10.00", "10.00", "12.55"]
    assert comfort["gross"] == "32.55"
    last = comfort["months"][-1]["meters"]["energy"]
    assert (last["used"], last["over"], last["cost"]) == ("125.5", "25.5", "2.55")
    assert plans["small"]["gross"] == "12.00"
    closed = [one["meters"]["energy"]["closed"] for one in plans["small"]["months"]]
    assert closed == ["10.0", "0.0", "75.5"]
    year = [one["price"] for one in plans["year"]["months"]]
    assert year == ["7.36", "8.16", "7.89"]  # 28, 31 and 30 of 365 days
    assert (plans["yen"]["sold"], plans["yen"]["gross"]) == (False, None)


def test_the_page_says_so_in_words(priced: World, ada: TestClient, months: str) -> None:
    text = text_of(browser(priced, ada).get(f"/products/{months}/compare"))
    assert "from 31 Jan 2026 to 30 Apr 2026." in text
    assert "Nothing is stored of “Energy” for the months from: 28 Feb 2026" in text
    assert "€32.55 €10.00 a month" in text
    assert "25.5 kWh beyond the quota: €2.55" in text
    assert "Small €12.00 €20.55 less than your plan €4.00 a month" in text
    assert "It would not have allowed 85.5 kWh of it." in text
    assert "€96.00 a year" in text
    assert "Not sold in EUR" in text
    german = browser(priced, ada)
    german.headers["Cookie"] += "; __Host-homeport-language=de"
    assert "32,55 €" in text_of(german.get(f"/products/{months}/compare"))


def test_before_the_first_month_is_over_the_running_one_counts(
    priced: World, ada: TestClient
) -> None:
    unit = priced.unit(ada)
    read(priced, START + DAY, 1_000.0)
    read(priced, START + 2 * DAY, 1_005.0)
    travel(priced, START + 3 * DAY)
    found = ok(ada.get(f"/api/v1/products/{unit.product_id}/plan-simulation"))
    assert found["running"]
    assert not any(one["present"] for one in found["plans"])
    text = text_of(browser(priced, ada).get(f"/products/{unit.product_id}/compare"))
    assert "The month is not over yet." in text


def test_it_is_for_whoever_may_see_bills(
    priced: World, ada: TestClient, bob: TestClient, months: str
) -> None:
    path = f"/api/v1/products/{months}/plan-simulation"
    problem(priced.anonymous.get(path), 401, "not-authenticated")
    problem(bob.get(path), 404, "not-found")
    assert browser(priced, bob).get(f"/products/{months}/compare").status_code == 404
