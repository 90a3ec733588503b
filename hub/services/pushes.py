"""What the hub tells devices: their desired configuration, notices and commands.

1. Everything is in the database before it is sent; the answer of a device is kept beside it.
2. Ids follow from what was asked, so asking twice with one key tells the device once.
3. A configuration holds scalars only, and its version rises when its content changes.
4. Sending is not done here: `notice_payload` and `command_payload` give the bytes for the link,
   and configurations travel in the signed state.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from device_sdk.wire import messages
from device_sdk.wire.codes import Severity
from hub.errors import ConflictError, InvalidInputError
from hub.ports.database.alert_tables import Command, Notice
from hub.ports.database.product_tables import Device
from hub.services import audit, changes, happenings, parties, products
from hub.services.caller import Caller, Scope
from hub.services.relations import Act

Scalar = bool | int | float | str | None

MAX_SETTINGS = 64
MAX_TEXT = 1_024
MAX_ARGUMENTS_BYTES = 4_096
MAX_LIFE_NS = 30 * 86_400_000_000_000
_SETTING = re.compile(r"[a-z][a-z0-9_.]{0,63}", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration the hub wants and the one the device last said it has in force."""

    product_id: str
    device_id: str
    desired: dict[str, Scalar]
    version: int
    reported: dict[str, Any]
    errors: dict[str, str]
    changed: bool

    @property
    def in_force(self) -> bool:
        """Whether the device says that it has all that is wanted; its own settings do not count."""
        return not self.errors and self.reported.items() >= self.desired.items()


def configure(
    session: Session,
    caller: Caller,
    product_id: str,
    values: Mapping[str, Scalar],
    at: int,
    *,
    replace: bool = False,
    expected_version: int | None = None,
) -> Configuration:
    """Set the desired configuration of a product.

    Args:
        session: a writing session.
        caller: the owner or staff, with `devices:push`.
        product_id: which product.
        values: settings by name. When merging, null removes a setting (RFC 7386).
        at: now, ns.
        replace: these settings instead of all that were there; else merge them.
        expected_version: refuse if another change came in between.

    Returns:
        The configuration; if it changed, the device's state is to be issued and sent.

    Raises:
        ConflictError: the product has not enrolled, or the version is another.
        InvalidInputError: a name or value cannot be sent to a device.
        ForbiddenError: the caller may see the product, but not do this.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.DEVICES_PUSH)
    device = products.visible_device(session, caller, product_id, Act.CONFIGURE)
    for name, value in values.items():
        check_setting(name, value)
    if expected_version is not None and expected_version != device.desired_version:
        raise ConflictError(
            f"The configuration is at version {device.desired_version}, not {expected_version}. "
            "Read it again and repeat the change.",
            version=device.desired_version,
        )
    merged = dict(values) if replace else {**device.desired, **values}
    desired = {name: value for name, value in sorted(merged.items()) if value is not None}
    if len(desired) > MAX_SETTINGS:
        raise InvalidInputError(
            f"A configuration has at most {MAX_SETTINGS} settings; this would have {len(desired)}."
        )
    changed = not same_settings(desired, device.desired)
    if changed:
        asked = _differing(device.desired, desired)
        device.desired = desired
        device.desired_version += 1
        session.flush()
        details = {"names": sorted(values), "version": device.desired_version}
        _record(session, caller, product_id, "device.configure", at, details)
        happenings.keep(session, device.slot, at, happenings.ASKED, asked)
        changes.note(session, product_id, changes.About.DECISIONS)
    return configuration_of(device, changed=changed)


def configuration(session: Session, caller: Caller, product_id: str) -> Configuration:
    """Return the configuration of a product.

    Raises:
        ConflictError: the product has not enrolled.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.PRODUCTS_READ)
    device = products.visible_device(session, caller, product_id)
    return configuration_of(device)


