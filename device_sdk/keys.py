"""The device's own key pair: born here, never leaves.

1. P-256; the private key is a PEM file of mode 0600 that appears atomically.
2. An existing key is never replaced; a damaged one is an error, not a reason for a new one.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from device_sdk import files
from device_sdk.errors import DeviceError


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A P-256 key pair and the file it lives in."""

    path: Path
    private: ec.EllipticCurvePrivateKey

    @classmethod
    def load_or_create(cls, path: Path) -> "DeviceKey":
        """Read the key at `path`, or make one there if there is none.

        Raises:
            DeviceError: the file is there but holds no P-256 key.
        """
        if not path.exists():
            fresh = ec.generate_private_key(ec.SECP256R1())
            pem = fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            files.write_private(path, pem, replace=False)
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise DeviceError(
                f"{path} holds no P-256 private key. Restore it from where the product keeps its "
                "backup, or remove it and enrol the product again with a new secret."
            )
        return cls(path, key)

    def hash(self) -> bytes:
        """Return SHA-256 of the public key (SubjectPublicKeyInfo DER), 32 bytes."""
        public = self.private.public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).digest()

    def signing_request(self, serial: str) -> str:
        """Return a certificate signing request as PEM; the hub ignores its subject."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial[:64])])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        request = builder.sign(self.private, hashes.SHA256())
        return request.public_bytes(Encoding.PEM).decode("ascii")

    def sign(self, message: bytes) -> bytes:
        """Return the ECDSA signature of `message` with SHA-256, DER."""
        return self.private.sign(message, ec.ECDSA(hashes.SHA256()))
