"""What time does to alerts: it resolves those that stay quiet, and raises those that go on.

1. Kinds that say when they end (`silence`, `cohort`) are never resolved for being quiet.
2. Quiet is measured on the hub's clock, and only while the hub listens and the product is heard of:
   nothing is well because nobody looked.
3. All that a sweep needs is in the database, so a restart forgets no duration.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, Select, and_, exists, false, or_, select
from sqlalchemy.orm import Session, aliased

from analytics.findings import Kind, Severity
from hub.ports.database.alert_tables import Alert, Incident
from hub.ports.database.catalogue_tables import Metric
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device, Product
from hub.services import incidents
from hub.services.alerts import AlertChange, Change, is_told, notice_of
from hub.services.found import Resolution

_HOUR = 3_600_000_000_000
QUIET_NS: Mapping[Kind, int] = {
    Kind.SPIKE: 6 * _HOUR,
    Kind.LEVEL_SHIFT: 24 * _HOUR,
    Kind.DRIFT: 72 * _HOUR,
    Kind.STUCK: 24 * _HOUR,
    Kind.VARIANCE_CHANGE: 48 * _HOUR,
    # A value that stays outside is found again each day.
    Kind.OUT_OF_LIMITS: 26 * _HOUR,
    Kind.COUNTER_RESET: 6 * _HOUR,
}
"""How long after the last evidence an alert is resolved, by kind."""
GROWS: Mapping[Kind, tuple[tuple[int, Severity], ...]] = {
    Kind.SILENCE: ((6 * _HOUR, Severity.WARNING), (72 * _HOUR, Severity.CRITICAL)),
    Kind.COHORT: ((24 * _HOUR, Severity.WARNING),),
}
"""From which age on an alert that has not ended is at least so severe."""
MOST = 500
"""Alerts that one sweep changes of each sort, so that its transaction stays small."""


def sweep(session: Session, at: int, since: int) -> list[AlertChange]:
    """Resolve and raise alerts.

    Args:
        session: a writing session.
        at: now, ns.
        since: when the hub began to listen, ns.

    Returns:
        What changed.
    """
    incidents.end_quiet(session, at, since)
    changed = [_resolved(row, at) for row in session.execute(_quiet(at, since)).all()]
    for kind, steps in GROWS.items():
        for age, severity in steps:
            rows = session.execute(_lasting(kind, at - age, severity)).all()
            changed += [_grown(row, severity, at) for row in rows]
    session.add_all(change.notice for change in changed if change.notice is not None)
    session.flush()
    return changed


def _with_owner() -> Select[*tuple[Any, ...]]:
    present = and_(Ownership.product_id == Device.product_id, Ownership.ended_at.is_(None))
    return (
        select(Alert, Device.device_id, Device.product_id, Ownership.owner_id, Metric.name)
        .join(Device, Device.slot == Alert.slot)
        .join(Product, Product.id == Device.product_id)
        .outerjoin(
            Metric,
            and_(Metric.model_number == Product.model_number, Metric.index == Alert.metric),
        )
        .outerjoin(Ownership, present)
        .where(Alert.resolved_at.is_(None))
        .order_by(Alert.opened_at, Alert.id)
        .limit(MOST)
    )


def _quiet(at: int, since: int) -> Select[*tuple[Any, ...]]:
    other = aliased(Alert)
    silent = exists().where(
        other.slot == Alert.slot, other.kind == Kind.SILENCE, other.resolved_at.is_(None)
    )
    together = exists().where(
        Incident.kind == Kind.SILENCE,
        Incident.ended_at.is_(None),
        or_(Incident.cohort.is_(None), Incident.cohort == Device.cohort),
    )
    quiet = [
        and_(Alert.kind == kind, Alert.heard_at <= at - span)
        for kind, span in QUIET_NS.items()
        if at - since >= span
    ]
    return _with_owner().where(or_(false(), *quiet), ~silent, ~together)


def _lasting(kind: Kind, before: int, severity: Severity) -> Select[*tuple[Any, ...]]:
    return _with_owner().where(
        Alert.kind == kind, Alert.heard_at <= before, Alert.severity < severity
    )


def _resolved(row: Row[*tuple[Any, ...]], at: int) -> AlertChange:
    alert, device_id, product_id, owner_id, _ = row
    alert.resolved_at, alert.resolution = at, Resolution.QUIET
    return AlertChange(Change.RESOLVED, alert, device_id, product_id, owner_id)


def _grown(row: Row[*tuple[Any, ...]], severity: Severity, at: int) -> AlertChange:
    alert, device_id, product_id, owner_id, metric = row
    alert.severity = severity
    notice = notice_of(alert, metric or "", at) if is_told(alert, at) else None
    return AlertChange(Change.GREW, alert, device_id, product_id, owner_id, notice)
