"""What is counted for whom: the arrays that the process `meter` reads, compiled from agreements.

1. Accounts are in the order of (slot, meter); all accounts of a product stand together.
2. A period is a stretch between two neighbouring edges. What lies before the first edge or behind the
   last one is not counted, so edges reach far ahead.
3. The arrays are published as a snapshot (`snapshot_file`), whole, by the process `control`.

What must never live here: counting, or prices.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from entitlements.billing.meters import Meter

_MARKS: Final = 255


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
        slot: u32[A], whose account it is.
        first: u32[N + 1]; accounts of slot i are `[first[i], first[i + 1])`.
        meter: u16[A], meter of each account.
        metric: u16[M], metric index that a meter reads.
        aggregation: u8[M], see `Aggregation`.
        decimals: u8[M]; quantities are in `10**-decimals` of the metric's unit.
        edge_first: u32[A + 1]; `edge[edge_first[a] : edge_first[a + 1]]` are the edges of account a.
        edge: i64[E].
        mark_first: u32[A + 1]; likewise for the marks.
        mark: i64[K].
    """

    slot: NDArray[np.uint32]
    first: NDArray[np.uint32]
    meter: NDArray[np.uint16]
    metric: NDArray[np.uint16]
    aggregation: NDArray[np.uint8]
    decimals: NDArray[np.uint8]
    edge_first: NDArray[np.uint32]
    edge: NDArray[np.int64]
    mark_first: NDArray[np.uint32]
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
        """Number of accounts, A."""
        return int(self.slot.size)

    @property
    def keys(self) -> NDArray[np.int64]:
        """i64[A], rising: slot and meter of each account in one number."""
        return (self.slot.astype(np.int64) << 16) | self.meter

    def marks_padded(self, width: int) -> NDArray[np.int64]:
        """Return the marks of each account as i64[A, width], zeros behind them."""
        first = self.mark_first.astype(np.int64)
        counts = first[1:] - first[:-1]
        padded = np.zeros((self.accounts, width), np.int64)
        row = np.repeat(np.arange(self.accounts), counts)
        padded[row, np.arange(row.size) - self.mark_first[row]] = self.mark
        return padded

    @property
    def most_marks(self) -> int:
        """The most marks that an account has."""
        return int(np.diff(self.mark_first).max(initial=0))

    def edges_of(self, account: int) -> NDArray[np.int64]:
        """Return the edges of one account."""
        return self.edge[self.edge_first[account] : self.edge_first[account + 1]]


def compile_terms(meters: Sequence[Meter], accounts: Iterable[AccountTerms]) -> MeterTerms:
    """Compile what is agreed to arrays.

    Args:
        meters: all meters, by number.
        accounts: in any order.

    Raises:
        ValueError: edges or marks do not rise, a mark is below 1, fewer than two edges, an account is
            there twice, or names a meter that is not.
    """
    ordered = sorted(accounts, key=lambda account: account[:2])
    for account in ordered:
        _check(account, len(meters))
    for account, following in pairwise(ordered):
        if account[:2] == following[:2]:
            raise ValueError(f"slot {account.slot} has two accounts of meter {account.meter}")
    slot = np.array([account.slot for account in ordered], np.uint32)
    slots = int(slot[-1]) + 1 if slot.size else 0
    return MeterTerms(
        slot=slot,
        first=np.searchsorted(slot, np.arange(slots + 1)).astype(np.uint32),
        meter=np.array([account.meter for account in ordered], np.uint16),
        metric=np.array([meter.metric for meter in meters], np.uint16),
        aggregation=np.array([int(meter.aggregation) for meter in meters], np.uint8),
        decimals=np.array([meter.decimals for meter in meters], np.uint8),
        edge_first=_bounds([len(account.edges) for account in ordered]),
        edge=np.array([edge for account in ordered for edge in account.edges], np.int64),
        mark_first=_bounds([len(account.marks) for account in ordered]),
        mark=np.array([mark for account in ordered for mark in account.marks], np.int64),
    )


def _check(account: AccountTerms, meters: int) -> None:
    whose = f"account of slot {account.slot} and meter {account.meter}"
    if account.meter >= meters:
        raise ValueError(f"the {whose} names a meter that is not among the {meters} there are")
    if len(account.edges) < 2 or any(a >= b for a, b in pairwise(account.edges)):
        raise ValueError(f"the edges of the {whose} must be at least two and rise")
    if len(account.marks) > _MARKS or any(a >= b for a, b in pairwise((0, *account.marks))):
        raise ValueError(f"the marks of the {whose} must rise from 1 and be {_MARKS} at most")


def _bounds(counts: Sequence[int]) -> NDArray[np.uint32]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.uint32)
