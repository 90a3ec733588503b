"""A counter of a product as a total that never falls.

1. A counter that falls began again: what it has counted since is added to what was before.
2. A single reading that falls and the next one that is back where it was are a slip, not a reset
   and a rise. So a fall counts with the reading behind it, which tells which of them it was.
3. A total may count too little, where readings are far apart, and never too much: it ends
   somebody's warranty.

Readings come in order of their time; what is not a number at least zero is passed over.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What is known of a counter.

    Args:
        total: what it has counted in all.
        last: its last reading.
        before: the reading before, if the last one fell; else `None`.
    """

    total: float
    last: float
    before: float | None = None


def advance(known: Lifetime | None, value: float) -> Lifetime | None:
    """Take in one more reading.

    Args:
        known: what is known, `None` before the first reading: what a product has counted before
            it was first heard of counts too.
        value: the reading.
    """
    if not math.isfinite(value) or value < 0:
        return known
    if known is None:
        return Lifetime(value, value)
    if value < known.last:
        counted = 0.0 if known.before is None else known.last
        return Lifetime(known.total + counted, value, known.last)
    if known.before is None:
        return Lifetime(known.total + value - known.last, value)
    if value >= known.before:
        return Lifetime(known.total + value - known.before, value)
    return Lifetime(known.total + value, value)
