"""Which rows are erased: of a device, of some owner epochs, of a stretch of time, by standing orders.

1. An order is never taken back, and holds for rows that arrive later too.
2. Ids rise; what was carried out is said by the greatest id, in the manifest.
What must never live here: why something is erased, or the files that it is erased from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hub.ports.journal.telemetry import I64, U32, TelemetryBatch

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Order:
    """Rows that are to go: all conditions must hold.

    Args:
        id: rises with each order.
        slot: device slot.
        first_epoch: first owner epoch.
        last_epoch: last owner epoch, inclusive.
        start: first instant, ns since 1970 UTC; None for no beginning.
        end: end, exclusive; None for none.
    """

    id: int
    slot: int
    first_epoch: int
    last_epoch: int
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Orders, asked of many rows at once.

    Args:
        orders: in any order.
    """

    orders: tuple[Order, ...] = ()
    slots: U32 = field(init=False, compare=False)
    newest: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Note the devices that the orders are about."""
        slots = np.unique(np.array([order.slot for order in self.orders], np.uint32))
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "newest", max((order.id for order in self.orders), default=0))

    def after(self, id_: int) -> "Tombstones":
        """Select the orders with greater ids."""
        return Tombstones(tuple(order for order in self.orders if order.id > id_))

    def of_batch(self, batch: TelemetryBatch) -> Mask:
        """Say of each row of a batch whether it must go: bool[R]."""
        return self.mask(batch.slot, batch.epoch, batch.time, batch.time)

    def mask(self, slot: U32, epoch: U32, first: I64, last: I64) -> Mask:
        """Say of rows, or of aggregates of rows, whether they must go.

        Args:
            slot: u32[N].
            epoch: u32[N].
            first: i64[N], ns; time of a row, or of the first one of an aggregate.
            last: i64[N], ns; the same time, or that of the last one. An aggregate goes if any of
                its rows may have to.
        """
        gone = np.zeros(slot.shape, bool)
        some = np.flatnonzero(np.isin(slot, self.slots))
        if not some.size:
            return gone
        there = np.unique(slot[some])
        for order in self.orders:
            if order.slot not in there:
                continue
            hit = slot[some] == order.slot
            hit &= (epoch[some] >= order.first_epoch) & (epoch[some] <= order.last_epoch)
            if order.start is not None:
                hit &= last[some] >= order.start
            if order.end is not None:
                hit &= first[some] < order.end
            gone[some] |= hit
        return gone

    def touch(self, first_slot: int, last_slot: int) -> bool:
        """Say whether any order is about a device of a range, inclusive."""
        left, right = np.searchsorted(self.slots, [first_slot, last_slot + 1])
        return bool(right > left)


def orders_of(rows: Sequence[Any]) -> Tombstones:
    """Make orders of tuples `(id, slot, first_epoch, last_epoch, start, end)`."""
    return Tombstones(tuple(Order(*row) for row in rows))
