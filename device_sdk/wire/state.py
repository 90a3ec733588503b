"""The state of a device and the entitlement token inside it, as payloads to be signed.

1. Always the full set: nothing in a state means "as before".
2. Token claims are those of docs/wire.md (CWT, RFC 8392, with private claims from -70001 down).
3. Whether a state may replace the one in force is decided by its reader, not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from device_sdk.wire import cbor, cose
from device_sdk.wire.errors import WireError
from device_sdk.wire.fields import Fields
from device_sdk.wire.topics import is_device_id

ISSUER = "homeport"
_VERSION, _EPOCH, _GRACE, _FEATURES = -70001, -70002, -70003, -70004

Scalar = None | bool | int | float | str
"""What a configuration value may be."""


@dataclass(frozen=True, slots=True)
class FeatureGrant:
    """The decision on one feature.

    Attributes:
        allowed: whether the product may do it.
        code: the reason, a stable code that is rendered by language.
        until: seconds since 1970 from which the decision may change; None: no date known.
        safe: a safe function, which a lapse never takes away.
        arguments: values for the reason's sentence.
    """

    allowed: bool
    code: str
    until: int | None = None
    safe: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EntitlementToken:
    """What a device may do, checked offline.

    Attributes:
        device: device id the token is for.
        id: 16 bytes, unique.
        version: rises with every change.
        owner_epoch: which ownership it speaks of.
        issued: seconds since 1970.
        expires: seconds since 1970; None: never.
        grace: seconds after `expires` during which it still holds.
        device_key_hash: SHA-256 of the device's public key (SubjectPublicKeyInfo DER).
        features: decisions by feature name.
    """

    device: str
    id: bytes
    version: int
    owner_epoch: int
    issued: int
    expires: int | None
    grace: int
    device_key_hash: bytes
    features: Mapping[str, FeatureGrant]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a device finds its hub: broker, topics and the API's base address.

    `others` are further addresses of the same broker, in the order in which they are to be tried.
    """

    broker_host: str
    broker_port: int
    topic_root: str
    shard: str
    api: str
    others: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 public key (32 bytes) that signs states, with its id (8 bytes)."""

    kid: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class State:
    """Everything the hub wants a device to know.

    Attributes:
        device: device id.
        version: rises with every change.
        owner_epoch: ownership in force; measurements are stamped with it.
        entitlement: signed entitlement token.
        configuration: desired configuration.
        update: update directive, or None.
        trust: DER certificates to trust.
        endpoint: where to find the hub.
        time: hub time, ns since 1970.
        signing_keys: keys to accept from now on, the present one first.
    """

    device: str
    version: int
    owner_epoch: int
    entitlement: bytes
    configuration: Mapping[str, Scalar]
    update: Mapping[str, Any] | None
    trust: tuple[bytes, ...]
    endpoint: Endpoint
    time: int
    signing_keys: tuple[SigningKey, ...]


def encode_state(state: State) -> bytes:
    """Return the payload of a state, to be signed with `cose.STATE_EXTERNAL`."""
    place = state.endpoint
    return cbor.encode(
        {
            0: cbor.VERSION,
            1: state.device,
            2: state.version,
            3: state.owner_epoch,
            4: state.entitlement,
            5: dict(state.configuration),
            6: None if state.update is None else dict(state.update),
            7: list(state.trust),
            8: {
                1: place.broker_host,
                2: place.broker_port,
                3: place.topic_root,
                4: place.shard,
                5: place.api,
                **({6: [list(other) for other in place.others]} if place.others else {}),
            },
            9: state.time,
            10: [[key.kid, key.key] for key in state.signing_keys],
        }
    )


def decode_state(payload: bytes) -> State:
    """Read the payload of a state.

    Raises:
        WireError: the payload breaks a rule of the page.
    """
    fields = Fields("state", cbor.decode_map(payload, max_bytes=cose.MAX_BYTES))
    trust = Fields("state field 7", fields.array(7))
    endpoint = fields.values.get(8)
    if not isinstance(endpoint, dict):
        raise fields.wrong(8, "a map")
    place = Fields("state field 8", endpoint)
    keys = tuple(SigningKey(item.octets(0, 8), item.octets(1, 32)) for item in fields.rows(10, 2))
    if not keys:
        raise fields.wrong(10, "at least one signing key")
    return State(
        device=_device(fields, 1),
        version=fields.uint(2),
        owner_epoch=fields.uint(3, 32),
        entitlement=fields.octets(4),
        configuration=fields.scalars(5),
        update=fields.named(6) if fields.values.get(6, 0) is not None else None,
        trust=tuple(trust.octets(i) for i in range(len(trust.values))),
        endpoint=Endpoint(
            place.text(1, 255),
            place.uint(2, 16),
            place.text(3, 255),
            place.text(4, 2),
            place.text(5, 1024),
            _others(place),
        ),
        time=fields.int64(9),
        signing_keys=keys,
    )


def _others(place: Fields) -> tuple[tuple[str, int], ...]:
    if 6 not in place.values:
        return ()
    return tuple((item.text(0, 255), item.uint(1, 16)) for item in place.rows(6, 2))


def encode_token(token: EntitlementToken) -> bytes:
    """Return the claims of a token, to be signed with `cose.ENTITLEMENT_EXTERNAL`."""
    claims: dict[int, Any] = {
        1: ISSUER,
        2: token.device,
        6: token.issued,
        7: token.id,
        8: {3: token.device_key_hash},
        _VERSION: token.version,
        _EPOCH: token.owner_epoch,
        _GRACE: token.grace,
        _FEATURES: {
            name: [grant.allowed, grant.code, grant.until, grant.safe, dict(grant.arguments)]
            for name, grant in token.features.items()
        },
    }
    if token.expires is not None:
        claims[4] = token.expires
    return cbor.encode(claims)


def decode_token(payload: bytes) -> EntitlementToken:
    """Read the claims of a token.

    Raises:
        WireError: a claim is missing or wrong.
    """
    claims = cbor.decode(payload, max_bytes=cose.MAX_BYTES)
    if not isinstance(claims, dict):
        raise WireError("entitlement token is not a map of claims")
    fields = Fields("entitlement token", claims)
    if fields.text(1) != ISSUER:
        raise fields.wrong(1, f'"{ISSUER}"')
    confirmation = claims.get(8)
    if not isinstance(confirmation, dict):
        raise fields.wrong(8, "a map")
    return EntitlementToken(
        device=_device(fields, 2),
        id=fields.octets(7, 16),
        version=fields.uint(_VERSION),
        owner_epoch=fields.uint(_EPOCH, 32),
        issued=fields.uint(6),
        expires=fields.uint(4) if fields.has(4) else None,
        grace=fields.uint(_GRACE, 32),
        device_key_hash=Fields("entitlement token claim 8", confirmation).octets(3, 32),
        features={name: _grant(fields, item) for name, item in fields.named(_FEATURES).items()},
    )


def _grant(fields: Fields, item: Any) -> FeatureGrant:
    if not isinstance(item, list) or len(item) < 5:
        raise fields.wrong(_FEATURES, "a map of arrays of 5 items")
    grant = Fields("entitlement token feature", item)
    until = None if item[2] is None else grant.uint(2)
    return FeatureGrant(grant.flag(0), grant.text(1, 255), until, grant.flag(3), grant.named(4))


def _device(fields: Fields, key: int) -> str:
    device = fields.text(key, 16)
    if not is_device_id(device):
        raise fields.wrong(key, "a device id")
    return device
