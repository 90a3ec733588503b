"""Starts the hub's processes in order, keeps them running, and ends them in order.

1. All processes are started at once, to load their programs at the same time; each gets its turn to
   begin when the one before it is ready. One that ends while the hub starts is an error of the whole
   start; one that ends later is started again, with a growing pause.
2. Each child leads a process group of its own; when it ends, what is left of its group is killed.
3. Children watch their standard input, whose other end only this process holds, so a killed
   supervisor leaves nothing behind; see `hub.app.child`.
4. Ending takes less than ten seconds: the first role (the broker) goes last, stragglers are killed.

What the roles do, and which there are, is decided in `hub.wiring`.
"""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from hub.app.child import READY_LINE, TURN_LINE
from hub.errors import HubError

START_TIMEOUT_S = (
    600.0  # `control` compiles the gate first: about a minute of CPU for a million products
)
STOP_TIMEOUT_S = 6.0
STOP_FIRST_TIMEOUT_S = 3.0
STABLE_S = 30.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0

_CHECK_S = 1.0
_TAIL_LINES = 15

_log = logging.getLogger("homeport.supervisor")


class StartError(HubError):
    """A process of the hub did not start."""

    code = "start"
    title = "The hub did not start"


class StopRequestedError(Exception):
    """A signal came while the hub was starting."""


@dataclass(frozen=True, slots=True)
class Role:
    """A process to run.

    Attributes:
        name: also of its files.
        command: its command line.
        once: it says that it is ready when its work is done, then ends, and is not started again.
    """

    name: str
    command: tuple[str, ...]
    once: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with one role.

    Attributes:
        role: its name.
        pid: of the process that plays it; 0 if nobody does.
        up: it has said that it is ready, and lives.
        restarts: how many times it was started again.
    """

    role: str
    pid: int
    up: bool
    restarts: int


class _Child:
    """One role and the process that plays it at present."""

    def __init__(self, role: Role, folder: Path) -> None:
        self.role = role
        self.error_file = folder / f"{role.name}.err"
        self.pid_file = folder / f"{role.name}.pid"
        self.ready = False
        self.started_at = 0.0
        self.pause_s = FIRST_PAUSE_S
        self.restarts = 0
        self.restart_at: float | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        first = os.O_TRUNC if self.started_at == 0.0 else 0  # one file for one run of the hub
        self.ready = False
        self.restart_at = None
        self.started_at = time.monotonic()
        descriptor = os.open(self.error_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | first, 0o600)
        try:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                self.role.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        self.pid_file.write_text(f"{self.process.pid}\n", encoding="ascii")

    def give_turn(self) -> None:
        """Let it begin; a process that has ended already is found to have done so elsewhere."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self.process.stdin.fileno(), TURN_LINE)

    def done(self) -> bool:
        """Whether it has ended as it should: its work was to be done once."""
        return self.role.once and self.ready and not self.alive()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def standing(self) -> Standing:
        alive = self.alive()
        pid = self.process.pid if alive and self.process is not None else 0
        return Standing(self.role.name, pid, alive and self.ready, self.restarts)

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def clean_up(self) -> None:
        """Kill what is left of the process and its group, and let go of its pipes."""
        process = self.process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.pid_file.unlink(missing_ok=True)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            text = self.error_file.read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-_TAIL_LINES:])
        return ""


