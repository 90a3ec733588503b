"""Whose telemetry a caller may read: from product and metric to a series and what of it shows.

1. Staff see everything that was kept. Others see what was measured while the product belonged to a
   household of theirs (`own_time`), as far as their tie to it looks back, and of that nothing that is
   quarantined for a reason that still stands. Who owned it once goes on seeing that, and nothing
   newer.
2. What still stands is decided now, for a former owner at the end of their time: while `telemetry`
   is allowed, rows kept during an earlier lapse or hold show; while it is not, they do not. A
   suspected clone's rows never show to a customer.
3. What a product measured before anybody claimed it belongs to its first owner.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from entitlements.decision import decide
from entitlements.facts import Facts
from entitlements.gate import Quarantine
from entitlements.ladder import TELEMETRY
from hub.errors import NotFoundError
from hub.ports.database.catalogue_tables import Metric, ProductModel
from hub.ports.database.product_tables import Device, Product
from hub.ports.store.port import TelemetryStore, Visibility, Window
from hub.services import consent, looks, products
from hub.services.caller import Caller, Scope
from hub.services.facts import load_one
from hub.services.looks import Part
from hub.services.own_time import OwnTime, own_time
from hub.services.relations import Act

EVERYTHING = Visibility(reasons=frozenset(Quarantine))
_RELEASED = frozenset({Quarantine.LAPSED, Quarantine.HOLD, Quarantine.UNCLAIMED})


@dataclass(frozen=True, slots=True)
class MetricView:
    """A metric of a model; `kind` is `gauge`, `counter` or `state`, `unit` a UCUM code."""

    index: int
    name: str
    title: str
    unit: str
    kind: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one device, and what of it the caller may see."""

    product_id: str
    device_id: str
    slot: int
    model: str
    metric: MetricView
    visible: Visibility


@dataclass(frozen=True, slots=True)
class FleetSeries:
    """One metric of all devices of a model."""

    model: str
    metric: MetricView
    slots: Sequence[int]


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The latest sample of a metric; `time` is ns."""

    metric: MetricView
    time: int
    value: float


def series(session: Session, caller: Caller, product_id: str, metric: str, at: int) -> Series:
    """Resolve a metric of a product for a caller.

    Raises:
        ConflictError: the product has not enrolled, so it has measured nothing.
        ForbiddenError: the caller may not read telemetry.
        NotFoundError: no such product of the caller's, or its model has no such metric.
    """
    caller.require(Scope.TELEMETRY_READ)
    if caller.is_staff or _own(session, caller, product_id) is None:
        device = products.visible_device(session, caller, product_id, Act.HISTORY)
    else:  # theirs now or once
        device = products.enrolled_device(session, product_id)
    _shown(session, caller, product_id, at)
    model = _model_of(session, product_id)
    return Series(
        product_id=product_id,
        device_id=device.device_id,
        slot=device.slot,
        model=model.name,
        metric=_metric(session, model, metric),
        visible=_visibility(session, caller, product_id, at),
    )


def latest(
    session: Session,
    store: TelemetryStore,
    caller: Caller,
    product_id: str,
    at: int,
    *,
    facts: Facts | None = None,
) -> list[LatestValue]:
    """Return the latest sample of each metric of a product, in the order of the metrics.

    Args:
        session: any session.
        store: the telemetry store.
        caller: who asks.
        product_id: of the product.
        at: now, ns.
        facts: of the product, if they are loaded already and the caller may see its history.

    Raises:
        ForbiddenError: the caller may not read telemetry, or not of this product.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.TELEMETRY_READ)
    if facts is None:
        product = products.visible(session, caller, product_id, Act.HISTORY)
        slot = session.scalar(select(Device.slot).where(Device.product_id == product.id))
        model = product.model_number
    else:
        slot, model = facts.device.slot, facts.model.number
    if not slot:  # it has not enrolled
        return []
    _shown(session, caller, product_id, at)
    metrics = {m.index: m for m in metrics_of(session, model)}
    found = store.latest(slot, visible=_visibility(session, caller, product_id, at, facts))
    return [
        LatestValue(metrics[metric], time, value)
        for metric, time, value in zip(
            found.metric.tolist(), found.time.tolist(), found.value.tolist(), strict=True
        )
        if metric in metrics
    ]


