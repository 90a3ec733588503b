"""The small messages: presence, get, reported, event, command, reply, notice.

1. One frozen dataclass a channel with `encode()` and `decode(data)`; keys are those of
   docs/wire.md.
2. Arguments and results are maps with text keys; their values are whatever CBOR the wire has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from device_sdk.wire import cbor
from device_sdk.wire.codes import ClockState, ReplyStatus, Severity
from device_sdk.wire.errors import WireError
from device_sdk.wire.fields import Fields


@dataclass(frozen=True, slots=True)
class Birth:
    """What a device says of itself when it connects.

    `stream` and `boot` are 8 bytes, `time` is ns since 1970. `sent`: no row of the stream from this
    seq on was sent; None if the device does not say.
    """

    stream: bytes
    boot: bytes
    firmware: str
    sdk: str
    capabilities: tuple[str, ...]
    state_version: int
    entitlement_version: int
    clock: ClockState
    time: int
    sent: int | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """Channel `presence`: a birth, or (without one) the will and last word."""

    birth: Birth | None = None

    @property
    def online(self) -> bool:
        """Whether the device says that it is there."""
        return self.birth is not None

    def encode(self) -> bytes:
        """Return the bytes for channel `presence`."""
        if (b := self.birth) is None:
            return cbor.encode({0: cbor.VERSION, 1: False})
        said: dict[int, Any] = {
            0: cbor.VERSION,
            1: True,
            2: b.stream,
            3: b.boot,
            4: b.firmware,
            5: b.sdk,
            6: list(b.capabilities),
            7: b.state_version,
            8: b.entitlement_version,
            9: int(b.clock),
            10: b.time,
        }
        if b.sent is not None:
            said[11] = b.sent
        return cbor.encode(said)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a presence message; raises `WireError`."""
        fields = Fields("presence", cbor.decode_map(data))
        if not fields.flag(1):
            return cls()
        return cls(
            Birth(
                stream=fields.octets(2, 8),
                boot=fields.octets(3, 8),
                firmware=fields.text(4, 255),
                sdk=fields.text(5, 255),
                capabilities=fields.texts(6),
                state_version=fields.uint(7),
                entitlement_version=fields.uint(8),
                clock=clock_state(fields, 9),
                time=fields.int64(10),
                sent=fields.uint(11) if fields.has(11) else None,
            )
        )


@dataclass(frozen=True, slots=True)
class Get:
    """Channel `get`: asks for `wanted` things, telling the state version held."""

    wanted: tuple[str, ...]
    state_version: int

    def encode(self) -> bytes:
        """Return the bytes for channel `get`."""
        return cbor.encode({0: cbor.VERSION, 1: list(self.wanted), 2: self.state_version})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a get message; raises `WireError`."""
        fields = Fields("get", cbor.decode_map(data))
        return cls(fields.texts(1), fields.uint(2))


@dataclass(frozen=True, slots=True)
class Reported:
    """Channel `reported`: what the device has applied.

    `errors` maps the name of a setting to what went wrong with it.
    """

    state_version: int
    configuration: Mapping[str, Any]
    entitlement_version: int
    errors: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the bytes for channel `reported`."""
        return cbor.encode(
            {
                0: cbor.VERSION,
                1: self.state_version,
                2: dict(self.configuration),
                3: self.entitlement_version,
                4: dict(self.errors),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a reported message; raises `WireError`."""
        fields = Fields("reported", cbor.decode_map(data))
        errors = fields.named(4)
        if not all(isinstance(text, str) for text in errors.values()):
            raise fields.wrong(4, "a map of text to text")
        return cls(fields.uint(1), fields.scalars(2), fields.uint(3), errors)


@dataclass(frozen=True, slots=True)
class Event:
    """Channel `event`: something happened. `id` is 16 bytes, `time` is ns since 1970."""

    id: bytes
    time: int
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = 1

    def encode(self) -> bytes:
        """Return the bytes for channel `event`."""
        return cbor.encode(
            {
                0: cbor.VERSION,
                1: self.id,
                2: self.time,
                3: self.name,
                4: dict(self.arguments),
                5: self.schema_version,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read an event; raises `WireError`."""
        fields = Fields("event", cbor.decode_map(data))
        return cls(
            fields.octets(1, 16),
            fields.int64(2),
            fields.text(3, 255),
            fields.named(4),
            fields.uint(5, 32),
        )


@dataclass(frozen=True, slots=True)
class Command:
    """Channel `command`: do something before `expiry` (ns since 1970). `id` is 16 bytes.

    `owner_epoch`: under which ownership it was given; None if the hub does not say.
    """

    id: bytes
    name: str
    arguments: Mapping[str, Any]
    expiry: int
    owner_epoch: int | None = None

    def encode(self) -> bytes:
        """Return the bytes for channel `command`."""
        said: dict[int, Any] = {
            0: cbor.VERSION,
            1: self.id,
            2: self.name,
            3: dict(self.arguments),
            4: self.expiry,
        }
        if self.owner_epoch is not None:
            said[5] = self.owner_epoch
        return cbor.encode(said)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a command; raises `WireError`."""
        fields = Fields("command", cbor.decode_map(data))
        return cls(
            fields.octets(1, 16),
            fields.text(2, 255),
            fields.named(3),
            fields.int64(4),
            fields.uint(5, 32) if fields.has(5) else None,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """Channel `reply`: what became of the command `id` (16 bytes)."""

    id: bytes
    status: ReplyStatus
    result: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""

    def encode(self) -> bytes:
        """Return the bytes for channel `reply`."""
        return cbor.encode(
            {
                0: cbor.VERSION,
                1: self.id,
                2: int(self.status),
                3: dict(self.result),
                4: self.message,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a reply; raises `WireError`."""
        fields = Fields("reply", cbor.decode_map(data))
        status = fields.uint(2)
        if status not in ReplyStatus.__members__.values():
            raise fields.wrong(2, "a reply status")
        return cls(fields.octets(1, 16), ReplyStatus(status), fields.named(3), fields.text(4))


@dataclass(frozen=True, slots=True)
class Notice:
    """Channel `notice`: something the product or its user should know.

    `id` is 16 bytes, `time` is ns since 1970. `owner_epoch`: whom it is for; None if the hub does
    not say.
    """

    id: bytes
    code: str
    arguments: Mapping[str, Any]
    severity: Severity
    time: int
    owner_epoch: int | None = None

    def encode(self) -> bytes:
        """Return the bytes for channel `notice`."""
        said: dict[int, Any] = {
            0: cbor.VERSION,
            1: self.id,
            2: self.code,
            3: dict(self.arguments),
            4: int(self.severity),
            5: self.time,
        }
        if self.owner_epoch is not None:
            said[6] = self.owner_epoch
        return cbor.encode(said)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a notice; raises `WireError`."""
        fields = Fields("notice", cbor.decode_map(data))
        severity = fields.uint(4)
        if severity not in Severity.__members__.values():
            raise fields.wrong(4, "a severity")
        return cls(
            fields.octets(1, 16),
            fields.text(2, 255),
            fields.named(3),
            Severity(severity),
            fields.int64(5),
            fields.uint(6, 32) if fields.has(6) else None,
        )


def clock_state(fields: Fields, key: int) -> ClockState:
    """Read a clock state; raises `WireError` on numbers that mean nothing."""
    number = fields.uint(key)
    try:
        return ClockState(number)
    except ValueError:
        raise WireError(f"{fields.what}: field {key} is no clock state") from None
