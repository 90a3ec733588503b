"""The accounts of usage as the process `meter` publishes them and others read them.

1. A snapshot (`snapshot_file`) holds them as whole numbers, a row an account, with the journal offsets
   that they stand for.
2. Readers see a version whole, at most some tenths of a second old.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hub.services.meter_terms import UNUSED
from hub.services.snapshot_file import Snapshot, current_version, read_snapshot

NEVER: Final = -(1 << 63)
ON_TIME: Final = (1 << 63) - 1

ACCOUNT: Final = np.dtype(
    [
        ("slot", "<u4"),
        ("meter", "<u2"),
        ("level", "u1"),
        ("worker", "u1"),
        ("start", "<i8"),
        ("end", "<i8"),
        ("total", "<i8"),
        ("last_time", "<i8"),
        ("last", "<i8"),
        ("late", "<i8"),
        ("until", "<i8"),
        ("edge", "<u4"),
        ("rows", "<u4"),
    ]
)
"""One account, 72 bytes: whose; marks at or below the total; number of the worker whose journal has its
rows; its period (`NEVER`: none yet) and what it counted; time and quantity of the newest row
(`NEVER`: none yet); since when the archive must be counted (`ON_TIME`: it need not); journal offset
below which rows may be counted already; position of the period's end among all edges; rows counted in
the period."""

WIDTH: Final = ACCOUNT.itemsize // 8


def as_numbers(accounts: NDArray[Any]) -> NDArray[np.int64]:
    """Return accounts as i64[A, 9], the form in which snapshots hold them."""
    return np.ascontiguousarray(accounts).view(np.int64).reshape(-1, WIDTH)


def accounts_of(snapshot: Snapshot) -> NDArray[Any]:
    """Return the accounts of a snapshot without the room behind them, `ACCOUNT[A]`."""
    rows = np.ascontiguousarray(snapshot.arrays["account"])
    accounts = rows.view(ACCOUNT).reshape(-1)
    return accounts[: _first(accounts, UNUSED)]


def account_total(
    accounts: NDArray[Any], slot: int, meter: int, start: int, end: int
) -> int | None:
    """Return what the account of a product counted in a period, `None` if the archive must be asked.

    Args:
        accounts: `ACCOUNT[A]` in the order of (slot, meter).
        slot: of the device.
        meter: number of the meter.
        start: first instant of the period, ns.
        end: end of it.
    """
    for row in accounts[_first(accounts, slot) : _first(accounts, slot + 1)]:
        if row["meter"] == meter:
            known = row["late"] == ON_TIME and (row["start"], row["end"]) == (start, end)
            return int(row["total"]) if known else None
    return None


def _first(accounts: NDArray[Any], slot: int) -> int:
    """Return where the accounts of a slot begin. Looks at a few rows, as the column is not one array."""
    slots = accounts["slot"]
    return bisect_left(range(slots.size), slot, key=lambda row: int(slots[row]))


Accounts = Callable[[], NDArray[Any]]
"""Returns the accounts as the process `meter` published them last, `ACCOUNT[A]`."""


def nothing_counted() -> NDArray[Any]:
    """Return no accounts, where no meter runs."""
    return np.zeros(0, ACCOUNT)


class PublishedAccounts:
    """Reads the accounts that were published last; for any number of threads.

    Args:
        folder: where the process `meter` publishes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._version: int | None = None
        self._accounts: NDArray[Any] = np.zeros(0, ACCOUNT)

    def __call__(self) -> NDArray[Any]:
        """Return them, `ACCOUNT[A]` in the order of (slot, meter); nobody changes them.

        Raises:
            StorageError: the snapshot is damaged.
        """
        with self._lock:
            if current_version(self._folder) != self._version:
                # Not brought up to date in place: others may still look at the one before.
                snapshot = read_snapshot(self._folder)
                self._version, self._accounts = snapshot.version, accounts_of(snapshot)
            return self._accounts
