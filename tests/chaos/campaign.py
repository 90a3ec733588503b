"""A campaign: all scenarios, so many faults each, on hubs of their own seed; and its report.

1. `disk_full` has a hub with a small disk, `hub_restore` and `backup_restore` one whose past may be forgotten; the rest
   share one. `metered_usage` comes last on it: it moves the clock.
2. At the end the products of all scenarios are looked at once more: what is promised stays promised.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.nemesis import Nemesis, Outcome
from tests.chaos.scenarios import SCENARIOS

ALONE = ("disk_full", "hub_restore", "backup_restore")
LAST = "metered_usage"


def run(folder: Path, seed: int, counts: Mapping[str, int]) -> dict[str, Any]:
    """Run scenarios.

    Args:
        folder: for everything; emptied by the caller.
        seed: of everything drawn.
        counts: faults by scenario.

    Returns:
        Totals, and the same for each scenario.
    """
    shared = sorted((name for name in counts if name not in ALONE), key=LAST.__eq__)
    parts = [group for group in (shared, *([name] for name in counts if name in ALONE)) if group]
    outcomes: dict[str, Outcome] = {}
    for number, names in enumerate(parts):
        place = folder / str(number)
        place.mkdir()
        settings = {"DEMO": "true"} if LAST in names else {}
        small = "disk_full" in names
        with Nemesis(place, seed + number, small_disk=small, **settings) as nemesis:
            for name in names:
                outcome = outcomes[name] = SCENARIOS[name](nemesis, counts[name])
                sys.stderr.write(f"{name}: {outcome.summary()} {outcome.broken or ''}\n")
                sys.stderr.writelines(f"  {sentence}\n" for sentence in outcome.miscounted)
            worse = nemesis.look_back()
            outcomes[names[-1]].verdict += worse
    return report(seed, outcomes)


def report(seed: int, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return totals and each scenario's numbers."""
    total = Outcome()
    for outcome in outcomes.values():
        total.add(outcome)
    return {
        **total.summary(),
        "seed": seed,
        "faults_by_kind": dict(sorted(total.faults.items())),
        "scenarios": {name: outcome.summary() for name, outcome in outcomes.items()},
    }
