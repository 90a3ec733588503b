import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from firmware_sim import demo_press, demo_trigger, local_hub, onboarding
from firmware_sim.hub_client import HubClient
from firmware_sim.local_hub import Address

COMMAND = "import typer; from firmware_sim.demo import command; typer.run(command)"
LEFT = "RV-001-0005"  # the demo leaves it unclaimed
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


def password(output: str, email: str) -> str:
    line = next(line for line in output.splitlines() if line.strip().startswith(email))
    return line.split()[1]


def visible_rows(address: Address, email: str, output: str) -> int:
    with onboarding.sign_in(address, email, password(output, email)) as home:
        own = list(home.pages("/products"))
        return sum(
            1 for product in own for _ in home.rows(product["device_id"], "wifi_rssi_db")
        ) // max(1, len(own))


def test_a_fault_is_found_a_push_applied_and_the_history_is_its_owners(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    demo = start("--exit", "--products", "8", "--hours", "24", "--data", str(data))
    output, errors = demo.communicate(timeout=480)
    assert demo.returncode == 0, output + errors
    assert "Happens HP-001-0002 wears a bearing" in output
    assert "Told on the page of Ana Gruber and of support: HP-001-0002, Vibration" in output
    assert "Notice on the display of HP-001-0002" in output
    assert "flow_offset_k = -3.0" in output
    assert "each with its receipt" in output
    assert not processes_naming(data)

    with local_hub.started(data / "hub") as address:
        rows = {
            email: visible_rows(address, f"{email}@example.com", output)
            for email in ("ana", "max", "eva", "finn")
        }
        with onboarding.sign_in(
            address, "support@example.com", password(output, "support@example.com")
        ) as support:
            assert len(list(support.pages("/products"))) == 8
    # A day: 17.5 hours at 300 s, 6 at 30 s, half an hour at 5 s, and what came live.
    assert rows["ana"] >= 210 + 720 + 360
    assert rows["max"] == rows["ana"]  # of the same household
    assert rows["eva"] >= 1290  # in grace
    assert rows["finn"] == 0  # lapsed: kept, not shown


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "demo"
    demo = start("--for", "120", "--products", "3", "--hours", "24", "--data", str(data))
    try:
        wait_for(data / "hub" / "run" / "hub.json", demo)
        assert processes_naming(data)
        demo.send_signal(number)
        demo.send_signal(number)  # somebody in a hurry
        output, errors = demo.communicate(timeout=180)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 0, output + errors
    assert "nothing is left running" in output
    assert not processes_naming(data)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    data = tmp_path / "demo"
    demo = start("--for", "120", "--products", "3", "--hours", "1", "--data", str(data))
    try:
        wait_for(data / "hub" / "run" / "hub.json", demo)
    finally:
        demo.kill()
        demo.wait()
    deadline = time.monotonic() + 120
    while left := processes_naming(data):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_scenarios_are_triggered_and_buttons_pressed_from_another_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = Path(tempfile.mkdtemp(prefix="hp"))  # short: paths of sockets are limited
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sockets))
    data = tmp_path / "demo"
    demo = start("--for", "120", "--products", "12", "--hours", "1", "--data", str(data))
    trigger = CliRunner()
    app = typer.Typer()
    app.command()(demo_trigger.command)
    try:
        wait_for(sockets / "homeport" / f"{demo.pid}.sock", demo)
        assert (sockets / "homeport").stat().st_mode & 0o777 == 0o700
        assert (sockets / "homeport" / f"{demo.pid}.sock").stat().st_mode & 0o777 == 0o600
        listed = trigger.invoke(app, [])
        assert listed.exit_code == 0, listed.output
        assert any(line.startswith("bearing_wear ") for line in listed.output.splitlines())
        wrong = trigger.invoke(app, ["no_such"])
        assert (wrong.exit_code, "There is no scenario 'no_such'" in wrong.output) == (2, True)
        begun = wait_until_begun(trigger, app, "stuck_sensor")
        assert "stuck_sensor begins" in begun
        press_and_claim(data)
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=180)
    finally:
        demo.kill()
        demo.wait()
    assert "Trigger stuck_sensor" in output, output + errors
    assert "Pressed the button of HP-001-0002" in output
    assert f"Claim {LEFT} yourself: sign in as jan@example.com" in output
    assert f"homeport press {LEFT}" in output
    gone = trigger.invoke(app, [])
    assert (gone.exit_code, gone.output.count("No demo runs")) == (1, 1)
    shutil.rmtree(sockets)


def press_and_claim(data: Path) -> None:
    """Claim the product that the demo leaves to whoever watches, as its page says."""
    trigger, app = CliRunner(), typer.Typer()
    app.command()(demo_press.command)
    missing = trigger.invoke(app, ["HP-999-0001"])
    assert (missing.exit_code, "No product HP-999-0001" in missing.output) == (2, True)
    none = trigger.invoke(app, ["EV-001-0002"])
    assert (none.exit_code, "has no button" in none.output) == (2, True)
    owned = trigger.invoke(app, ["hp-001-0002"])
    assert (owned.exit_code, "It has an owner" in owned.output) == (0, True)
    pressed = wait_until_begun(trigger, app, LEFT)
    assert f"The button of {LEFT} is pressed: for 10 minutes" in pressed
    code = pressed.rpartition("code=")[2].strip()
    address = local_hub.find(data / "hub")
    with HubClient(address.api, address.ca_file, address.token) as vendor:
        other = onboarding.customer(vendor, "zoe@example.com", "Zoe")
    with onboarding.sign_in(address, other.email, other.password) as home:
        onboarding.until_pressed(
            lambda: home.call("POST", "/claims", {"claim_code": code}), lambda: None
        )
        assert [product["serial"] for product in home.pages("/products")] == [LEFT]


def wait_for(path: Path, demo: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert demo.poll() is None, demo.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_begun(trigger: CliRunner, app: typer.Typer, name: str) -> str:
    """A product joins the fleet once its past is lived; until then there is none to break."""
    deadline = time.monotonic() + 180
    while (done := trigger.invoke(app, [name])).exit_code != 0:
        assert time.monotonic() < deadline, done.output
        time.sleep(0.2)
    return done.output