class Supervisor:
    """Runs the roles until a signal comes.

    Args:
        roles: in the order of their turns; the first that lasts is ended last.
        folder: where each child's standard error (`NAME.err`) and pid (`NAME.pid`) go.
        on_ready: called once when all roles are ready.
        on_restart: called with the role's name each time one is started again.
        on_look: told how it stands with the lasting roles, at each change and about once a second. It must not raise.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        folder: Path,
        on_ready: Callable[[], None],
        on_restart: Callable[[str], None],
        on_look: Callable[[Sequence[Standing]], None] = lambda _: None,
    ) -> None:
        self._children = [_Child(role, folder) for role in roles]
        self._on_ready = on_ready
        self._on_restart = on_restart
        self._on_look = on_look
        self._stop = False
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Start everything, watch until SIGINT or SIGTERM, end everything.

        Raises:
            StartError: a role did not get ready; whatever had started was ended again.
        """
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        self._selector.register(wake_read, selectors.EVENT_READ, None)
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        wakeup_before = signal.set_wakeup_fd(wake_write)
        try:
            self._start_all()
            self._on_ready()
            while not self._stop:
                self._turn()
        except StopRequestedError:
            _log.info("stopped while starting")
        finally:
            self._end_all()
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
            self._selector.close()
            os.close(wake_read)
            os.close(wake_write)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    def _start_all(self) -> None:
        for child in self._children:
            self._start(child)
        for child in self._children:
            child.give_turn()
            deadline = time.monotonic() + START_TIMEOUT_S
            while not child.ready:
                self._wait_for_news(_CHECK_S)
                self._look()
                if self._stop:
                    raise StopRequestedError
                self._check_start(child if time.monotonic() > deadline else None)

    def _check_start(self, late: _Child | None) -> None:
        """Raise if a process has ended, whether it had its turn or not, or one is late."""
        ended = (child for child in self._children if not child.alive() and not child.done())
        child = next(ended, late)
        if child is not None:
            raise StartError(
                f"The process {child.role.name} did not get ready. It said:\n"
                f"{child.last_words() or '(nothing)'}",
                role=child.role.name,
            )

    def _start(self, child: _Child) -> None:
        child.start()
        assert child.process is not None  # noqa: S101  `start` has just set it
        assert child.process.stdout is not None  # noqa: S101  it was opened as a pipe
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)
        _log.info("started", extra={"role": child.role.name, "pid": child.process.pid})

    def _turn(self) -> None:
        """Wait for news or for the next restart that is due, and act on it."""
        now = time.monotonic()
        due = [child.restart_at for child in self._children if child.restart_at is not None]
        self._wait_for_news(max(0.0, min([_CHECK_S, *(at - now for at in due)])))
        if self._stop:
            return
        now = time.monotonic()
        for child in self._children:
            if child.done():
                self._forget(child)
            elif child.process is not None and not child.alive():
                self._bury(child, now)
            elif child.restart_at is not None and child.restart_at <= now:
                child.restarts += 1
                self._on_restart(child.role.name)
                self._start(child)
                child.give_turn()
        self._look()

    def _look(self) -> None:
        self._on_look([child.standing() for child in self._children if not child.role.once])

    def _wait_for_news(self, timeout_s: float) -> None:
        """Sleep until a child says that it is ready, one ends, a signal comes, or time is up."""
        for key, _ in self._selector.select(timeout_s):
            data = os.read(key.fd, 256)
            child: _Child | None = key.data
            if child is None:
                continue
            if READY_LINE in data:
                child.ready = True
                _log.info("ready", extra={"role": child.role.name})
            elif not data:  # it ended, or will in a moment
                self._selector.unregister(key.fileobj)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if child.process is not None:
                        child.process.wait(_CHECK_S)

    def _bury(self, child: _Child, now: float) -> None:
        assert child.process is not None  # noqa: S101  asked by the caller
        if now - child.started_at > STABLE_S:
            child.pause_s = FIRST_PAUSE_S
        _log.error(
            "ended unexpectedly",
            extra={
                "role": child.role.name,
                "status": child.process.returncode,
                "restart_in_s": child.pause_s,
                "last_words": child.last_words(),
            },
        )
        self._forget(child)
        child.restart_at = now + child.pause_s
        child.pause_s = min(2 * child.pause_s, LONGEST_PAUSE_S)

    def _forget(self, child: _Child) -> None:
        if child.process is not None and child.process.stdout is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.process.stdout)
        child.clean_up()

    def _end_all(self) -> None:
        lasting = [child for child in self._children if not child.role.once]
        first = lasting[:1]
        others = [child for child in self._children if child not in first]
        for group, timeout_s in ((others, STOP_TIMEOUT_S), (first, STOP_FIRST_TIMEOUT_S)):
            for child in group:
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + timeout_s
            for child in group:
                if child.process is not None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.process.wait(max(0.0, deadline - time.monotonic()))
                    if child.process.poll() is None:
                        _log.error("killed", extra={"role": child.role.name})
                    self._forget(child)
        _log.info("ended")
