"""Findings become alerts: one open alert per device, metric and kind of fault.

1. A finding is applied once, by its id; applying it again changes nothing.
2. Later findings update the open alert; its severity only rises while it is open, and does so when
   the same is found again and again. What a finding says is over resolves the alert.
3. A finding within `REOPEN_NS` after an alert was resolved reopens that alert; later ones open a
   new one.
4. An alert belongs to the owner epoch it was opened in: a new owner does not see the old ones, nor do
   later findings change them. What is found in rows of an earlier owner's time is that owner's, and
   opens no alert: they cannot act on it now.
5. The device is given a notice when an alert opens or becomes worse, from WARNING on.
6. Findings in recordings (historical rows) are kept, but open no alert: nobody can act on them now.
7. What a whole cohort has in common is an incident (`incidents.py`) and no product's alert.
8. A muted alert is kept up to date and tells nobody, until its mute expires.
9. What makes a clone likely holds the product (`holds.suspect_clone`), in the same transaction.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, insert, or_, select
from sqlalchemy.orm import Session

from analytics import findings as f
from hub.ports.database.alert_tables import Alert, Finding, Notice
from hub.ports.database.catalogue_tables import Metric
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device, Product
from hub.services import alert_covers, holds, incidents
from hub.services.alert_kinds import FIRST_OF_HUB, SUSPICIONS
from hub.services.found import NO_METRIC, Found, Resolution, sentence_of
from hub.services.own_time import epoch_at

REOPEN_NS = 7 * 86_400_000_000_000
OFTEN = 4
"""Findings after which an open alert is worth a warning."""


class Change(StrEnum):
    """What happened to an alert."""

    OPENED = "opened"
    REOPENED = "reopened"
    UPDATED = "updated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    GREW = "grew"
    MUTED = "muted"


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What happened to an alert, and whose it is.

    `notice` is to be sent to the device; `trace` names the row that it comes of, if one does.
    """

    change: Change
    alert: Alert
    device_id: str
    product_id: str
    owner_id: str | None
    notice: Notice | None = None
    trace: str = ""


@dataclass(frozen=True, slots=True)
class _Whose:
    device_id: str
    product_id: str
    owner_id: str | None
    epoch: int
    model: int
    cohort: int | None
    ownerships: Sequence[Ownership] = ()

    def epoch_of(self, found: Found) -> int:
        """Return the owner epoch in whose time something was found."""
        changed_hands = len(self.ownerships) > 1 or (self.ownerships and not self.epoch)
        return epoch_at(self.ownerships, found.time) if changed_hands else self.epoch


Key = tuple[int, int, int]
"""`(slot, metric, kind)`."""


