"""Random schedules of faults on a whole hub and device in one thread: every promise is kept."""

from pathlib import Path

import pytest

from tests.chaos.simulation import HAPPENINGS, HUB_FAULTS, Simulation, play

ALL = {
    **HAPPENINGS,
    **HUB_FAULTS,
    "back_up_device": 1,
    "restore_device": 1,
    "back_up_hub": 1,
    "restore_hub": 1,
}


@pytest.mark.parametrize("seed", range(20))
def test_no_promise_is_broken(tmp_path: Path, seed: int) -> None:
    simulation = Simulation(tmp_path, seed)
    play(simulation, {**HAPPENINGS, **HUB_FAULTS}, 150)
    stuck = simulation.heal()
    verdict = simulation.check()
    simulation.end()
    assert (stuck, verdict.kept, verdict.acked) == (0, True, simulation.rows), verdict


@pytest.mark.parametrize("seed", range(20))
def test_no_promise_is_broken_when_backups_are_put_back(tmp_path: Path, seed: int) -> None:
    simulation = Simulation(tmp_path, seed)
    play(simulation, ALL, 150)
    stuck = simulation.heal()
    verdict = simulation.check()
    simulation.end()
    assert (stuck, verdict.kept) == (0, True), verdict


@pytest.mark.parametrize("seed", range(10))
def test_no_promise_is_broken_to_two_live_copies_of_a_device(tmp_path: Path, seed: int) -> None:
    simulation = Simulation(tmp_path, seed)
    play(simulation, {**HAPPENINGS, **HUB_FAULTS, "change_twins": 3}, 150)
    stuck = simulation.heal()
    verdict = simulation.check()
    simulation.end()
    assert (stuck, verdict.kept, verdict.acked) == (0, True, simulation.rows), verdict
