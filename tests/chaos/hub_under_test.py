"""A hub that suffers: its processes by name, its folders, and the ways to hurt them.

1. Ports are chosen once, so that a hub that starts again is where devices look for it.
2. Devices reach the broker only through the bad network.
3. Only processes of this hub are touched, by the ids that its supervisor wrote.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.faulty_journal import ORDER
from tests.chaos.journal_disk import JournalDisk
from tests.chaos.network import BadNetwork
from tests.conftest import ROOT, hub_environment

START_TIMEOUT_S = 300.0  # kernels may have to be compiled
SETTINGS = {
    "INGEST__CADENCE_MS": "200",
    "INGEST__SEGMENT_BYTES": "65536",
    "STORE__COMPACT_EVERY_S": "1",
    "MQTT__PUBLIC_HOST": "127.0.0.1",
}


class HubUnderTest:
    """A hub with a data folder of its own, behind a bad network.

    Args:
        folder: for its data.
        seed: of the network's faults.
        small_disk: put the journal on a small disk of its own, where that is allowed.
        settings: of the hub, beside the usual ones, by their names in the environment.
    """

    def __init__(
        self, folder: Path, seed: int, *, small_disk: bool = False, **settings: str
    ) -> None:
        self.data_dir = folder / "data"
        self.log = folder / "hub.log"
        api, mqtt, outside = free_ports(3)
        self.network = BadNetwork(mqtt, seed, outside)
        self._environment = hub_environment(
            self.data_dir,
            **(SETTINGS | settings),
            API__PORT=str(api),
            MQTT__PORT=str(mqtt),
            MQTT__PUBLIC_PORT=str(outside),
            BROKER__CLIENT_PORT=str(free_ports(1)[0]),
        )
        self._process: subprocess.Popen[bytes] | None = None
        journal = self.data_dir / "journal"
        self.disk = JournalDisk(journal, lambda: self.pid("ingest-0"), mounted=small_disk)

    def start(self) -> None:
        """Start the hub and return when it is ready."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.serve"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        card = self.data_dir / "run" / "hub.json"
        deadline = time.monotonic() + START_TIMEOUT_S
        while not card.exists():
            assert self._process.poll() is None, self.last_words()
            assert time.monotonic() < deadline, self.last_words()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the hub in order."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(120)
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop the hub and take down the network."""
        self.stop()
        self.network.close()
        self.disk.close()

    def pid(self, role: str) -> int | None:
        """Process that plays a role now."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.data_dir / "run" / f"{role}.pid").read_text())
        return None

    def kill(self, role: str) -> bool:
        """`kill -9` a role with all that it started; False if nobody plays it right now."""
        return self._signal(role, signal.SIGKILL)

    def pause(self, role: str) -> bool:
        """Stop a role in the middle of what it does."""
        return self._signal(role, signal.SIGSTOP)

    def resume(self, role: str) -> bool:
        """Let a paused role go on."""
        return self._signal(role, signal.SIGCONT)

    def order(self, fault: str) -> None:
        """Order a fault of the journal's disk; see `tests.chaos.faulty_journal`."""
        (self.data_dir / "run" / ORDER).write_text(fault)

    def obeyed(self) -> bool:
        """Whether the fault that was ordered has happened."""
        return not (self.data_dir / "run" / ORDER).exists()

    def wipe_broker(self) -> None:
        """Kill the broker and delete all that it remembers, its configuration and passwords aside."""
        self.kill("broker")
        state = self.data_dir / "broker" / "jetstream"
        deadline = time.monotonic() + START_TIMEOUT_S
        while state.exists() and time.monotonic() < deadline:
            shutil.rmtree(state, ignore_errors=True)

    def declare_restored(self) -> None:
        """Do what an operator does after putting back a backup, before the hub is started."""
        self._command("restored")

    def back_up(self, file: Path) -> None:
        """Take a backup while the hub runs."""
        self._command("backup", str(file))

    def lose_and_restore(self, file: Path) -> None:
        """Delete all that the hub has, stopped as it is, and make it anew of a backup."""
        shutil.rmtree(self.data_dir)
        self._command("restore", str(file))

    def advance_clock(self, by: str) -> None:
        """Move the time of a demo hub ahead."""
        self._command("clock", "advance", by)

    def _command(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "hub", *words],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def last_words(self) -> str:
        """Return the end of the hub's log, for messages."""
        return self.log.read_text(errors="replace")[-4_000:]

    def _signal(self, role: str, number: signal.Signals) -> bool:
        pid = self.pid(role)
        if pid is None:
            return False
        try:
            os.killpg(pid, number)  # each role leads a group of its own
        except ProcessLookupError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on."""
    with ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [int(holder.getsockname()[1]) for holder in holders]
