"""How far a demo hub's clock is ahead of the world's, and how people write lengths of time.

1. The offset only ever grows. It stands in the database, with the audit; `prepare` brings the clock up to it.
2. Lengths are exact: days have 24 hours, and months and years, which have no length of their own, are refused.
"""

import re
from typing import Final

from sqlalchemy.orm import Session

from hub.errors import InvalidInputError
from hub.ports.database.record_tables import Setting
from hub.services import audit
from hub.services.caller import Caller, Scope

FURTHEST_NS: Final = 400 * 86_400_000_000_000
"""The most that the clock is moved at once."""
_NAME: Final = "clock_ahead_ns"
_S: Final = 1_000_000_000
_UNITS: Final = {"w": 604_800 * _S, "d": 86_400 * _S, "h": 3_600 * _S, "m": 60 * _S, "s": _S}
_PLAIN: Final = re.compile(
    r"(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?"
)
_ISO: Final = re.compile(
    r"P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?"
)


def length_ns(text: str) -> int:
    """Read a length of time such as `40d`, `1h30m`, `P40D` or `PT1H30M`.

    Returns:
        ns, more than 0.

    Raises:
        InvalidInputError: it is none, or nothing.
    """
    found = _ISO.fullmatch(text) or _PLAIN.fullmatch(text)
    parts = found.groups() if found else ()
    total = sum(
        int(part) * unit for part, unit in zip(parts, _UNITS.values(), strict=False) if part
    )
    if not total:
        raise InvalidInputError(
            "A length of time is written like 40d, 1h30m, P40D or PT1H30M: weeks, days, hours, minutes and seconds, "
            "each a whole number. Months and years have no length of their own; give days."
        )
    return total


def kept_ahead(session: Session) -> int:
    """Return how far the clock is ahead of the world, ns."""
    row = session.get(Setting, _NAME)
    return 0 if row is None else int(row.value)


def keep_ahead(session: Session, caller: Caller, ahead_ns: int, by_ns: int, at: int) -> None:
    """Write down that the clock moves.

    Args:
        session: a writing session.
        caller: needs `clock:move`.
        ahead_ns: how far it will be ahead of the world.
        by_ns: by how much it moves.
        at: now, before the move, ns.
    """
    caller.require(Scope.CLOCK_MOVE)
    row = session.get(Setting, _NAME)
    if row is None:
        session.add(Setting(name=_NAME, value=str(ahead_ns)))
    else:
        row.value = str(max(ahead_ns, int(row.value)))
    audit.record(
        session, at, caller.actor, "clock.advance", "hub", {"by_ns": by_ns, "to": at + by_ns}
    )