def notify(
    session: Session,
    caller: Caller,
    product_id: str,
    code: str,
    arguments: Mapping[str, Scalar],
    severity: Severity,
    at: int,
    *,
    key: str | None = None,
) -> tuple[Device, Notice]:
    """Give a device a notice.

    Args:
        session: a writing session.
        caller: staff, or the owner, with `devices:push`.
        product_id: which product.
        code: code of the sentence.
        arguments: its arguments.
        severity: how much it matters.
        at: now, ns.
        key: who asks again with the same key is given the notice of the first time.

    Returns:
        The device to send to and the notice.

    Raises:
        ConflictError: the product has not enrolled.
        InvalidInputError: code or arguments cannot be sent to a device.
        ForbiddenError: the caller may see the product, but not do this.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.DEVICES_PUSH)
    device = products.visible_device(session, caller, product_id, Act.COMMAND)
    _check_message(code, arguments)
    owner = parties.open_ownership(session, product_id)
    epoch = owner.epoch if owner else 0
    identity = _identity("notice", device.slot, epoch, caller, key or f"{at}/{code}")
    present = session.get(Notice, identity)
    if present is not None:
        return device, present
    row = Notice(
        id=identity,
        slot=device.slot,
        epoch=epoch,
        code=code,
        arguments=dict(arguments),
        severity=int(severity),
        created_at=at,
        created_by=caller.actor,
    )
    session.add(row)
    session.flush()
    _record(session, caller, product_id, "device.notify", at, {"code": code, "id": identity.hex()})
    return device, row


def command(
    session: Session,
    caller: Caller,
    product_id: str,
    name: str,
    arguments: Mapping[str, Scalar],
    expires_at: int,
    at: int,
    *,
    key: str | None = None,
) -> tuple[Device, Command]:
    """Tell a device to do something before `expires_at` (ns); otherwise as `notify`.

    Raises:
        ConflictError: the product has not enrolled.
        InvalidInputError: name or arguments cannot be sent, or the expiry is past or too far.
        ForbiddenError: the caller may see the product, but not do this.
        NotFoundError: no such product, or not one of the caller's.
    """
    caller.require(Scope.DEVICES_PUSH)
    device = products.visible_device(session, caller, product_id, Act.COMMAND)
    _check_message(name, arguments)
    if not at < expires_at <= at + MAX_LIFE_NS:
        raise InvalidInputError("A command expires in the future and within 30 days.")
    owner = parties.open_ownership(session, product_id)
    epoch = owner.epoch if owner else 0
    identity = _identity("command", device.slot, epoch, caller, key or f"{at}/{name}")
    present = session.get(Command, identity)
    if present is not None:
        return device, present
    row = Command(
        id=identity,
        slot=device.slot,
        epoch=epoch,
        name=name,
        arguments=dict(arguments),
        created_at=at,
        created_by=caller.actor,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    _record(session, caller, product_id, "device.command", at, {"name": name, "id": identity.hex()})
    return device, row


def keep_reply(session: Session, device_id: str, reply: messages.Reply, at: int) -> Command | None:
    """Keep a device's answer to a command; the first one counts.

    Returns:
        The command, or None if the device was never given it.
    """
    row = session.scalars(
        select(Command)
        .join(Device, Device.slot == Command.slot)
        .where(Command.id == reply.id, Device.device_id == device_id)
    ).first()
    if row is not None and row.replied_at is None:
        row.replied_at = at
        row.reply_status = int(reply.status)
        row.reply_result = {name[:MAX_TEXT]: plain(value) for name, value in reply.result.items()}
        row.reply_message = reply.message[:MAX_TEXT]
    return row


def notice_payload(row: Notice) -> bytes:
    """Return a notice as bytes for `down/notice`."""
    severity = Severity(row.severity)
    return messages.Notice(
        row.id, row.code, row.arguments, severity, row.created_at, row.epoch
    ).encode()


def command_payload(row: Command) -> bytes:
    """Return a command as bytes for `down/command`."""
    return messages.Command(row.id, row.name, row.arguments, row.expires_at, row.epoch).encode()


def _differing(before: Mapping[str, Scalar], after: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the settings that differ, with what they are to be; null if they are taken away."""
    return {
        name: after.get(name)
        for name in sorted({*before, *after})
        if json.dumps(before.get(name)) != json.dumps(after.get(name))
    }


def same_settings(one: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> bool:
    """Say whether two configurations are the same on a device; in Python 1 == 1.0 == True."""
    return json.dumps(dict(sorted(one.items()))) == json.dumps(dict(sorted(other.items())))


def check_setting(name: str, value: Scalar) -> None:
    """Refuse a setting that cannot be sent to a device.

    Raises:
        InvalidInputError: its name or value is not one that devices take.
    """
    if not _SETTING.fullmatch(name):
        raise InvalidInputError(
            f"The setting {name!r} must be 1 to 64 of a-z, 0-9, _ and ., beginning with a letter.",
            setting=name,
        )
    _check_scalar(name, value)


def _check_message(name: str, arguments: Mapping[str, Scalar]) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(f"{name!r} must be 1 to 64 of a-z, 0-9, _, . and -.")
    for argument, value in arguments.items():
        _check_scalar(argument, value)
    if len(json.dumps(dict(arguments)).encode()) > MAX_ARGUMENTS_BYTES:
        raise InvalidInputError(f"The arguments exceed {MAX_ARGUMENTS_BYTES} bytes. Send less.")


def _check_scalar(name: str, value: Any) -> None:
    match value:
        case None | bool():
            return
        case int() if -(2**63) <= value < 2**63:
            return
        case float() if math.isfinite(value):
            return
        case str() if len(value) <= MAX_TEXT:
            return
    raise InvalidInputError(
        f"The value of {name!r} must be null, true, false, a finite number of 64 bits, or a text "
        f"of at most {MAX_TEXT} characters.",
        name=name,
    )


def _identity(what: str, slot: int, epoch: int, caller: Caller, key: str) -> bytes:
    """Name a wish by who has it: others may choose the same key, and must not get what is not theirs."""
    about = f"{what}/{slot}/{epoch}/{caller.actor}/{key}"
    return hashlib.sha256(about.encode()).digest()[:16]


def plain(value: Any) -> Any:
    """Return what JSON can hold of a CBOR value."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def configuration_of(device: Device, *, changed: bool = False) -> Configuration:
    """Return the configuration of a device that the caller may see."""
    return Configuration(
        product_id=device.product_id,
        device_id=device.device_id,
        desired=device.desired,
        version=device.desired_version,
        reported=device.reported,
        errors=device.reported_errors,
        changed=changed,
    )


def _record(
    session: Session,
    caller: Caller,
    product_id: str,
    action: str,
    at: int,
    details: Mapping[str, object],
) -> None:
    audit.record(session, at, caller.actor, action, f"product:{product_id}", details)
