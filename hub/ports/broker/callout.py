"""Admission to the broker: from a client's certificate to a grant, or to a refusal with its reason.

1. Only a chain that the broker verified against the hub's authority counts.
2. The MQTT client id must equal the certificate's common name, so nobody can push another
   client off by its id.
3. A device must be known and not revoked, and so must this very certificate.
4. A grant ends when the certificate ends; the broker then drops the connection.
5. Pure: time and the state of devices are arguments; no network, no database.
"""

import datetime as dt
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from device_sdk.wire.topics import is_device_id
from hub.ports.broker import nkeys
from hub.ports.broker.grants import Topics, device_topics, internal_topics
from hub.ports.broker.port import DEVICE_URI, INTERNAL_URI

SUBJECT = "$SYS.REQ.USER.AUTH"

_SECOND = 1_000_000_000


class Standing(enum.Enum):
    """How a device's certificate stands in the hub's records."""

    WELCOME = "welcome"
    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_CERTIFICATE = "unknown_certificate"
    REVOKED_DEVICE = "revoked_device"
    REVOKED_CERTIFICATE = "revoked_certificate"


Lookup = Callable[[str, str], Standing]
"""From device id and certificate fingerprint (SHA-256, lower-case hex) to its standing."""

Shown = tuple[str, str]
"""Device id and certificate fingerprint that a live connection came in with."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client that wants in, as the broker reports it.

    Attributes:
        server: id of the broker's server that asks.
        user: key under which the server will know the client.
        mqtt_client_id: None if the client does not speak MQTT.
        certificate_pem: leaf of the verified chain, None if there is none.
    """

    server: str
    user: str
    mqtt_client_id: str | None
    certificate_pem: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """The client may come in as `name`, use `topics`, and stay until `until_ns`."""

    name: str
    topics: Topics
    until_ns: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The client may not come in; `reason` is a stable word for logs and counters."""

    reason: str
    name: str


def read_request(token: bytes) -> Request:
    """Decode the request of the broker.

    Raises:
        ValueError: not an authorization request.
    """
    body = nkeys.claims_of(token).get("nats")
    if not isinstance(body, dict) or "user_nkey" not in body:
        raise ValueError("not an authorization request")
    chains = (body.get("client_tls") or {}).get("verified_chains") or []
    return Request(
        server=str(body["server_id"]["id"]),
        user=str(body["user_nkey"]),
        mqtt_client_id=(body.get("client_info") or {}).get("mqtt_id"),
        certificate_pem=chains[0][0] if chains and chains[0] else None,
    )


def decide(request: Request, lookup: Lookup, at: int) -> Grant | Refusal:
    """Decide whether a client may come in.

    Args:
        request: who asks.
        lookup: how a device's certificate stands in the records.
        at: the present time, ns.
    """
    client = _identify(request, at)
    if isinstance(client, Refusal):
        return client
    name = client.name
    if client.uri == INTERNAL_URI + name:
        topics = internal_topics(name)
        return Grant(name, topics, client.until_ns) if topics else Refusal("unknown_part", name)
    if client.uri != DEVICE_URI + name or not is_device_id(name):
        return Refusal("not_a_client", name)
    standing = lookup(name, client.fingerprint)
    if standing is not Standing.WELCOME:
        return Refusal(standing.value, name)
    return Grant(name, device_topics(name), client.until_ns)


def answer(
    request: Request,
    decision: Grant | Refusal,
    key: Ed25519PrivateKey,
    account: str,
    at: int,
) -> bytes:
    """Encode a decision for the broker.

    Args:
        request: what is answered.
        decision: of `decide`.
        key: the issuer key that the broker's configuration names.
        account: the broker's account into which clients are put.
        at: the present time, ns.
    """
    issuer = nkeys.account_name(key.public_key())
    reply: dict[str, Any] = {"type": "authorization_response", "version": 2}
    if isinstance(decision, Refusal):
        reply["error"] = f"{decision.reason} {decision.name}".strip()
    else:
        reply["jwt"] = nkeys.sign(_user(request, decision, issuer, account, at), key)
    claims = {
        "iss": issuer,
        "sub": request.user,
        "aud": request.server,
        "iat": at // _SECOND,
        "nats": reply,
    }
    return nkeys.sign(claims, key).encode()


def _user(request: Request, grant: Grant, issuer: str, account: str, at: int) -> dict[str, Any]:
    return {
        "iss": issuer,
        "sub": request.user,
        "aud": account,
        "name": grant.name,
        "iat": at // _SECOND,
        "exp": grant.until_ns // _SECOND,
        "nats": {
            "type": "user",
            "version": 2,
            "subs": -1,
            "data": -1,
            "payload": -1,
            "pub": {"allow": list(grant.topics.publish)},
            "sub": {"allow": list(grant.topics.subscribe)},
        },
    }


@dataclass(frozen=True, slots=True)
class _Client:
    name: str
    uri: str
    fingerprint: str
    until_ns: int


def _identify(request: Request, at: int) -> _Client | Refusal:
    """Take from the certificate who the client is, whatever the records say of it."""
    claimed = request.mqtt_client_id or ""
    if request.mqtt_client_id is None:
        return Refusal("not_mqtt", claimed)
    if request.certificate_pem is None:
        return Refusal("no_certificate", claimed)
    try:
        certificate = x509.load_pem_x509_certificate(request.certificate_pem.encode())
        name, uri = _names(certificate)
    except (ValueError, IndexError, x509.ExtensionNotFound):
        return Refusal("unreadable_certificate", claimed)
    until = _nanoseconds(certificate.not_valid_after_utc)
    if not _nanoseconds(certificate.not_valid_before_utc) <= at < until:
        return Refusal("expired", name)
    if claimed != name:
        return Refusal("wrong_client_id", name)
    return _Client(name, uri, certificate.fingerprint(hashes.SHA256()).hex(), until)


def _names(certificate: x509.Certificate) -> tuple[str, str]:
    """Return common name and URI name of a certificate."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return str(common), uris[0] if len(uris) == 1 else ""


def _nanoseconds(instant: dt.datetime) -> int:
    return int(instant.timestamp()) * _SECOND
