"""Compiles the facts of products to `Decisions`, and keeps them in step with changes.

1. A product is a pattern of facts, its instants and the ids of its facts. What a pattern decides is
   worked out once, by the ladder itself (`shapes.py`); a fleet has few patterns.
2. A change of one product costs one product's work, a change of the catalogue only the patterns'.
3. The table is one thread's. What it gave out is never touched again: rows are only appended, and
   the places of products are copied.

What the arrays are is said in `decision_arrays.py`; nothing here looks up or explains.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from entitlements.codes import Code
from entitlements.decision_arrays import CODES, Decisions
from entitlements.fact_columns import I64, ID_BYTES, FactColumns, Vocabulary
from entitlements.facts import Facts, Model, PlanVersion
from entitlements.kernels import decision_kernel as kernel
from entitlements.ladder import TELEMETRY
from entitlements.shapes import Template, facts_of, timelines

_CODE: Final = {code: number for number, code in enumerate(CODES)}
_UNTIL: Final = int(kernel.UNTIL)
_ROOM: Final = 1024


class Pool:
    """Rows that are only ever appended, so that earlier views of them stay as they are.

    Args:
        empty: of the dtype and width of the rows.
    """

    def __init__(self, empty: npt.NDArray[Any]) -> None:
        self._rows = empty
        self.count = 0

    def append(self, rows: npt.NDArray[Any]) -> int:
        """Append rows; return the number of the first of them."""
        first, end = self.count, self.count + len(rows)
        if end > len(self._rows):
            room = max(_ROOM, end + end // 4)
            grown = np.zeros((room, *self._rows.shape[1:]), self._rows.dtype)
            grown[:first] = self._rows[:first]
            self._rows = grown
        self._rows[first:end] = rows
        self.count = end
        return first

    def view(self) -> npt.NDArray[Any]:
        """Return all rows; they stay as they are."""
        return self._rows[: self.count]


class DecisionTable:
    """Compiles facts to `Decisions` and keeps them in step with changes; for one thread.

    Args:
        models: the models of the catalogue, by number.
        plans: its plan versions.
    """

    def __init__(
        self, models: Mapping[int, Model], plans: Mapping[tuple[str, int], PlanVersion]
    ) -> None:
        self.vocabulary = Vocabulary()
        self._models, self._plans = models, plans
        self._place = np.zeros((1, 3), np.uint32)
        self._instant = Pool(np.zeros(0, np.int64))
        self._source = Pool(np.zeros((0, ID_BYTES), np.uint8))
        self._live = 0
        self._shapes: dict[bytes, int] = {}
        self._learn()

    def describe(
        self, models: Mapping[int, Model], plans: Mapping[tuple[str, int], PlanVersion]
    ) -> None:
        """Take in another catalogue: every pattern is decided anew.

        Raises:
            LookupError: it lacks a model or plan version that products have.
        """
        self._models, self._plans = models, plans
        self._learn()

    def put(self, columns: FactColumns) -> None:
        """Take in the facts of some products, in place of what was known of them.

        Raises:
            ValueError: a slot is 0 or comes twice, or a product has too many facts.
            LookupError: a model or plan version is not in the catalogue. Nothing was taken in.
        """
        slot = columns.slot
        if not slot.size:
            return
        if not slot.min() or np.unique(slot).size < slot.size:
            raise ValueError("a slot is 0 or comes twice; slots are unique and start at 1")
        word_first, word, instant, instant_count, digest = _patterns(columns)
        if instant_count.max() >= kernel.NEVER:
            at = int(slot[instant_count.argmax()])
            raise ValueError(f"the product of slot {at} has more than {kernel.NEVER} instants")
        shape = self._shapes_of(word_first, word, digest)
        sources, source_count = _sources(columns)
        place = np.empty((slot.size, 3), np.uint32)
        place[:, 0] = shape
        place[:, 1] = _before(instant_count) + self._instant.append(instant)
        place[:, 2] = _before(source_count) + self._source.append(sources)
        self._reach(int(slot.max()) + 1)
        self._place[slot] = place
        self._compact()

    def decisions(self) -> Decisions:
        """Return the decisions on what is known now."""
        arrays = {
            "place": self._place.copy(),
            "instant": self._instant.view(),
            "source": self._source.view(),
            "head": self._head.view(),
            "cell": self._cell.view(),
            "outcome": self._outcome_at.view(),
        }
        for array in arrays.values():
            array.flags.writeable = False
        names = self.vocabulary.features.things
        features = {name: at for at, name in enumerate(names) if at}
        return Decisions(arrays, self._templates, features, self.vocabulary.values.things)

    @property
    def instants(self) -> I64:
        """i64[K], the instants of all products."""
        return self._instant.view()

    def where(self, slots: npt.NDArray[np.uint32]) -> tuple[I64, I64, I64]:
        """Return pattern, first instant and number of instants of products: i64[P] each."""
        shape, first = self._place[slots, 0].astype(np.int64), self._place[slots, 1]
        return shape, first.astype(np.int64), self._head.view()[shape, 1].astype(np.int64)

    def facts_of(self, shape: int) -> tuple[Facts, int]:
        """Return facts with the pattern of some number, and how many instants they have."""
        words = np.frombuffer(self._patterns[shape], np.int64).tolist()
        return facts_of(words, self.vocabulary, self._models, self._plans)

    def _learn(self) -> None:
        """Decide every pattern by the present catalogue."""
        self.vocabulary.learn(self._models.values(), self._plans)
        self.vocabulary.features.number(TELEMETRY)
        self._head = Pool(np.zeros((0, 3), np.uint32))
        self._cell = Pool(np.zeros(0, np.uint64))
        self._outcome_at = Pool(np.zeros(0, np.uint32))
        self._templates: list[Template] = [_NO_PRODUCT]
        self._terms: list[int] = [0]  # of each outcome, the part of a cell that it gives
        self._outcome_of: dict[object, int] = {}
        self._patterns: list[bytes] = []
        self._keep(b"", 0, [[0]], [[kernel.NEVER]])  # of slots without a product
        for words in self._shapes:
            self._decide(words)

    def _decide(self, words: bytes) -> int:
        """Work out the timelines of a pattern; return its number."""
        numbers = np.frombuffer(words, np.int64).tolist()
        facts, instants = facts_of(numbers, self.vocabulary, self._models, self._plans)
        lines = timelines(facts, instants, self.vocabulary.features.things)
        outcomes = [[self._outcome(one) for one in line.templates] for line in lines]
        return self._keep(words, instants, outcomes, [line.until for line in lines])

    def _keep(
        self, words: bytes, instants: int, outcomes: list[list[int]], until: list[list[int]]
    ) -> int:
        cells = [
            [self._terms[one] | change << _UNTIL for one, change in zip(*line, strict=True)]
            for line in zip(outcomes, until, strict=True)
        ]
        first = self._cell.append(np.array(cells, np.uint64).T.ravel())
        self._outcome_at.append(np.array(outcomes, np.uint32).T.ravel())
        self._patterns.append(words)
        return self._head.append(np.array([[first, instants, len(outcomes)]], np.uint32))

    def _outcome(self, template: Template) -> int:
        key = (template, type(template.value))  # `True` is not `1`, though they compare equal
        found = self._outcome_of.get(key)
        if found is None:
            found = self._outcome_of[key] = len(self._templates)
            self._templates.append(template)
            value = self.vocabulary.values.number(template.value)
            allowed = template.allowed * int(kernel.ALLOWED)
            self._terms.append(_CODE[template.code] | allowed | value << int(kernel.VALUE))
        return found

    def _shapes_of(
        self,
        word_first: I64,
        word: I64,
        digest: I64,
    ) -> npt.NDArray[np.uint32]:
        """Return the number of each product's pattern; new ones are decided."""
        _, example, which = np.unique(digest, return_index=True, return_inverse=True)
        other = np.empty(digest.size, np.bool_)
        kernel.differ(word_first, word, example[which], other)
        shape = self._numbers(example, word_first, word)[which]
        alone = np.flatnonzero(other)  # two patterns with one digest
        shape[alone] = self._numbers(alone, word_first, word)
        return shape

    def _numbers(
        self,
        which: I64,
        word_first: I64,
        word: I64,
    ) -> npt.NDArray[np.uint32]:
        numbers = []
        for at in which.tolist():
            words = word[word_first[at] : word_first[at + 1]].tobytes()
            number = self._shapes.get(words)
            if number is None:
                number = self._decide(words)
                self._shapes[words] = number
            numbers.append(number)
        return np.array(numbers, np.uint32)

    def _reach(self, slots: int) -> None:
        present = len(self._place)
        if slots > present:
            grown = np.zeros((max(slots, present + present // 8), 3), np.uint32)
            grown[:present] = self._place
            self._place = grown

    def _compact(self) -> None:
        """Drop the instants and ids that no product names, once they are more than the others."""
        if self._instant.count < 2 * self._live + _ROOM:
            return
        slots = np.flatnonzero(self._place[:, 0])
        shape = self._place[slots, 0]
        counts = self._head.view()[shape, 1].astype(np.int64)
        for column, pool, sizes in (
            (1, self._instant, counts),
            (2, self._source, self._source_counts()[shape]),
        ):
            before = _before(sizes)
            first = self._place[slots, column].astype(np.int64)
            rows = np.repeat(first - before, sizes) + np.arange(sizes.sum())
            kept = pool.view()[rows]
            self._place[slots, column] = before
            fresh = Pool(kept[:0].copy())
            fresh.append(kept)
            if column == 1:
                self._instant = fresh
            else:
                self._source = fresh
        self._live = int(counts.sum())

    def _source_counts(self) -> I64:
        heads = [words[24:48] or bytes(24) for words in self._patterns]
        counts: I64 = np.frombuffer(b"".join(heads), np.int64).reshape(-1, 3).sum(axis=1)
        return counts


_NO_PRODUCT = Template(
    "", False, Code.UNCLAIMED, (), (), False, None, None, None, None, None, 0, False, None
)


def _patterns(
    columns: FactColumns,
) -> tuple[
    I64,
    I64,
    I64,
    I64,
    I64,
]:
    """Return first word, words, instants, number of instants and digest of the patterns."""
    count = columns.slot.size
    kinds = (
        (columns.own, kernel.OWN_WORDS, 2),
        (columns.sub, kernel.SUB_WORDS, 10),
        (columns.hold, kernel.HOLD_WORDS, 2),
        (columns.grant, kernel.GRANT_WORDS, 2),
    )
    sizes = np.full(count, kernel.HEAD, np.int64)
    most = count
    for rows, words, instants in kinds:
        sizes += words * np.diff(rows.first)
        most += instants * len(rows.row)
    word_first = np.zeros(count + 1, np.int64)
    np.cumsum(sizes, out=word_first[1:])
    word = np.empty(word_first[-1], np.int64)
    instant = np.empty(most, np.int64)
    instant_count, digest = np.empty(count, np.int64), np.empty(count, np.int64)
    kernel.pattern(
        columns.product,
        *columns.own,
        *columns.sub,
        *columns.hold,
        *columns.grant,
        word_first,
        word,
        instant,
        instant_count,
        digest,
    )
    return word_first, word, instant[: instant_count.sum()], instant_count, digest


def _sources(
    columns: FactColumns,
) -> tuple[npt.NDArray[np.uint8], I64]:
    """Return the ids of subscriptions, holds and grants of each product, and how many it has."""
    kinds = (columns.sub, columns.hold, columns.grant)
    counts = np.sum([np.diff(rows.first) for rows in kinds], axis=0)
    sources = np.empty((counts.sum(), 2), np.int64)
    first = _before(counts)
    for rows in kinds:
        sizes = np.diff(rows.first)
        place = np.repeat(first - rows.first[:-1], sizes) + np.arange(len(rows.row))
        sources[place] = rows.row[:, -2:]
        first = first + sizes
    return sources.astype(">i8").view(np.uint8).reshape(-1, ID_BYTES), counts


def _before(sizes: I64) -> I64:
    """Return the sum of the sizes before each."""
    before: I64 = np.cumsum(sizes) - sizes
    return before
