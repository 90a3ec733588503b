"""What a worker can take, and how it is shared when more is offered.

1. Shares are max-min fair: who asks for less than an equal share gets all of it, and what is left goes to the others.
   First between owners, then between the products of each owner that asks for too much. Products that nobody owns
   count as one owner's.
2. Shares follow demand: they are set anew every quarter of a second from what was asked for in the one before.
3. What passed beyond the capacity, before shares were set, is made up for; what was left unused is not saved for long.
4. The capacity is a setting or, when the worker falls behind the broker, what it turned out to manage.
Must never live here: the order of frames; `budget` throttles by the shares set here.
"""

import math
from typing import Final

import numpy as np

from hub.pipeline.budget import Budgets, Demand
from hub.pipeline.frames import F64, I64, U32

PERIOD_S: Final = 0.25
_S = 1e9
_MOST_DEBT_S = 0.5  # of capacity that is made up for
_MOST_CREDIT_S = 0.25  # of capacity that may be used later
_REPAID_IN_S = 1.0
_LEAST = 0.1  # of capacity that is given out in any case
_CUT, _RISE = 0.8, 1.05  # of what the worker is thought to be able to take
_LEAST_ABLE = 1_000.0  # messages a second that any machine can take
_PATIENT_PERIODS = 2  # of being too far behind before a cut: a pause that is over is no overload
_PERIODS_A_CUT = 4


def water_level(demand: F64, capacity: float) -> float:
    """The level at which demands are cut so that they fit: `sum(min(demand, level)) == capacity`.

    Args:
        demand: f8[K], none below 0.
        capacity: what there is.

    Returns:
        Infinity if all demands fit.
    """
    levels = _levels(demand, np.zeros(demand.size, np.uint32), np.array([capacity]))
    return float(levels[0])


def _levels(demand: F64, group: U32, capacity: F64) -> F64:
    """Water levels of several groups at once.

    Args:
        demand: f8[K].
        group: u32[K], below G.
        capacity: f8[G].

    Returns:
        f8[G]; infinity where a group's demand fits.
    """
    level: F64 = np.full(capacity.size, np.inf)
    if demand.size == 0:
        return level
    order = np.lexsort((demand, group))
    rising, of = demand[order], group[order]
    starts = np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1])))
    sizes = np.diff(np.concatenate((starts, [of.size])))
    start = np.repeat(starts, sizes)
    below = np.cumsum(rising) - rising
    below -= below[start]
    rank = np.arange(of.size) - start
    # With all smaller demands met, what is left for each of the others.
    each = (capacity[of] - below) / (np.repeat(sizes, sizes) - rank)
    cut = np.where(each < rising, np.arange(of.size), of.size)
    first = np.minimum.reduceat(cut, starts)
    found = first < of.size
    level[of[starts[found]]] = each[first[found]]
    return level


class FairShare:
    """Sets the shares of one worker.

    Args:
        messages_per_s: what it may take; `None` sets no limit.
        most_lag_s: how far it may be behind the broker; beyond that it takes less than it managed to until it has
            caught up, and then more again, step by step.
    """

    def __init__(self, messages_per_s: int | None = None, most_lag_s: float = math.inf) -> None:
        self._cap = math.inf if messages_per_s is None else float(messages_per_s)
        self._most_lag_s = most_lag_s
        self._able = math.inf  # what it seems to be able to take, a second
        self._late = 0  # periods in a row in which it was too far behind
        self._looked = 0
        self._credit = 0.0

    def adjust(self, budgets: Budgets, now: int, lag_s: float) -> None:
        """Set shares from what was asked for since the last time, if a period has gone by.

        Args:
            budgets: those in force.
            now: monotonic ns.
            lag_s: how far the worker is behind the broker.
        """
        elapsed = (now - self._looked) / _S
        if elapsed < PERIOD_S:
            return
        self._looked = now
        # After a pause there is nothing to go by: time that long ago was not offered to anybody.
        elapsed = min(elapsed, 2 * PERIOD_S)
        demand = budgets.buckets.look(budgets.owner)
        self._learn(demand, elapsed, lag_s)
        share = budgets.buckets.share
        share[:] = 0
        capacity = min(self._cap, self._able)
        if capacity == math.inf:
            self._credit = 0.0
            return
        credit = self._credit + capacity * elapsed - demand.passed
        self._credit = float(np.clip(credit, -capacity * _MOST_DEBT_S, capacity * _MOST_CREDIT_S))
        room = (capacity + self._credit / _REPAID_IN_S) * elapsed
        frames = demand.frames.astype(np.float64)
        if frames.sum() > room:
            room = max(room, _LEAST * capacity * elapsed)
            share[:] = _shares(frames, demand.owner, room, elapsed, share.size)

    def _learn(self, demand: Demand, elapsed: float, lag_s: float) -> None:
        """Judge what the worker can take: a cut for each second of being too far behind, small rises when it is not."""
        self._late = self._late + 1 if lag_s > self._most_lag_s else 0
        if self._late % _PERIODS_A_CUT == _PATIENT_PERIODS:
            managed = max(demand.passed / elapsed, _LEAST_ABLE)
            self._able = _CUT * min(self._able, managed)
        elif self._able < math.inf and lag_s < self._most_lag_s / 2:
            self._able *= _RISE
            if demand.frames.sum() < self._able * elapsed:
                self._able = math.inf


def _shares(frames: F64, owner: U32, room: float, elapsed: float, owners: int) -> I64:
    """What a frame uses up of its product's share, i64[O], ns; 0 for owners whose products all fit."""
    asked: F64 = np.bincount(owner, frames, owners).astype(np.float64)
    level = water_level(asked, room)
    cut = asked > level
    products = _levels(frames, owner, np.where(cut, level, np.inf))
    share: I64 = np.zeros(owners, np.int64)
    share[cut] = np.maximum(elapsed / products[cut] * _S, 1.0).astype(np.int64)
    return share
