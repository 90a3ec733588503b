"""Counts usage from journalled rows, as they come: one account per product and meter.

1. An account stands in the period of its newest row and counts the rows of that period. What it cannot
   count by itself (a counter's row out of order, say) makes it `late`: the archive is then asked for
   the whole period (`entitlements.billing.meters` defines the count). Rows of earlier periods are a
   correction, which is not settled here; of a counter they may be what the period began with. So are rows of
   the account's own period when they come after its end: it may have been closed without them.
2. Quantities are whole numbers; the outcome does not depend on how rows fall into batches.
3. Rows in quarantine are not counted.
4. What was counted anew may contain rows that still come here; so up to the journal offset that the
   archive may have known, rows only mark an account late once more.
5. Recordings may claim any time. A row from the future is left to the archive: the account would wait
   in a period that has not come, and no quota would be used up until then.
6. A mark is crossed, in either direction, when the number of marks at or below the total changes.

What must never live here: prices, sentences, or the database.
"""

from typing import Any, Final

import numba as nb
import numpy as np
from numba import njit
from numpy.typing import NDArray

from entitlements.billing import meters
from hub.ports.journal import telemetry
from hub.ports.journal.telemetry import TelemetryBatch
from hub.services.meter_terms import UNUSED, MeterTerms
from hub.services.usage_accounts import ACCOUNT, NEVER, ON_TIME
from hub.services.usage_archive import Counted

CROSSING: Final = np.dtype(
    [("account", "<u4"), ("level", "u1"), ("before", "u1"), ("start", "<i8"), ("total", "<i8")]
)
"""The number of marks at or below an account's total changed: from `before` to `level`."""

_COUNT: Final = int(meters.Aggregation.COUNT)
_SUM: Final = int(meters.Aggregation.SUM)
_MAX: Final = int(meters.Aggregation.MAX)
_LAST: Final = int(meters.Aggregation.LAST)
_INCREASE: Final = int(meters.Aggregation.INCREASE)
_LARGEST: Final = float(meters.LARGEST)
_MOST: Final = meters.MOST
_QUARANTINED: Final = telemetry.REASON_MASK


@njit(inline="always")
def _enter(account, time, edge, edge_span, a):  # type: ignore[no-untyped-def]
    """Take an account to the period of an instant at or behind its end; say whether it is within one.

    Behind the last edge an account stands in its last period. When the terms grow longer, such rows
    are found in the archive (`MeterBook`).
    """
    first = np.int64(edge_span[a, 0])
    last = np.int64(edge_span[a, 1]) - 1
    k = np.int64(account.edge) if account.end != NEVER else first
    while k < last and edge[k] <= time:
        k += 1
    if k == first:  # before the first edge
        return False
    if account.end != edge[k]:
        account.start = edge[k - 1]
        account.end = edge[k]
        account.edge = k
        account.total = 0
        account.rows = 0
        account.level = 0
    return time < edge[k]


@njit(inline="always")
def _count(account, aggregation, time, quantity):  # type: ignore[no-untyped-def]
    """Count one row of the account's period."""
    newer = time > account.last_time
    if aggregation == _COUNT:
        account.total += 1
    elif aggregation == _SUM:
        account.total += quantity
    elif aggregation == _MAX:
        if account.rows == 0 or quantity > account.total:
            account.total = quantity
    elif not newer:
        account.late = min(account.late, account.start)
    elif aggregation == _LAST:
        account.total = quantity
    elif aggregation == _INCREASE:
        if account.last_time != NEVER:
            account.total += quantity - account.last if quantity >= account.last else quantity
    elif account.rows == 0:
        account.total = 1
    elif quantity != account.last:  # whether it is a new one, only the archive knows
        account.late = min(account.late, account.start)
    if abs(account.total) > _MOST:
        account.total = _MOST if account.total > 0 else -_MOST
        account.late = min(account.late, account.start)
    account.rows += 1


