"""What happened to devices: the latest of each, for the line of time.

1. Some of it a device tells itself; the rest is what the hub saw, which has no `event_id`, so that
   a device cannot speak for the hub, whatever it calls its own.
2. The latest `KEPT` of each device are kept: no device can fill the disk.
3. Names, texts and the number of arguments are bounded here and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hub.ports.database.product_tables import DeviceEvent

MAX_TEXT = 200
MAX_ARGUMENTS = 16
KEPT = 200
"""Happenings of each device that are kept."""
CAME, WENT, FIRMWARE = "hub.came", "hub.went", "hub.firmware"
ASKED, APPLIED, NOT_APPLIED = "hub.asked", "hub.applied", "hub.not_applied"
"""A configuration was asked for; the device has all of it in force; it could not apply some."""
PUT_BACK = "hub.put_back"
"""A device came with an older state than it had reported."""


def keep(
    session: Session,
    slot: int,
    at: int,
    name: str,
    arguments: Mapping[str, Any],
    event_id: bytes | None = None,
) -> None:
    """Keep something that happened to a device, and forget its oldest.

    Args:
        session: a writing session.
        slot: of the device.
        at: when the hub heard of it, ns.
        name: what happened; one of the constants if the hub saw it.
        arguments: plain values by name.
        event_id: the device's own id of it; None for what the hub saw.
    """
    about = {
        key[:MAX_TEXT]: _bounded(value) for key, value in list(arguments.items())[:MAX_ARGUMENTS]
    }
    row = DeviceEvent(slot=slot, at=at, event_id=event_id, name=name[:MAX_TEXT], arguments=about)
    session.add(row)
    session.flush()
    oldest = (
        select(DeviceEvent.id)
        .where(DeviceEvent.slot == slot)
        .order_by(DeviceEvent.id.desc())
        .offset(KEPT)
        .limit(1)
    )
    if (last := session.scalar(oldest)) is not None:
        session.execute(delete(DeviceEvent).where(DeviceEvent.slot == slot, DeviceEvent.id <= last))


def _bounded(value: Any) -> Any:
    scalar = value is None or isinstance(value, bool | int | float)
    return value if scalar else str(value)[:MAX_TEXT]
