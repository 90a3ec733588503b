"""What devices say of themselves on their control channels, kept as their last word.

1. Words of a device that is not known are ignored: the broker lets only known ones in, so it was
   revoked or removed a moment ago.
2. Nothing here is trusted for a decision; it is shown to people.
3. What happened to a device is kept too (`happenings`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from device_sdk.wire.messages import Event, Presence, Reported
from hub.ports.database.ownership_tables import Ownership
from hub.ports.database.product_tables import Device, DeviceEvent
from hub.services import cohorts, holds, twins
from hub.services.found import Found
from hub.services.happenings import (
    APPLIED,
    CAME,
    FIRMWARE,
    MAX_TEXT,
    NOT_APPLIED,
    PUT_BACK,
    WENT,
    keep,
)
from hub.services.pushes import configuration_of, plain

# Made once: a fleet that comes back asks them for every word of every device.
_BY_ID: Final = select(Device).where(Device.device_id == bindparam("device_id"))
_PRESENT: Final = select(Ownership).where(
    Ownership.product_id == bindparam("product_id"), Ownership.ended_at.is_(None)
)


@dataclass(frozen=True, slots=True)
class Contact:
    """Whose device it was that spoke; `found` is what its birth gave away.

    `fresh` is set for an event that it told for the first time.
    `owner_id` is None as well where what it said is of the time before its present owner.
    """

    device_id: str
    slot: int
    product_id: str
    owner_id: str | None
    found: Found | None = None
    fresh: bool = False


def presence(session: Session, device_id: str, message: Presence, at: int) -> Contact | None:
    """Keep that a device came, or went."""
    device = _device(session, device_id)
    if device is None:
        return None
    device.last_contact = at
    birth = message.birth
    found = None if birth is None else twins.of(session, device.slot, birth.boot, at)
    _keep_presence(session, device, message, at)
    device.online = message.online
    if birth is not None:
        if device.firmware != birth.firmware[:MAX_TEXT]:
            device.firmware = birth.firmware[:MAX_TEXT]
            holds.follow_firmware(session, device, at)
        cohorts.place(session, device)
        device.sdk = birth.sdk[:MAX_TEXT]
        device.boot = birth.boot
        if birth.state_version < device.state_version_reported:
            # Its storage was put back to an older copy, lost its state, or refuses to go by it.
            versions = {"before": device.state_version_reported, "now": birth.state_version}
            keep(session, device.slot, at, PUT_BACK, versions)
        device.state_version_reported = birth.state_version
        device.entitlement_version_reported = birth.entitlement_version
    return replace(_contact(session, device), found=found)


def reported(session: Session, device_id: str, message: Reported, at: int) -> Contact | None:
    """Keep the configuration that a device has in force, and what it could not apply."""
    device = _device(session, device_id)
    if device is None:
        return None
    device.last_contact = at
    device.state_version_reported = message.state_version
    device.entitlement_version_reported = message.entitlement_version
    present = _present(session, device)
    if present is not None and present.epoch > 1 and message.state_version <= present.state_version:
        return _contact(session, device, before=True)  # the settings of another owner
    _keep_applied(session, device, message, at)
    device.reported = dict(message.configuration)
    device.reported_errors = _short(message.errors)
    return _contact(session, device)


def event(session: Session, device_id: str, message: Event, at: int) -> Contact | None:
    """Keep what happened on a device; one that is told again changes nothing."""
    device = _device(session, device_id)
    if device is None:
        return None
    device.last_contact = at
    told = select(DeviceEvent.id).where(
        DeviceEvent.slot == device.slot, DeviceEvent.event_id == message.id
    )
    fresh = session.scalar(told) is None
    if fresh:
        arguments = {name: plain(value) for name, value in message.arguments.items()}
        keep(session, device.slot, at, message.name, arguments, message.id)
    before = _before(_present(session, device), message.time)
    return replace(_contact(session, device, before=before), fresh=fresh)


def touch(session: Session, device_id: str, at: int, *, about: int | None = None) -> Contact | None:
    """Keep that a device was heard of.

    Args:
        session: a writing session.
        device_id: the device.
        at: now, ns.
        about: when what it answers to was asked, ns.
    """
    device = _device(session, device_id)
    if device is None:
        return None
    device.last_contact = at
    return _contact(session, device, before=_before(_present(session, device), about))


def _keep_presence(session: Session, device: Device, message: Presence, at: int) -> None:
    """Keep that a device came or went, once, and that its firmware is another one."""
    birth = message.birth
    again = birth is None or birth.boot == device.boot
    if message.online and not (device.online and again):
        about = {"firmware": birth.firmware, "boot": birth.boot.hex()} if birth else {}
        keep(session, device.slot, at, CAME, about)
    if device.online and not message.online:
        keep(session, device.slot, at, WENT, {})
    if birth is not None and device.firmware not in {None, birth.firmware[:MAX_TEXT]}:
        change = {"before": device.firmware, "after": birth.firmware[:MAX_TEXT]}
        keep(session, device.slot, at, FIRMWARE, change)


def _keep_applied(session: Session, device: Device, message: Reported, at: int) -> None:
    """Keep that a device came to have in force what was asked for, or could not apply it."""
    errors = _short(message.errors)
    if errors and errors != device.reported_errors:
        keep(session, device.slot, at, NOT_APPLIED, errors)
    asked = device.desired
    if not asked or errors:
        return
    before = configuration_of(device).in_force
    if message.configuration.items() >= asked.items() and not before:
        keep(session, device.slot, at, APPLIED, {"version": device.desired_version})


def _device(session: Session, device_id: str) -> Device | None:
    return session.scalars(_BY_ID, {"device_id": device_id}).first()


def _present(session: Session, device: Device) -> Ownership | None:
    return session.scalars(_PRESENT, {"product_id": device.product_id}).first()


def _before(present: Ownership | None, instant: int | None) -> bool:
    """Say whether an instant was in the time of an earlier owner."""
    if present is None or present.epoch == 1 or instant is None:
        return False
    return instant < present.started_at


def _contact(session: Session, device: Device, *, before: bool = False) -> Contact:
    present = None if before else _present(session, device)
    owner = None if present is None else present.owner_id
    return Contact(device.device_id, device.slot, device.product_id, owner)


def _short(errors: Mapping[str, Any]) -> dict[str, Any]:
    return {name[:MAX_TEXT]: str(text)[:MAX_TEXT] for name, text in errors.items()}
