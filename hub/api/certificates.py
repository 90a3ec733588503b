"""Certificates of health and coverage: issued to an owner, shown to who has the link, and the keys.

1. A certificate holds without the hub: it is a JWS, and the hub's public keys are public.
2. Its link is random and expires with it; it is shown once, when the certificate is issued.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from hub.api.bodies import Answer, DeviceId, Request, examples
from hub.api.context import Hub
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.api.lookup import product_id_of
from hub.ports.database.engine import read_session, write_session
from hub.services import certificate_proof, health_certificates
from hub.services.health_certificates import DAYS, MOST_DAYS, Issuer

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["certificates"])

Link = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="Secret of the link.")]
_DOCUMENT: dict[str, Any] = {
    "iss": "https://hub.example.org",
    "jti": "n3v7c1x5z9m2k6j0",
    "iat": 1769846400,
    "exp": 1772438400,
    "purpose": "sale",
    "product": {
        "model": "heat-pump",
        "title": "Heat pump",
        "serial": "HP-2026-000017",
        "made_at": "2026-01-10T12:00:00Z",
        "first_use_at": "2026-01-20T18:00:00Z",
        "firmware": "1.4.2",
        "last_contact_at": "2026-01-31T07:59:00Z",
        "revoked": False,
    },
    "counters": {
        "hours": {"total": 212.5, "covered": 10000, "read_at": "2026-01-31T07:59:00Z"},
    },
    "open_faults": {"notice": 0, "warning": 1, "critical": 0},
    "warranty": {
        "covered": True,
        "transferable": True,
        "code": "warranty",
        "sentence": "Under warranty until 2028-01-21 00:00 UTC.",
        "ends_at": "2028-01-21T00:00:00Z",
    },
    "contracts": [],
    "transfer_blocked_by": [],
}
_SIGNED = "eyJhbGciOiJFZERTQSIsImtpZCI6Ij...eyJjb250cmFjdHMiOltd...c2lnbmF0dXJl"


class IssueCertificate(Request):
    """How long a certificate is to hold."""

    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = DAYS

    model_config = examples({"days": 30})


class Certificate(Answer):
    """A certificate of health and coverage."""

    issued_at: Instant
    expires_at: Instant
    certificate: str = Field(description="The signed form: a JWS in the compact form.")
    document: dict[str, Any] = Field(description="What it says.")
    changed_hands: bool = Field(
        description="Whether the product has another owner since: the certificate may be outdated."
    )

    model_config = examples(
        {
            "issued_at": "2026-01-31T08:00:00Z",
            "expires_at": "2026-03-02T08:00:00Z",
            "certificate": _SIGNED,
            "document": _DOCUMENT,
            "changed_hands": False,
        }
    )


class IssuedCertificate(Certificate):
    """A certificate that was just issued."""

    id: str
    path: str = Field(description="Of the link at this hub, for the buyer. It is not shown again.")

    model_config = examples(
        {
            "issued_at": "2026-01-31T08:00:00Z",
            "expires_at": "2026-03-02T08:00:00Z",
            "certificate": _SIGNED,
            "document": _DOCUMENT,
            "changed_hands": False,
            "id": "n3v7c1x5z9m2k6j0",
            "path": f"/api/v1/certificates/{'0' * 64}",
        }
    )


class KeySet(Answer):
    """The public keys under which certificates of this hub hold (RFC 7517)."""

    keys: list[dict[str, str]]

    model_config = examples(
        {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": "5f1c0a9be3d27788",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                }
            ]
        }
    )


@ROUTER.post(
    "/products/{device_id}/certificates",
    operation_id="issue_certificate",
    summary="Certify a product for a buyer",
    status_code=201,
)
def issue_certificate(
    hub: HubDep, caller: CallerDep, device_id: DeviceId, body: IssueCertificate
) -> IssuedCertificate:
    """State health and coverage of a product now, signed; no word of its owner or its use."""
    with write_session(hub.engine) as session:
        issued = health_certificates.issue(
            session,
            caller,
            product_id_of(session, device_id),
            "sale",
            hub.clock(),
            hub.tokens,
            issuer_of(hub),
            days=body.days,
            store=hub.store,
        )
    return IssuedCertificate(
        issued_at=issued.issued_at,
        expires_at=issued.expires_at,
        certificate=issued.signed,
        document=dict(issued.document),
        changed_hands=False,
        id=issued.id,
        path=f"/api/v1/certificates/{issued.link}",
    )


@ROUTER.get(
    "/certificates/{link}", operation_id="get_certificate", summary="Show a certificate by its link"
)
def get_certificate(hub: HubDep, link: Link) -> Certificate:
    """Show a certificate to who has its link, until it expires."""
    with read_session(hub.engine) as session:
        shown = health_certificates.shown(session, link, issuer_of(hub), hub.clock())
    return Certificate(
        issued_at=shown.issued_at,
        expires_at=shown.expires_at,
        certificate=shown.signed,
        document=dict(shown.document),
        changed_hands=shown.changed_hands,
    )


@ROUTER.get(
    "/certificate-keys",
    operation_id="get_certificate_keys",
    summary="Show the keys that certificates hold under",
)
def get_certificate_keys(hub: HubDep) -> KeySet:
    """Return the public keys, for verifying certificates offline."""
    keys = health_certificates.public_keys(hub.signing_keys)
    return KeySet.model_validate(certificate_proof.key_set(keys))


def issuer_of(hub: Hub) -> Issuer:
    """Return who signs certificates at this hub."""
    return Issuer(hub.signing_keys, hub.place.api)
