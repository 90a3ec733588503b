"""The columns of a gate snapshot, kept so that one product's change costs one product's work.

1. A slot names its spans by `[first, end)`. Spans once written never change: a product whose spans
   change gets others, and what nobody names any more goes with the next `whole`.
2. Products with the same spans may share them.
3. Slots and spans have room to grow, so that a `patch` of the last `whole` can add some.

What a span says is decided in `gate.py`; here are only arrays. No files.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from entitlements.budget import DEFAULT, UNLIMITED, Limits
from entitlements.facts import Model
from entitlements.gate_metrics import Arrays, fixed, metrics_of, texts

ID_BYTES = 16

Patch = dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.generic]]]
"""By name of an array: the rows that differ, and what is in them now."""

_T = TypeVar("_T", bound=np.generic)
_ROOM = 1024
_SHARED = 1 << 16
_MOST_BUDGETS = 65_535


class GateSpan(NamedTuple):
    """What the gate does with a product's telemetry from an instant on.

    Args:
        start: first instant, ns UTC.
        verdict: what it does.
        reason: why.
        limits: how much may come.
    """

    start: int
    verdict: int
    reason: int
    limits: Limits = UNLIMITED


Spans = tuple[GateSpan, ...]
"""Rising in time; the first is there and has always begun."""


class Entry(NamedTuple):
    """What the gate knows of one product.

    Args:
        slot: device slot, from 1.
        device_id: 16 ASCII characters.
        model: number of its model.
        epoch: owner epoch, 0 for nobody.
        owner: id of the owner, empty for nobody.
        spans: what the gate does with its telemetry, and when.
        cohort: number of the products that it is compared with, 0 for none.
    """

    slot: int
    device_id: str
    model: int
    epoch: int
    owner: str
    spans: Spans
    cohort: int = 0


Terms = tuple[int, int, Limits]
"""Verdict, reason and limits: a span without its start."""


class Fleet(NamedTuple):
    """What the gate knows of many products that it did not know before, as columns.

    Args:
        slot: u32[P].
        device_id: u8[P, 16].
        model: u16[P], numbers of models.
        epoch: u32[P], owner epochs.
        owner: i64[P], numbers of `owners`.
        owners: ids of owners, empty for nobody.
        cohort: u32[P].
        sizes: i64[P], how many spans each product has.
        starts: i64[S], first instants of all spans, product after product.
        kinds: i64[S], what the gate does in them, numbers of `terms`.
        terms: verdict, reason and limits.
    """

    slot: npt.NDArray[np.uint32]
    device_id: npt.NDArray[np.uint8]
    model: npt.NDArray[np.uint16]
    epoch: npt.NDArray[np.uint32]
    owner: npt.NDArray[np.int64]
    owners: Sequence[str]
    cohort: npt.NDArray[np.uint32]
    sizes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    terms: Sequence[Terms]


class GateTable:
    """The arrays of the table "Gate snapshot" in docs/architecture.md, changed by `put`.

    Args:
        unused: the spans of slots that nobody has.
    """

    def __init__(self, unused: Spans) -> None:
        self._slots = 1
        self._device_id = np.zeros((1, ID_BYTES), np.uint8)
        self._model = np.zeros(1, np.uint16)
        self._epoch = np.zeros(1, np.uint32)
        self._cohort = np.zeros(1, np.uint32)
        self._owner = np.zeros(1, np.uint32)
        self._owners = {"": 0}
        self._span = np.array([[0, len(unused)]], np.uint32)
        self._touched = np.zeros(1, np.bool_)
        self._rows = 0
        self._from = np.zeros(0, np.int64)
        self._verdict = np.zeros(0, np.uint8)
        self._reason = np.zeros(0, np.uint8)
        self._budget = np.zeros(0, np.uint16)
        self._limits = {UNLIMITED: 0, DEFAULT: 1}
        self._unused = len(unused)
        self._shared: dict[Spans, int] = {}
        self._metrics = metrics_of(())
        # What the last `whole` had room for; None while a patch of it would not do.
        self._base: tuple[int, int, int] | None = None
        self._append(unused)

    def put(self, entries: Sequence[Entry]) -> bool:
        """Take in what is known of some products now.

        Returns:
            Whether anything differs from before.

        Raises:
            ValueError: two products have one slot, a slot is 0, or a device id does not fit. The
                message names the product. Nothing was taken in.
        """
        if not entries:
            return False
        slots = np.array([entry.slot for entry in entries], np.int64)
        ids = self._checked_ids(entries, slots)
        self._reach(int(slots.max()) + 1)
        model = np.array([entry.model for entry in entries], np.uint16)
        epoch = np.array([entry.epoch for entry in entries], np.uint32)
        cohort = np.array([entry.cohort for entry in entries], np.uint32)
        # Numbers of owners are dense, so that the pipeline can count by them; a new run of the
        # process numbers afresh and begins with a whole version.
        numbers = [self._owners.setdefault(entry.owner, len(self._owners)) for entry in entries]
        owner = np.array(numbers, np.uint32)
        differs = (
            (self._device_id[slots] != ids).any(axis=1)
            | (self._model[slots] != model)
            | (self._epoch[slots] != epoch)
            | (self._cohort[slots] != cohort)
            | (self._owner[slots] != owner)
        )
        span = self._span[slots]
        news: list[GateSpan] = []
        for at, entry in enumerate(entries):
            if entry.spans != self._spans(int(span[at, 0]), int(span[at, 1])):
                first = self._find(entry.spans, news)
                span[at] = first, first + len(entry.spans)
                differs[at] = True
        self._append(news)
        self._device_id[slots], self._model[slots], self._epoch[slots] = ids, model, epoch
        self._cohort[slots], self._owner[slots], self._span[slots] = cohort, owner, span
        self._touched[slots[differs]] = True
        return bool(differs.any())

    def fill(self, fleet: Fleet) -> None:
        """Take in many products at once; a later `put` may change them.

        Raises:
            ValueError: a slot is 0 or taken.
        """
        slots = fleet.slot.astype(np.int64)
        self._reach(int(slots.max()) + 1)
        if not slots.min() or self._device_id[slots, 0].any():
            raise ValueError("a slot is 0 or taken; only products that are not known fill a table")
        numbers = [self._owners.setdefault(owner, len(self._owners)) for owner in fleet.owners]
        # A product that never changes shares its one span with all others that are treated so.
        alone = np.flatnonzero(fleet.sizes == 1)
        begin = np.cumsum(fleet.sizes) - fleet.sizes
        unchanging = fleet.kinds[begin[alone]]
        shared = np.zeros(len(fleet.terms), np.int64)
        for kind in np.unique(unchanging).tolist():
            only = (GateSpan(int(fleet.starts[begin[alone[0]]]), *fleet.terms[kind]),)
            news: list[GateSpan] = []
            shared[kind] = self._find(only, news)
            self._append(news)
        own = np.repeat(fleet.sizes > 1, fleet.sizes)
        kept = np.where(fleet.sizes > 1, fleet.sizes, 0)
        first = self._rows + np.cumsum(kept) - kept
        first[alone] = shared[unchanging]
        rows = np.array([(*terms[:2], self._budget_row(terms[2])) for terms in fleet.terms])
        self._append_columns(fleet.starts[own], rows[fleet.kinds[own]])
        self._device_id[slots], self._model[slots] = fleet.device_id, fleet.model
        self._epoch[slots], self._cohort[slots] = fleet.epoch, fleet.cohort
        self._owner[slots] = np.array(numbers, np.uint32)[fleet.owner]
        self._span[slots] = np.stack([first, first + fleet.sizes], axis=1)
        self._touched[slots] = True

    def describe(self, models: Iterable[Model]) -> bool:
        """Take in the catalogue's metrics; say whether they differ from before.

        Raises:
            ValueError: a metric's name or unit does not fit. The message names it.
        """
        metrics = metrics_of(models)
        # Bytes, not numbers: a limit that is absent is not a number, and equals itself here.
        same = all(
            column.tobytes() == metrics[name].tobytes() for name, column in self._metrics.items()
        )
        if not same:
            self._metrics, self._base = metrics, None
        return not same

    def exact(self) -> Arrays:
        """Return the arrays without room for growth. They are views; take them before a `put`."""
        return self._arrays(self._slots, self._rows)

    def whole(self) -> Arrays:
        """Return the arrays with room for growth; later patches are against these.

        They are views; write them before the next `put`.
        """
        self._compact()
        self._make_room(self._slots + max(_ROOM, self._slots // 8))
        self._make_span_room(self._rows + max(_ROOM, self._rows // 8))
        self._touched[:] = False
        self._base = self._span.shape[0], self._from.size, self._rows
        return self._arrays(self._span.shape[0], self._from.size)

    def patch(self) -> Patch | None:
        """Return all that differs from the last `whole`.

        Returns:
            `None` where a new `whole` is due: there was none, the metrics differ, there is no room
            left in it, or so much differs that a patch would not be cheap.
        """
        if self._base is None:
            return None
        slots_room, rows_room, rows = self._base
        changed = np.flatnonzero(self._touched)
        dear = changed.size > max(_ROOM, slots_room // 16)
        if dear or self._span.shape[0] > slots_room or self._rows > rows_room:
            return None
        news = np.arange(rows, self._rows)
        patch: Patch = {}
        for name, array in self._arrays(self._slots, self._rows).items():
            if name.startswith("span_"):
                patch[name] = news, array[news]
            elif name != "budget" and name not in self._metrics:
                patch[name] = changed, array[changed]
        return patch

    def _arrays(self, slots: int, rows: int) -> Arrays:
        return {
            "device_id": self._device_id[:slots],
            "model": self._model[:slots],
            "epoch": self._epoch[:slots],
            "cohort": self._cohort[:slots],
            "owner": self._owner[:slots],
            "span": self._span[:slots],
            "span_from": self._from[:rows],
            "span_verdict": self._verdict[:rows],
            "span_reason": self._reason[:rows],
            "span_budget": self._budget[:rows],
            "budget": np.array(list(self._limits), np.int64),
            **self._metrics,
        }

    def _checked_ids(
        self, entries: Sequence[Entry], slots: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint8]:
        ids = texts([fixed(e.device_id, ID_BYTES, exact=True) for e in entries], ID_BYTES)
        taken = slots < 1
        known = ~taken & (slots < self._slots)
        present = self._device_id[np.where(known, slots, 0)]
        taken |= (present[:, 0] != 0) & (present != ids).any(axis=1)
        _, first = np.unique(slots, return_index=True)
        repeated = np.ones(slots.size, np.bool_)
        repeated[first] = False
        for at in np.flatnonzero(taken | repeated)[:1].tolist():
            raise ValueError(
                f"device {entries[at].device_id} has slot {entries[at].slot}, which is taken or not"
                " allowed; slots are unique and start at 1",
            )
        return ids

    def _spans(self, first: int, end: int) -> Spans:
        terms = list(self._limits)
        return tuple(
            GateSpan(start, verdict, reason, terms[budget])
            for start, verdict, reason, budget in zip(
                self._from[first:end].tolist(),
                self._verdict[first:end].tolist(),
                self._reason[first:end].tolist(),
                self._budget[first:end].tolist(),
                strict=True,
            )
        )

    def _find(self, spans: Spans, news: list[GateSpan]) -> int:
        """Return the first row of spans; if they are new, it is where `news` will be appended."""
        first = self._shared.get(spans)
        if first is None:
            if len(self._shared) >= _SHARED:  # sharing saves room, but is not worth much memory
                self._shared.clear()
            first = self._shared[spans] = self._rows + len(news)
            news.extend(spans)
        return first

    def _append(self, spans: Sequence[GateSpan]) -> None:
        if not spans:
            return
        starts, verdicts, reasons, terms = zip(*spans, strict=True)
        budgets = [self._budget_row(limits) for limits in terms]
        does = np.stack([verdicts, reasons, budgets], axis=1)
        self._append_columns(np.array(starts, np.int64), does)

    def _append_columns(self, starts: npt.NDArray[np.int64], does: npt.NDArray[np.int64]) -> None:
        """Append spans: their starts, i64[S], and verdict, reason and row of the budget, [S, 3]."""
        start, end = self._rows, self._rows + len(starts)
        if end > self._from.size:
            self._make_span_room(end + end // 2)
        self._from[start:end] = starts
        self._verdict[start:end], self._reason[start:end] = does[:, 0], does[:, 1]
        self._budget[start:end] = does[:, 2]
        self._rows = end

    def _budget_row(self, limits: Limits) -> int:
        row = self._limits.get(limits)
        if row is None:
            if len(self._limits) > _MOST_BUDGETS:
                raise ValueError(
                    f"the catalogue has more than {_MOST_BUDGETS} different budgets of models and"
                    " plans; let some of them be the same"
                )
            row = self._limits[limits] = len(self._limits)
            self._base = None  # a patch cannot add to the table of budgets
        return row

    def _reach(self, slots: int) -> None:
        if slots > self._span.shape[0]:
            self._make_room(slots + slots // 2)
        self._slots = max(self._slots, slots)

    def _make_room(self, slots: int) -> None:
        before = self._span.shape[0]
        self._device_id = _resized(self._device_id, slots)
        self._model = _resized(self._model, slots)
        self._epoch = _resized(self._epoch, slots)
        self._cohort = _resized(self._cohort, slots)
        self._owner = _resized(self._owner, slots)
        self._span = _resized(self._span, slots)
        self._span[before:] = 0, self._unused
        self._touched = _resized(self._touched, slots)

    def _make_span_room(self, rows: int) -> None:
        self._from = _resized(self._from, rows)
        self._verdict = _resized(self._verdict, rows)
        self._reason = _resized(self._reason, rows)
        self._budget = _resized(self._budget, rows)

    def _compact(self) -> None:
        """Drop the spans that no slot names."""
        span = self._span[: self._slots]
        size = np.zeros(self._rows, np.int64)
        size[span[:, 0]] = span[:, 1] - span[:, 0]
        firsts = np.flatnonzero(size)
        sizes = size[firsts]
        moved = np.cumsum(sizes) - sizes
        rows = np.repeat(firsts - moved, sizes) + np.arange(sizes.sum())
        self._from, self._verdict = self._from[rows], self._verdict[rows]
        self._reason, self._budget = self._reason[rows], self._budget[rows]
        self._rows = rows.size
        place = np.full(size.size, -1, np.int64)
        place[firsts] = moved
        span[:, 1] += (place[span[:, 0]] - span[:, 0]).astype(np.uint32)  # wraps around rightly
        span[:, 0] = place[span[:, 0]]
        self._shared = {
            spans: int(place[first]) for spans, first in self._shared.items() if place[first] >= 0
        }


def _resized(array: npt.NDArray[_T], rows: int) -> npt.NDArray[_T]:
    """Return a copy with so many rows, new ones zero."""
    copy = np.zeros((rows, *array.shape[1:]), array.dtype)
    kept = min(rows, array.shape[0])
    copy[:kept] = array[:kept]
    return copy
