"""The way into a running demo from another terminal: a socket in a private folder of the user.

1. `PID.sock` in the user's runtime folder (else the cache folder); folder 0700, socket 0600.
2. One JSON line asks, one JSON line answers, and the connection ends.
3. What is asked is done by the demo's own loop, between two of its turns: no scenario runs here.
"""

import json
import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

PATIENCE_S: Final = 5.0
LONGEST: Final = 65_536


class NoDemoError(Exception):
    """No demo can be reached; the message says what to do."""


def folder() -> Path:
    """Return where the sockets of this user's demos are."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "homeport"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "homeport" / "run"


@dataclass(slots=True)
class Request:
    """Something asked of the demo.

    Args:
        what: the request.
    """

    what: Mapping[str, Any]
    answer: dict[str, Any] = field(default_factory=dict)
    answered: threading.Event = field(default_factory=threading.Event)

    def reply(self, answer: dict[str, Any]) -> None:
        """Answer it."""
        self.answer = answer
        self.answered.set()


class Door:
    """Takes requests while a demo runs.

    Args:
        path: the socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._requests: queue.Queue[Request] = queue.Queue()
        self._socket = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, name="door", daemon=True)

    @classmethod
    def open(cls) -> Self:
        """Open the door of this process.

        Raises:
            OSError: the folder is not usable.
        """
        home = folder()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        door = cls(home / f"{os.getpid()}.sock")
        door.path.unlink(missing_ok=True)
        try:
            door._socket.bind(str(door.path))
            door.path.chmod(0o600)
            door._socket.listen()
        except OSError:
            door._socket.close()
            raise
        door._thread.start()
        return door

    def requests(self) -> Iterator[Request]:
        """Yield what was asked since last time; answer each one."""
        while True:
            try:
                yield self._requests.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """Close the door."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # wakes `accept`; a socket that only listens refuses on macOS
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                guest, _ = self._socket.accept()
            except OSError:
                return
            # One at a time, briefly: a demo has one user.
            with closing(guest), suppress(OSError, ValueError):
                guest.settimeout(PATIENCE_S)
                request = Request(_receive(guest))
                self._requests.put(request)
                if request.answered.wait(PATIENCE_S):
                    guest.sendall(json.dumps(request.answer).encode() + b"\n")


def ask(what: Mapping[str, Any], pid: int | None = None) -> dict[str, Any]:
    """Ask the demo that runs.

    Args:
        what: the request.
        pid: which one, if several run.

    Returns:
        Its answer.

    Raises:
        NoDemoError: none runs, several do, or it does not answer.
    """
    doors = [door for door in sorted(folder().glob("*.sock")) if pid in {None, _pid(door)}]
    reached = [(door, guest) for door in doors if (guest := _knock(door)) is not None]
    try:
        if not reached:
            raise NoDemoError(
                "No demo runs. Start one in another terminal with: homeport demo"
                if pid is None
                else f"No demo runs as process {pid}. Leave --pid out to reach the one that does."
            )
        if len(reached) > 1:
            numbers = ", ".join(str(_pid(door)) for door, _ in reached)
            raise NoDemoError(f"Several demos run. Choose one with --pid: {numbers}")
        guest = reached[0][1]
        guest.sendall(json.dumps(dict(what)).encode() + b"\n")
        return dict(_receive(guest))
    except (OSError, ValueError) as error:
        raise NoDemoError(
            f"The demo does not answer ({error}). It may be starting or stopping; try again."
        ) from error
    finally:
        for _, guest in reached:
            guest.close()


def _knock(door: Path) -> socket.socket | None:
    """Connect to a demo; the socket of one that was killed is cleared away."""
    guest = socket.socket(socket.AF_UNIX)
    guest.settimeout(2 * PATIENCE_S)
    try:
        guest.connect(str(door))
    except ConnectionRefusedError:
        door.unlink(missing_ok=True)
    except OSError:
        pass
    else:
        return guest
    guest.close()
    return None


def _pid(door: Path) -> int:
    return int(door.stem) if door.stem.isdigit() else 0


def _receive(guest: socket.socket) -> Mapping[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        part = guest.recv(4_096)
        if not part or len(data) > LONGEST:
            raise ValueError("the line does not end")
        data += part
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  bad input from outside, like bad JSON
    return value
