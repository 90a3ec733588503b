"""Budgets of products and owners, and the shares that a busy worker gives them: token buckets over a batch.

1. A bucket is one instant, the generic cell rate algorithm (ITU-T I.371, annex A): when all that came so far would be
   paid for. A frame passes while that lies less than the burst ahead; then it pays, also for more than was left, so
   that no frame is too large to pass ever.
2. A frame pays all its buckets or, throttled, none. Frames pay in the order of arrival.
3. A throttled product is told to wait until a quarter of a burst is free, twice as long each time if nothing of its
   passed in between, and is told again only then.
4. Time is monotonic: the wall clock may be set back.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hub.pipeline.frames import F64, I64, U32, Frames

SHARE_BURST_S: Final = 2.0
"""How much of its share of a busy worker a product may use at once."""
_MOST_PATIENT = 60_000_000_000  # ns that a product is told to wait, at most
_COLUMNS = 6
_S = 1e9


@njit(
    "Tuple((i8, i8))(i8, i8, i8[::1], u4[::1], u1[::1], u1[::1], u2[::1], i8[::1], u4[::1], f8[:, ::1], i8[:, ::1],"
    " i8[:, ::1], i8[::1], i8, i8, i8[::1], i8)",
    cache=True,
    nogil=True,
)
def charge_frames(  # type: ignore[no-untyped-def]
    count,
    now,
    size,
    slot,
    verdict,
    reason,
    budget,
    wait,
    owner,
    terms,
    products,
    owners,
    share,
    share_burst,
    patience,
    asking,
    asked,
):
    """Let each accepted or quarantined frame pay; throttle (2) those that cannot.

    Columns of `products`: when its messages, its bytes and its share are paid for (ns), frames asked for since the
    last look, times in a row that it was told to wait, and until when it was told to. Of `owners`: messages and bytes.

    Returns:
        Frames that passed, and products listed in `asking`: those that asked for anything since the last look.
    """
    passed = np.int64(0)
    for i in range(count):
        wait[i] = 0
        if verdict[i] > 2:
            continue
        s = slot[i]
        o = owner[s]
        t = budget[i]
        burst = np.int64(terms[t, 4])
        late = np.int64(0)
        why = reason[i]
        free = burst >> 2
        if verdict[i] < 2:
            late = products[s, 0] - now - burst
            why = 1
            late = max(late, products[s, 1] - now - burst)
            if o > 0:
                other = max(owners[o, 0], owners[o, 1]) - now - burst
                if other > late:
                    late = other
                    why = 2
            if late <= 0:
                if products[s, 3] == 0:
                    asking[asked] = s
                    asked += 1
                products[s, 3] += 1
                if share[o] > 0 and products[s, 2] - now > share_burst:
                    late = products[s, 2] - now - share_burst
                    why = 3
                    free = share_burst >> 2
        if late > 0 or verdict[i] == 2:
            verdict[i] = 2
            reason[i] = why
            if now >= products[s, 5]:
                again = min(products[s, 4], 8)
                wait[i] = min(max(late, free) << again, patience)
                products[s, 4] = again + 1
                products[s, 5] = now + wait[i]
            continue
        passed += 1
        products[s, 4] = 0
        products[s, 0] = max(products[s, 0], now) + np.int64(terms[t, 0])
        products[s, 1] = max(products[s, 1], now) + np.int64(terms[t, 1] * size[i])
        if o > 0:
            owners[o, 0] = max(owners[o, 0], now) + np.int64(terms[t, 2])
            owners[o, 1] = max(owners[o, 1], now) + np.int64(terms[t, 3] * size[i])
        if share[o] > 0:
            products[s, 2] = max(products[s, 2], now) + share[o]
    return passed, asked


@dataclass(slots=True)
class Demand:
    """What was asked for since the last look.

    Attributes:
        slot: u32[K], products that asked for anything. frames: i64[K], how many of theirs were within their budgets.
        owner: u32[K], their owners.
        passed: frames that passed.
    """

    slot: U32
    frames: I64
    owner: U32
    passed: int


@dataclass(slots=True)
class Buckets:
    """The state of all buckets of a worker; it outlives the gate snapshots.

    Attributes:
        products: i64[N, 6]. owners: i64[O, 2]. share: i64[O], ns of its share that a frame of a product of this owner
            uses up; 0: no share is set.
    """

    products: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, _COLUMNS), np.int64))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, 2), np.int64))
    share: I64 = field(default_factory=lambda: np.zeros(1, np.int64))
    asking: I64 = field(default_factory=lambda: np.zeros(1, np.int64))
    asked: int = 0
    passed: int = 0

    def fit(self, slots: int, owners: int, *, renumbered: bool) -> None:
        """Make room for the slots and owners of a gate snapshot.

        Args:
            slots: how many there are.
            owners: likewise.
            renumbered: whether owners may have got other numbers: then their buckets start full again.
        """
        self.products = _grown(self.products, slots)
        self.asking = _grown(self.asking, slots)
        if renumbered:
            self.owners[:] = 0
            self.share[:] = 0
        self.owners = _grown(self.owners, owners)
        self.share = _grown(self.share, owners)

    def look(self, owner: U32) -> Demand:
        """Return what was asked for since the last look, and begin anew.

        Args:
            owner: u32[N], owner number by slot.
        """
        slots = self.asking[: self.asked]
        demand = Demand(
            slots.astype(np.uint32), self.products[slots, 3].copy(), owner[slots], self.passed
        )
        self.products[slots, 3] = 0
        self.asked = self.passed = 0
        return demand


class Budgets:
    """The budgets of one gate snapshot.

    Args:
        owner: u32[N], owner number by slot; 0: nobody.
        budget: i64[B, 5], the terms of `entitlements.budget.Limits`; 0 means no limit.
        buckets: what was paid so far; taken over by the next snapshot.
    """

    def __init__(
        self, owner: NDArray[np.uint32], budget: NDArray[np.int64], buckets: Buckets
    ) -> None:
        self.owner: U32 = owner
        self.buckets = buckets
        # What one message or byte uses up, in ns; a limit of 0 makes it free.
        rates = budget[:, :4].astype(np.float64)
        costs = np.divide(_S, rates, out=np.zeros_like(rates), where=rates > 0)
        self._terms: F64 = np.column_stack((costs, budget[:, 4] * _S))
        self.fit(renumbered=True)

    def fit(self, *, renumbered: bool) -> None:
        """Make room for what the snapshot holds now."""
        owners = int(self.owner.max(initial=0)) + 1
        self.buckets.fit(self.owner.size, owners, renumbered=renumbered)

    def charge(self, frames: Frames, now: int) -> None:
        """Throttle what is beyond a budget or share, and say in `wait` how long (ns) a product is to wait.

        Args:
            frames: gated.
            now: monotonic ns.
        """
        f, b = frames, self.buckets
        passed, b.asked = charge_frames(
            f.count,
            now,
            f.payload_size,
            f.slot,
            f.verdict,
            f.reason,
            f.budget,
            f.wait,
            self.owner,
            self._terms,
            b.products,
            b.owners,
            b.share,
            int(SHARE_BURST_S * _S),
            _MOST_PATIENT,
            b.asking,
            b.asked,
        )
        b.passed += int(passed)


def _grown(array: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    if array.shape[0] >= rows:
        return array
    grown = np.zeros((rows, *array.shape[1:]), np.int64)
    grown[: array.shape[0]] = array
    return grown
