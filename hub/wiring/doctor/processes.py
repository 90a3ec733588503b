"""The doctor on the hub's processes: which are alive, and how much memory they have.

1. A hub that does not run is no problem; one that was killed is worth a word.
2. Memory is as `ps` tells it; where there is none, that is left out.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hub.wiring import roles
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_MUCH_BYTES = 4_000_000_000


def check(case: Case) -> Iterator[Line]:
    """Look at every process that a hub has."""
    settings = case.settings
    if not case.exists:
        yield ok("hub", f"there is none in {settings.data_dir} yet; start one with: homeport serve")
        return
    if not case.running:
        if case.card:
            yield warning(
                "hub",
                "does not run; it was killed, as its run/hub.json is still there",
                "Start it again: homeport serve",
            )
        else:
            yield ok("hub", "does not run; start it with: homeport serve")
        return
    pid = case.card.get("pid")
    if pid is None:
        yield warning(
            "hub",
            "is starting, or a process of it does not get ready: there is no run/hub.json",
            f"Wait a moment. Then look at {settings.run_dir}/*.err and *.log.",
        )
    else:
        yield ok("hub", f"runs as process {pid}, version {case.card.get('version')}")
    for role in roles.names(settings):
        yield _one(settings.run_dir, role)


def _one(folder: Path, role: str) -> Line:
    check_name, logs = f"process {role}", f"{folder / role}.err and .log"
    try:
        pid = int((folder / f"{role}.pid").read_text(encoding="ascii"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return problem(check_name, "is not alive", f"It is started again by itself; see {logs}.")
    state, memory = _ps(pid)
    if state[:1] in {"T", "t"}:
        return problem(check_name, f"process {pid} is stopped", f"Run: kill -CONT {pid}")
    if state[:1] == "Z":
        return problem(check_name, "has just ended", f"It is started again by itself; see {logs}.")
    seen = f"process {pid}" + (f", {memory / 1e6:.0f} MB" if memory else "")
    if memory > _MUCH_BYTES:
        return warning(check_name, seen, f"Much for one process. Note what runs, and see {logs}.")
    return ok(check_name, seen)


def _ps(pid: int) -> tuple[str, int]:
    """State and resident bytes of a process; nothing if the system does not tell."""
    ps = shutil.which("ps")
    if ps is None:
        return "", 0
    done = subprocess.run(  # noqa: S603  a fixed program with a number
        [ps, "-o", "state=,rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    words = done.stdout.split()
    return (words[0], int(words[1]) * 1024) if len(words) == 2 else ("Z", 0)