@njit(
    nb.types.Tuple((nb.int64, nb.int64))(  # type: ignore[no-untyped-call]
        nb.int64,
        nb.uint8,
        nb.int64,
        nb.int64,
        nb.types.Array(nb.uint32, 1, "C", readonly=True),
        nb.types.Array(nb.uint32, 1, "C", readonly=True),
        nb.types.Array(nb.uint32, 1, "C", readonly=True),
        nb.types.Array(nb.int64, 1, "C", readonly=True),
        nb.types.Array(nb.uint16, 1, "C", readonly=True),
        nb.types.Array(nb.float64, 1, "C", readonly=True),
        nb.uint32[:, ::1],
        nb.uint16[::1],
        nb.uint16[::1],
        nb.uint8[::1],
        nb.float64[::1],
        nb.uint32[:, ::1],
        nb.int64[::1],
        nb.uint32[:, ::1],
        nb.int64[::1],
        nb.types.Array(nb.from_dtype(ACCOUNT), 1, "C"),
        nb.boolean[::1],
        nb.int64[::1],
        nb.types.Array(nb.from_dtype(CROSSING), 1, "C"),
    ),
    cache=True,
    nogil=True,
)
def count_rows(  # type: ignore[no-untyped-def]
    offset,
    worker,
    received,
    latest,
    slot,
    flags,
    count,
    time,
    metric,
    value,
    span,
    meter,
    meter_metric,
    aggregation,
    scale,
    edge_span,
    edge,
    mark_span,
    mark,
    accounts,
    touched,
    earlier,
    crossings,
):
    """Count the rows of one journal block; returns how many samples counted, and crossings written."""
    counted = np.int64(0)
    crossed = np.int64(0)
    position = np.int64(0)
    slots = span.shape[0]
    for i in range(slot.size):
        begin, position = position, position + np.int64(count[i])
        s = slot[i]
        if s >= slots or flags[i] & _QUARANTINED or span[s, 0] == span[s, 1]:
            continue
        t = time[i]
        if t > latest:
            continue
        for a in range(span[s, 0], span[s, 1]):
            m = meter[a]
            for j in range(begin, position):
                if metric[j] != meter_metric[m]:
                    continue
                scaled = value[j] * scale[m]
                if not abs(scaled) <= _LARGEST:  # NaN too
                    continue
                quantity = np.int64(np.rint(scaled))
                account = accounts[a]
                account.worker = worker
                touched[a] = True
                within = t < account.end or _enter(account, t, edge, edge_span, a)
                if within and (t < account.start or account.end <= received):
                    earlier[a] = min(earlier[a], t)
                if within and t < account.start:
                    if aggregation[m] == _INCREASE:
                        account.late = min(account.late, account.start)
                elif within and offset < account.until:
                    account.late = min(account.late, t)
                elif not within and t == account.last_time and quantity != account.last:
                    # Which of them is the newer one, only the archive knows; it counts what follows.
                    account.until = ON_TIME
                elif within:
                    _count(account, aggregation[m], t, quantity)
                    counted += 1
                if t > account.last_time:
                    account.last_time = t
                    account.last = quantity
                low = np.int64(mark_span[a, 0])
                level = np.int64(account.level)
                while low + level < mark_span[a, 1] and mark[low + level] <= account.total:
                    level += 1
                while level > 0 and mark[low + level - 1] > account.total:
                    level -= 1
                if level != account.level:
                    crossing = crossings[crossed]
                    crossing.account = a
                    crossing.before = account.level
                    crossing.level = level
                    crossing.start = account.start
                    crossing.total = account.total
                    account.level = level
                    crossed += 1
    return counted, crossed


@njit(
    nb.void(
        nb.int64[::1],
        nb.uint32[:, ::1],
        nb.int64[::1],
        nb.uint32[:, ::1],
        nb.int64[::1],
        nb.types.Array(nb.from_dtype(ACCOUNT), 1, "C"),
    ),
    cache=True,
    nogil=True,
)
def place_accounts(  # type: ignore[no-untyped-def]
    rows, edge_span, edge, mark_span, mark, accounts
):
    """Put accounts that counted under other terms into the periods of these.

    The newest row names the period. Only where that is the one counted before does its count stand; else
    the archive counts it.
    """
    for i in range(rows.size):
        a = rows[i]
        account = accounts[a]
        first, last = np.int64(edge_span[a, 0]), np.int64(edge_span[a, 1]) - 1
        start, end = account.start, account.end
        time = account.last_time if account.last_time != NEVER else start
        k = first
        while k < last and edge[k] <= time:
            k += 1
        other = k == first or (start, end) != (edge[k - 1], edge[k])
        account.edge = k
        if other:
            account.total = 0
            account.rows = 0
            account.start = account.end = NEVER
        if other and k > first and account.last_time != NEVER:
            account.start = edge[k - 1]
            account.end = edge[k]
            account.late = min(account.late, account.start)
        level = mark_span[a, 0]
        while level < mark_span[a, 1] and mark[level] <= account.total:
            level += 1
        account.level = level - mark_span[a, 0]


