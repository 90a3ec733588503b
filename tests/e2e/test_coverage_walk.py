"""A product is used until its warranty is used up, and is certified for a buyer: all on real parts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firmware_sim import onboarding
from tests.e2e.world import PATIENCE_S, Home, Unit, World

pytestmark = pytest.mark.hub

MODEL = "pressure-washer"
CATALOGUE = {
    "models": {
        MODEL: {
            "title": "Pressure washer",
            "possession": "label",
            "metrics": [{"name": "operating_min", "unit": "min", "kind": "counter"}],
            "features": {"telemetry": {"default": True}},
            "warranty": [
                {
                    "version": 1,
                    "months": 24,
                    "hours": {"metric": "operating_min", "at_most": 100.0},
                }
            ],
        }
    }
}


def verified(file: Path, keys: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hub", "certificate", "verify", str(file), "--keys", str(keys)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_a_buyer_learns_that_the_warranty_is_used_up(
    world: World, anna: Home, tmp_path: Path
) -> None:
    world.vendor.call("POST", "/catalogue", CATALOGUE)
    made = onboarding.make(world.vendor, MODEL, f"PW-{tmp_path.name[-12:]}")
    unit = Unit(made, tmp_path / "unit")
    onboarding.claim(anna.api, made)
    path = f"/products/{made.product_id}"
    assert anna.api.call("GET", f"{path}/coverage")["warranty"]["code"] == "warranty_waiting"

    issued: dict[str, Any] = {}
    with world.open(unit) as device:
        assert device.wait_connected(PATIENCE_S)
        for minutes in (59 * 60, 3 * 60, 10 * 60, 121 * 60):  # the board was changed after 59 hours
            device.measure("operating_min", float(minutes))
            assert device.flush(PATIENCE_S)  # what has its receipt is found
            issued = anna.api.call("POST", f"{path}/certificates", {"days": 7})
    document = issued["document"]
    assert document["counters"]["hours"]["total"] == 59 + 121
    assert document["warranty"]["code"] == "warranty_ended_hours"
    now = anna.api.call("GET", f"{path}/coverage")
    assert (now["covered"], now["warranty"]["code"]) == (False, "warranty_ended_hours")

    file, keys = tmp_path / "certificate.json", tmp_path / "keys.json"
    keys.write_text(json.dumps(world.vendor.call("GET", "/certificate-keys")))
    shown = world.vendor.call("GET", issued["path"].removeprefix("/api/v1"))
    file.write_text(json.dumps(shown))
    done = verified(file, keys)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == document
    file.write_text(shown["certificate"][:-8] + "AAAAAAAA")
    done = verified(file, keys)
    assert done.returncode == 1
    assert "was changed after it was issued" in done.stderr