def apply_findings(session: Session, findings: Sequence[Found], at: int) -> list[AlertChange]:
    """Write findings, and open or update alerts.

    Args:
        session: a writing session.
        findings: in the order of the log.
        at: now, ns.

    Returns:
        One change an alert, the most telling one.
    """
    incidents.apply(session, [found for found in findings if not found.slot], at)
    about = [found for found in findings if found.slot]
    every = _not_yet_applied(session, [found for found in about if found.severity != f.OVER])
    ended = [found for found in about if found.severity == f.OVER]
    if not every and not ended:
        return []
    slots = sorted({found.slot for found in (*every, *ended)})
    whose = _whose(session, slots)
    shared = incidents.Shared.load(session, {who.cohort for who in whose.values()}, at)
    incident_of = {found.id: shared.of(found, whose[found.slot].cohort) for found in every}
    epoch_of = {found.id: whose[found.slot].epoch_of(found) for found in every}
    fresh = [
        found
        for found in every
        if not found.historical
        and not incident_of[found.id]
        and (found.kind >= FIRST_OF_HUB or epoch_of[found.id] == whose[found.slot].epoch)
    ]
    names = _metric_names(session, {who.model for who in whose.values()})
    alerts = _latest_alerts(session, whose, at)
    changed: dict[str, AlertChange] = {}
    alert_of: dict[bytes, str] = {}
    for found in fresh:
        who = whose[found.slot]
        key = (found.slot, found.metric, found.kind)
        metric = "" if found.metric == NO_METRIC else names[who.model, found.metric]
        alert = alerts.get(key)
        if alert is None:
            alert = _opened(found, who.epoch, at)
            alerts[key] = alert
            session.add(alert)
            change, tell = Change.OPENED, True
        elif alert.resolved_at is not None:
            _reopen(alert, found)
            change, tell = Change.REOPENED, True
        else:
            before_it = alert.severity
            _update(alert, found)
            change, tell = Change.UPDATED, alert.severity > before_it
        alert.heard_at = at
        alert_of[found.id] = alert.id
        before = changed.get(alert.id)
        notice = before.notice if before else None
        if tell and is_told(alert, at):
            notice = notice_of(alert, metric, at)
        changed[alert.id] = AlertChange(
            before.change if before else change,
            alert,
            who.device_id,
            who.product_id,
            who.owner_id if found.kind < FIRST_OF_HUB else None,  # for support alone
            notice,
            found.trace(who.device_id),
        )
    for found in ended:
        alert = alerts.get((found.slot, found.metric, found.kind))
        if alert is not None and alert.resolved_at is None and alert.last_at <= found.time:
            alert.resolved_at, alert.resolution = at, Resolution.OVER
            who = whose[found.slot]
            changed[alert.id] = AlertChange(
                Change.RESOLVED, alert, who.device_id, who.product_id, who.owner_id
            )
    session.flush()
    alert_covers.mark(session, [change.alert for change in changed.values()], at)
    _keep(session, every, epoch_of, alert_of, incident_of)
    _suspect(session, fresh, whose, alert_of, at)
    session.add_all(change.notice for change in changed.values() if change.notice is not None)
    session.flush()
    return list(changed.values())


def _suspect(
    session: Session,
    fresh: Sequence[Found],
    whose: Mapping[int, _Whose],
    alert_of: Mapping[bytes, str],
    at: int,
) -> None:
    """Hold the products of which two copies seem to be alive."""
    for found in fresh:
        if found.kind in SUSPICIONS:
            evidence = found.evidence or f"alert/{alert_of[found.id]}"
            holds.suspect_clone(session, whose[found.slot].product_id, evidence, at)


def is_told(alert: Alert, at: int) -> bool:
    """Say whether the people at a device are told of an alert now."""
    return (
        alert.severity >= f.Severity.WARNING
        and alert.kind != f.Kind.SILENCE  # it would be told when it is over
        and alert.kind < FIRST_OF_HUB  # for support alone
        and (alert.muted_until is None or alert.muted_until <= at)
    )


def _keep(
    session: Session,
    every: Sequence[Found],
    epoch_of: Mapping[bytes, int],
    alert_of: Mapping[bytes, str],
    incident_of: Mapping[bytes, str | None],
) -> None:
    rows = [
        {
            **_row(found, epoch_of[found.id], alert_of.get(found.id)),
            "incident_id": incident_of[found.id],
        }
        for found in every
    ]
    if rows:
        session.execute(insert(Finding), rows)


def _not_yet_applied(session: Session, findings: Sequence[Found]) -> list[Found]:
    ids = {found.id for found in findings}
    known: set[bytes] = set()
    asked = sorted(ids)
    for start in range(0, len(asked), 1_000):
        query = select(Finding.id).where(Finding.id.in_(asked[start : start + 1_000]))
        known.update(session.scalars(query))
    fresh: dict[bytes, Found] = {}
    for found in findings:
        if found.id not in known:
            fresh.setdefault(found.id, found)
    return list(fresh.values())


def _whose(session: Session, slots: Sequence[int]) -> dict[int, _Whose]:
    present = and_(Ownership.product_id == Device.product_id, Ownership.ended_at.is_(None))
    query = (
        select(
            Device.slot,
            Device.device_id,
            Device.product_id,
            Ownership.owner_id,
            Ownership.epoch,
            Product.model_number,
            Device.cohort,
        )
        .join(Product, Product.id == Device.product_id)
        .outerjoin(Ownership, present)
        .where(Device.slot.in_(slots))
    )
    rows = session.execute(query).all()
    times = _ownerships(session, [row.product_id for row in rows])
    return {
        row.slot: _Whose(
            row.device_id,
            row.product_id,
            row.owner_id,
            row.epoch or 0,
            row.model_number,
            row.cohort,
            times.get(row.product_id, ()),
        )
        for row in rows
    }


