"""How a product gets its identity: enrolment once, renewal by its key, revocation for good.

1. An enrolment secret works for one key, the first that comes with it. A wrong one and an unknown
   serial are answered alike.
2. Device id and slot are the hub's choice; of the CSR only its key counts.
3. The key that enrolled is the proof for renewal and stays the device's key: a renewal for
   another key is refused. Enrolment and renewal may be repeated with it, so a lost answer never
   locks a device out.
4. The time in a renewal may differ from the hub's by five minutes. A device whose clock is not set
   takes the hub's time from the refusal (`hub_time_s`) and signs again.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hub.errors import ConflictError, ForbiddenError, InvalidInputError
from hub.ports.database.catalogue_tables import ProductModel
from hub.ports.database.product_tables import Certificate, Device, Product
from hub.services import audit, changes, products
from hub.services.caller import Caller, Scope
from hub.services.pki import CertificateAuthority, Issued, csr_public_key
from hub.services.tokens import Tokens, same, secret_hash

RENEWAL_WINDOW_S = 300
_S = 1_000_000_000
_NO_PRODUCT = secret_hash("")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device's identity as it is answered to enrolment and renewal; PEM."""

    device_id: str
    slot: int
    product_id: str
    certificate_pem: str
    trust_bundle_pem: str
    not_after: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """A device that the broker must let in no longer; its live connection must be ended."""

    device_id: str
    slot: int


def enrol(
    session: Session,
    ca: CertificateAuthority,
    *,
    serial: str,
    model: str,
    secret: str,
    csr: str,
    at: int,
    tokens: Tokens,
) -> Enrolment:
    """Give a product its device id and first certificate; again, with the same key, the next one.

    Args:
        session: a writing session of its own; refusals are recorded and committed by this.
        ca: issues the certificate.
        serial: serial number of the product.
        model: name of its model.
        secret: its enrolment secret.
        csr: certificate request in PEM for a P-256 key.
        at: now, ns.
        tokens: source of the device id.

    Raises:
        ConflictError: the product has enrolled before, with another key, or was revoked.
        ForbiddenError: serial, model and secret do not belong together.
        InvalidInputError: the request is not one that can be signed.
    """
    public_key = spki(csr_public_key(csr))
    product = session.scalars(
        select(Product)
        .join(ProductModel, ProductModel.number == Product.model_number)
        .where(Product.serial == serial, ProductModel.name == model)
    ).first()
    expected = _NO_PRODUCT if product is None else product.enrolment_secret_hash
    if not same(expected, secret_hash(secret)) or product is None:
        if product is not None:
            _record(session, at, product, "device.enrol.refused", {"why": "wrong secret"})
        raise ForbiddenError(
            "Serial number, model and enrolment secret do not belong together. Check them against "
            "what was registered for this product."
        )
    before = session.scalars(select(Device).where(Device.product_id == product.id)).first()
    if before is not None:
        if before.public_key != public_key or before.revoked_at is not None:
            raise _enrolled_before(session, at, product)
        return _renewed(session, ca, before, csr, at)
    device = _new_device(tokens.new_id(), product.id, public_key, at)
    session.add(device)
    try:
        session.flush()
    except IntegrityError:
        raise _enrolled_before(session, at, product) from None
    issued = ca.issue_device(csr, device.device_id, ca.world(at))
    _keep(session, device, issued, at)
    details = {"serial": serial, "model": model, "device": device.device_id}
    _record_done(session, at, product.id, "device.enrol", details)
    changes.note(session, product.id)
    return _enrolment(device, issued, ca)


def renew(
    session: Session,
    ca: CertificateAuthority,
    *,
    device_id: str,
    csr: str,
    time: str,
    signature: str,
    at: int,
) -> Enrolment:
    """Give a device its next certificate, on a proof by its enrolled key (see docs/wire.md).

    Args:
        session: a writing session.
        ca: issues the certificate.
        device_id: who asks.
        csr: certificate request in PEM for the enrolled key.
        time: seconds since 1970 as text, as signed.
        signature: ECDSA signature, DER in hex.
        at: now, ns.

    Raises:
        ForbiddenError: unknown device, wrong signature, or revoked.
        InvalidInputError: the time is too far off, or the request is for another key or no request.
    """
    key = csr_public_key(csr)
    device = session.scalars(select(Device).where(Device.device_id == device_id)).first()
    if device is None or not _signed(device, csr, time, signature):
        raise ForbiddenError(
            "The renewal is not signed by the key that this device enrolled with.",
            device=device_id,
        )
    if device.revoked_at is not None:
        raise ForbiddenError(
            f"Device {device_id} is revoked and gets no more certificates. Contact support.",
            device=device_id,
        )
    now_s = at // _S
    if not time.isascii() or not time.isdigit() or abs(int(time) - now_s) > RENEWAL_WINDOW_S:
        raise InvalidInputError(
            f"The time in the renewal is more than {RENEWAL_WINDOW_S} s away from the hub's "
            f"({now_s}). Set the clock to the hub's time and sign again.",
            hub_time_s=now_s,
        )
    if spki(key) != device.public_key:
        raise InvalidInputError(
            "The certificate request is for another key than the one this device enrolled with. "
            "Use the enrolled key.",
            device=device_id,
        )
    return _renewed(session, ca, device, csr, at)


