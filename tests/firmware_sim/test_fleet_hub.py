"""A described fleet against a real hub: network losses, clocks and clones over mutual TLS."""

import time
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from firmware_sim import commissioning, fleet_command, fleet_plan, local_hub, onboarding, scenario
from firmware_sim.fleet import Fleet
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address
from firmware_sim.simulated import SimulatedProduct

pytestmark = pytest.mark.hub

PLAN = """
seed = 5
report_s = 0.5
[models]
heat-pump = 20
ev-charger = 20
robot-vacuum = 20
[firmware]
"2.4.1" = 1
[lots]
B = 1
[regions.north]
climate = "nordic"
zone = "Europe/Oslo"
"""


def until(ready: object, seconds: float = 180.0) -> bool:
    end = time.monotonic() + seconds
    assert callable(ready)
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def test_sixty_products_lose_their_network_their_time_and_their_identity(tmp_path: Path) -> None:
    with local_hub.started(tmp_path / "hub") as address:
        with HubClient(address.api, address.ca_file, address.token) as vendor:
            _play(vendor, address, tmp_path / "state")
        _command(tmp_path)


def _play(vendor: HubClient, address: Address, state: Path) -> None:
    plan = fleet_plan.parse(PLAN, "plan")
    onboarding.apply_catalogue(vendor)
    made = commissioning.make(vendor, plan.members, state)
    assert commissioning.make(vendor, plan.members, state) == made  # nothing is made twice
    products = commissioning.switch_on(
        plan.members, made, state, address, time.time_ns, report_s=plan.report_s
    )
    fleet = Fleet(products, time.time_ns)
    try:
        fleet.start(plan.report_s)
        by_serial = {product.serial: product for product in products}

        def happen(line: str) -> list[SimulatedProduct]:
            return fleet.apply(scenario.parse(line).events[0], time.time_ns())

        cut = happen("at 0 s: 5 heat pumps lose Wi-Fi for 4 s")
        assert until(lambda: not any(one.device.connected for one in cut))
        happen("at 0 s: EV-005-0001 resets its clock for 3 s")
        happen("at 0 s: RV-005-0001 is cloned for 20 s")
        assert until(lambda: all(one.device.connected for one in cut))
        assert all(one.device.counters.connects == 2 for one in cut)

        cloned = by_serial["RV-005-0001"].device.device_id

        def noticed() -> bool:
            found = vendor.pages("/findings", device_id=cloned)
            return any(finding["kind"] == "two_copies" for finding in found)

        assert until(noticed)
        assert fleet.failure is None
        happen("at 0 s: everything recovers")
        assert all(one.device.flush(120) for one in products)

        # Rows of 1970 are stored with the hub's correction, so nothing lies before this year.
        charger = by_serial["EV-005-0001"].device.device_id
        item = vendor.call("GET", f"/products/{charger}")
        assert item["firmware"] == "2.4.1"
        assert item["hardware_lot"] == "B"
        assert item["region"] == "north"
    finally:
        fleet.stop()
    assert not (state / "RV-005-0001" / "spool.db-wal").exists()


def _command(folder: Path) -> None:
    """Go on with the same fleet by the command an operator uses."""
    app = Typer()
    app.command()(fleet_command.command)
    file = folder / "fleet.toml"
    file.write_text(PLAN)
    options = ("--hub", str(folder / "hub"), "--state", str(folder / "state"))
    done = CliRunner().invoke(
        app, [str(file), *options, "--scenario", "bearing_wear", "--for", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "60 products are connected" in done.output
    assert "at 0 s: one heat pump is used (HP-005-0001)" in done.output
    assert (folder / "state" / "claim-codes.csv").stat().st_mode & 0o777 == 0o600
    refused = CliRunner().invoke(app, [str(file), *options, "--scenario", "meteor"])
    assert refused.exit_code == 1
    assert "bearing_wear" in refused.output
