"""Compiles the gate of a whole fleet from a decision table, without an object a product.

1. What the gate does with a pattern of facts is asked of `gate.py` once for all products that share
   it; the spans of each product are then its own instants.
2. The result equals what `gate_entry` says product by product.
"""

import numpy as np
import numpy.typing as npt

from entitlements.decision import Question
from entitlements.decision_table import DecisionTable, Pool
from entitlements.fact_columns import I64, FactColumns, id_texts
from entitlements.gate import budget_of, gate_verdict
from entitlements.gate_table import Fleet, GateTable, Terms
from entitlements.kernels.decision_kernel import ABSENT
from entitlements.kernels.gate_kernel import spans
from entitlements.ladder import TELEMETRY
from entitlements.status import NS_PER_S

_UNKNOWN = -1


class GateFleet:
    """Fills a gate table with products that a decision table knows.

    Args:
        table: knows the products.
        gate: a table without any of them.
        at: the instant of the compile, ns UTC.
    """

    def __init__(self, table: DecisionTable, gate: GateTable, at: int) -> None:
        self._table = table
        self._gate = gate
        self._at = at
        self._first: I64 = np.zeros(0, np.int64)  # of a pattern, its first kind
        self._kind = Pool(np.zeros(0, np.int64))
        self._terms: dict[Terms, int] = {}

    def put(
        self,
        columns: FactColumns,
        device_id: npt.NDArray[np.uint8],
        cohort: npt.NDArray[np.uint32],
    ) -> None:
        """Fill in some products.

        Args:
            columns: their facts, as the decision table took them in last.
            device_id: u8[P, 16].
            cohort: u32[P].

        Raises:
            ValueError: a slot is taken.
        """
        shape, first, count = self._table.where(columns.slot)
        self._learn(shape)
        room = int((count + 1).sum())
        sizes = np.empty(shape.size, np.int64)
        starts, kinds = np.empty(room, np.int64), np.empty(room, np.int64)
        instants = self._table.instants
        given = first, count, instants, self._first[shape], self._kind.view()
        spans(self._at, *given, sizes, starts, kinds)
        epoch, owner, owners = self._owned(columns)
        filled = int(sizes.sum())
        self._gate.fill(
            Fleet(
                columns.slot,
                device_id,
                columns.product[:, 0].astype(np.uint16),
                epoch,
                owner,
                owners,
                cohort,
                sizes,
                starts[:filled],
                kinds[:filled],
                list(self._terms),
            )
        )

    def _learn(self, shapes: I64) -> None:
        """Ask what the gate does with the patterns that were not there before."""
        most = int(shapes.max()) + 1
        if most > self._first.size:
            grown = np.full(most, _UNKNOWN, np.int64)
            grown[: self._first.size] = self._first
            self._first = grown
        for shape in np.unique(shapes).tolist():
            if self._first[shape] == _UNKNOWN:
                self._first[shape] = self._kind.append(np.array(self._kinds(shape), np.int64))

    def _kinds(self, shape: int) -> list[int]:
        facts, instants = self._table.facts_of(shape)
        question = Question(facts, TELEMETRY)
        kinds = []
        for interval in range(instants + 1):
            outcome = question.moment((interval - 1) * NS_PER_S).outcome
            terms = (*gate_verdict(outcome), budget_of(facts, outcome))
            kinds.append(self._terms.setdefault(terms, len(self._terms)))
        return kinds

    def _owned(
        self, columns: FactColumns
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], list[str]]:
        """Return epoch and owner of each product now; owners by number, the first one nobody."""
        rows, count = columns.own, columns.slot.size
        product = np.repeat(np.arange(count), np.diff(rows.first))
        _, start, end, *_ = rows.row.T
        now = (start <= self._at) & ((end == ABSENT) | (self._at < end))
        holder = np.full(count, -1, np.int64)
        # Rows are in the order of epochs: of two at once the later one stays, and it holds.
        np.maximum.at(holder, product[now], np.flatnonzero(now))
        held = holder >= 0
        pairs = np.zeros((count, 2), np.int64)
        pairs[held] = rows.row[holder[held], 3:]
        epoch = np.zeros(count, np.uint32)
        epoch[held] = rows.row[holder[held], 0]
        unique, owner = np.unique(pairs, axis=0, return_inverse=True)
        return epoch, owner.reshape(-1), id_texts(unique)
