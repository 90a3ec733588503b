"""Two workers, one of which is killed, then stopped past its lease: every promise is kept."""

from pathlib import Path

import pytest

from tests.chaos.ledger import Verdict
from tests.chaos.nemesis import Nemesis
from tests.chaos.scenarios import worker_kill, worker_pause

SEED = 11

pytestmark = pytest.mark.hub


def test_no_promise_is_broken_when_lanes_change_hands(tmp_path: Path) -> None:
    with Nemesis(tmp_path, SEED, INGEST__WORKERS="2", INGEST__LEASE_MS="2000") as nemesis:
        killed = worker_kill(nemesis, 1)
        paused = worker_pause(nemesis, 1)
        worse = nemesis.look_back()
    assert killed.verdict.kept, killed.broken
    assert paused.verdict.kept, paused.broken
    assert worse == Verdict()
    assert killed.verdict.acked > 0
