"""Which property do products with a fault have in common: Fisher's exact test, many at once.

1. Products are counted, nothing is sampled: N products, K of them with a property, n with the fault,
   k with both. The chance of k or more by accident is the upper tail of the hypergeometric
   distribution (Fisher 1922), summed in logarithms, so that it is right at any size.
2. Who tries many properties finds some by accident. Benjamini and Hochberg (1995) keep the share
   of false ones among those that are named below what is accepted.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Table:
    """Counts of products.

    Attributes:
        both: with property and fault.
        fault: with the fault.
        having: with the property.
        every: all of them.
    """

    both: int
    fault: int
    having: int
    every: int

    @property
    def share_of_rest(self) -> float:
        """Which share of the products without the fault has the property; 0 if there are none."""
        rest = self.every - self.fault
        return (self.having - self.both) / rest if rest else 0.0

    @property
    def lift(self) -> float:
        """How many times as frequent the fault is with the property as without; may be infinite."""
        without, missed = self.every - self.having, self.fault - self.both
        if not self.having or not without:
            return 1.0
        there = self.both / self.having
        return there * without / missed if missed else math.inf


def chance(table: Table) -> float:
    """Return the probability of so many or more with both by accident.

    Raises:
        ValueError: the counts contradict one another.
    """
    k, n, having, every = table.both, table.fault, table.having, table.every
    if not (0 <= k <= min(n, having) and max(n, having) <= every and n + having - k <= every):
        raise ValueError(f"No products can be counted like this: {table}.")
    if k <= max(0, n + having - every):
        return 1.0
    most = min(n, having)
    logs = np.array([_log_chance(i, n, having, every) for i in range(k, most + 1)])
    top = float(logs.max())
    return min(1.0, math.exp(top) * float(np.exp(logs - top).sum()))


def _log_chance(k: int, n: int, having: int, every: int) -> float:
    return _log_choose(having, k) + _log_choose(every - having, n - k) - _log_choose(every, n)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def adjusted(chances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return for each chance the share of false ones among all that are at most as likely.

    Args:
        chances: float64[T], of every test that was made, also of those that found nothing.

    Returns:
        float64[T], in the same order (Benjamini and Hochberg's adjusted p values).
    """
    count = chances.size
    order = np.argsort(chances, kind="stable")
    scaled = chances[order] * count / np.arange(1, count + 1)
    result = np.empty(count)
    result[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return result
