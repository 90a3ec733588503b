"""What becomes of open alerts when a product changes its owner.

1. An alert is closed for the owner who leaves. What goes on is an alert of the next owner, opened
   now, which says nothing of what was measured before.
2. What is for support alone is not of any owner, and stays as it is.
"""

import hashlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.ports.database.alert_tables import Alert
from hub.services import alert_covers
from hub.services.alert_kinds import FIRST_OF_HUB
from hub.services.found import Resolution

GOES_ON = "alert.goes_on"
"""Code of an alert that is known from another owner's time only."""


def rehome(session: Session, slot: int, epoch: int, at: int) -> None:
    """Close the open alerts of a product, and open those of the next owner.

    Args:
        session: a writing session.
        slot: of the device.
        epoch: owner epoch from now on; 0: nobody's.
        at: now, ns.
    """
    query = select(Alert).where(
        Alert.slot == slot, Alert.resolved_at.is_(None), Alert.kind < FIRST_OF_HUB
    )
    alerts = [alert for alert in session.scalars(query) if alert.epoch != epoch]
    for alert in alerts:
        alert.resolved_at = max(at, alert.opened_at)
        alert.resolution = Resolution.OWNER
    session.flush()  # closed before the next is opened: one open alert of a kind
    if epoch:
        carried = [_carried(alert, epoch, at) for alert in alerts]
        session.add_all(carried)
        session.flush()
        alert_covers.mark(session, carried, at)


def _carried(alert: Alert, epoch: int, at: int) -> Alert:
    return Alert(
        id=hashlib.sha256(f"rehomed/{alert.id}/{epoch}".encode()).hexdigest()[:32],
        slot=alert.slot,
        metric=alert.metric,
        kind=alert.kind,
        severity=alert.severity,
        epoch=epoch,
        since=at,
        opened_at=at,
        last_at=at,
        heard_at=at,
        count=0,
        last_finding=alert.last_finding,
        code=GOES_ON,
        arguments={},
        reopened=0,
        incident_id=alert.incident_id,
    )
