"""A product that sends more than its budget: it is told to wait, waits, and loses nothing."""

import time
from typing import Any

import pytest

from firmware_sim import onboarding
from tests.e2e.world import PATIENCE_S, Home, Unit, World, eventually

pytestmark = pytest.mark.hub

PACKS = 16
CATALOGUE: dict[str, Any] = {
    "models": {
        "chatterbox": {
            "possession": "label",
            "metrics": [{"name": "temp_c", "unit": "Cel"}],
            "features": {"telemetry": {"default": True}},
            "budget": {"messages_per_s": 4, "burst_s": 1},
        }
    }
}


def throttled(world: World) -> float:
    """Frames that were turned away because of a product's budget, as the worker counts them."""
    path = world.data_dir / "run" / "metrics" / "ingest-0.prom"
    lines = path.read_text("utf-8").splitlines()
    name = 'homeport_throttled_frames_total{reason="product_budget"}'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_product_beyond_its_budget_waits_and_loses_nothing(world: World, anna: Home) -> None:
    world.vendor.call("POST", "/catalogue", CATALOGUE)
    made = onboarding.make(world.vendor, "chatterbox", f"C-{world.address.data_dir.name}")
    onboarding.claim(anna.api, made)
    unit = Unit(made, world._folder / "chatterbox")
    before = throttled(world)
    with world.open(unit) as device:
        assert device.wait_connected(PATIENCE_S)
        for number in range(PACKS):
            device.measure("temp_c", float(number))
            device.sync()
            time.sleep(0.01)  # a pack for each, or nearly so
        assert device.flush(PATIENCE_S)
        counters = device.counters
    rows = world.disk.journalled(unit.id)
    assert sorted(row.seq for row in rows) == list(range(PACKS))
    assert not counters.rejected
    eventually(lambda: throttled(world) > before, "the count of throttled frames")


def test_a_catalogue_with_a_budget_nobody_could_keep_is_refused(world: World) -> None:
    for budget in ({"messages_per_s": 0}, {"messages_per_s": 1.5}, {"rows_per_s": 9}):
        model = {**CATALOGUE["models"]["chatterbox"], "budget": budget}
        answer = world.vendor._http.post("/api/v1/catalogue", json={"models": {"mute": model}})
        assert answer.status_code == 422
