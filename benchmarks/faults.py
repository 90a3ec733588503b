"""Injected faults: what share is found, how soon, and what is said of telemetry that is well.

1. Made-up series with one fault each (`injection`), cohorts and arrivals (`cohort_faults`), and simulated
   products that cycle (`simulated`).
2. The detector is never tuned to the seed that is reported.
"""

import argparse
import json
from typing import Any, Final

from benchmarks import cohort_faults, injection, simulated
from benchmarks.ordinary import Group

GROUPS: Final = (Group(10, 8, 14), Group(60, 48, 14), Group(300, 48, 28), Group(900, 48, 28))
_QUICK: Final = (Group(60, 16, 14), Group(900, 16, 21))


def run(quick: bool, seed: int = 7_001) -> dict[str, Any]:
    """Measure with fewer series when `quick`.

    Returns:
        What `injection.measure` returns, and under the name of each simulated product what
        `simulated.measure` returns.
    """
    result = injection.measure(seed, _QUICK if quick else GROUPS)
    _add(result, cohort_faults.measure(seed, quick=quick))
    for name in simulated.PRODUCTS:
        result[name] = simulated.measure(name, seed, 1 if quick else 4)
    return result


def _add(result: dict[str, Any], more: dict[str, Any]) -> None:
    """Add what needs more than one series to what was measured of single ones."""
    delays = more["delays"]
    result["injections"] |= {name: len(waits) for name, waits in delays.items()}
    cold = injection.recall_and_delay({"cold_start": delays.pop("cold_start")})
    result["cold_start_recall"] = cold["recall"]["cold_start"]
    for name, table in injection.recall_and_delay(delays).items():
        result[name] |= table
    by_kind = {kind: round(rate, 4) for kind, rate in more["findings"].items()}
    result["findings_per_series_week_by_kind"] |= by_kind
    total = result["findings_per_series_week"] + sum(by_kind.values())
    result["findings_per_series_week"] = round(total, 4)
    result["alerts_per_series_week"] = round(result["alerts_per_series_week"] + more["alerts"], 4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7_001)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(json.dumps(run(options.quick, options.seed), indent=2))
