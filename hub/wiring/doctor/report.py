"""What an examination finds: lines with a level, what was seen, and what to do next.

1. A line that is not `ok` always says what to do.
2. Lines are for people and programs alike: `--json` prints the same facts.
3. Never here: how anything is examined.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from hub.wiring.doctor.case import Case


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at.

    Args:
        check: what was looked at.
        level: how bad it is.
        seen: what was seen.
        advice: what to do next; empty if nothing.
    """

    check: str
    level: Level
    seen: str
    advice: str = ""

    def facts(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


Check = Callable[[Case], Iterator[Line]]


def ok(check: str, seen: str) -> Line:
    """Return a line on something that is as it should be."""
    return Line(check, Level.OK, seen)


def warning(check: str, seen: str, advice: str) -> Line:
    """Return a line on something that works, but not for ever."""
    return Line(check, Level.WARNING, seen, advice)


def problem(check: str, seen: str, advice: str) -> Line:
    """Return a line on something that does not work."""
    return Line(check, Level.PROBLEM, seen, advice)
