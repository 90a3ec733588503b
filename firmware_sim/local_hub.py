"""A hub on this machine: start one as a child, or find one that runs.

1. A started hub is a child process of its own process group: Ctrl-C reaches the demo, and the demo
   stops the hub in order; nothing outlives `stop`.
   Should this process be killed, the hub ends by itself: it holds one end of a pipe to us.
2. What is known of a hub comes from its `run/hub.json`, never from its code.
3. Never here: what is asked of the hub; that is `hub_client`'s.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from firmware_sim.hub_client import HubAnswerError, HubClient

START_TIMEOUT_S: Final = 90.0  # the first start on a machine may compile kernels
STOP_TIMEOUT_S: Final = 20.0
PREFIX: Final = "HOMEPORT_"
DEFAULT_PORTS: Final = (8443, 8883)  # of the API and of MQTT, as the hub documents them


class LocalHubError(Exception):
    """The hub did not start, is not there, or did not stop; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach a running hub.

    Args:
        api: base address of the HTTPS API, such as `https://127.0.0.1:8443`.
        ca_file: certificate of the hub's authority.
        token: the operator's token.
        data_dir: the hub's data folder.
        facts: everything else that `run/hub.json` says.
    """

    api: str
    ca_file: Path
    token: str
    data_dir: Path
    facts: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Address(api={self.api!r}, data_dir={str(self.data_dir)!r})"


def find(data_dir: Path) -> Address:
    """Find the hub that runs with a data folder.

    Args:
        data_dir: its data folder.

    Returns:
        Its address.

    Raises:
        LocalHubError: no hub runs there, or its files cannot be read.
    """
    path = data_dir / "run" / "hub.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        token = Path(facts["operator_token_file"]).read_text(encoding="utf-8").strip()
        return Address(
            api=str(facts["api_url"]),
            ca_file=Path(facts["ca_file"]),
            token=token,
            data_dir=data_dir,
            facts=facts,
        )
    except FileNotFoundError:
        raise LocalHubError(
            f"No hub runs with the data folder {data_dir} ({path} is missing). "
            "Start one with `homeport serve`, or leave --data out to let a hub be started."
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise LocalHubError(
            f"{path} cannot be used: {error}. Is the hub of this version, and yours?"
        ) from error


def running(data_dir: Path) -> Address:
    """Find the hub that runs with a data folder, and make sure that it answers.

    Args:
        data_dir: its data folder.

    Returns:
        Its address.

    Raises:
        LocalHubError: no hub runs there, or it does not answer.
    """
    address = find(data_dir)
    try:
        with HubClient(address.api, address.ca_file) as client:
            client.ready()
    except (OSError, HubAnswerError, httpx.TransportError) as error:
        raise LocalHubError(
            f"The hub of {data_dir} does not answer at {address.api} ({error}). "
            "Was it killed? Start it with `homeport serve`."
        ) from error
    return address


def default_ports_free() -> bool:
    """Whether a hub can listen on the default ports of this machine."""
    with ExitStack() as stack:
        for port in DEFAULT_PORTS:
            probe = stack.enter_context(socket.socket())
            # As the hub does; else a port of a hub that has just ended counts as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


class LocalHub:
    """A hub that this process started.

    Args:
        data_dir: its data folder; made if it is not there.
        settings: more settings, by name as in the environment without `HOMEPORT_`.
        fixed_ports: listen on the default ports instead of free ones.
    """

    def __init__(
        self,
        data_dir: Path,
        settings: Mapping[str, str] | None = None,
        *,
        fixed_ports: bool = False,
    ) -> None:
        self.data_dir = data_dir.absolute()
        ports = {} if fixed_ports else {"API__PORT": "0", "MQTT__PORT": "0"}
        self._settings = {"DATA_DIR": str(self.data_dir), **ports, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """What the hub says."""
        return self.data_dir / "serve.log"

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Address:
        """Start the hub and wait until it answers: `launch`, then `wait`."""
        self.launch()
        return self.wait(timeout_s)

    def launch(self) -> None:
        """Start the hub's process and return at once, to do something else meanwhile."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.data_dir / "run" / "hub.json").unlink(missing_ok=True)
        # Settings of another hub in the caller's environment must not leak into this one; the
        # cache of compiled kernels may.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(PREFIX) or name == f"{PREFIX}CACHE_DIR"
        }
        environment = kept | {f"{PREFIX}{name}": value for name, value in self._settings.items()}
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hub", "serve", "--while-stdin-open"],
                env=environment,
                stdin=subprocess.PIPE,  # nobody writes; its end tells the hub that we are gone
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> Address:
        """Wait until a launched hub answers.

        Args:
            timeout_s: how long to wait.

        Returns:
            Its address.

        Raises:
            LocalHubError: it ended or did not come up; the message ends with its last words.
        """
        assert self._process is not None  # noqa: S101  the caller has launched it
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise LocalHubError(
                    f"The hub ended with status {self._process.returncode} while starting:\n"
                    f"{self._last_words()}"
                )
            if (self.data_dir / "run" / "hub.json").exists():
                return find(self.data_dir)
            time.sleep(0.05)
        self.stop()
        raise LocalHubError(f"The hub did not come up in time:\n{self._last_words()}")

    def _last_words(self) -> str:
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "(it said nothing)"
        return "\n".join(lines[-15:]) or "(it said nothing)"

    def running(self) -> bool:
        """Whether the hub's process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the hub in order; if it does not end in time, kill it.

        Args:
            timeout_s: how long it may take to end by itself.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
            # What a killed supervisor leaves behind ends by itself: it watches a pipe to it.
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


@contextmanager
def started(
    data_dir: Path, settings: Mapping[str, str] | None = None, *, fixed_ports: bool = False
) -> Iterator[Address]:
    """Run a hub for the length of a `with` block.

    Args:
        data_dir: its data folder.
        settings: see `LocalHub`.
        fixed_ports: see `LocalHub`.

    Yields:
        Its address.

    Raises:
        LocalHubError: it did not start.
    """
    hub = LocalHub(data_dir, settings, fixed_ports=fixed_ports)
    try:
        yield hub.start()
    finally:
        hub.stop()
