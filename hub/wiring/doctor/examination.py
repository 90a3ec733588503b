"""The whole examination, and how it is shown.

1. Checks run in the order in which a person would look; one that fails in a way nobody foresaw is
   a line of its own and never ends the others.
2. Nothing is changed by any check.
"""

import json
from collections.abc import Callable, Iterable, Iterator

from hub.config import Settings
from hub.wiring import compose
from hub.wiring.doctor import (
    backups,
    certificates,
    connections,
    exposure,
    levels,
    machine,
    money,
    processes,
    records,
    signing,
)
from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Check, Level, Line, problem

CHECKS: tuple[Check, ...] = (
    processes.check,
    connections.check_ports,
    connections.check_api,
    connections.check_broker,
    certificates.check,
    signing.check,
    machine.check_folders,
    exposure.check,
    machine.check_disk,
    machine.check_clock,
    machine.check_limits,
    records.check_formats,
    records.check_database,
    records.check_journal,
    records.check_store,
    records.check_lags,
    levels.check,
    money.check,
    backups.check,
)
_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}


def examine(settings: Settings) -> Iterator[Line]:
    """Examine the hub of some settings.

    Args:
        settings: as loaded.

    Yields:
        Each line as soon as it is known.
    """
    compose.follow_clock(settings)
    case = Case.of(settings, compose.now(), compose.ahead())
    for check in CHECKS:
        try:
            yield from check(case)
        except Exception as error:  # noqa: BLE001  see rule 1
            name = f"{check.__module__.rpartition('.')[2]} {check.__name__}"
            yield problem(name, f"this check failed: {error!r}", "Please report this.")


def show(
    lines: Iterable[Line], write: Callable[[str], None], style: Callable[..., str], *, as_json: bool
) -> int:
    """Show an examination.

    Args:
        lines: what it found.
        write: takes one line of text.
        style: colours a text (`click.style`).
        as_json: as JSON instead of text.

    Returns:
        Exit status: 1 if there is a problem, else 0.
    """
    seen = []
    for line in lines:
        seen.append(line)
        if not as_json:
            write(f"{style(f'{line.level:<8}', fg=_COLOURS[line.level])} {line.check}: {line.seen}")
            if line.advice:
                write(f"         -> {line.advice}")
    count = {level: sum(line.level is level for line in seen) for level in Level}
    if as_json:
        facts = {"lines": [line.facts() for line in seen], "count": count}
        write(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        write(
            f"{count[Level.OK]} ok, {count[Level.WARNING]} to watch, {count[Level.PROBLEM]} wrong"
        )
    return int(bool(count[Level.PROBLEM]))
