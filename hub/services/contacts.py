"""What devices say of themselves on their control channels, kept as their last word.

1. Words of a device that is not known are ignored: the broker lets only known ones in, so it was
   revoked or removed a moment ago.
2. Nothing here is trusted for a decision; it is shown to people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from device_sdk.wire.messages import Event, Presence, Reported
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device

MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Contact:
    """Whose device it was that spoke."""

    device_id: str
    slot: int
    product_id: str
    owner_id: str | None


def presence(session: Session, device_id: str, message: Presence, at: int) -> Contact | None:
    """Keep that a device came, or went."""
    device = _device(session, device_id)
    if device is None:
        return None
    device.last_contact = at
    device.online = message.online
    if (birth := message.birth) is not None:
        device.firmware = birth.firmware[:MAX_TEXT]
        device.sdk = birth.sdk[:MAX_TEXT]
        device.boot = birth.boot
        device.state_version_reported = birth.state_version
        device.entitlement_version_reported = birth.entitlement_version
    return _contact(session, device)


def reported(session: Session, device_id: str, message: Reported, at: int) -> Contact | None:
    """Keep the configuration that a device has in force, and what it could not apply."""
    device = _device(session, device_id)
    if device is None:
        return None
    device.last_contact = at
    device.state_version_reported = message.state_version
    device.entitlement_version_reported = message.entitlement_version
    device.reported = dict(message.configuration)
    device.reported_errors = _short(message.errors)
    return _contact(session, device)


def event(session: Session, device_id: str, _message: Event, at: int) -> Contact | None:
    """Keep that a device was heard of; its event goes to the live streams."""
    return touch(session, device_id, at)


def touch(session: Session, device_id: str, at: int) -> Contact | None:
    """Keep that a device was heard of."""
    device = _device(session, device_id)
    if device is None:
        return None
    device.last_contact = at
    return _contact(session, device)


def contact_of(session: Session, slot: int) -> Contact | None:
    """Return whose device a slot is."""
    device = session.get(Device, slot)
    return None if device is None else _contact(session, device)


def _device(session: Session, device_id: str) -> Device | None:
    return session.scalars(select(Device).where(Device.device_id == device_id)).first()


def _contact(session: Session, device: Device) -> Contact:
    owner = session.scalar(
        select(Ownership.owner_id).where(
            and_(Ownership.product_id == device.product_id, Ownership.ended_at.is_(None))
        )
    )
    return Contact(device.device_id, device.slot, device.product_id, owner)


def _short(errors: Mapping[str, Any]) -> dict[str, Any]:
    return {name[:MAX_TEXT]: str(text)[:MAX_TEXT] for name, text in errors.items()}
