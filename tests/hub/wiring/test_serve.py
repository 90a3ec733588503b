"""`homeport serve` as a whole: its processes, its files, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import hub_environment, reach, start_hub, stop_hub

PATIENCE_S = 120.0
ROLES = {"broker", "authd", "control", "ingest-0", "compactor", "meter"}

pytestmark = pytest.mark.hub


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def processes() -> dict[int, tuple[int, str]]:
    """Return parent and state of all processes by pid."""
    text = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split() for line in text.splitlines())
    return {int(pid): (int(parent), state) for pid, parent, state in rows}


def descendants(pid: int) -> set[int]:
    table = processes()
    found, new = set[int](), {pid}
    while new:
        new = {child for child, (parent, _) in table.items() if parent in new} - found
        found |= new
    return found


def living(pids: set[int]) -> set[int]:
    return {pid for pid, (_, state) in processes().items() if pid in pids and state[0] != "Z"}


def role_pid(data_dir: Path, role: str) -> int | None:
    try:
        return int((data_dir / "run" / f"{role}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Any]:
    """A hub of the test's own, which it may mistreat."""
    data_dir = tmp_path / "data"
    process = start_hub(data_dir)
    started = descendants(process.pid)
    running = reach(data_dir, process)
    yield running
    running.client.close()
    stop_hub(process)
    assert eventually(lambda: not living(started))


def test_the_card_of_a_running_hub(hub: Any) -> None:
    card = json.loads((hub.data_dir / "run" / "hub.json").read_text())
    assert set(card) == {
        "api_url",
        "mqtt_host",
        "mqtt_port",
        "ca_file",
        "operator_token_file",
        "pid",
        "version",
    }
    assert card["pid"] == hub.process.pid
    assert hub.client.get("/healthz").status_code == 200
    assert hub.client.get("/readyz").status_code == 200
    pids = {role: role_pid(hub.data_dir, role) for role in ROLES}
    assert None not in pids.values()
    assert len(set(pids.values())) == len(ROLES)


def test_nothing_in_the_data_folder_may_be_read_by_others(hub: Any) -> None:
    open_to_others = [
        str(path.relative_to(hub.data_dir))
        for path in [hub.data_dir, *hub.data_dir.rglob("*")]
        if not path.is_symlink()
        and path.exists()
        and path.stat().st_mode & 0o077
        and path.parent.stat().st_mode & 0o077
    ]
    assert open_to_others == []
    secrets = [*hub.data_dir.glob("**/*.key"), hub.data_dir / "run" / "operator.token"]
    assert {oct(path.stat().st_mode & 0o777) for path in secrets} == {"0o600"}


def test_logs_are_json_lines_without_secrets(hub: Any) -> None:
    lines = [
        line
        for path in (hub.data_dir / "run").glob("*.log")
        for line in path.read_text().splitlines()
    ]
    for line in lines:
        assert {"time", "level", "process", "message"} <= set(json.loads(line))
    access = json.loads((hub.data_dir / "broker" / "access.json").read_text())
    said = "\n".join([*lines, hub.data_dir.with_suffix(".log").read_text()])
    for secret in (hub.operator_token, *access.values()):
        assert secret not in said


def test_a_second_hub_on_the_same_data_folder_is_refused(hub: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hub", "serve"],
        env=hub_environment(hub.data_dir),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 1
    assert "stop that process first" in done.stderr
    assert (hub.data_dir / "run" / "hub.json").exists()
    assert hub.client.get("/healthz").status_code == 200


def test_stopping_leaves_no_process_and_no_card(own: Any) -> None:
    started = descendants(own.process.pid)
    assert len(started) >= len(ROLES) + 1  # the broker's program runs under its role
    own.process.send_signal(signal.SIGINT)
    assert own.process.wait(PATIENCE_S) == 0
    assert not living(started)
    run = own.data_dir / "run"
    assert not (run / "hub.json").exists()
    assert list(run.glob("*.pid")) == []


def test_every_role_may_be_killed_and_comes_back(own: Any) -> None:
    for role in sorted(ROLES):
        before = role_pid(own.data_dir, role)
        assert before is not None
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda r=role, b=before: role_pid(own.data_dir, r) not in {None, b}), role  # type: ignore[misc]

    def answers() -> bool:
        import httpx

        try:
            return bool(own.client.get("/readyz").status_code == 200)
        except httpx.HTTPError:
            return False

    assert eventually(answers)
    assert len(living(descendants(own.process.pid))) == len(ROLES) + 1


def test_a_killed_supervisor_leaves_no_child(own: Any) -> None:
    started = descendants(own.process.pid)
    own.process.kill()
    own.process.wait(PATIENCE_S)
    assert eventually(lambda: not living(started))
