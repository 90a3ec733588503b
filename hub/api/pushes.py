"""What is sent down to a product: configuration, notices and commands.

1. Everything is in the database before it is sent. A configuration travels in the signed state,
   which is sent after the commit; notices and commands go out at once.
2. `delivered` says only that the broker took the message. The device's own word is in `reported`
   and in the reply to a command. What does not arrive now is sent again when the device comes back.
3. With an `Idempotency-Key` a request that is repeated tells the device once.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import Field

from device_sdk.wire.codes import Severity
from device_sdk.wire.topics import Down
from hub.api.bodies import Answer, DeviceId, Request, Scalar, examples
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session, write_session
from hub.services import pushes
from hub.services.caller import Caller

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["pushes"])

Values = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Scalar],
    Field(max_length=pushes.MAX_SETTINGS),
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        description="The same key for the same wish: the device is told once.",
    ),
]
_COMMAND_LIFE_S = 300
_S = 1_000_000_000


class ConfigurationChange(Request):
    """Settings by name."""

    values: Values = Field(description="With PATCH, null removes a setting.")
    expected_version: int | None = Field(
        default=None, ge=0, lt=2**63, description="Refuse if the configuration has another version."
    )

    model_config = examples({"values": {"target_c": 21}, "expected_version": 3})


class Configuration(Answer):
    """What the hub wants of a product, and what the product said it has in force."""

    device_id: str
    desired: dict[str, Scalar]
    version: int
    reported: dict[str, Any]
    errors: dict[str, str] = Field(description="What the product could not apply.")
    changed: bool = Field(description="Whether this request changed anything.")

    model_config = examples(
        {
            "device_id": "kx3q8m0d5c7r2v1z",
            "desired": {"target_c": 21},
            "version": 4,
            "reported": {"target_c": 20},
            "errors": {},
            "changed": True,
        }
    )


class WantedConfiguration(Answer):
    """What the hub wants of a product, whatever the product says."""

    device_id: str
    desired: dict[str, Scalar]
    version: int

    model_config = examples(
        {"device_id": "kx3q8m0d5c7r2v1z", "desired": {"target_c": 21}, "version": 4}
    )


class SendNotice(Request):
    """A message for the people at a product."""

    code: Annotated[str, Field(pattern="^[a-z][a-z0-9_.-]{0,63}$")]
    arguments: Values = Field(default_factory=dict)
    severity: Literal["info", "warning", "critical"] = "info"

    model_config = examples({"code": "service.due", "arguments": {"days": 14}, "severity": "info"})


class SentNotice(Answer):
    """A notice that was kept, and whether it could be handed to the broker now."""

    notice_id: str
    delivered: bool

    model_config = examples({"notice_id": "0b3f5a7c9d1e2f400b3f5a7c9d1e2f40", "delivered": True})


class SendCommand(Request):
    """Something a product is told to do."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_.-]{0,63}$")]
    arguments: Values = Field(default_factory=dict)
    expires_at: Instant | None = Field(
        default=None, description=f"Absent: in {_COMMAND_LIFE_S} s. At most 30 days ahead."
    )

    model_config = examples({"name": "restart", "arguments": {}})


class SentCommand(Answer):
    """A command that was kept, and whether it could be handed to the broker now."""

    command_id: str
    expires_at: Instant
    delivered: bool

    model_config = examples(
        {
            "command_id": "0b3f5a7c9d1e2f400b3f5a7c9d1e2f40",
            "expires_at": "2026-01-31T08:05:00Z",
            "delivered": True,
        }
    )


@ROUTER.get(
    "/products/{device_id}/configuration",
    operation_id="get_configuration",
    summary="What a product is wanted to be configured to",
)
def get_configuration(hub: HubDep, caller: CallerDep, device_id: DeviceId) -> WantedConfiguration:
    """Return the desired configuration alone: its ETag stays as it is while the product reports."""
    with read_session(hub.engine) as session:
        found = pushes.configuration(session, caller, product_id_of(session, device_id))
    return WantedConfiguration.model_validate(found)


@ROUTER.put(
    "/products/{device_id}/configuration",
    operation_id="replace_configuration",
    summary="Replace a product's configuration",
)
def replace_configuration(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: ConfigurationChange
) -> Configuration:
    """Set the whole desired configuration; what is left out is removed."""
    return _configured(hub, caller, device_id, body, replace=True)


@ROUTER.patch(
    "/products/{device_id}/configuration",
    operation_id="change_configuration",
    summary="Change some settings of a product",
)
def change_configuration(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: ConfigurationChange
) -> Configuration:
    """Merge settings into the desired configuration; null removes one."""
    return _configured(hub, caller, device_id, body, replace=False)


@ROUTER.post(
    "/products/{device_id}/notices",
    operation_id="send_notice",
    summary="Give a product a notice",
    status_code=201,
)
def send_notice(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: SendNotice, key: Key = None
) -> SentNotice:
    """Keep a notice and hand it to the broker."""
    with write_session(hub.engine) as session:
        device, notice = pushes.notify(
            session,
            caller,
            product_id_of(session, device_id),
            body.code,
            body.arguments,
            Severity[body.severity.upper()],
            hub.clock(),
            key=key,
        )
    delivered = _sent(hub, device.device_id, Down.NOTICE, pushes.notice_payload(notice))
    return SentNotice(notice_id=notice.id.hex(), delivered=delivered)


@ROUTER.post(
    "/products/{device_id}/commands",
    operation_id="send_command",
    summary="Tell a product to do something",
    status_code=201,
)
def send_command(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: SendCommand, key: Key = None
) -> SentCommand:
    """Keep a command and hand it to the broker; the product handles one command once."""
    at = hub.clock()
    with write_session(hub.engine) as session:
        device, command = pushes.command(
            session,
            caller,
            product_id_of(session, device_id),
            body.name,
            body.arguments,
            at + _COMMAND_LIFE_S * _S if body.expires_at is None else body.expires_at,
            at,
            key=key,
        )
    delivered = _sent(hub, device.device_id, Down.COMMAND, pushes.command_payload(command))
    return SentCommand(
        command_id=command.id.hex(), expires_at=command.expires_at, delivered=delivered
    )


def _configured(
    hub: Hub, caller: Caller, device_id: str, body: ConfigurationChange, *, replace: bool
) -> Configuration:
    with write_session(hub.engine) as session:
        configuration = pushes.configure(
            session,
            caller,
            product_id_of(session, device_id),
            body.values,
            hub.clock(),
            replace=replace,
            expected_version=body.expected_version,
        )
    return Configuration.model_validate(configuration)


def _sent(hub: Hub, device_id: str, channel: Down, payload: bytes) -> bool:
    return hub.devices.push(device_id, channel.value, payload)
