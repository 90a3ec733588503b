"""When a quota will be used up, if usage goes on as it did.

1. Usage of the last days is cut into equal steps and the median step is the rate: one busy day, or
   one day without power, changes nothing.
2. Fewer than three steps say nothing; then the mean since the period began is the rate.
3. Whole numbers only; the instant is that at which the last unit would be gone.
"""

from collections.abc import Sequence
from statistics import median_low
from typing import Final

FEWEST: Final = 3


def exhausted_at(left: int, steps: Sequence[int], step: int, at: int) -> int | None:
    """Return when what is left will be gone.

    Args:
        left: quantities that may still be used.
        steps: what was used in each of the last steps, at least one.
        step: length of a step, ns.
        at: end of the last of them, ns.

    Returns:
        ns; `at` if nothing is left, `None` if nothing was used of late.
    """
    if left <= 0:
        return at
    if not steps:
        return None
    if len(steps) >= FEWEST:
        rate, over = median_low(steps), step
    else:
        rate, over = sum(steps), step * len(steps)
    return None if rate <= 0 else at + -(-left * over // rate)
