"""The supervisor with small programs as roles: order, restarts, and that nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE_S = 15.0

ROLE = """
import subprocess, sys
from pathlib import Path
from hub.app.child import Child
name, folder, grandchild = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
child = Child.enter()
(folder / f"{name}.loaded").touch()
if grandchild == "dies-early":
    sys.exit("broken on purpose")
child.await_turn()
print("chatter on standard output")
if grandchild != "none":
    done = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / f"{name}.grandchild").write_text(str(done.pid))
child.watch()
if grandchild == "never":
    child.stop.wait()
    sys.exit()
if grandchild == "dies":
    sys.exit("broken on purpose")
with (folder / "order").open("a") as file:
    file.write(f"{name} start\\n")
child.ready()
if grandchild == "once":
    sys.exit()
child.stop.wait()
if grandchild == "stubborn":
    import time
    time.sleep(600)
with (folder / "order").open("a") as file:
    file.write(f"{name} end\\n")
"""

SUPERVISOR = """
import sys
from pathlib import Path
from hub.app import supervisor
from hub.errors import HubError
folder = Path(sys.argv[1])
supervisor.STOP_TIMEOUT_S = 1.0
roles = [
    supervisor.Role(name, (sys.executable, str(folder / "role.py"), name, str(folder), kind), kind == "once")
    for name, _, kind in (item.partition("=") for item in sys.argv[2:])
]
restarts = folder / "restarts"
try:
    supervisor.Supervisor(
        roles,
        folder,
        lambda: (folder / "all_ready").touch(),
        lambda name: restarts.open("a").write(name + "\\n"),
    ).run()
except HubError as error:
    sys.exit(error.detail)
"""


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed orphan stays as a zombie where nobody reaps it; it is dead all the same.
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


class Run:
    def __init__(self, folder: Path, *roles: str) -> None:
        self.folder = folder
        (folder / "role.py").write_text(ROLE)
        (folder / "supervisor.py").write_text(SUPERVISOR)
        root = Path(__file__).parents[3]
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "supervisor.py"), str(folder), *roles],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )

    def wait_ready(self) -> None:
        assert eventually((self.folder / "all_ready").exists)

    def pid(self, name: str) -> int | None:
        try:
            return int((self.folder / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):  # just being replaced
            return None

    def pids(self) -> list[int]:
        files = [*self.folder.glob("*.pid"), *self.folder.glob("*.grandchild")]
        return [int(file.read_text()) for file in files]

    def gone(self) -> bool:
        return not any(map(alive, self.pids()))

    def order(self) -> list[str]:
        return (self.folder / "order").read_text().splitlines()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(*roles: str) -> Run:
        run = Run(tmp_path, *roles)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.process.kill()
        run.process.communicate()
        assert eventually(run.gone)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_roles_start_in_order_and_the_first_ends_last(
    start: Callable[..., Run], number: signal.Signals
) -> None:
    run = start("one=none", "two=child", "three=none")
    run.wait_ready()
    assert run.order() == ["one start", "two start", "three start"]
    pids = run.pids()
    assert len(pids) == 4
    assert run.end(number) == 0
    assert run.order()[-1] == "one end"
    assert sorted(run.order()[3:5]) == ["three end", "two end"]
    assert not any(map(alive, pids))


def test_a_killed_role_is_started_again_and_its_own_children_are_gone(
    start: Callable[..., Run],
) -> None:
    run = start("one=none", "two=child")
    run.wait_ready()
    first, grandchild, other = run.pid("two"), run.pids()[-1], run.pid("one")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: run.pid("two") not in {first, None})
    assert eventually(lambda: not alive(grandchild))
    assert (run.folder / "restarts").read_text() == "two\n"
    assert run.pid("one") == other
    assert run.end() == 0


def test_a_killed_supervisor_leaves_nothing_behind(start: Callable[..., Run]) -> None:
    run = start("one=child", "two=none")
    run.wait_ready()
    assert len(run.pids()) == 3
    run.end(signal.SIGKILL)
    assert eventually(run.gone)


def test_a_role_that_does_not_end_is_killed_with_its_children(start: Callable[..., Run]) -> None:
    run = start("one=none", "two=stubborn")
    run.wait_ready()
    pids = run.pids()
    assert run.end() == 0
    assert not any(map(alive, pids))


def test_a_role_that_does_not_start_ends_the_start_and_says_why(start: Callable[..., Run]) -> None:
    run = start("one=none", "two=dies", "three=none")
    _, said = run.process.communicate(timeout=PATIENCE_S)
    assert run.process.returncode == 1
    assert "two did not get ready" in said
    assert "broken on purpose" in said
    assert run.order() == ["one start", "one end"]
    assert not (run.folder / "all_ready").exists()


def test_roles_load_before_their_turn(start: Callable[..., Run]) -> None:
    run = start("one=never", "two=none")
    assert eventually((run.folder / "two.loaded").exists)
    assert not (run.folder / "order").exists()
    assert run.end() == 0
    assert eventually(run.gone)


def test_a_role_that_ends_before_its_turn_ends_the_start(start: Callable[..., Run]) -> None:
    run = start("one=never", "two=dies-early")
    _, said = run.process.communicate(timeout=PATIENCE_S)
    assert run.process.returncode == 1
    assert "two did not get ready" in said
    assert "broken on purpose" in said
    assert eventually(run.gone)


def test_what_is_done_once_is_not_started_again(start: Callable[..., Run]) -> None:
    run = start("first=once", "one=none", "two=none")
    run.wait_ready()
    assert run.order() == ["first start", "one start", "two start"]
    assert eventually(lambda: run.pid("first") is None)
    assert run.end() == 0
    assert run.order()[-1] == "one end"
    assert not (run.folder / "restarts").exists()


def test_a_signal_while_starting_ends_the_start(start: Callable[..., Run]) -> None:
    run = start("one=none", "two=never")
    assert eventually((run.folder / "two.err").exists)
    assert run.end() == 0
    assert not (run.folder / "all_ready").exists()
