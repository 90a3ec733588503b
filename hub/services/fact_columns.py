"""Loads the facts of a whole fleet as columns, without an object a fact.

1. They say the same as `facts.py` loads product by product; a test holds them together.
2. A part of the fleet is read at a time, each in one state of the database.
3. Instants that are not there are filled in by the database, so that a column is numbers only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Select, func, literal, select
from sqlalchemy.orm import Session

from entitlements.billing.outages import with_outages
from entitlements.fact_columns import (
    GRANT_WIDTH,
    HOLD_KINDS,
    HOLD_WIDTH,
    ID_BYTES,
    OWN_WIDTH,
    SUB_WIDTH,
    FactColumns,
    Vocabulary,
    grouped,
    id_pair,
    id_pairs,
)
from entitlements.facts import Subscription
from entitlements.kernels.decision_kernel import ABSENT
from entitlements.status import NS_PER_S
from hub.ports.database import catalogue_tables as c
from hub.ports.database import ownership_tables as o
from hub.ports.database.product_tables import Device, Product
from hub.services import outages
from hub.services.facts import holds_within

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the fleet.

    Args:
        columns: the facts of its P products, in the order of their slots.
        device_id: u8[P, 16].
        cohort: u32[P], what detection compares them with.
    """

    columns: FactColumns
    device_id: npt.NDArray[np.uint8]
    cohort: npt.NDArray[np.uint32]


def load_part(session: Session, vocabulary: Vocabulary, first: int, end: int) -> Part | None:
    """Load the facts of the enrolled products with slots in `[first, end)`.

    Args:
        session: any session.
        vocabulary: numbers plans and names, and learns those that are new.
        first: first slot.
        end: the slot behind the last.

    Returns:
        `None` where there are none.
    """
    within = Device.slot >= first, Device.slot < end
    rows = session.connection().execute(_PRODUCTS.where(*within).order_by(Device.slot)).all()
    if not rows:
        return None
    slot, device_id, product_id, model, revoked_at, cohort = zip(*rows, strict=True)
    ids = np.array(product_id, f"S{ID_BYTES}")
    places = _Places(ids)
    named = select(Device.product_id).where(*within)
    product = np.empty((len(rows), 2), np.int64)
    product[:, 0], product[:, 1] = np.array(model, np.int64), np.array(revoked_at, np.int64)
    own = _matrix(session, places, _OWNERSHIP.where(o.Ownership.product_id.in_(named)), OWN_WIDTH)
    sub = _matrix(
        session, places, _SUBSCRIPTIONS.where(o.Subscription.product_id.in_(named)), SUB_WIDTH
    )
    sub[:, 1] = _plans(session, vocabulary)[sub[:, 1]]
    _give_for_outages(session, sub)
    columns = FactColumns(
        np.array(slot, np.uint32),
        product,
        grouped(own, len(rows), by=(1,)),
        grouped(sub, len(rows)),
        grouped(_holds(session, places, vocabulary, named), len(rows)),
        grouped(_grants(session, places, vocabulary, named), len(rows)),
    )
    devices = np.array(device_id, f"S{ID_BYTES}").view(np.uint8).reshape(-1, ID_BYTES)
    return Part(columns, devices, np.array(cohort, np.uint32))


class _Places:
    """Where a product is among those of the part."""

    def __init__(self, ids: npt.NDArray[np.bytes_]) -> None:
        self._order = np.argsort(ids)
        self._sorted = ids[self._order]

    def of(self, product_ids: Sequence[str]) -> I64:
        found = np.searchsorted(self._sorted, np.array(product_ids, f"S{ID_BYTES}"))
        places: I64 = self._order[found]
        return places


def _matrix(session: Session, places: _Places, query: Select[*tuple[Any, ...]], width: int) -> I64:
    """Return rows for `grouped`: the first column of the query names the product, the last an id."""
    found = session.connection().execute(query).all()
    rows = np.empty((len(found), 1 + width), np.int64)
    if found:
        product_id, *numbers, id_ = zip(*found, strict=True)
        rows[:, 0] = places.of(product_id)
        for at, column in enumerate(numbers, 1):
            rows[:, at] = np.array(column, np.int64)
        rows[:, -2:] = id_pairs(id_)
    return rows


