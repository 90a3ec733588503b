"""The terms of all accounts as arrays, changed a product at a time; for the process that publishes them.

1. What is written of edges and marks never changes: whose terms change gets others, and what nobody
   names any more goes with the next `whole`. Who has the same may share them.
2. Accounts, edges and marks have room to grow, so that a `patch` of the last `whole` can add some.
3. Products come in the order of their slots, mostly. Where one does not, a new `whole` puts it in its place.

What must never live here: what an agreement says, or files.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from entitlements.billing.meters import Meter
from hub.services.meter_terms import NOTHING, UNUSED, AccountTerms, MeterTerms

_MARKS: Final = 255
_ROOM: Final = 1024
_SHARED: Final = 1 << 16

Patch = dict[str, tuple[NDArray[np.int64], NDArray[Any]]]
"""By name of an array: the rows that differ, and what is in them now."""

_T = TypeVar("_T", bound=np.generic)


class TermsTable:
    """The arrays of `MeterTerms`, kept so that one product's change costs one product's work.

    Args:
        meters: all meters, by number.
        before: published by an earlier run; what it says holds until `put` says otherwise.
    """

    def __init__(self, meters: Sequence[Meter], before: MeterTerms | None = None) -> None:
        self._meters = tuple(meters)
        terms = NOTHING if before is None else before
        rows = self._rows = terms.accounts
        self._slot, self._meter = terms.slot[:rows].copy(), terms.meter[:rows].copy()
        self._span = terms.span.copy()
        self._edge_span, self._mark_span = (
            terms.edge_span[:rows].copy(),
            terms.mark_span[:rows].copy(),
        )
        self._edges, self._marks = _Pool(terms.edge), _Pool(terms.mark)
        self._touched = np.zeros(rows, np.bool_)
        self._in_order = True
        # Rows of the last `whole`, and room that it had for rows and slots; None while no patch would do.
        self._base: tuple[int, int, int] | None = None

    @property
    def meters(self) -> tuple[Meter, ...]:
        """All meters, by number."""
        return self._meters

    @property
    def accounts(self) -> int:
        """How many accounts there are, with those that others replaced since the last `whole`."""
        return self._rows

    @property
    def slots(self) -> NDArray[np.int64]:
        """i64[P], rising: the slots that have accounts."""
        return np.flatnonzero(self._span[:, 0] != self._span[:, 1])

    def describe(self, meters: Sequence[Meter]) -> bool:
        """Take in what meters there are; say whether they differ from before."""
        differs = tuple(meters) != self._meters
        if differs:
            self._meters, self._base = tuple(meters), None
        return differs

    def put(self, slot: int, accounts: Sequence[AccountTerms]) -> bool:
        """Take in what is counted for a product now; nothing if there are no accounts.

        Args:
            slot: its device slot.
            accounts: all of its accounts, in the order of meters.

        Returns:
            Whether anything differs from before.

        Raises:
            ValueError: edges or marks do not rise, a mark is below 1, fewer than two edges, an account
                is there twice, or names a meter that is not. Nothing was taken in.
        """
        self._check(accounts)
        if slot >= self._span.shape[0]:
            if not accounts:
                return False
            self._span = _resized(self._span, slot + 1 + slot // 2)
        first, end = self._span[slot].tolist()
        changed: bool = self._meter[first:end].tolist() != [one.meter for one in accounts]
        if changed:
            first = self._place(slot, accounts, replaces=end > first)
        for row, account in enumerate(accounts, first):
            changed |= self._name(row, account)
        return changed

    def whole(self) -> MeterTerms:
        """Return the arrays with room for growth; later patches are against these.

        They are views; write them before the next `put`.
        """
        self._compact()
        room = self._rows + max(_ROOM, self._rows // 8)
        self._make_room(room)
        slots = int(self._slot[self._rows - 1]) + 1 if self._rows else 0
        self._span = _resized(self._span, slots + max(_ROOM, slots // 8))
        self._edges.make_room()
        self._marks.make_room()
        self._touched[:] = False
        self._base = self._rows, room, self._span.shape[0]
        return self._arrays(room, self._edges.room, self._marks.room)

    def exact(self) -> MeterTerms:
        """Return the arrays without room for growth. They are views; take them before a `put`."""
        self._compact()
        return self._arrays(self._rows, self._edges.size, self._marks.size)

    def patch(self) -> Patch | None:
        """Return all that differs from the last `whole`.

        Returns:
            `None` where a new `whole` is due: there was none, meters differ, accounts stand in another
            order, there is no room left in it, or so much differs that a patch would not be cheap.
        """
        if self._base is None:
            return None
        before, room, slots_room = self._base
        changed = np.flatnonzero(self._touched)
        news = np.arange(before, self._rows)
        slots = np.unique(self._slot[news]).astype(np.int64)
        dear = changed.size > max(_ROOM, room // 16)
        fits = self._rows <= room and slots.max(initial=0) < slots_room
        if dear or not (fits and self._edges.fits and self._marks.fits):
            self._base = None
            return None
        return {
            "slot": (news, self._slot[news]),
            "meter": (news, self._meter[news]),
            "span": (slots, self._span[slots]),
            "edge_span": (changed, self._edge_span[changed]),
            "mark_span": (changed, self._mark_span[changed]),
            "edge": self._edges.news(),
            "mark": self._marks.news(),
        }

    def _check(self, accounts: Sequence[AccountTerms]) -> None:
        for account in accounts:
            whose = f"account of slot {account.slot} and meter {account.meter}"
            if account.meter >= len(self._meters):
                there = len(self._meters)
                raise ValueError(
                    f"the {whose} names a meter that is not among the {there} there are"
                )
            if account.edges not in self._edges and (
                len(account.edges) < 2 or any(a >= b for a, b in pairwise(account.edges))
            ):
                raise ValueError(f"the edges of the {whose} must be at least two and rise")
            if account.marks not in self._marks and (
                len(account.marks) > _MARKS or any(a >= b for a, b in pairwise((0, *account.marks)))
            ):
                raise ValueError(
                    f"the marks of the {whose} must rise from 1 and be {_MARKS} at most"
                )
        for account, following in pairwise(accounts):
            if account.meter >= following.meter:
                raise ValueError(f"slot {account.slot} has two accounts of meter {account.meter}")

    def _place(self, slot: int, accounts: Sequence[AccountTerms], *, replaces: bool) -> int:
        """Give a product rows behind all others; returns the first."""
        first, end = self._rows, self._rows + len(accounts)
        if end > self._slot.size:
            self._make_room(end + end // 2)
        if replaces or (first and self._slot[first - 1] > slot):
            self._in_order, self._base = False, None
        self._slot[first:end] = slot
        self._meter[first:end] = [account.meter for account in accounts]
        self._span[slot] = first, end
        self._rows = end
        return first

    def _name(self, row: int, account: AccountTerms) -> bool:
        """Let an account name its edges and marks; say whether they differ from before."""
        edges = self._edges.find(account.edges, *self._edge_span[row].tolist())
        marks = self._marks.find(account.marks, *self._mark_span[row].tolist())
        differs = (*edges, *marks) != (*self._edge_span[row], *self._mark_span[row])
        if differs:
            self._edge_span[row], self._mark_span[row] = edges, marks
            self._touched[row] = True
        return differs

    def _make_room(self, rows: int) -> None:
        kept = self._rows
        self._slot, self._meter = _resized(self._slot, rows), _resized(self._meter, rows)
        self._slot[kept:], self._meter[kept:] = UNUSED, UNUSED & 0xFFFF
        self._edge_span = _resized(self._edge_span, rows)
        self._mark_span = _resized(self._mark_span, rows)
        self._touched = _resized(self._touched, rows)

    def _compact(self) -> None:
        """Put accounts in order, and drop what nobody names."""
        if not self._in_order:
            rows = np.arange(self._rows)
            slot, meter = self._slot[: self._rows], self._meter[: self._rows]
            span = self._span[slot]
            rows = rows[(span[:, 0] <= rows) & (rows < span[:, 1])]
            rows = rows[np.lexsort((meter[rows], slot[rows]))]
            self._slot, self._meter = slot[rows], meter[rows]
            self._edge_span, self._mark_span = self._edge_span[rows], self._mark_span[rows]
            self._rows = rows.size
            self._touched = np.zeros(self._rows, np.bool_)
            slots = np.arange(self._span.shape[0])
            bounds = np.searchsorted(self._slot, [slots, slots + 1])
            self._span = np.ascontiguousarray(bounds.T).astype(np.uint32)
            self._in_order = True
        self._edge_span[: self._rows] = self._edges.compact(self._edge_span[: self._rows])
        self._mark_span[: self._rows] = self._marks.compact(self._mark_span[: self._rows])
        self._base = None

    def _arrays(self, rows: int, edges: int, marks: int) -> MeterTerms:
        return MeterTerms(
            slot=self._slot[:rows],
            span=self._span,
            meter=self._meter[:rows],
            metric=np.array([meter.metric for meter in self._meters], np.uint16),
            aggregation=np.array([int(meter.aggregation) for meter in self._meters], np.uint8),
            decimals=np.array([meter.decimals for meter in self._meters], np.uint8),
            edge_span=self._edge_span[:rows],
            edge=self._edges.numbers[:edges],
            mark_span=self._mark_span[:rows],
            mark=self._marks.numbers[:marks],
        )


class _Pool:
    """Rising numbers one after the other, named by where they begin and end, and shared where equal."""

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.numbers = numbers.copy()
        self.size = numbers.size
        self._shared: dict[tuple[int, ...], tuple[int, int]] = {}
        self._whole = self.room = 0

    def __contains__(self, found: tuple[int, ...]) -> bool:
        return found in self._shared

    @property
    def fits(self) -> bool:
        """Whether what came since the last whole version has room in it."""
        return self.size <= self.room

    def find(self, wanted: tuple[int, ...], first: int, end: int) -> tuple[int, int]:
        """Return where numbers stand, best in `[first, end)`; they are appended if nowhere."""
        if len(wanted) == end - first and self.numbers[first:end].tolist() == list(wanted):
            return first, end
        if wanted not in self._shared:
            if len(self._shared) >= _SHARED:  # sharing saves room, but is not worth much memory
                self._shared.clear()
            first, end = self.size, self.size + len(wanted)
            if end > self.numbers.size:
                self.numbers = _resized(self.numbers, end + end // 2)
            self.numbers[first:end] = wanted
            self._shared[wanted], self.size = (first, end), end
        return self._shared[wanted]

    def make_room(self) -> None:
        """Make room behind what there is, for what comes until the next whole version."""
        self._whole, self.room = self.size, self.size + max(_ROOM, self.size // 8)
        self.numbers = _resized(self.numbers, self.room)

    def news(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what came since the last whole version: where, and the numbers."""
        rows = np.arange(self._whole, self.size)
        return rows, self.numbers[rows]

    def compact(self, spans: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Drop what none of the spans, u32[A, 2], names; returns where each is then."""
        kept = spans[:, 0] < spans[:, 1]
        first, index = np.unique(spans[kept, 0].astype(np.int64), return_index=True)
        sizes = (spans[kept, 1] - spans[kept, 0])[index].astype(np.int64)
        moved = np.cumsum(sizes) - sizes
        rows = np.repeat(first - moved, sizes) + np.arange(sizes.sum())
        place = np.full(self.numbers.size + 1, -1, np.int64)
        place[first] = moved
        self.numbers, self.size = self.numbers[rows], rows.size
        self._shared = {
            one: (int(place[first]), int(place[first]) + end - first)
            for one, (first, end) in self._shared.items()
            if place[first] >= 0 and one
        }
        made = np.zeros_like(spans)
        made[kept, 0] = place[spans[kept, 0]]
        made[kept, 1] = made[kept, 0] + (spans[kept, 1] - spans[kept, 0])
        return made


def compile_terms(meters: Sequence[Meter], accounts: Iterable[AccountTerms]) -> MeterTerms:
    """Compile what is agreed to arrays.

    Args:
        meters: all meters, by number.
        accounts: in any order.

    Raises:
        ValueError: as `TermsTable.put` does.
    """
    table = TermsTable(meters)
    ordered = sorted(accounts, key=lambda account: account[:2])
    for slot, found in groupby(ordered, key=attrgetter("slot")):
        table.put(slot, list(found))
    return table.exact()


def _resized(array: NDArray[_T], rows: int) -> NDArray[_T]:
    """Return a copy with so many rows, new ones zero."""
    copy = np.zeros((rows, *array.shape[1:]), array.dtype)
    kept = min(rows, array.shape[0])
    copy[:kept] = array[:kept]
    return copy
