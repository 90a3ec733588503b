"""What is counted for whom: the arrays that the process `meter` reads, compiled from agreements.

1. Accounts are in the order of (slot, meter); all accounts of a product stand together.
2. A period is a stretch between two neighbouring edges. What lies before the first edge or behind the
   last one is not counted, so edges reach far ahead.
3. An account names its edges and marks by `[first, end)`. What is written there never changes: whose
   terms change gets others, so one product's change is a few rows of a patch (`snapshot_file`).

What must never live here: how they come about (`meter_terms_table`), counting, prices, or files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

UNUSED: Final = (1 << 32) - 1
"""In place of the slot in rows that no account has: room for products to come."""


class AccountTerms(NamedTuple):
    """What is counted for one product by one meter.

    Args:
        slot: device slot.
        meter: number of the meter, its position among all meters.
        edges: instants at which periods begin, rising, ns UTC; the last one ends the last period.
        marks: quantities to tell about when they are crossed, rising, at least 1.
    """

    slot: int
    meter: int
    edges: tuple[int, ...]
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MeterTerms:
    """What is counted for whom, as arrays. N slots, A accounts, M meters, E edges, K marks.

    Args:
        slot: u32[A], whose account it is; `UNUSED` behind the last one.
        span: u32[N, 2]; accounts of slot i are `[span[i, 0], span[i, 1])`.
        meter: u16[A], meter of each account.
        metric: u16[M], metric index that a meter reads.
        aggregation: u8[M], see `Aggregation`.
        decimals: u8[M]; quantities are in `10**-decimals` of the metric's unit.
        edge_span: u32[A, 2]; `edge[edge_span[a, 0] : edge_span[a, 1]]` are the edges of account a.
        edge: i64[E].
        mark_span: u32[A, 2]; likewise for the marks.
        mark: i64[K].
    """

    slot: NDArray[np.uint32]
    span: NDArray[np.uint32]
    meter: NDArray[np.uint16]
    metric: NDArray[np.uint16]
    aggregation: NDArray[np.uint8]
    decimals: NDArray[np.uint8]
    edge_span: NDArray[np.uint32]
    edge: NDArray[np.int64]
    mark_span: NDArray[np.uint32]
    mark: NDArray[np.int64]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self | None:
        """Take the arrays of a snapshot; `None` if an older version of the hub wrote it."""
        if any(field.name not in arrays for field in fields(cls)):
            return None
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the arrays by name, for a snapshot."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def accounts(self) -> int:
        """Number of accounts; the rows behind them are room."""
        return int(np.searchsorted(self.slot, UNUSED))

    @property
    def keys(self) -> NDArray[np.int64]:
        """i64[A], rising: slot and meter of each account in one number."""
        return (self.slot.astype(np.int64) << 16) | self.meter

    def edges_of(self, account: int) -> NDArray[np.int64]:
        """Return the edges of one account."""
        return self.edge[slice(*self.edge_span[account].tolist())]

    def marks_of(self, account: int) -> NDArray[np.int64]:
        """Return the marks of one account."""
        return self.mark[slice(*self.mark_span[account].tolist())]


NOTHING: Final = MeterTerms(
    slot=np.zeros(0, np.uint32),
    span=np.zeros((0, 2), np.uint32),
    meter=np.zeros(0, np.uint16),
    metric=np.zeros(0, np.uint16),
    aggregation=np.zeros(0, np.uint8),
    decimals=np.zeros(0, np.uint8),
    edge_span=np.zeros((0, 2), np.uint32),
    edge=np.zeros(0, np.int64),
    mark_span=np.zeros((0, 2), np.uint32),
    mark=np.zeros(0, np.int64),
)
"""Nothing is counted for anybody."""
