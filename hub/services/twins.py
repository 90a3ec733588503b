"""Notices two live copies of one device: a cloned identity.

1. A device draws a boot id each time its program starts and keeps it over reconnections. So a boot id that comes back
   after another one was seen belongs to a second program that is alive: no restart can bring it back.
2. Two copies take the connection from one another all the time; support is told once an hour.
"""

import hashlib
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from analytics.findings import Severity
from hub.ports.database.alert_tables import Finding
from hub.ports.database.product_tables import DeviceEvent
from hub.services.alert_kinds import TWO_COPIES
from hub.services.found import Found
from hub.services.happenings import CAME

LOOK_BACK: Final = 20
"""Latest connections of a device in which a boot id is looked for."""
AGAIN_NS: Final = 3_600 * 1_000_000_000


def of(session: Session, slot: int, boot: bytes, at: int) -> Found | None:
    """Return the finding that a device's birth brings; call it before the birth is kept.

    Args:
        session: any session.
        slot: of the device.
        boot: boot id that the birth says.
        at: now, ns.
    """
    latest = (
        select(DeviceEvent.arguments)
        .where(DeviceEvent.slot == slot, DeviceEvent.event_id.is_(None), DeviceEvent.name == CAME)
        .order_by(DeviceEvent.id.desc())
        .limit(LOOK_BACK)
    )
    boots = [arguments.get("boot") for arguments in session.scalars(latest)]
    if boot.hex() not in boots[1:] or boots[0] == boot.hex():
        return None
    told = select(Finding.id).where(
        Finding.slot == slot, Finding.kind == TWO_COPIES, Finding.at > at - AGAIN_NS
    )
    if session.scalar(told.limit(1)) is not None:
        return None
    about = f"twins/{slot}/{boot.hex()}/{at}"
    return Found(
        id=hashlib.sha256(about.encode()).digest()[:16],
        slot=slot,
        metric=0,
        kind=TWO_COPIES,
        severity=int(Severity.WARNING),
        time=at,
        since=at,
        surprise=0.0,
        observed=2.0,
        low=None,
        high=None,
        evidence="/".join(sorted((boot.hex(), boots[0] or ""))),
    )
