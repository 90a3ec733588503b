"""Chaos: a hub and its products are hurt in every way we know, and every promise is checked.

1. The suite is `tests/chaos`; here stand only the counts.
2. lost, duplicates, phantoms, corrupt and miscounted (metered usage that does not add up) must be 0. Recovery is from
   a fault to the moment when every product has a receipt for a row measured after it.
"""

import tempfile
from pathlib import Path
from typing import Any

SEED = 20_260
FULL = {
    "hub_kill": 200,
    "broker_wipe": 50,
    "store_outage": 20,
    "io_error": 10,
    "fleet_reconnect": 10,
    "half_open": 5,
    "paused_ingest": 5,
    "network_loss": 5,
    "network_delay": 3,
    "poison": 5,
    "clock_skew": 2,
    "device_restore": 10,
    "disk_full": 5,
    "hub_restore": 3,
    "backup_restore": 3,
    "metered_usage": 60,
}
QUICK = {"hub_kill": 3, "broker_wipe": 1, "store_outage": 1, "metered_usage": 2}


def run(quick: bool, seed: int = SEED) -> dict[str, Any]:
    """Run the campaign; `seed` draws everything."""
    from tests.chaos import campaign

    with tempfile.TemporaryDirectory(prefix="homeport-chaos-") as folder:
        return campaign.run(Path(folder), seed, QUICK if quick else FULL)
