"""What a real product believes, over a change of signing keys and of owner, on a real hub."""

from dataclasses import replace

import pytest

from device_sdk.client import SYSTEM_CLOCKS
from firmware_sim.recording import time_ns
from tests.e2e.world import DAY_NS, PATIENCE_S, Home, World, eventually

pytestmark = pytest.mark.hub

FEATURE = "telemetry"


def test_decided_believed_and_enforced_agree_over_keys_and_owners(world: World, anna: Home) -> None:
    unit = world.sold(anna)
    at_once = replace(SYSTEM_CLOCKS, jitter=lambda: 0.0)
    owners: list[int] = []
    with world.open(unit, clocks=at_once) as device:
        device.on_owner_change(owners.append)
        device.on_configuration(lambda _: None)
        assert device.wait_connected(PATIENCE_S)
        eventually(lambda: device.entitled(FEATURE), "the entitlement")

        def believed() -> dict[str, object]:
            detail = world.detail(unit)
            assert detail["device"] is not None
            belief = detail["device"]["belief"]
            (one,) = [one for one in belief["features"] if one["feature"] == FEATURE] or [{}]
            return {**one, "latest": belief["latest"]}

        eventually(lambda: believed()["latest"] and believed().get("agrees"), "the same belief")
        assert device.hub_time() is not None
        first = believed()["ends_at"]
        ends_at = time_ns(str(first))
        assert ends_at is not None
        assert device._engine.trust.decide(FEATURE, ends_at // 10**9 - 1).allowed
        assert not device._engine.trust.decide(FEATURE, ends_at // 10**9).allowed

        # The device has never heard of the key that signs from now on; it asks how it came about.
        rotated = world.vendor.call("POST", "/signing-keys/rotate", {"lead_days": 0})
        assert [key["signs"] for key in rotated["keys"]][-1]
        world.subscribe(anna, unit, "comfort", 0, 2 * 365 * DAY_NS)
        later = eventually(
            lambda: one if (one := believed())["latest"] and one["ends_at"] != first else None,
            "the state by the new key",
        )
        assert later["allowed"]
        assert [key.kid.hex() for key in device._engine.trust._in_force.state.signing_keys] == [  # type: ignore[union-attr]
            rotated["signing_keys"][0]["kid"]
        ]

        anna.api.call("DELETE", f"/claims/{unit.id}")
        eventually(lambda: owners[-1:] == [0], "that nobody owns it")
        eventually(lambda: not device.entitled(FEATURE), "the end of the entitlement")
        assert device.owner_epoch == 0
    assert owners == [1, 0]
