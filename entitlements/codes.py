"""The stable machine codes of decisions.

1. Codes are on the wire, in databases and in other people's programs: only ever add.
2. A code has a fixed set of arguments (see its sentence in `sentences.py`). An argument whose name
   ends in `_at` is an instant, ns UTC; `None` there means that there is no such instant.
"""

from enum import StrEnum

Arg = bool | int | str | None
"""What an argument of a code can be; fits CBOR and JSON alike."""


class Code(StrEnum):
    """What was decided."""

    REVOKED = "revoked"
    UNKNOWN_FEATURE = "unknown_feature"
    SAFE_FUNCTION = "safe_function"
    HOLD = "hold"
    UNCLAIMED = "unclaimed"
    GRANT = "grant"
    PLAN = "plan"
    TRIAL = "trial"
    CANCELLED = "cancelled"
    GRACE = "grace"
    INCLUDED = "included"
    SCHEDULED = "scheduled"
    LAPSED = "lapsed"
    ENDED = "ended"
    NOT_IN_PLAN = "not_in_plan"
    NO_SUBSCRIPTION = "no_subscription"
    QUOTA_USED = "quota_used"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    INCOMPLETE = "incomplete"
    WITHDRAWN = "withdrawn"
