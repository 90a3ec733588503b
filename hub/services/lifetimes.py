"""Reads what warranties depend on from the telemetry: the first use, and counters as totals.

1. A round goes through all enrolled products in the order of their slots, some at a time, so that
   its cost is spread; a product is read about as often as rounds are made.
2. Rows count whatever its owner paid for: use is use. A suspected clone's rows do not.
3. Each reading advances the lifetime (`entitlements.lifetime`). A total is kept for each hundredth of
   the limit, so that one can say for any instant what was left, and the newest one always.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.gate import Quarantine
from entitlements.lifetime import Lifetime, advance
from hub.ports.database.catalogue_tables import Metric
from hub.ports.database.coverage_tables import (
    LifetimeReading,
    LifetimeState,
    ProductUse,
    WarrantyVersion,
)
from hub.ports.database.product_tables import Device, Product
from hub.ports.store.port import TelemetryStore, Visibility
from hub.services.coverage_document import HOURS_PER
from hub.services.coverage_facts import version_for, warranty_versions

OF_THE_PRODUCT = Visibility(
    reasons=frozenset(map(int, {Quarantine.LAPSED, Quarantine.HOLD, Quarantine.UNCLAIMED}))
)
PARTS = 100
"""Readings kept until a limit is reached."""
_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Read:
    """What the telemetry says of one product."""

    product_id: str
    version: WarrantyVersion
    first_use_at: int | None
    latest: Mapping[int, tuple[int, float]]
    """Time and value of the latest sample, by metric index."""


def read(
    session: Session, store: TelemetryStore, after: int, limit: int
) -> tuple[list[Read], int | None]:
    """Look at some products' telemetry.

    Args:
        session: any session.
        store: the telemetry store.
        after: slot of the last product of the part before, 0 for the first part.
        limit: at most so many products.

    Returns:
        What was found of those whose model has a warranty, and the slot to go on after; `None`:
        the round is over.
    """
    query = (
        select(Product, Device.slot, ProductUse.first_use_at)
        .join(Device, Device.product_id == Product.id)
        .outerjoin(ProductUse, ProductUse.product_id == Product.id)
        .where(Device.slot > after)
        .order_by(Device.slot)
        .limit(limit)
    )
    rows = session.execute(query).all()
    versions = warranty_versions(session, {product.model_number for product, _, _ in rows})
    found = []
    for product, slot, first_use_at in rows:
        version = version_for(versions.get(product.model_number, ()), product.made_at)
        if version is not None:
            found.append(_read(store, product.id, slot, version, first_use_at))
    return found, rows[-1].slot if len(rows) == limit else None


def read_one(session: Session, store: TelemetryStore, product_id: str) -> Read | None:
    """Look at one product's telemetry; `None` if it has not enrolled or has no warranty."""
    slot = session.scalar(select(Device.slot).where(Device.product_id == product_id))
    if slot is None:
        return None
    found, _ = read(session, store, slot - 1, 1)
    return next(iter(found), None)


def keep(session: Session, found: Sequence[Read], at: int) -> int:
    """Write down what was read.

    Args:
        session: a writing session.
        found: what `read` returned.
        at: now, ns; samples of the future are passed over.

    Returns:
        How many counters rose or were read for the first time.
    """
    if not found:
        return 0
    ids = [one.product_id for one in found]
    query = select(LifetimeState).where(LifetimeState.product_id.in_(ids))
    states = {(state.product_id, state.metric): state for state in session.scalars(query)}
    used = set(session.scalars(select(ProductUse.product_id).where(ProductUse.product_id.in_(ids))))
    units = _units(session, {one.version.model_number for one in found})
    rose = 0
    for one in found:
        if one.first_use_at is not None and one.product_id not in used:
            session.add(ProductUse(product_id=one.product_id, first_use_at=one.first_use_at))
        version = one.version
        for metric, limit in (
            (version.hours_metric, version.hours),
            (version.cycles_metric, version.cycles),
        ):
            if metric is None or limit is None or metric not in one.latest:
                continue
            time, value = one.latest[metric]
            if metric == version.hours_metric:
                value *= HOURS_PER[units[version.model_number, metric]]
            state = states.get((one.product_id, metric))
            rose += time <= at and _advance(
                session, state, one.product_id, metric, time, value, limit
            )
    session.flush()
    return rose


def _read(
    store: TelemetryStore,
    product_id: str,
    slot: int,
    version: WarrantyVersion,
    first_use_at: int | None,
) -> Read:
    columns = store.latest(slot, visible=OF_THE_PRODUCT)
    latest = {
        metric: (time, value)
        for metric, time, value in zip(
            columns.metric.tolist(), columns.time.tolist(), columns.value.tolist(), strict=True
        )
    }
    if first_use_at is None and latest:
        first_use_at = _first_use(store, slot, version, latest)
    return Read(product_id, version, first_use_at, latest)


def _first_use(
    store: TelemetryStore,
    slot: int,
    version: WarrantyVersion,
    latest: Mapping[int, tuple[int, float]],
) -> int | None:
    """Return the time of the first sample that shows use, ns; `None` if none does."""
    beginning, end = 0, (1 << 63) - 1
    if version.use_metric is None:
        firsts = [
            store.range(slot, metric, beginning, end, visible=OF_THE_PRODUCT, limit=1).time
            for metric in latest
        ]
        return min((int(times[0]) for times in firsts if len(times)), default=None)
    above = version.use_above or 0.0
    following = None
    if version.use_metric not in latest or latest[version.use_metric][1] <= above:
        return None  # a counter that has not got there yet never was
    while True:
        page = store.range(
            slot,
            version.use_metric,
            beginning,
            end,
            visible=OF_THE_PRODUCT,
            limit=_PAGE,
            after=following,
        )
        for time, value in zip(page.time.tolist(), page.value.tolist(), strict=True):
            if value > above:
                return int(time)
        following = page.following
        if following is None:
            return None


def _advance(
    session: Session,
    state: LifetimeState | None,
    product_id: str,
    metric: int,
    time: int,
    value: float,
    limit: float,
) -> bool:
    """Advance one counter by a reading in hours or cycles; says whether there was anything new."""
    before = None
    if state is not None:
        if time <= state.read_at:
            return False
        before = Lifetime(state.total, state.last, state.before)
    lifetime = advance(before, value)
    if lifetime is None or lifetime is before:
        return False
    if state is None:
        state = LifetimeState(product_id=product_id, metric=metric)
        session.add(state)
    step = limit / PARTS
    if before is None or math.floor(lifetime.total / step) > math.floor(before.total / step):
        reading = LifetimeReading(
            product_id=product_id, metric=metric, at=time, total=lifetime.total
        )
        session.add(reading)
    state.total, state.last, state.before = lifetime.total, lifetime.last, lifetime.before
    state.read_at = time
    return True


def _units(session: Session, models: set[int]) -> dict[tuple[int, int], str]:
    query = select(Metric.model_number, Metric.index, Metric.unit)
    rows = session.execute(query.where(Metric.model_number.in_(models)))
    return {(model, index): unit for model, index, unit in rows}
