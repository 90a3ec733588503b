"""One number for how strange a sample is, all evidence together: for ranking and for benchmarks.

1. A weighted sum of surprises: several kinds of evidence at once count more than any alone.
2. A value beyond everything seen so far counts by how much was seen: -ln of the chance of a record.
3. A refractory: what has just been said is subtracted and fades with a half-life, so that one
   event scores once.
Findings are never made from this score; each kind is judged by its own evidence (`verdicts`).
"""

import math
from typing import Any, Final

import numba as nb

from analytics.records import TAIL_INNOVATION, TAIL_LOUDER, TAIL_SHIFT

_LN2: Final = math.log(2.0)


@nb.njit(nogil=True)
def beyond(r: Any, p: Any, s: Any) -> float:
    """Return the surprise of a value beyond all before, and widen the range; 0 if it is within."""
    over = max(s.value - r.highest, r.lowest - s.value)
    if over <= 0.0:
        return 0.0
    span = r.highest - r.lowest
    r.highest = max(r.highest, s.value)
    r.lowest = min(r.lowest, s.value)
    share = 1.0 if span <= 0.0 else min(1.0, p.record_gain * over / span)
    return math.log(1.0 + r.learned) * share


@nb.njit(nogil=True)
def score(r: Any, p: Any, s: Any) -> float:
    """Return the score of this sample, at least 0, and remember it."""
    raw = (
        p.score_innovation * s.surprise[TAIL_INNOVATION]
        + p.score_shift * s.surprise[TAIL_SHIFT]
        + p.score_louder * s.surprise[TAIL_LOUDER]
        + p.score_record * s.beyond
    )
    raw *= r.learned / (r.learned + p.score_warm)
    half_life = p.score_half_life + p.score_ageing * r.learned
    r.memory /= 1.0 + _LN2 * min(s.gap, 3.0) / half_life
    fresh = max(raw - p.score_repeat * r.memory, 0.0)
    r.memory = max(r.memory, raw)
    return float(fresh)