class MeterBook:
    """The accounts of all products.

    Args:
        terms: what is counted for whom.
        accounts: as they were left, of these or other terms; `None` begins with nothing counted.
    """

    def __init__(self, terms: MeterTerms, accounts: NDArray[Any] | None = None) -> None:
        self.terms = terms
        self.accounts = _empty(terms)
        self._scale = 10.0**terms.decimals  # exact in a double up to 22 decimals
        # What is in force: the arrays of `terms` change under us when a patch is read.
        self._span, self._meter = terms.span.copy(), terms.meter.copy()
        self._edge_span, self._mark_span = terms.edge_span.copy(), terms.mark_span.copy()
        self._widest = _widest(self._span)
        self._touched = np.ones(self.accounts.size, np.bool_)
        self._waiting = np.zeros(self.accounts.size, np.bool_)  # late when all were published
        self._earlier = np.full(self.accounts.size, ON_TIME)
        # Accounts that no rows were counted for yet: what came before is in the archive.
        self._unknown = np.arange(terms.accounts)
        if accounts is not None and accounts.size:
            self._take_over(accounts)

    def count(
        self,
        batch: TelemetryBatch,
        offset: int,
        worker: int = 0,
        *,
        received: int = NEVER,
        latest: int = ON_TIME,
    ) -> NDArray[Any]:
        """Count the rows of a journal block.

        Args:
            batch: its rows.
            offset: of the block.
            worker: number of the worker whose journal it stands in.
            received: when they came (ns).
            latest: rows behind this instant (ns) are from the future.

        Returns:
            `CROSSING[C]` in the order of the rows.
        """
        terms = self.terms
        crossings = np.zeros(batch.samples * self._widest, CROSSING)
        _, crossed = count_rows(
            offset,
            worker,
            received,
            latest,
            batch.slot,
            batch.flags,
            batch.count,
            batch.time,
            batch.metric,
            batch.value,
            self._span,
            self._meter,
            terms.metric,
            terms.aggregation,
            self._scale,
            self._edge_span,
            terms.edge,
            self._mark_span,
            terms.mark,
            self.accounts,
            self._touched,
            self._earlier,
            crossings,
        )
        return crossings[:crossed]

    def patch(self, changed: NDArray[np.int64]) -> NDArray[Any]:
        """Take in what changed in `terms`, whose arrays a patch was read into.

        Args:
            changed: accounts that may have others now than are in force, i64[K].

        Returns:
            `CROSSING[C]`: how accounts stand whose marks are others than before, see `anew`.
        """
        terms = self.terms
        new = changed[self.accounts["slot"][changed] != terms.slot[changed]]
        edges = (terms.edge_span[changed] != self._edge_span[changed]).any(axis=1)
        marks = (terms.mark_span[changed] != self._mark_span[changed]).any(axis=1)
        marked, changed = changed[marks], changed[edges | marks]
        self.accounts["slot"][new], self.accounts["meter"][new] = terms.slot[new], terms.meter[new]
        slots = np.unique(terms.slot[new])
        self._span[slots], self._meter[new] = terms.span[slots], terms.meter[new]
        self._widest = max(self._widest, _widest(self._span[slots]))
        self._edge_span[changed] = terms.edge_span[changed]
        self._mark_span[changed] = terms.mark_span[changed]
        begun = self.accounts["start"][changed] != NEVER
        self._place(changed)
        ended = changed[begun & (self.accounts["start"][changed] == NEVER)]
        self._unknown = np.union1d(new, ended)
        return self._stand(marked[self.accounts["level"][marked] > 0])

    def anew(self, before: MeterTerms | None) -> NDArray[Any]:
        """Tell how accounts stand whose marks are others than before.

        A row may have been counted by the old marks after `control` looked at the account for the new
        ones; then nobody else would notice that it passed one of these.

        Args:
            before: the terms until now; `None` after a start, when only what passed its last mark is told.

        Returns:
            `CROSSING[C]` with `before` as the level is.
        """
        terms, level = self.terms, self.accounts["level"]
        passed = np.flatnonzero(level > 0)
        if before is None:
            last = terms.mark_span[passed, 1] - terms.mark_span[passed, 0]
            return self._stand(passed[level[passed] == last])
        old = dict(zip(before.keys.tolist(), range(before.accounts), strict=False))
        keys = terms.keys[passed].tolist()
        told = [
            account
            for account, key in zip(passed.tolist(), keys, strict=True)
            if key not in old
            or not np.array_equal(terms.marks_of(account), before.marks_of(old[key]))
        ]
        return self._stand(np.array(told, np.int64))

    def late(self) -> NDArray[np.int64]:
        """Return the accounts that the archive must count, i64[L]."""
        waiting = np.flatnonzero(self._touched | self._waiting)
        late: NDArray[np.bool_] = self.accounts["late"][waiting] != ON_TIME
        return waiting[late]

    def corrected(self) -> list[tuple[int, int]]:
        """Return accounts of which rows of periods that are over came since the last call, and since when (ns)."""
        touched = self.touched()
        accounts = touched[self._earlier[touched] != ON_TIME]
        found = list(zip(accounts.tolist(), self._earlier[accounts].tolist(), strict=True))
        self._earlier[accounts] = ON_TIME
        return found

    def touched(self) -> NDArray[np.int64]:
        """Return the accounts that differ from when all were published, i64[T]."""
        return np.flatnonzero(self._touched)

    def published(self) -> None:
        """Say that all accounts are published as they are now."""
        self._waiting = self.accounts["late"] != ON_TIME
        self._touched = np.zeros_like(self._touched)

    def begin(self, at: int, sent: NDArray[np.bool_] | None = None) -> None:
        """Have the archive count the period of an instant (ns) for each account that is `unknown`.

        Args:
            at: the instant.
            sent: bool[N] by slot, whether anything ever came of a product; `None`: it may have.
        """
        unknown = self._unknown
        if sent is not None:
            slot = self.accounts["slot"][unknown]
            unknown = unknown[(slot < sent.size) & sent[np.minimum(slot, sent.size - 1)]]
        for account in unknown.tolist():
            row = self.accounts[account]
            if row["start"] != NEVER:
                continue
            edges = self.terms.edges_of(account)
            k = int(np.searchsorted(edges, at, "right"))
            if 0 < k < edges.size:
                row["start"], row["end"], row["late"] = edges[k - 1], edges[k], edges[k - 1]
                row["edge"] = self.terms.edge_span[account, 0] + k
                self._touched[account] = True

    def doubt(self) -> None:
        """Have the archive count all accounts."""
        begun = self.accounts["start"] != NEVER
        self.accounts["late"][begun] = np.minimum(
            self.accounts["late"][begun], self.accounts["start"][begun]
        )
        self._touched |= begun

    def put(self, account: int, found: Counted, until: int) -> NDArray[Any]:
        """Take what the archive counted for an account's present period.

        Args:
            account: which.
            found: the count.
            until: journal offset below which the archive may have known rows.

        Returns:
            `CROSSING[C]`, at most one.
        """
        row = self.accounts[account : account + 1]
        marks = self.terms.marks_of(account)
        before, level = int(row["level"][0]), int(np.searchsorted(marks, found.total, "right"))
        row["total"], row["rows"], row["level"] = found.total, found.rows, level
        if found.last_time >= row["last_time"]:  # a row behind the last edge may be newer
            row["last_time"], row["last"] = found.last_time, found.last
        row["late"], row["until"] = ON_TIME, until
        self._touched[account] = True
        crossings = np.zeros(int(level != before), CROSSING)
        crossings["account"], crossings["before"], crossings["level"] = account, before, level
        crossings["start"], crossings["total"] = row["start"][0], found.total
        return crossings

    def _take_over(self, accounts: NDArray[Any]) -> None:
        """Take what was counted under other terms; a period that is another one now is counted anew."""
        keys = (accounts["slot"].astype(np.int64) << 16) | accounts["meter"]
        mine = self.terms.keys
        place = np.minimum(np.searchsorted(keys, mine), keys.size - 1)
        known = (keys[place] == mine) & (self.terms.slot != UNUSED)
        here = np.flatnonzero(known)
        self.accounts[here] = accounts[place[here]]
        begun = self.accounts["start"][here] != NEVER
        self._place(here)
        ended = here[begun & (self.accounts["start"][here] == NEVER)]
        new = np.flatnonzero(~known & (self.terms.slot != UNUSED))
        self._unknown = np.union1d(new, ended)

    def _place(self, rows: NDArray[np.int64]) -> None:
        terms = self.terms
        place_accounts(
            rows, self._edge_span, terms.edge, self._mark_span, terms.mark, self.accounts
        )
        self._touched[rows] = True

    def _stand(self, accounts: NDArray[np.int64]) -> NDArray[Any]:
        """Return how accounts stand, as crossings that cross nothing."""
        crossings = np.zeros(accounts.size, CROSSING)
        crossings["account"] = accounts
        level = self.accounts["level"][accounts]
        crossings["level"] = crossings["before"] = level
        crossings["start"] = self.accounts["start"][accounts]
        crossings["total"] = self.accounts["total"][accounts]
        return crossings


def _widest(span: NDArray[np.uint32]) -> int:
    """Return how many accounts a product has at most."""
    return int((span[:, 1] - span[:, 0]).max(initial=0))


def _empty(terms: MeterTerms) -> NDArray[Any]:
    accounts = np.zeros(terms.slot.size, ACCOUNT)
    accounts["slot"], accounts["meter"] = terms.slot, terms.meter
    for name in ("start", "end", "last_time"):
        accounts[name] = NEVER
    accounts["late"] = ON_TIME
    return accounts
