"""`homeport doctor` beside a running hub, also while a process of it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import hub_environment

pytestmark = pytest.mark.hub


def doctor(data_dir: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "hub", "doctor", "--json"],
        env=hub_environment(data_dir),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = json.loads(done.stdout)["lines"]
    return done.returncode, {line["check"]: line for line in lines}


def test_a_running_hub_is_well(hub: Any) -> None:
    status, found = doctor(hub.data_dir)
    assert [line for line in found.values() if line["level"] == "problem"] == []
    assert status == 0
    assert f"runs as process {hub.process.pid}" in found["hub"]["seen"]
    assert found["broker"]["seen"].endswith("accepts the hub's certificate")
    assert found["api"]["seen"].endswith("is ready")
    assert "is open" in found["port mqtt"]["seen"]


def test_a_stopped_process_is_named(hub: Any) -> None:
    pid = int((hub.data_dir / "run" / "compactor.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        status, found = doctor(hub.data_dir)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert status == 1
    assert found["process compactor"]["seen"] == f"process {pid} is stopped"
    assert found["process compactor"]["advice"] == f"Run: kill -CONT {pid}"
    deadline = time.monotonic() + 120
    while doctor(hub.data_dir)[0]:
        assert time.monotonic() < deadline
