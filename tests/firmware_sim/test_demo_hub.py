import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware_sim import local_hub, onboarding
from firmware_sim.local_hub import Address

COMMAND = "import typer; from firmware_sim.demo import command; typer.run(command)"
pytestmark = pytest.mark.hub


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes_naming(folder: Path) -> list[int]:
    """Processes with the folder in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                said = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in said:
                found.append(int(entry.name))
    return found


def password_and_serial(output: str, email: str) -> tuple[str, str, str]:
    line = next(line for line in output.splitlines() if line.startswith(email))
    return email, line.split()[1], line.split()[2]


def visible_rows(address: Address, email: str, password: str, serial: str) -> int:
    with onboarding.sign_in(address, email, password) as home:
        own = list(home.pages("/products"))
        assert [product["serial"] for product in own] == [serial]
        return sum(1 for _ in home.rows(own[0]["device_id"], "power_w"))


def test_a_fault_is_found_a_push_applied_and_the_history_is_its_owners(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    demo = start("--exit", "--hours", "24", "--data", str(data))
    output, errors = demo.communicate(timeout=170)
    assert demo.returncode == 0, output + errors
    assert "on HP-001-0001: Vibration" in output
    assert "of vibration_mm_s:" in output
    assert "flow_offset_k = -3.0" in output
    assert "curl --cacert" in output
    assert not processes_naming(data)

    with local_hub.started(data / "hub") as address:
        rows = {
            email: visible_rows(address, *password_and_serial(output, email))
            for email in ("ana@example.com", "eva@example.com", "finn@example.com")
        }
    assert rows["ana@example.com"] > 1440  # a day of history at a minute, and what came live
    assert rows["eva@example.com"] > 1440  # in grace
    assert rows["finn@example.com"] == 0  # lapsed: kept, not shown


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "demo"
    demo = start("--for", "120", "--hours", "24", "--data", str(data))
    try:
        deadline = time.monotonic() + 120
        while not (data / "hub" / "run" / "hub.json").exists():
            assert demo.poll() is None, demo.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert processes_naming(data)
        demo.send_signal(number)
        demo.send_signal(number)  # somebody in a hurry
        output, errors = demo.communicate(timeout=60)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 0, output + errors
    assert "nothing is left running" in output
    assert not processes_naming(data)
