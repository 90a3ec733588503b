"""The state of one series: a single contiguous record of fixed size.

1. Everything the detector knows of a series is in its record; nothing refers to anything outside it.
2. Records are series-major: one sample touches a few neighbouring cache lines, never one line per field.
3. A fresh record is all zeros but for what `fresh` sets. Changing the layout changes `LAYOUT`: old snapshots are refused.
"""

from typing import Final

import numpy as np

LAYOUT: Final = 1
"""Version of `RECORD`; a snapshot of another layout is refused and the journal replayed."""

RECORD: Final = np.dtype(
    [
        ("low", np.float64),  # limits of the catalogue; infinite where there is none
        ("high", np.float64),
        ("limit_time", np.int64),  # when a value was last reported outside its limits
        ("late_limit_time", np.int64),  # the same for late samples
        ("time", np.int64),  # of the newest sample
        ("value", np.float64),  # newest value
        ("samples", np.int64),  # learned from so far
        ("kind", np.uint8),  # SeriesKind
        ("outside", np.uint8),  # 1 while values are outside the limits
        ("late_outside", np.uint8),
    ],
    align=True,
)


def fresh(count: int) -> np.ndarray:
    """Return `count` records that know nothing yet."""
    records = np.zeros(count, RECORD)
    records["low"] = -np.inf
    records["high"] = np.inf
    return records
