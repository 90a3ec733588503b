"""A short campaign on a real hub: every promise is kept, and metered usage adds up."""

from pathlib import Path

import pytest

from tests.chaos import campaign

SEED = 7

pytestmark = pytest.mark.hub


def test_no_promise_is_broken_by_kills_wipes_and_outages(tmp_path: Path) -> None:
    found = campaign.run(
        tmp_path,
        SEED,
        {
            "hub_kill": 1,
            "broker_wipe": 1,
            "store_outage": 1,
            "device_restore": 1,
            "metered_usage": 3,
        },
    )
    kinds = ("lost", "duplicates", "phantoms", "corrupt", "miscounted")
    broken = {name: found[name] for name in kinds}
    assert not any(broken.values()), found
    assert found["acked"] > 0
    assert found["faults"] >= 7