def _ownerships(session: Session, product_ids: Sequence[str]) -> dict[str, list[Ownership]]:
    found: dict[str, list[Ownership]] = {}
    for start in range(0, len(product_ids), 1_000):
        query = select(Ownership).where(
            Ownership.product_id.in_(product_ids[start : start + 1_000])
        )
        for row in session.scalars(query.order_by(Ownership.epoch)):
            found.setdefault(row.product_id, []).append(row)
    return found


def _metric_names(session: Session, models: Collection[int]) -> dict[tuple[int, int], str]:
    """Return the name of each metric by model number and metric index."""
    query = select(Metric.model_number, Metric.index, Metric.name).where(
        Metric.model_number.in_(sorted(models))
    )
    return {(model, index): name for model, index, name in session.execute(query)}


def _latest_alerts(session: Session, whose: Mapping[int, _Whose], at: int) -> dict[Key, Alert]:
    """Return the open or recently resolved alert of each key in present owners' time, the open one first."""
    query = (
        select(Alert)
        .where(
            Alert.slot.in_(sorted(whose)),
            or_(
                Alert.resolved_at.is_(None),
                Alert.resolved_at > at - REOPEN_NS,
                Alert.muted_until > at,
            ),
        )
        .order_by(Alert.resolved_at)
    )
    alerts: dict[Key, Alert] = {}
    for alert in session.scalars(query):
        if alert.kind < FIRST_OF_HUB and alert.epoch != whose[alert.slot].epoch:
            continue  # another owner's
        key = (alert.slot, alert.metric, alert.kind)
        present = alerts.get(key)
        if present is None or present.resolved_at is not None:
            alerts[key] = alert
    return alerts


def _opened(found: Found, epoch: int, at: int) -> Alert:
    code, arguments = sentence_of(found)
    return Alert(
        id=found.id.hex(),
        slot=found.slot,
        metric=found.metric,
        kind=found.kind,
        severity=found.severity,
        epoch=epoch,
        since=found.since,
        opened_at=at,
        last_at=found.time,
        heard_at=at,
        count=1,
        last_finding=found.id,
        code=code,
        arguments=arguments,
        reopened=0,
    )


def _reopen(alert: Alert, found: Found) -> None:
    alert.reopened += 1
    alert.resolved_at = None
    alert.resolved_by = None
    alert.resolution = None
    alert.acknowledged_at = None
    alert.acknowledged_by = None
    alert.severity = found.severity
    _update(alert, found)


def _update(alert: Alert, found: Found) -> None:
    alert.severity = max(alert.severity, found.severity)
    alert.count += 1
    if alert.count >= OFTEN and not alert.reopened:
        alert.severity = max(alert.severity, f.Severity.WARNING)
    alert.last_at = found.time
    alert.last_finding = found.id
    alert.code, alert.arguments = sentence_of(found)


def notice_of(alert: Alert, metric: str, at: int) -> Notice:
    """Return what the people at a device are told of an alert.

    Args:
        alert: as it is now.
        metric: its name.
        at: now, ns.
    """
    about = f"notice/{alert.id}/{alert.reopened}/{alert.severity}"
    return Notice(
        id=hashlib.sha256(about.encode()).digest()[:16],
        slot=alert.slot,
        epoch=alert.epoch,
        code=alert.code,
        # By name: a product knows no numbers of metrics.
        arguments={**alert.arguments, "metric": metric, "alert": alert.id},
        # Severities of findings begin at 1, those of the wire at 0.
        severity=alert.severity - 1,
        created_at=at,
        created_by="hub",
    )


def _row(found: Found, epoch: int, alert_id: str | None) -> dict[str, Any]:
    return {
        "id": found.id,
        "slot": found.slot,
        "epoch": epoch,
        "metric": found.metric,
        "kind": found.kind,
        "severity": found.severity,
        "at": found.time,
        "since": found.since,
        "surprise": found.surprise,
        "observed": found.observed,
        "expected_low": found.low,
        "expected_high": found.high,
        "hidden": found.hidden,
        "alert_id": alert_id,
    }
