"""The decisions on every feature of every product as arrays, looked up in no time.

1. Immutable: any number of threads may ask, and later changes do not touch what was given out.
2. Every answer equals that of `decision.decide` on the facts. Instants beyond int64 are its end.

Arrays: `place` u32[N,3] by slot: pattern, first instant, first source; `instant` i64[K]; `source`
u8[L,16], ids of subscriptions, holds and grants; `head` u32[P,3] by pattern: first cell, instants,
columns; `cell` u64[C] (see `kernels/decision_kernel.py`) and `outcome` u32[C], a row an interval, a column
a feature, the first one for features that nobody knows. `decision_table.py` makes them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from entitlements.codes import Code
from entitlements.decision import Decision
from entitlements.facts import Value
from entitlements.kernels import decision_kernel as kernel
from entitlements.shapes import Template

CODES: Final = (None, *Code)
"""Codes by their number in the arrays; number 0: the slot has no product."""
_LOOKED_UP_IN: Final = ("place", "instant", "head", "cell")
_UNTIL: Final = int(kernel.UNTIL)
_NEVER: Final = kernel.NEVER


class Answers(NamedTuple):
    """Many decisions by number, an entry for each that was asked for.

    Args:
        allowed: bool[N].
        code: u8[N], number in `CODES`.
        value: i32[N], number in `Decisions.values`; 0 is `None`.
        until: i64[N], when the decision changes, the last int64 for never.
    """

    allowed: npt.NDArray[np.bool_]
    code: npt.NDArray[np.uint8]
    value: npt.NDArray[np.int32]
    until: npt.NDArray[np.int64]


class Decisions:
    """The decisions of one state of the facts; immutable, for any number of threads.

    Args:
        arrays: by name, see the module.
        templates: what each outcome is.
        features: column of each feature by name.
        values: values by number.
    """

    __slots__ = (
        "_arrays",
        "_cells",
        "_features",
        "_heads",
        "_instants",
        "_outcomes",
        "_places",
        "_sources",
        "_templates",
        "values",
    )

    def __init__(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        templates: Sequence[Template],
        features: Mapping[str, int],
        values: Sequence[Value],
    ) -> None:
        self._arrays = arrays
        self._templates = templates
        self._features = features
        self.values = values
        # Items of a memory view are plain numbers, and cost a third of an array's.
        self._places = arrays["place"].reshape(-1).data
        self._heads: list[list[int]] = arrays["head"].tolist()
        self._instants = arrays["instant"].data
        self._outcomes = arrays["outcome"].data
        self._cells = arrays["cell"].data
        # As text of fixed width, whose items come without the NULs at their end.
        self._sources = arrays["source"].view(f"S{arrays['source'].shape[1]}").reshape(-1)

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The arrays that everything is looked up in."""
        return self._arrays

    @property
    def slots(self) -> npt.NDArray[np.uint32]:
        """u32[D], the slots that have a product, rising."""
        return np.flatnonzero(self._arrays["place"][:, 0]).astype(np.uint32)

    def slots_of(self, slots: Sequence[int]) -> list[int]:
        """Return those of some slots that have a product."""
        places = self._places
        return [slot for slot in slots if 0 < 3 * slot < len(places) and places[3 * slot]]

    @property
    def features(self) -> Iterable[str]:
        """Names of all features that any facts know."""
        return self._features.keys()

    def columns(self, features: Iterable[str]) -> npt.NDArray[np.uint16]:
        """Return the numbers of features for `decide_many`; 0 for a name that nobody knows."""
        return np.array([self._features.get(name, 0) for name in features], np.uint16)

    def decide_many(
        self, slots: npt.NDArray[np.uint32], columns: npt.NDArray[np.uint16], at: int
    ) -> Answers:
        """Decide on many pairs of a product and a feature.

        Args:
            slots: u32[N], device slots, in any order.
            columns: u16[N], features as `columns` numbers them.
            at: the instant, ns UTC.

        Raises:
            ValueError: there are not as many slots as columns.
        """
        if slots.shape != columns.shape:
            raise ValueError(
                f"{slots.size} slots and {columns.size} features are not pairs; repeat one of them"
            )
        return self._looked_up(kernel.look_up, slots, columns, at, slots.size)

    def decide_all(
        self, slots: npt.NDArray[np.uint32], columns: npt.NDArray[np.uint16], at: int
    ) -> Answers:
        """Decide on every one of some features of every one of many products.

        Args:
            slots: u32[D], device slots.
            columns: u16[F], features as `columns` numbers them.
            at: the instant, ns UTC.

        Returns:
            D * F answers, those of a product together.
        """
        return self._looked_up(kernel.look_up_all, slots, columns, at, slots.size * columns.size)

    def _looked_up(
        self,
        kernel_of: Any,
        slots: npt.NDArray[np.uint32],
        columns: npt.NDArray[np.uint16],
        at: int,
        count: int,
    ) -> Answers:
        answers = Answers(
            np.empty(count, np.bool_),
            np.empty(count, np.uint8),
            np.empty(count, np.int32),
            np.empty(count, np.int64),
        )
        kernel_of(
            np.ascontiguousarray(slots, np.uint32),
            np.ascontiguousarray(columns, np.uint16),
            at,
            *(self._arrays[name] for name in _LOOKED_UP_IN),
            *answers,
        )
        return answers

    def decide(self, slot: int, feature: str, at: int) -> Decision:
        """Decide on one feature of one product; equals `decision.decide` on its facts.

        Args:
            slot: device slot.
            feature: name of the feature.
            at: the instant, ns UTC; past, present or future.

        Raises:
            LookupError: no product has that slot.
        """
        # Every attribute and slice shows here: this is asked for each request of each product.
        places, base = self._places, slot * 3
        shape = places[base] if 0 < base < len(places) else 0
        if not shape:
            raise LookupError(f"no enrolled product has slot {slot}; ask for one that has enrolled")
        first = places[base + 1]
        start, count, width = self._heads[shape]
        column = self._features.get(feature, 0)
        instants = self._instants
        begun = bisect_right(instants, at, first, first + count) - first
        cell = start + begun * width + (column if column < width else 0)
        (
            rule,
            allowed,
            code,
            fixed,
            moving,
            names_feature,
            plan,
            plan_version,
            subscription,
            hold,
            grant,
            owner_epoch,
            safe,
            value,
        ) = self._templates[self._outcomes[cell]]
        change = self._cells[cell] >> _UNTIL
        args = dict(fixed)
        for name, place in moving:
            args[name] = instants[first + place]
        if names_feature:
            args["feature"] = feature
        source, sources = places[base + 2], self._sources
        return Decision(
            feature,
            allowed,
            code,
            args,
            None if change == _NEVER else instants[first + change],
            rule,
            plan,
            plan_version,
            None if subscription is None else sources[source + subscription].decode(),
            None if hold is None else sources[source + hold].decode(),
            None if grant is None else sources[source + grant].decode(),
            owner_epoch,
            safe,
            value,
        )