def _give_for_outages(session: Session, sub: I64) -> None:
    """Lengthen the grace of those that were unpaid while the hub was down."""
    down = outages.all_of(session)
    start, trial_end, paid_until, grace_s, retry_s = (sub[:, at] for at in (2, 3, 4, 5, 9))
    covered = np.maximum(trial_end, paid_until)  # `ABSENT` is below every instant
    end = covered + (grace_s + retry_s) * NS_PER_S
    hit = np.zeros(len(sub), np.bool_)
    for one in down:
        hit |= (covered != ABSENT) & (covered < one.end) & (end > one.start)
    for row in np.flatnonzero(hit).tolist():
        fact = Subscription(
            "",
            "",
            0,
            int(start[row]),
            _present(trial_end[row]),
            _present(paid_until[row]),
            int(grace_s[row]),
            retry_s=int(retry_s[row]),
        )
        grace_s[row] += with_outages(fact, down).outage_s


def _present(instant: np.int64) -> int | None:
    return None if instant == ABSENT else int(instant)


def _plans(session: Session, vocabulary: Vocabulary) -> I64:
    """Return the number of each plan version by its id in the database."""
    query = select(c.PlanVersion.id, c.Plan.name, c.PlanVersion.version).join(
        c.Plan, c.Plan.id == c.PlanVersion.plan_id
    )
    found = {
        id_: vocabulary.plans.number((name, version))
        for id_, name, version in session.execute(query)
    }
    numbers = np.zeros(max(found, default=0) + 1, np.int64)
    numbers[list(found)] = list(found.values())
    return numbers


def _holds(session: Session, places: _Places, vocabulary: Vocabulary, within: Select[str]) -> I64:
    held = list(holds_within(session, within))
    rows = [
        (
            HOLD_KINDS.index(hold.kind),
            hold.start,
            ABSENT if hold.end is None else hold.end,
            vocabulary.feature_sets.number(hold.features),
            *id_pair(hold.subscription_id),
            *id_pair(hold.owner_id),
            *id_pair(hold.id),
        )
        for _, hold in held
    ]
    return _placed(places, [product_id for product_id, _ in held], rows, HOLD_WIDTH)


def _grants(session: Session, places: _Places, vocabulary: Vocabulary, within: Select[str]) -> I64:
    query = select(o.Grant).where(o.Grant.product_id.in_(within))
    given = session.scalars(query).all()
    rows = [
        (
            vocabulary.features.number(one.feature),
            one.starts_at,
            ABSENT if one.ends_at is None else one.ends_at,
            vocabulary.values.number(one.value),
            *id_pair(one.id),
        )
        for one in given
    ]
    return _placed(places, [one.product_id for one in given], rows, GRANT_WIDTH)


def _placed(
    places: _Places, product_ids: Sequence[str], rows: Iterable[tuple[int, ...]], width: int
) -> I64:
    matrix = np.empty((len(product_ids), 1 + width), np.int64)
    if product_ids:
        matrix[:, 0] = places.of(product_ids)
        matrix[:, 1:] = list(rows)
    return matrix


def _or_absent(column: Any) -> ColumnElement[int]:
    return func.coalesce(column, literal(ABSENT))


_PRODUCTS = (
    select(
        Device.slot,
        Device.device_id,
        Device.product_id,
        Product.model_number,
        _or_absent(Device.revoked_at),
        func.coalesce(Device.cohort, 0),
    )
    .select_from(Device)
    .join(Product, Product.id == Device.product_id)
)
_OWNERSHIP = select(
    o.Ownership.product_id,
    o.Ownership.epoch,
    o.Ownership.started_at,
    _or_absent(o.Ownership.ended_at),
    o.Ownership.owner_id,
)
_SUBSCRIPTIONS = select(
    o.Subscription.product_id,
    o.Subscription.plan_version_id,
    o.Subscription.starts_at,
    _or_absent(o.Subscription.trial_end),
    _or_absent(o.Subscription.paid_until),
    o.Subscription.grace_s,
    _or_absent(o.Subscription.cancelled_at),
    _or_absent(o.Subscription.ends_at),
    _or_absent(o.Subscription.epoch),
    o.Subscription.retry_s,
    _or_absent(o.Subscription.paused_at),
    _or_absent(o.Subscription.resumes_at),
    _or_absent(o.Subscription.withdrawn_at),
    o.Subscription.quantity,
    o.Subscription.id,
)
