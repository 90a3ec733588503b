"""The numbers of wire v1: verdicts, clock states, severities and statuses.

1. The numbers are frozen by docs/wire.md; a name may change, a number never does.
2. Readers tolerate numbers that they do not know where the page says so; writers use only these.
"""

from enum import IntEnum, unique


@unique
class RejectCode(IntEnum):
    """Why a row will never be accepted."""

    MALFORMED = 1
    TOO_LARGE = 2
    BAD_TIME = 3
    NOT_FINITE = 4
    UNKNOWN_METRIC = 5
    WRONG_UNIT = 6
    REFUSED = 7
    CONFLICT = 8


@unique
class QuarantineReason(IntEnum):
    """Why a row is kept but not shown."""

    LAPSED = 1
    UNCLAIMED = 2
    CLONE = 3
    HOLD = 4


@unique
class ClockState(IntEnum):
    """How far a device trusts its own clock."""

    UNSET = 0
    FREE_RUNNING = 1
    SYNCED = 2


@unique
class Severity(IntEnum):
    """How much a notice matters."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


@unique
class ReplyStatus(IntEnum):
    """What became of a command."""

    DONE = 0
    REFUSED = 1
    FAILED = 2
