"""Topic names: `{root}/{shard}/{device}/up|down/{channel}`.

1. The shard follows from the device id; a topic whose shard does not belong to its device is
   refused.
2. Only the channels of docs/wire.md exist.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache

from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError

ROOT = "hp/1"
_DEVICE = re.compile(r"[a-z0-9]{16}", re.ASCII)


@unique
class Up(StrEnum):
    """Channels from a device to the hub."""

    PACK = "t"
    JSON = "json"
    SENML = "senml"
    PRESENCE = "presence"
    EVENT = "event"
    REPORTED = "reported"
    REPLY = "reply"
    GET = "get"


@unique
class Down(StrEnum):
    """Channels from the hub to a device."""

    RECEIPT = "receipt"
    COMMAND = "command"
    NOTICE = "notice"
    STATE = "state"


_CHANNELS = {"up": frozenset(Up), "down": frozenset(Down)}


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed topic. `direction` is `"up"` or `"down"`."""

    shard: str
    device: str
    direction: str
    channel: str


def is_device_id(text: str) -> bool:
    """Tell whether `text` has the form of a device id (16 characters of `[a-z0-9]`)."""
    return _DEVICE.fullmatch(text) is not None


@lru_cache(maxsize=65_536)
def shard_of(device_id: str) -> str:
    """Return the shard of a device: first byte of SHA-256 of its id, as two hex digits.

    Raises:
        WireError: `device_id` is not a device id.
    """
    if not is_device_id(device_id):
        raise WireError("device id is not 16 characters of [a-z0-9]")
    return hashlib.sha256(device_id.encode("ascii")).hexdigest()[:2]


def up(root: str, device: str, channel: str) -> str:
    """Return the topic on which `device` speaks to the hub over `channel`."""
    return f"{root}/{shard_of(device)}/{device}/up/{Up(channel)}"


def down(root: str, device: str, channel: str) -> str:
    """Return the topic on which the hub speaks to `device` over `channel`."""
    return f"{root}/{shard_of(device)}/{device}/down/{Down(channel)}"


def parse(topic: str, root: str) -> Topic:
    """Take a topic apart.

    Args:
        topic: full topic name.
        root: topic root the caller listens under, without a trailing slash.

    Raises:
        WireError: not a topic of this root (`MALFORMED`), or a shard that is not the device's
            (`REFUSED`).
    """
    prefix = root + "/"
    parts = topic[len(prefix) :].split("/") if topic.startswith(prefix) else []
    if len(parts) != 4:
        raise WireError(f"topic is not of the form {root}/shard/device/direction/channel")
    shard, device, direction, channel = parts
    if channel not in _CHANNELS.get(direction, ()):
        raise WireError("topic names no channel of wire v1")
    if shard_of(device) != shard:
        raise WireError("topic's shard does not belong to its device", RejectCode.REFUSED)
    return Topic(shard, device, direction, channel)
