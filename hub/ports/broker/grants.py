"""Which topics a client of the broker may use.

1. A device publishes its own `up` topics and subscribes its own `down` topics, nothing else.
2. A part of the hub may do what its role needs; the name in its certificate gives the role.
3. Grants are written as NATS subjects: levels are separated by `.`, `*` stands for one level.
"""

import re
from dataclasses import dataclass

from device_sdk.wire.topics import ROOT, Down, Up, shard_of
from hub.ports.broker.port import CONTROL, INGEST, REVOKER

# A subject that nobody uses: an empty list of subjects would mean all of them to NATS.
_NOTHING = "homeport.nothing"
_ROOT = ROOT.replace("/", ".")
_INGEST_UP = (Up.PACK, Up.JSON, Up.SENML, Up.PRESENCE)
_INGEST_DOWN = (Down.RECEIPT,)
_CONTROL_UP = (Up.PRESENCE, Up.EVENT, Up.REPORTED, Up.REPLY, Up.GET)
_CONTROL_DOWN = (Down.STATE, Down.COMMAND, Down.NOTICE)


@dataclass(frozen=True, slots=True)
class Topics:
    """Subjects that a client may publish and subscribe."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def device_topics(device_id: str) -> Topics:
    """Return what a device may do."""
    own = f"{_ROOT}.{shard_of(device_id)}.{device_id}"
    return Topics(publish=(f"{own}.up.*",), subscribe=(f"{own}.down.*",))


def internal_topics(name: str) -> Topics | None:
    """Return what a part of the hub may do, None if there is no such part."""
    if re.fullmatch(rf"{INGEST}-\d+", name, re.ASCII):
        return _all_devices(_INGEST_UP, _INGEST_DOWN)
    if name == CONTROL:
        return _all_devices(_CONTROL_UP, _CONTROL_DOWN)
    if name == REVOKER:  # may come in, as `homeport doctor` does, and say and hear nothing
        return Topics(publish=(_NOTHING,), subscribe=(_NOTHING,))
    return None


def _all_devices(up: tuple[Up, ...], down: tuple[Down, ...]) -> Topics:
    return Topics(
        publish=tuple(f"{_ROOT}.*.*.down.{channel}" for channel in down),
        subscribe=tuple(f"{_ROOT}.*.*.up.{channel}" for channel in up),
    )


def may_publish(topics: Topics, topic: str) -> bool:
    """Tell whether an MQTT topic is within the grant."""
    return _granted(topics.publish, topic, wildcards=False)


def may_subscribe(topics: Topics, topic_filter: str) -> bool:
    """Tell whether all that an MQTT topic filter can match is within the grant."""
    return _granted(topics.subscribe, topic_filter, wildcards=True)


def _granted(subjects: tuple[str, ...], topic: str, *, wildcards: bool) -> bool:
    if "." in topic or "*" in topic:
        return False  # of NATS, not of MQTT: no topic of the wire has them
    asked = topic.split("/")
    if "#" in asked or ("+" in asked and not wildcards):
        return False
    return any(_covers(subject.split("."), asked) for subject in subjects)


def _covers(granted: list[str], asked: list[str]) -> bool:
    same_depth = len(granted) == len(asked)
    return same_depth and all(g in ("*", a) for g, a in zip(granted, asked, strict=True))
