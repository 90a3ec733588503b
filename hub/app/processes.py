"""How it stands with the hub's processes, for whoever asks: metrics, and `run/processes.json`.

1. The supervisor knows; it writes the file when something changed, so readers need not ask it.
2. A process counts with all that it started (the broker's server, for one), as far as the system tells.
What must never live here: starting or ending anything.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from hub.app.supervisor import Standing
from hub.metrics import Metrics
from hub.ports.journal.durability import write_whole

NAME: Final = "processes.json"
_MEASURE_S: Final = 5.0
_PUBLISH_S: Final = 1.0
_PROC: Final = Path("/proc")


class Watch:
    """Takes what the supervisor sees.

    Args:
        run_dir: where the file goes.
        metrics: of the supervisor.
        clock: seconds that only go forward.
    """

    def __init__(self, run_dir: Path, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._run_dir = run_dir
        self._metrics = metrics
        self._clock = clock
        self._before: Sequence[Standing] = ()
        self._measured = self._published = -_MEASURE_S

    def look(self, standings: Sequence[Standing]) -> None:
        """Note how it stands; a full disk keeps nobody from supervising."""
        now = self._clock()
        changed = standings != self._before
        for one in standings:
            self._metrics.process_up.labels(one.role).set(one.up)
        if now - self._measured >= _MEASURE_S:
            self._measured = now
            for one in standings:
                self._measure(one)
        with suppress(OSError):
            if changed:
                facts = [asdict(one) for one in standings]
                write_whole(self._run_dir / NAME, json.dumps(facts).encode())
                self._before = tuple(standings)
            if changed or now - self._published >= _PUBLISH_S:
                self._published = now
                self._metrics.publish(self._run_dir / "metrics")

    def _measure(self, one: Standing) -> None:
        memory = ticks = 0
        for pid in _family(one.pid) if one.pid else ():
            with suppress(OSError, ValueError, IndexError):
                # Behind the name, which may hold anything: fields from the third on, see proc(5).
                fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
                memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
                ticks += int(fields[11]) + int(fields[12])
        self._metrics.process_memory.labels(one.role).set(memory)
        self._metrics.process_cpu.labels(one.role).set(ticks / os.sysconf("SC_CLK_TCK"))


def read(run_dir: Path) -> list[Standing]:
    """Read how it stood last; nothing if no supervisor said."""
    try:
        return [Standing(**one) for one in json.loads((run_dir / NAME).read_text())]
    except (OSError, ValueError, TypeError):
        return []


def problems(run_dir: Path) -> list[str]:
    """Say which processes do not do their job, one sentence each."""
    found = []
    for one in read(run_dir):
        if one.up:
            continue
        if one.restarts or not one.pid:
            found.append(
                f"The process {one.role} does not run; it is started again by itself, "
                f"{one.restarts} times so far. See run/{one.role}.err."
            )
        else:
            found.append(f"The process {one.role} is starting.")
    return found


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield pid
    for task in _PROC.glob(f"{pid}/task/*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                yield from _family(int(child))
