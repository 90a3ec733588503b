"""The parts of an erasure that cannot be done in its transaction, and by when each of them is.

1. A part is done when it was seen to be; until then its instant is a promise, not a fact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_S: Final = 1_000_000_000
_ARCHIVE_NS: Final = 20 * 60 * _S
"""A segment is sealed after five minutes, compacted after five more, and readers have two."""
_LOGS_NS: Final = 10 * 60 * _S
_PAGES_NS: Final = 60 * 60 * _S


class Part(StrEnum):
    """Where something of a person may be left for a while."""

    TELEMETRY = "telemetry"
    """Rows in journal and archive; copies that readers still have open."""
    LOGS = "logs"
    """Logs between the hub's processes: findings, dead letters, usage."""
    DATABASE = "database"
    """Free pages and the write-ahead log of the database."""
    MIRROR = "mirror"
    """Rows in the time-series database."""
    PROVIDER = "provider"
    """The customer, with its means of payment, at the payment provider."""
    BACKUPS = "backups"
    """Backups taken before; a restore of one erases again."""


@dataclass(frozen=True, slots=True)
class Later:
    """A part that is still to come; `until` in ns, None if the hub cannot say."""

    part: Part
    until: int | None


@dataclass(frozen=True, slots=True)
class Horizon:
    """What this hub keeps outside of the database, and for how long.

    Args:
        backups_ns: how old the oldest backup gets, ns; None: the hub takes none.
        mirror: there is a time-series database.
    """

    backups_ns: int | None = None
    mirror: bool = False

    def until(self, part: Part, at: int) -> int | None:
        """Return by when a part of an erasure of an instant (ns) is done."""
        match part:
            case Part.TELEMETRY | Part.MIRROR:
                return at + _ARCHIVE_NS
            case Part.LOGS:
                return at + _LOGS_NS
            case Part.DATABASE:
                return at + _PAGES_NS
            case Part.PROVIDER:
                return None
            case Part.BACKUPS:
                return None if self.backups_ns is None else at + self.backups_ns


def parts_of(horizon: Horizon, *, telemetry: bool, provider: bool) -> Sequence[Part]:
    """Return the parts that an erasure has on a hub.

    Args:
        horizon: what the hub keeps outside of the database.
        telemetry: something was measured.
        provider: the payment provider knows the household.
    """
    parts = [Part.TELEMETRY] if telemetry else []
    if telemetry and horizon.mirror:
        parts.append(Part.MIRROR)
    parts += [Part.LOGS, Part.DATABASE]
    if provider:
        parts.append(Part.PROVIDER)
    if horizon.backups_ns is not None:
        parts.append(Part.BACKUPS)
    return parts
