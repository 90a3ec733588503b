"""What products themselves call: enrolment and renewal (docs/wire.md).

1. The proof is in the body: a secret that works once, or a signature by the enrolled key.
2. Both are slowed down by address and by serial or device id.
3. The shape of these bodies is frozen.
"""

import logging
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.requests import Request as HttpRequest

from device_sdk.wire import topics
from hub.api.bodies import ID_PATTERN, Answer, Request, examples
from hub.api.context import Hub
from hub.api.guard import GuardedRoute, HubDep
from hub.api.people import address_of
from hub.errors import HubError
from hub.ports.database.engine import write_session
from hub.services import enrolment
from hub.services.enrolment import Enrolment
from hub.services.pki import MAX_CSR_BYTES

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["devices"])

_LOG = logging.getLogger(__name__)

Csr = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_CSR_BYTES,
        description="PKCS #10 request in PEM for a P-256 key; its subject is ignored.",
    ),
]


class Enroll(Request):
    """A product that calls for the first time."""

    serial: Annotated[str, Field(min_length=1, max_length=64)]
    model: Annotated[str, Field(min_length=1, max_length=48)]
    secret: Annotated[str, Field(min_length=1, max_length=256)]
    csr: Csr

    model_config = examples(
        {
            "serial": "HP-2026-000017",
            "model": "heat-pump",
            "secret": "5f0c9a4be1d27e38...",
            "csr": "-----BEGIN CERTIFICATE REQUEST-----\n...",
        }
    )


class Renew(Request):
    """A device that wants its next certificate."""

    device_id: Annotated[str, Field(pattern=ID_PATTERN)]
    csr: Csr
    time: Annotated[str, Field(pattern="^[0-9]{1,12}$", description="Seconds since 1970.")]
    signature: Annotated[
        str,
        Field(pattern="^([0-9a-f]{2}){8,80}$", description="ECDSA signature, DER in hex."),
    ]

    model_config = examples(
        {
            "device_id": "kx3q8m0d5c7r2v1z",
            "csr": "-----BEGIN CERTIFICATE REQUEST-----\n...",
            "time": "1769846400",
            "signature": "3045022100...",
        }
    )


class BrokerAddress(Answer):
    """Where the broker is."""

    host: str
    port: int

    model_config = examples({"host": "hub.example.org", "port": 8883})


class SigningKey(Answer):
    """A key that signs states: key id and Ed25519 public key, hex."""

    kid: str
    key: str

    model_config = examples({"kid": "9f86d081884c7d65", "key": "2f7c..."})


class Enrolled(Answer):
    """A device's identity and all it needs to connect."""

    device_id: str
    certificate: str = Field(description="Client certificate, PEM.")
    trust_bundle: str = Field(description="Certificates to trust, PEM.")
    broker: BrokerAddress
    brokers: list[BrokerAddress] = Field(
        description="All addresses of the broker, in the order in which this device tries them."
    )
    topic_root: str
    shard: str
    signing_keys: list[SigningKey] = Field(description="The present one first.")
    incarnation: str = Field(description="Of the hub, hex; changes when it was restored.")

    model_config = examples(
        {
            "device_id": "kx3q8m0d5c7r2v1z",
            "certificate": "-----BEGIN CERTIFICATE-----\n...",
            "trust_bundle": "-----BEGIN CERTIFICATE-----\n...",
            "broker": {"host": "hub.example.org", "port": 8883},
            "brokers": [{"host": "hub.example.org", "port": 8883}],
            "topic_root": "hp/1",
            "shard": "7a",
            "signing_keys": [{"kid": "9f86d081884c7d65", "key": "2f7c..."}],
            "incarnation": "0b3f5a7c9d1e2f40",
        }
    )


@ROUTER.post("/enroll", operation_id="enroll", summary="Enrol a product", status_code=201)
def enroll(hub: HubDep, request: HttpRequest, body: Enroll) -> Enrolled:
    """Give a product its device id and first certificate; an enrolment secret works for one key."""

    def work(session: Session, at: int) -> Enrolment:
        return enrolment.enrol(
            session,
            hub.ca,
            serial=body.serial,
            model=body.model,
            secret=body.secret,
            csr=body.csr,
            at=at,
            tokens=hub.tokens,
        )

    enrolled = _answered(hub, request, f"{body.model}/{body.serial}", work)
    # It may connect and send as soon as it reads this, and ingest must know it by then.
    if not hub.settle():
        _LOG.warning(
            "device enrolled before the gate knew it", extra={"device": enrolled.device_id}
        )
    return enrolled


@ROUTER.post("/renew", operation_id="renew", summary="Renew a certificate", status_code=201)
def renew(hub: HubDep, request: HttpRequest, body: Renew) -> Enrolled:
    """Give a device its next certificate, on a signature by its enrolled key."""

    def work(session: Session, at: int) -> Enrolment:
        return enrolment.renew(
            session,
            hub.ca,
            device_id=body.device_id,
            csr=body.csr,
            time=body.time,
            signature=body.signature,
            at=at,
        )

    return _answered(hub, request, body.device_id, work)


def _answered(
    hub: Hub, request: HttpRequest, name: str, work: Callable[[Session, int], Enrolment]
) -> Enrolled:
    at, address = hub.clock(), address_of(request)
    hub.limits.enrol_address.take(address, at)
    # Not by name alone: secrets and keys are too long to guess, and nobody may keep a product of
    # somebody else from enrolling or renewing.
    hub.limits.enrol_serial.take(f"{address}/{name}", at)
    try:
        with write_session(hub.engine) as session:
            done = work(session, at)
    except HubError:
        hub.metrics.enrolments.labels("refused").inc()
        raise
    hub.metrics.enrolments.labels("ok").inc()
    first, *others = (
        BrokerAddress(host=host, port=port)
        for host, port in hub.place.brokers_for(topics.shard_of(done.device_id))
    )
    return Enrolled(
        device_id=done.device_id,
        certificate=done.certificate_pem,
        trust_bundle=done.trust_bundle_pem,
        broker=first,
        brokers=[first, *others],
        topic_root=hub.place.root,
        shard=topics.shard_of(done.device_id),
        signing_keys=[
            SigningKey(kid=key.kid.hex(), key=key.key.hex()) for key in hub.signing_keys.public(at)
        ],
        incarnation=hub.incarnation.hex(),
    )
