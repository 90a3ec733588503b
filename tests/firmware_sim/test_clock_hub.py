"""A demo hub whose clock is moved: what is paid for ends, and the simulated products follow."""

import time
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from firmware_sim import commissioning, fleet_plan, local_hub, onboarding
from firmware_sim.fleet import Fleet
from firmware_sim.hub_client import HubClient
from firmware_sim.hub_time import HubTime
from firmware_sim.local_hub import Address, LocalHub
from firmware_sim.recording import time_ns
from hub.wiring.cli import app
from tests.hub.app.webhook_receiver import Receiver

pytestmark = pytest.mark.hub
DAY_NS = 86_400_000_000_000
PLAN = """
seed = 5
report_s = 0.5
[models]
heat-pump = 1
[firmware]
"2.4.1" = 1
[lots]
B = 1
[regions.north]
climate = "nordic"
zone = "Europe/Oslo"
"""


def until(ready: object, what: str, seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    assert callable(ready)
    while not ready():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


def test_forty_days_of_a_demo_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_DATA_DIR", str(tmp_path / "hub"))
    told = {"WEBHOOKS__PRIVATE_ADDRESSES": "true", "WEBHOOKS__PLAIN_HTTP": "true"}
    hub = LocalHub(tmp_path / "hub", {"DEMO": "true", **told})
    try:
        with Receiver() as shop:
            live(hub.start(), tmp_path / "state", shop)
    finally:
        hub.stop()
    with local_hub.started(tmp_path / "hub") as address:  # now as a hub that is no demo
        refused = CliRunner().invoke(app, ["clock", "advance", "1d"])
        assert "no demo hub" in str(refused.exception)
        with HubClient(address.api, address.ca_file, address.token) as vendor:
            unit = onboarding.make(vendor, "heat-pump", "HP-LATER")
            made_at = vendor.call("GET", f"/products/{unit.product_id}")["made_at"]
        assert (time_ns(made_at) or 0) > time.time_ns() + 39 * DAY_NS  # it goes on where it was


def live(address: Address, state: Path, shop: Receiver) -> None:
    plan, clock = fleet_plan.parse(PLAN, "plan"), HubTime()
    with HubClient(address.api, address.ca_file, address.token) as vendor:
        onboarding.apply_catalogue(vendor)
        shop.answer = lambda number, _: (503 if number == 1 else 204, {}, 0.0)  # loses the first
        hook = Webhook(vendor.call("POST", "/webhook-endpoints", {"url": shop.url})["secret"])
        made = commissioning.make(vendor, plan.members, state)
        products = commissioning.switch_on(
            plan.members, made, state, address, clock, report_s=plan.report_s
        )
        fleet = Fleet(products, clock, clock.hear)
        try:
            (product,) = products
            fleet.start(plan.report_s)
            owner = onboarding.customer(vendor, "ada@example.com", "Ada")
            with onboarding.sign_in(address, owner.email, owner.password) as home:
                onboarding.claim_pressing(home, made[0], product.press)
            now = time.time_ns()
            onboarding.subscribe(
                vendor, owner.owner_id, made[0].product_id, "care", now, paid_until=now + 5 * DAY_NS
            )
            device = product.device
            until(lambda: device.entitled("remote_control"), "the plan at the product")

            done = CliRunner().invoke(app, ["clock", "advance", "40d"])
            assert done.exit_code == 0, done.output
            until(lambda: not device.entitled("remote_control"), "the end of the plan")
            until(lambda: clock() > now + 39 * DAY_NS, "the fleet in the new time")
            settled = device.counters.rows_settled
            until(lambda: device.counters.rows_settled > settled + 5, "rows after the move")
            path = f"/products/{device.device_id}/entitlements/remote_control"
            assert vendor.call("GET", path)["decision"]["allowed"] is False
            detail = vendor.call("GET", f"/products/{device.device_id}")
            assert detail["open_alerts"] == []  # nobody was silent: the time between never was
            (value,) = (one for one in detail["latest"] if one["metric"] == "energy_kwh")
            assert (time_ns(value["time"]) or 0) > now + 39 * DAY_NS
            between = vendor.call("GET", "/deadletters", device_id=device.device_id)["items"]
            assert between == []
            assert fleet.failure is None
            # Retried on the way, while the clock moved; what a receiver keeps is what holds.
            heard = [one for one in shop.heard if hook.verify(one.body, one.headers)]
            kinds = {one.json["type"] for one in heard}
            assert kinds >= {"product.claimed", "subscription.started"}
            assert heard[0].id in {one.id for one in heard[1:]}
            newest = max(heard, key=lambda one: (one.data["version"], one.data["as_of"]))
            assert newest.data["product"]["owner_id"] == owner.owner_id
            assert newest.data["subscriptions"][0]["plan"] == "care"
        finally:
            fleet.stop()
