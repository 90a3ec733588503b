"""The facts of many products as columns of numbers, which a whole fleet is compiled from.

1. They say exactly what the facts say: names, plans and values are numbers of one `Vocabulary`.
2. Each kind of fact is one matrix with a row a fact, rows of a product together, in the order that
   decides ties in the ladder: by start, then id (ownership: by epoch).
3. An id is its 16 ASCII bytes as two numbers, which sort and compare as the text does.

No rules here: what the facts decide is said in `ladder.py` alone.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from entitlements.facts import Facts, HoldKind, Model, PlanVersion, Value
from entitlements.kernels.decision_kernel import ABSENT

I64 = npt.NDArray[np.int64]

ID_BYTES = 16
HOLD_KINDS = tuple(HoldKind)

OWN_WIDTH, SUB_WIDTH, HOLD_WIDTH, GRANT_WIDTH = 5, 15, 10, 6
"""Columns of the matrices, see `FactColumns`."""

T = TypeVar("T", bound=Hashable)


class Numbering(Generic[T]):
    """Gives things numbers from 0 in the order in which they are first seen; never takes one back."""

    def __init__(self, *first: T) -> None:
        self._numbers: dict[object, int] = {}
        self.things: list[T] = []
        for thing in first:
            self.number(thing)

    def number(self, thing: T) -> int:
        """Return the number of a thing; `True` and `1` are two things."""
        key = (type(thing), thing)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.things)
            self.things.append(thing)
        return found


class Vocabulary:
    """The numbers that columns use for what is no number.

    Attributes:
        features: names of features; number 0 is no feature.
        feature_sets: what a hold blocks; number 0 is everything.
        values: values of grants and features; number 0 is `None`.
        plans: codes of plans with their versions.
    """

    def __init__(self) -> None:
        self.features: Numbering[str] = Numbering("")
        self.feature_sets: Numbering[frozenset[str] | None] = Numbering(None)
        self.values: Numbering[Value] = Numbering(None)
        self.plans: Numbering[tuple[str, int]] = Numbering()

    def learn(self, models: Iterable[Model], plans: Mapping[tuple[str, int], PlanVersion]) -> None:
        """Give the features and plans of a catalogue their numbers."""
        for model in models:
            for name in model.features:
                self.features.number(name)
        for key, plan in plans.items():
            self.plans.number(key)
            for name in plan.features:
                self.features.number(name)


class Rows(NamedTuple):
    """One kind of fact of many products.

    Args:
        first: i64[P+1], rows of product i are `[first[i], first[i+1])`.
        row: i64[R, W].
    """

    first: I64
    row: I64


@dataclass(frozen=True, slots=True)
class FactColumns:
    """The facts of P products; `ABSENT` stands for `None`, `(0, 0)` for no id.

    Args:
        slot: u32[P], device slots, each once, from 1.
        product: i64[P, 2], number of the model, instant of revocation.
        own: columns epoch, start, end, owner id (2).
        sub: plan, start, trial end, paid until, grace in s (what is given for outages is in it),
            cancelled at, ends at, epoch, retry in s, paused at, resumes at, withdrawn at, quantity,
            id (2).
        hold: kind, start, end, feature set, subscription id (2), owner id (2), id (2).
        grant: feature, start, end, value, id (2).
    """

    slot: npt.NDArray[np.uint32]
    product: I64
    own: Rows
    sub: Rows
    hold: Rows
    grant: Rows


def columns_of(facts: Sequence[Facts], vocabulary: Vocabulary) -> FactColumns:
    """Return the facts of products as columns.

    Args:
        facts: of enrolled products, each once.
        vocabulary: numbers names and plans, and learns those that are new.

    Raises:
        ValueError: an id has more than 16 bytes.
    """
    words = vocabulary
    own, subs, holds, grants = [], [], [], []
    for at, one in enumerate(facts):
        own += [(at, o.epoch, o.start, _given(o.end), *id_pair(o.owner_id)) for o in one.ownership]
        subs += [
            (
                at,
                words.plans.number((s.plan, s.plan_version)),
                s.start,
                _given(s.trial_end),
                _given(s.paid_until),
                s.grace_s + s.outage_s,
                _given(s.cancelled_at),
                _given(s.ends_at),
                _given(s.epoch),
                s.retry_s,
                _given(s.paused_at),
                _given(s.resumes_at),
                _given(s.withdrawn_at),
                s.quantity,
                *id_pair(s.id),
            )
            for s in one.subscriptions
        ]
        holds += [
            (
                at,
                HOLD_KINDS.index(h.kind),
                h.start,
                _given(h.end),
                words.feature_sets.number(h.features),
                *id_pair(h.subscription_id),
                *id_pair(h.owner_id),
                *id_pair(h.id),
            )
            for h in one.holds
        ]
        grants += [
            (
                at,
                words.features.number(g.feature),
                g.start,
                _given(g.end),
                words.values.number(g.value),
                *id_pair(g.id),
            )
            for g in one.grants
        ]
    product = [(one.model.number, _given(one.device.revoked_at)) for one in facts]
    count = len(facts)
    return FactColumns(
        np.array([one.device.slot for one in facts], np.uint32),
        np.array(product, np.int64).reshape(count, 2),
        grouped(_matrix(own, OWN_WIDTH), count, by=(1,)),
        grouped(_matrix(subs, SUB_WIDTH), count),
        grouped(_matrix(holds, HOLD_WIDTH), count),
        grouped(_matrix(grants, GRANT_WIDTH), count),
    )


def grouped(rows: I64, products: int, by: tuple[int, ...] = ()) -> Rows:
    """Put rows in order.

    Args:
        rows: i64[R, 1+W]; column 0 is the position of the product, the others are a matrix of
            `FactColumns`.
        products: how many there are.
        by: columns of `rows` that order the rows of a product; empty: start (2), then id (the last
            two).
    """
    last = rows.shape[1] - 1
    keys = by or (2, last - 1, last)
    order = np.lexsort([rows[:, key] for key in (*reversed(keys), 0)])
    first = np.zeros(products + 1, np.int64)
    np.cumsum(np.bincount(rows[:, 0], minlength=products), out=first[1:])
    return Rows(first, np.ascontiguousarray(rows[order, 1:]))


def id_pair(text: str | None) -> tuple[int, int]:
    """Return an id as two numbers; `(0, 0)` for none."""
    data = (text or "").encode("ascii", "replace")
    if len(data) > ID_BYTES:
        raise ValueError(f"the id {text!r} is longer than {ID_BYTES} bytes, so no column takes it")
    number = int.from_bytes(data.ljust(ID_BYTES, b"\0"), "big")
    return number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF


def id_pairs(texts: Sequence[str | None]) -> I64:
    """Return many ids as i64[N, 2].

    Raises:
        ValueError: one has more than 16 bytes or is not ASCII.
    """
    data = np.array([(text or "").encode("ascii") for text in texts], "S")
    if data.dtype.itemsize > ID_BYTES:
        raise ValueError(f"an id is longer than {ID_BYTES} bytes, so no column takes it")
    return data.astype(f"S{ID_BYTES}").view(">i8").reshape(-1, 2).astype(np.int64)


def id_texts(pairs: I64) -> list[str]:
    """Return the ids that pairs of numbers, i64[N, 2], stand for."""
    data = np.ascontiguousarray(pairs.astype(">i8")).view(f"S{ID_BYTES}").reshape(-1)
    texts: list[str] = data.astype(f"U{ID_BYTES}").tolist()
    return texts


def _given(number: int | None) -> int:
    return ABSENT if number is None else number


def _matrix(rows: Sequence[tuple[int, ...]], width: int) -> I64:
    return np.array(rows, np.int64).reshape(len(rows), 1 + width)