def revoke(session: Session, caller: Caller, product_id: str, at: int, reason: str) -> Revoked:
    """Take a device's identity away for good.

    Args:
        session: a writing session.
        caller: needs `devices:revoke`.
        product_id: whose device.
        at: now, ns.
        reason: why, for the audit.

    Returns:
        What to disconnect. Revoking again changes nothing and returns the same.

    Raises:
        ConflictError: the product has not enrolled.
        NotFoundError: no such product.
    """
    caller.require(Scope.DEVICES_REVOKE)
    device = products.visible_device(session, caller, product_id)
    if device.revoked_at is None:
        device.revoked_at = at
        device.online = False
        session.execute(
            update(Certificate)
            .where(Certificate.slot == device.slot, Certificate.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        details = {"device": device.device_id, "reason": reason}
        audit.record(session, at, caller.actor, "device.revoke", f"product:{product_id}", details)
        changes.note(session, product_id)
    return Revoked(device.device_id, device.slot)


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as SubjectPublicKeyInfo DER."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def renewal_message(device_id: str, time: str, csr: str) -> bytes:
    """Return the bytes that a renewal signs."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(csr.encode())
    fingerprint = digest.finalize().hex()
    return f"homeport/renew/1\n{device_id}\n{time}\n{fingerprint}".encode()


def _renewed(
    session: Session, ca: CertificateAuthority, device: Device, csr: str, at: int
) -> Enrolment:
    session.execute(
        update(Certificate)
        .where(Certificate.slot == device.slot, Certificate.superseded_at.is_(None))
        .values(superseded_at=at)
    )
    issued = ca.issue_device(csr, device.device_id, ca.world(at))
    _keep(session, device, issued, at)
    details = {"device": device.device_id, "certificate": issued.serial_hex}
    _record_done(session, at, device.product_id, "device.renew", details)
    return _enrolment(device, issued, ca)


def _signed(device: Device, csr: str, time: str, signature: str) -> bool:
    key = serialization.load_der_public_key(device.public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        proof = bytes.fromhex(signature)
        key.verify(proof, renewal_message(device.device_id, time, csr), ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True


def _new_device(device_id: str, product_id: str, public_key: bytes, at: int) -> Device:
    return Device(
        device_id=device_id,
        product_id=product_id,
        public_key=public_key,
        enrolled_at=at,
        online=False,
        state_version_reported=0,
        entitlement_version_reported=0,
        reported={},
        reported_errors={},
        desired={},
        desired_version=0,
        state_version=0,
        entitlement_version=0,
    )


def _keep(session: Session, device: Device, issued: Issued, at: int) -> None:
    session.add(
        Certificate(
            serial=issued.serial_hex,
            fingerprint=issued.fingerprint_sha256_hex,
            slot=device.slot,
            not_before=issued.not_before_ns,
            not_after=issued.not_after_ns,
            issued_at=at,
        )
    )
    session.flush()


def _enrolment(device: Device, issued: Issued, ca: CertificateAuthority) -> Enrolment:
    return Enrolment(
        device_id=device.device_id,
        slot=device.slot,
        product_id=device.product_id,
        certificate_pem=issued.certificate_pem,
        trust_bundle_pem=ca.trust_bundle_pem,
        not_after=issued.not_after_ns,
    )


def _enrolled_before(session: Session, at: int, product: Product) -> ConflictError:
    serial = product.serial
    _record(session, at, product, "device.enrol.refused", {"why": "enrolled before"})
    return ConflictError(
        f"Product {serial} has enrolled before, and an enrolment secret works once. If its storage "
        "was replaced, contact support.",
        serial=serial,
    )


def _record(
    session: Session, at: int, product: Product, action: str, details: dict[str, str]
) -> None:
    object_ = f"product:{product.id}"
    audit.record_refusal(session, at, object_, action, object_, details)


def _record_done(
    session: Session, at: int, product_id: str, action: str, details: dict[str, str]
) -> None:
    object_ = f"product:{product_id}"
    audit.record(session, at, object_, action, object_, details)