def fleet(
    session: Session, caller: Caller, model: str, metric: str, *, region: str | None = None
) -> FleetSeries:
    """Resolve a metric of all devices of a model, for staff.

    Args:
        session: any session.
        caller: staff.
        model: name of the model.
        metric: name of the metric.
        region: only products sold there.

    Raises:
        ForbiddenError: the caller is not staff.
        NotFoundError: no such model or metric.
    """
    caller.require(Scope.TELEMETRY_READ)
    caller.require(Scope.RECORDS_READ)
    row = session.scalars(select(ProductModel).where(ProductModel.name == model)).first()
    if row is None:
        raise NotFoundError(f"There is no product model {model!r}.", model=model)
    slots = (
        select(Device.slot)
        .join(Product, Product.id == Device.product_id)
        .where(Product.model_number == row.number)
        .order_by(Device.slot)
    )
    if region is not None:
        slots = slots.where(Product.region == region)
    found = _metric(session, row, metric)
    return FleetSeries(row.name, found, session.scalars(slots).all())


def metrics_of(session: Session, model_number: int) -> list[MetricView]:
    """Return the metrics of a model in their order."""
    query = select(Metric).where(Metric.model_number == model_number).order_by(Metric.index)
    return [_view(metric) for metric in session.scalars(query)]


def _visibility(
    session: Session, caller: Caller, product_id: str, at: int, facts: Facts | None = None
) -> Visibility:
    """Work out which rows of a product a caller may see now."""
    if caller.is_staff:
        return EVERYTHING
    own = _own(session, caller, product_id)
    if own is None:
        raise NotFoundError(f"There is no product {product_id}.", product=product_id)
    when = at if own.ended_at is None else own.ended_at - 1
    allowed = decide(facts or load_one(session, product_id), TELEMETRY, when).allowed
    return Visibility(own.windows, frozenset(map(int, _RELEASED)) if allowed else frozenset())


def _shown(session: Session, caller: Caller, product_id: str, at: int) -> None:
    """Check that staff may see what a product measured, and note that they do."""
    looks.look(session, caller, product_id, Part.TELEMETRY, at)
    consent.check_history(session, caller, product_id, at)


def _own(session: Session, caller: Caller, product_id: str) -> OwnTime | None:
    """Put together what of a product the ties of a caller let them read; None if nothing."""
    windows: list[Window] = []
    ends: list[int | None] = []
    for tie in caller.ties:
        if Act.HISTORY not in tie.acts:
            continue
        # Who comes for a time, or for some products, sees those that the household still owns.
        if not tie.lasting and not products.reaches(session, tie, product_id):
            continue
        own = own_time(session, product_id, tie.owner_id)
        if own is not None:
            windows += [kept for window in own.windows if (kept := _since(window, tie.since))]
            ends.append(own.ended_at)
    if not windows:
        return None
    over = [end for end in ends if end is not None]
    return OwnTime(tuple(windows), max(over) if len(over) == len(ends) else None)


def _since(window: Window, since: int) -> Window | None:
    """Cut off what of a window lies before an instant (ns); None if nothing is left."""
    if not since:
        return window
    start = since if window.start is None else max(window.start, since)
    return replace(window, start=start) if window.end is None or start < window.end else None


def _model_of(session: Session, product_id: str) -> ProductModel:
    return session.scalars(
        select(ProductModel)
        .join(Product, Product.model_number == ProductModel.number)
        .where(Product.id == product_id)
    ).one()


def _metric(session: Session, model: ProductModel, name: str) -> MetricView:
    found = session.scalars(
        select(Metric).where(Metric.model_number == model.number, Metric.name == name)
    ).first()
    if found is None:
        raise NotFoundError(
            f"Model {model.name} has no metric {name!r}. See its metrics in the catalogue.",
            model=model.name,
            metric=name,
        )
    return _view(found)


def _view(metric: Metric) -> MetricView:
    return MetricView(
        index=metric.index,
        name=metric.name,
        title=metric.title,
        unit=metric.unit,
        kind=metric.kind,
        low=metric.low,
        high=metric.high,
    )
