"""A quota over the real wire: counted once, told at its shares, closed when used up, opened by a better plan."""

import time

import pytest

from firmware_sim import onboarding
from tests.e2e.world import DAY_NS, PATIENCE_S, Home, Unit, World, eventually

pytestmark = pytest.mark.hub

MODEL = "tap"
SIGN = {"usage.share": 1, "usage.share_left": -1}
CATALOGUE = {
    "models": {
        MODEL: {
            "possession": "label",
            "metrics": [{"name": "volume_l", "unit": "L", "kind": "counter"}],
            "meters": {
                "water": {"metric": "volume_l", "aggregation": "increase", "decimals": 1},
                "draws": {"metric": "volume_l", "aggregation": "increase"},
            },
            "features": {
                "telemetry": {},
                "hot_water": {"kind": "metered", "unit": "L", "meter": "water"},
            },
        }
    },
    "plans": {
        "small": {
            "versions": [{"version": 1, "features": {"telemetry": {}, "hot_water": {"value": 10}}}]
        },
        "large": {
            "versions": [{"version": 1, "features": {"telemetry": {}, "hot_water": {"value": 99}}}]
        },
    },
}


@pytest.fixture(scope="module")
def tap(world: World, anna: Home) -> Unit:
    world.vendor.call("POST", "/catalogue", CATALOGUE)
    made = onboarding.make(world.vendor, MODEL, f"TAP-{time.monotonic_ns()}")
    unit = Unit(made, world.data_dir.parent / f"tap-{made.serial}")
    onboarding.claim(anna.api, made)
    world.subscribe(anna, unit, "small", -DAY_NS, 300 * DAY_NS)
    return unit


def used(home: Home, unit: Unit) -> dict[str, object]:
    usage = home.api.call("GET", f"/products/{unit.id}/usage")["usage"]
    return next(dict(one) for one in usage if one["meter"] == "water")


def test_a_quota_closes_its_feature_and_a_better_plan_opens_it(
    world: World, anna: Home, bert: Home, tap: Unit
) -> None:
    told: list[int] = []
    with world.open(tap) as device:
        device.on_notice(
            lambda notice: told.append(int(notice.arguments["share"]) * SIGN[notice.code])
        )
        eventually(lambda: device.entitled("hot_water"), "the plan at the product")
        for litres in (100.0, 104.0, 104.5):
            device.measure("volume_l", litres)
        assert device.flush(PATIENCE_S)
        eventually(lambda: used(anna, tap)["total"] == "4.5", "the count")
        assert used(anna, tap)["quota"] == 10
        assert device.entitled("hot_water")

        device.measure("volume_l", 109.2)
        assert device.flush(PATIENCE_S)
        eventually(lambda: 80 in told, "notice of four fifths")

        device.measure("volume_l", 3.0)  # the counter began again: 3 more
        assert device.flush(PATIENCE_S)
        eventually(lambda: not device.entitled("hot_water"), "the closed feature at the product")
        assert device.why("hot_water").code == "quota_used"
        assert device.entitled("telemetry")
        found = used(anna, tap)
        assert (found["total"], found["used_up"]) == ("12.2", True)
        explained = anna.api.call("GET", f"/products/{tap.id}/entitlements/hot_water")["decision"]
        assert (explained["code"], explained["until"]) == ("quota_used", found["end"])
        eventually(lambda: 100 in told, "notice of all of it")

        world.subscribe(anna, tap, "large", 0, 300 * DAY_NS)
        eventually(lambda: device.entitled("hot_water"), "the better plan at the product")
        assert used(anna, tap)["used_up"] is False
        # The larger quota leaves the shares that the smaller one had reached; each is told once.
        eventually(lambda: sorted(told) == [-100, -80, -50, 50, 80, 100], "what was left again")


def test_the_count_outlives_its_process_and_is_nobody_elses(
    world: World, anna: Home, bert: Home, tap: Unit
) -> None:
    import os
    import signal

    before = used(anna, tap)["total"]
    pid = world.role_pid("meter")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with world.open(tap) as device:
        device.measure("volume_l", 4.0)
        assert device.flush(PATIENCE_S)
    eventually(lambda: world.role_pid("meter") not in {None, pid}, "another meter")
    assert before == "12.2"
    eventually(lambda: used(anna, tap)["total"] == "13.2", "the count after the crash")
    status = bert.api._http.get(f"/api/v1/products/{tap.id}/usage").status_code
    assert status == 404
