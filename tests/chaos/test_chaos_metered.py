"""Random schedules of faults on hub, device and meter at once: nothing is lost, and no usage is counted twice."""

from pathlib import Path

import pytest

from tests.chaos.metered import METER_FAULTS, MeteredSimulation
from tests.chaos.simulation import HAPPENINGS, HUB_FAULTS, play


@pytest.mark.parametrize("seed", range(5))
def test_no_usage_is_lost_or_counted_twice(tmp_path: Path, seed: int) -> None:
    simulation = MeteredSimulation(tmp_path, seed)
    play(simulation, {**HAPPENINGS, **HUB_FAULTS, **METER_FAULTS}, 120)
    stuck = simulation.heal()
    verdict = simulation.check()
    accounts, stored = simulation.counted()
    simulation.end()
    assert (stuck, verdict.kept, verdict.acked) == (0, True, simulation.rows), verdict
    assert stored[0] == simulation.rows
    assert (seed, accounts) == (seed, stored)
