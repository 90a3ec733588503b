"""What people do with alerts: list, acknowledge, resolve and mute them, and say whether they were of use.

1. Staff see all alerts. Others see those of the products that they reach, of the time in which their
   household owns or owned them; who looks no further back than an instant sees what was open then or
   came later.
2. Acknowledging says that somebody looks after it; resolving closes it. Both say who and when,
   are audited, and doing them again changes nothing.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, and_, false, func, or_, select, true, tuple_
from sqlalchemy.orm import Session

from analytics.findings import Severity
from hub.errors import ConflictError, NotFoundError
from hub.ports.database.alert_tables import Alert, AlertFeedback, Finding
from hub.ports.database.catalogue_tables import Metric, ProductModel
from hub.ports.database.coverage_tables import AlertCover
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device, Product
from hub.services import alert_covers, audit, consent, looks, products
from hub.services.alert_covers import CoverView
from hub.services.alert_kinds import FIRST_OF_HUB, kind_word
from hub.services.alert_sentences import sentence
from hub.services.alerts import AlertChange, Change
from hub.services.caller import Caller, Scope
from hub.services.consent import Policy
from hub.services.events import Event
from hub.services.looks import Part
from hub.services.own_time import owned_in
from hub.services.relations import Act, Tie

Status = Literal["open", "acknowledged", "resolved"]
_SECONDS = "s"
"""Unit of what is found about a product rather than about one of its metrics."""
MUTE_AT_MOST_NS = 366 * 86_400_000_000_000
Place = tuple[int, str]
"""`(opened_at, alert id)`, the place of an alert in the list."""


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert as people see it. Words for kind, severity and status; instants in ns."""

    id: str
    product_id: str
    serial: str
    device_id: str
    metric: str
    metric_title: str
    unit: str
    kind: str
    severity: str
    status: Status
    code: str
    arguments: dict[str, Any]
    sentence: str
    count: int
    reopened: int
    since: int
    opened_at: int
    last_at: int
    acknowledged_at: int | None
    acknowledged_by: str | None
    resolved_at: int | None
    resolved_by: str | None
    resolution: str | None
    muted_until: int | None
    incident_id: str | None
    cover: CoverView | None


@dataclass(frozen=True, slots=True)
class FeedbackCount:
    """What people thought of the alerts of one kind on one model."""

    model: str
    kind: str
    alerts: int
    useful: int
    useless: int


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding as people see it; instants in ns, `surprise` in nats, values in the unit."""

    id: bytes
    product_id: str
    device_id: str
    alert_id: str | None
    incident_id: str | None
    metric: str
    unit: str
    kind: str
    severity: str
    at: int
    since: int
    surprise: float
    observed: float
    expected_low: float | None
    expected_high: float | None


def listed(
    session: Session,
    caller: Caller,
    *,
    product_id: str | None = None,
    status: Status | None = None,
    after: Place | None = None,
    limit: int = 50,
) -> list[AlertView]:
    """List alerts, the newest first.

    Args:
        session: any session.
        caller: who is not staff gets those of the products they reach.
        product_id: only of this product.
        status: only these; `open` are those neither acknowledged nor resolved.
        after: place of the last alert of the page before.
        limit: at most so many.
    """
    caller.require(Scope.ALERTS_READ)
    query = (
        _alerts().where(_seen_by(caller)).order_by(Alert.opened_at.desc(), Alert.id.desc())
    ).limit(limit)
    if product_id is not None:
        query = query.where(Device.product_id == product_id)
    if status is not None:
        query = query.where(_IN_STATUS[status])
    if after is not None:
        query = query.where(tuple_(Alert.opened_at, Alert.id) < after)
    return [_view(row) for row in session.execute(query)]


def unresolved(session: Session, caller: Caller, product_id: str) -> list[AlertView]:
    """List the alerts of a product that are not resolved, the newest first."""
    query = (
        _alerts()
        .where(_seen_by(caller), Device.product_id == product_id, Alert.resolved_at.is_(None))
        .order_by(Alert.opened_at.desc(), Alert.id.desc())
    )
    return [_view(row) for row in session.execute(query)]


def acknowledge(session: Session, caller: Caller, alert_id: str, at: int) -> AlertChange:
    """Say that somebody looks after an alert.

    Raises:
        ConflictError: it is resolved.
        NotFoundError: no such alert, or not one of the caller's.
    """
    alert, device, owner = _one(session, caller, alert_id)
    if alert.resolved_at is not None:
        raise ConflictError(
            f"Alert {alert_id} is resolved; there is nothing left to look after.", alert=alert_id
        )
    if alert.acknowledged_at is None:
        alert.acknowledged_at = at
        alert.acknowledged_by = caller.person_id or None
        _record(session, caller, alert, "alert.acknowledge", at)
    return AlertChange(Change.ACKNOWLEDGED, alert, device.device_id, device.product_id, owner)


def resolve(session: Session, caller: Caller, alert_id: str, at: int) -> AlertChange:
    """Close an alert.

    Raises:
        ForbiddenError: the caller may read it, but not do this.
        NotFoundError: no such alert, or not one of the caller's.
    """
    alert, device, owner = _one(session, caller, alert_id)
    if alert.resolved_at is None:
        alert.resolved_at = at
        alert.resolved_by = caller.person_id or None
        alert.resolution = None
        _record(session, caller, alert, "alert.resolve", at)
    return AlertChange(Change.RESOLVED, alert, device.device_id, device.product_id, owner)


def mute(session: Session, caller: Caller, alert_id: str, until: int, at: int) -> AlertChange:
    """Let an alert tell nobody for a time; an `until` that is past ends that.

    Raises:
        ConflictError: `until` is more than a year ahead.
        NotFoundError: no such alert, or not one of the caller's.
    """
    alert, device, owner = _one(session, caller, alert_id)
    if until > at + MUTE_AT_MOST_NS:
        raise ConflictError(
            f"Alert {alert_id} can be muted for a year at most; choose an earlier end.",
            alert=alert_id,
        )
    alert.muted_until = until if until > at else None
    alert.muted_by = (caller.person_id or None) if until > at else None
    _record(session, caller, alert, "alert.mute", at)
    return AlertChange(Change.MUTED, alert, device.device_id, device.product_id, owner)


def give_feedback(
    session: Session, caller: Caller, alert_id: str, at: int, *, useful: bool
) -> None:
    """Keep whether an alert was of use to somebody; who says so again changes their mind.

    Raises:
        NotFoundError: no such alert, or not one of the caller's.
    """
    alert, _, _ = _one(session, caller, alert_id)
    session.merge(AlertFeedback(alert_id=alert.id, actor=str(caller.actor), useful=useful, at=at))
    _record(session, caller, alert, "alert.feedback", at)


def feedback(session: Session, caller: Caller) -> list[FeedbackCount]:
    """Count what people thought of alerts, by model and kind; staff only."""
    caller.require(Scope.RECORDS_READ)
    query = (
        select(
            ProductModel.name,
            Alert.kind,
            func.count(Alert.id.distinct()),
            func.count().filter(AlertFeedback.useful.is_(True)),
            func.count().filter(AlertFeedback.useful.is_(False)),
        )
        .select_from(Alert)
        .join(Device, Device.slot == Alert.slot)
        .join(Product, Product.id == Device.product_id)
        .join(ProductModel, ProductModel.number == Product.model_number)
        .outerjoin(AlertFeedback, AlertFeedback.alert_id == Alert.id)
        .group_by(ProductModel.name, Alert.kind)
        .order_by(ProductModel.name, Alert.kind)
    )
    return [
        FeedbackCount(model, kind_word(kind), alerts, useful, useless)
        for model, kind, alerts, useful, useless in session.execute(query)
    ]


def view(session: Session, caller: Caller, alert_id: str) -> AlertView:
    """Return one alert.

    Raises:
        NotFoundError: no such alert, or not one of the caller's.
    """
    caller.require(Scope.ALERTS_READ)
    row = session.execute(_alerts().where(Alert.id == alert_id, _seen_by(caller))).first()
    if row is None:
        raise _missing(alert_id)
    return _view(row)


def findings(
    session: Session,
    caller: Caller,
    *,
    at: int,
    product_id: str | None = None,
    alert_id: str | None = None,
    after: tuple[int, bytes] | None = None,
    limit: int = 50,
) -> list[FindingView]:
    """List findings, the newest first.

    Args:
        session: any session.
        caller: who is not staff gets those of the products they reach and of their own time;
            support those of products whose households consented.
        at: now, ns.
        product_id: only of this product.
        alert_id: only of this alert.
        after: `(at, id)` of the last finding of the page before.
        limit: at most so many.
    """
    caller.require(Scope.ALERTS_READ)
    query = (
        select(Finding, Device.device_id, Device.product_id, Metric.name, Metric.unit)
        .join(Device, Device.slot == Finding.slot)
        .join(Product, Product.id == Device.product_id)
        .outerjoin(Metric, _metric_of(Finding.metric))
        .where(_seen_by(caller, Finding))
        .order_by(Finding.at.desc(), Finding.id.desc())
        .limit(limit)
    )
    if product_id is not None:
        looks.look(session, caller, product_id, Part.FINDINGS, at)
        consent.check_history(session, caller, product_id, at)
        query = query.where(Device.product_id == product_id)
    elif caller.is_staff and consent.policy(session) is Policy.REQUIRED:
        query = query.where(consent.open_to(caller, at))
    if alert_id is not None:
        query = query.where(Finding.alert_id == alert_id)
    if after is not None:
        query = query.where(tuple_(Finding.at, Finding.id) < after)
    return [
        FindingView(
            id=row.id,
            product_id=product,
            device_id=device,
            alert_id=row.alert_id,
            incident_id=row.incident_id,
            metric=metric or "",
            unit=unit or _SECONDS,
            kind=kind_word(row.kind),
            severity=Severity(row.severity).name.lower(),
            at=row.at,
            since=row.since,
            surprise=row.surprise,
            observed=row.observed,
            expected_low=row.expected_low,
            expected_high=row.expected_high,
        )
        for row, device, product, metric, unit in session.execute(query)
    ]


def live_event(change: AlertChange, seen: AlertView, at: int) -> Event:
    """Return what live listeners are told of a change.

    Args:
        change: what happened.
        seen: the alert after it.
        at: when it happened, ns.
    """
    facts = {
        "change": change.change.value,
        "alert_id": seen.id,
        "device_id": seen.device_id,
        "metric": seen.metric,
        "severity": seen.severity,
        "status": seen.status,
        "sentence": seen.sentence,
    }
    return Event("alert", at, change.product_id, change.owner_id, facts)


_IN_STATUS: dict[Status, ColumnElement[bool]] = {
    "open": and_(Alert.acknowledged_at.is_(None), Alert.resolved_at.is_(None)),
    "acknowledged": and_(Alert.acknowledged_at.is_not(None), Alert.resolved_at.is_(None)),
    "resolved": Alert.resolved_at.is_not(None),
}


def _alerts() -> Select[*tuple[Any, ...]]:
    return (
        select(Alert, Device.device_id, Product.id, Product.serial, Metric, AlertCover)
        .join(Device, Device.slot == Alert.slot)
        .join(Product, Product.id == Device.product_id)
        .outerjoin(Metric, _metric_of(Alert.metric))
        .outerjoin(AlertCover, AlertCover.alert_id == Alert.id)
    )


def _metric_of(index: Any) -> ColumnElement[bool]:
    return and_(Metric.model_number == Product.model_number, Metric.index == index)


def _seen_by(caller: Caller, what: type[Alert] | type[Finding] = Alert) -> ColumnElement[bool]:
    """The condition under which a caller may know of an alert or finding; needs `Device` in the query."""
    if caller.is_staff:
        return true()
    act = Act.ALERTS if what is Alert else Act.HISTORY
    ways = [_by(tie, what) for tie in caller.ties if act in tie.acts]
    seen = and_(or_(false(), *ways), what.kind < FIRST_OF_HUB)
    return and_(seen, ~what.hidden) if issubclass(what, Finding) else seen


def _by(tie: Tie, what: type[Alert] | type[Finding]) -> ColumnElement[bool]:
    """The condition under which a tie lets somebody know of an alert or finding."""
    if tie.lasting:
        return owned_in(what.slot, what.epoch, tie.owner_id)
    # Driven by the few products that a tie reaches, whatever the number of alerts in the world.
    mine: ColumnElement[bool] = what.slot.in_(
        select(Device.slot).where(Device.product_id.in_(products.reached(tie)))
    )
    if tie.owner_id is not None:
        mine = and_(mine, owned_in(what.slot, what.epoch, tie.owner_id))
    else:
        present = (
            select(Ownership.epoch)
            .where(Ownership.product_id == Device.product_id, Ownership.ended_at.is_(None))
            .correlate(Device)
            .scalar_subquery()
        )
        mine = and_(mine, what.epoch == present)
    if issubclass(what, Alert):
        return and_(mine, or_(what.resolved_at.is_(None), what.resolved_at >= tie.since))
    return and_(mine, what.at >= tie.since)


def _one(session: Session, caller: Caller, alert_id: str) -> tuple[Alert, Device, str | None]:
    caller.require(Scope.ALERTS_WRITE)
    present = and_(Ownership.product_id == Device.product_id, Ownership.ended_at.is_(None))
    query: Select[*tuple[Any, ...]] = (
        select(Alert, Device, Ownership.owner_id, Ownership.epoch)
        .join(Device, Device.slot == Alert.slot)
        .outerjoin(Ownership, present)
        .where(Alert.id == alert_id, _seen_by(caller))
    )
    if not caller.is_staff:  # what a former owner may still read is no longer theirs to change
        query = query.where(Alert.epoch == Ownership.epoch)
    row = session.execute(query).first()
    if row is None:
        raise _missing(alert_id)
    alert, device, owner, epoch = row
    products.visible(session, caller, device.product_id, Act.ACKNOWLEDGE)
    # What staff do with an alert of theirs, or of a former owner, is no news for the present one.
    theirs = alert.kind < FIRST_OF_HUB and alert.epoch == epoch
    return alert, device, owner if theirs else None


def _missing(alert_id: str) -> NotFoundError:
    return NotFoundError(f"There is no alert {alert_id}.", alert=alert_id)


def _record(session: Session, caller: Caller, alert: Alert, action: str, at: int) -> None:
    session.flush()
    audit.record(session, at, caller.actor, action, f"alert:{alert.id}", {})


def _view(row: Row[*tuple[Any, ...]]) -> AlertView:
    alert: Alert
    metric: Metric | None
    alert, device_id, product_id, serial, metric, cover = row
    unit = metric.unit if metric else _SECONDS
    return AlertView(
        id=alert.id,
        product_id=product_id,
        serial=serial,
        device_id=device_id,
        metric=metric.name if metric else "",
        metric_title=metric.title if metric else "",
        unit=unit,
        kind=kind_word(alert.kind),
        severity=Severity(alert.severity).name.lower(),
        status=_status(alert),
        code=alert.code,
        arguments=alert.arguments,
        sentence=sentence(alert.code, alert.arguments, metric.title if metric else "", unit),
        count=alert.count,
        reopened=alert.reopened,
        since=alert.since,
        opened_at=alert.opened_at,
        last_at=alert.last_at,
        acknowledged_at=alert.acknowledged_at,
        acknowledged_by=alert.acknowledged_by,
        resolved_at=alert.resolved_at,
        resolved_by=alert.resolved_by,
        resolution=alert.resolution,
        muted_until=alert.muted_until,
        incident_id=alert.incident_id,
        cover=alert_covers.shown(cover),
    )


def _status(alert: Alert) -> Status:
    if alert.resolved_at is not None:
        return "resolved"
    return "open" if alert.acknowledged_at is None else "acknowledged"
