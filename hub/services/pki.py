"""The hub's own certificate authority: who is at the other end of a TLS connection.

1. One P-256 authority per hub, made at first start; its key never leaves `pki/` and has mode 0600.
2. A CSR proves possession of a key and nothing else: its subject and extensions are ignored.
3. The kind of a client stands in a URI name (`urn:homeport:device:ID` or
   `urn:homeport:internal:NAME`) that only this module writes, so no CSR can make a device
   look like a part of the hub.
4. Times are arguments, int64 ns since 1970 UTC.

Whether a certificate is still welcome (revocation, status of its device) is not decided here.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.config import PkiSettings
from hub.errors import InvalidInputError, StorageError
from hub.ports.broker.port import DEVICE_URI, INTERNAL_URI
from hub.ports.keyfile import create_private, read_private, replace_private

MAX_CSR_BYTES = 8_192

_BACKDATE = dt.timedelta(minutes=10)  # clocks of devices and servers differ a little
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate as it goes to its owner and into the database.

    `serial_hex` and `fingerprint_sha256_hex` (over the DER bytes) are lower-case hex; times are ns
    since 1970 UTC.
    """

    certificate_pem: str
    serial_hex: str
    fingerprint_sha256_hex: str
    not_before_ns: int
    not_after_ns: int


@dataclass(frozen=True, slots=True)
class IssuedPair:
    """A certificate together with a key made here, for the hub's own use; PEM."""

    issued: Issued
    private_key_pem: bytes


class CertificateAuthority:
    """Issues certificates to devices, to the hub's servers and to its internal clients.

    Args:
        key: private key of the authority.
        certificate: its self-signed certificate.
        lifetimes: how long certificates hold.
    """

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        lifetimes: PkiSettings,
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._lifetimes = lifetimes

    @classmethod
    def load_or_create(cls, folder: Path, at: int, lifetimes: PkiSettings | None = None) -> Self:
        """Open the authority kept in a folder, or make one at first start.

        Args:
            folder: where `ca.key` and `ca.pem` are; made with mode 0700 if missing.
            at: the present time, ns.
            lifetimes: days that certificates hold; defaults if None.

        Raises:
            StorageError: the files are damaged, do not belong together, or others may read the key.
        """
        lifetimes = lifetimes or PkiSettings()
        key_path, certificate_path = folder / "ca.key", folder / "ca.pem"
        if not key_path.exists():
            if certificate_path.exists():
                raise StorageError(
                    f"{certificate_path} is there but its key {key_path} is not. Restore the key "
                    "from a backup: with a new authority every device would have to enrol again.",
                    path=str(key_path),
                )
            create_private(key_path, _key_pem(ec.generate_private_key(ec.SECP256R1())))
        key = _load_key(key_path)
        if not certificate_path.exists():  # also after a crash between the two files
            certificate = _self_signed(key, at, lifetimes)
            create_private(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
        try:
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{certificate_path} cannot be read as a certificate: {error}. Restore it from a "
                "backup.",
                path=str(certificate_path),
            ) from error
        if certificate.public_key() != key.public_key():
            raise StorageError(
                f"{certificate_path} and {key_path} do not belong together. Restore both from the "
                "same backup.",
                path=str(certificate_path),
            )
        return cls(key, certificate, lifetimes)

    @property
    def trust_bundle_pem(self) -> str:
        """Certificates that a device or browser must trust to reach this hub, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def trust_bundle_der(self) -> tuple[bytes, ...]:
        """The same as DER, as the signed state carries it."""
        return (self._certificate.public_bytes(serialization.Encoding.DER),)

    def issue_device(self, csr_pem: str, device_id: str, at: int) -> Issued:
        """Certify the key of a CSR as a device's.

        Args:
            csr_pem: PKCS #10 request in PEM, for a P-256 key and signed with it.
            device_id: becomes the common name and `urn:homeport:device:ID`.
            at: the present time, ns.

        Raises:
            InvalidInputError: not a CSR, another kind of key, or a wrong signature.
        """
        return self._issue(
            csr_public_key(csr_pem),
            device_id,
            [x509.UniformResourceIdentifier(DEVICE_URI + device_id)],
            [ExtendedKeyUsageOID.CLIENT_AUTH],
            at,
            self._lifetimes.device_days,
        )

    def issue_server(self, names: Sequence[str], at: int) -> IssuedPair:
        """Make key and certificate of a server reached under `names` (DNS names or addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self._issue(
            key.public_key(),
            names[0],
            [_general_name(name) for name in names],
            [ExtendedKeyUsageOID.SERVER_AUTH],
            at,
            self._lifetimes.server_days,
        )
        return IssuedPair(issued, _key_pem(key))

    def issue_internal(self, name: str, at: int) -> IssuedPair:
        """Make key and certificate of a part of the hub, such as `hub-ingest-0`."""
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self._issue(
            key.public_key(),
            name,
            [x509.UniformResourceIdentifier(INTERNAL_URI + name)],
            [ExtendedKeyUsageOID.CLIENT_AUTH],
            at,
            self._lifetimes.internal_days,
        )
        return IssuedPair(issued, _key_pem(key))

    def _issue(
        self,
        public_key: ec.EllipticCurvePublicKey,
        common_name: str,
        names: Iterable[x509.GeneralName],
        usages: list[x509.ObjectIdentifier],
        at: int,
        days: int,
    ) -> Issued:
        start = _instant(at) - _BACKDATE
        end = min(_instant(at) + dt.timedelta(days=days), self._certificate.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Issued(
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            serial_hex=f"{certificate.serial_number:x}",
            fingerprint_sha256_hex=certificate.fingerprint(hashes.SHA256()).hex(),
            not_before_ns=_nanoseconds(certificate.not_valid_before_utc),
            not_after_ns=_nanoseconds(certificate.not_valid_after_utc),
        )


def csr_public_key(csr_pem: str) -> ec.EllipticCurvePublicKey:
    """Check a CSR and return its key; see `CertificateAuthority.issue_device`."""
    if len(csr_pem) > MAX_CSR_BYTES:
        raise InvalidInputError(
            f"The certificate request has {len(csr_pem)} characters; at most {MAX_CSR_BYTES} are "
            "accepted."
        )
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        key = csr.public_key()
        signed = csr.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, x509.UnsupportedGeneralNameType) as error:
        raise InvalidInputError(
            "The certificate request is not a PEM-encoded PKCS #10 request. Create a new one."
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInputError(
            "The certificate request is not for a P-256 key. Create a P-256 key on the device and "
            "request again."
        )
    if not signed:
        raise InvalidInputError(
            "The certificate request is not signed with its own key. Create a new one on the "
            "device."
        )
    return key


def save_pair(pair: IssuedPair, folder: Path, stem: str) -> tuple[Path, Path]:
    """Keep a pair as `STEM.pem` and `STEM.key` (mode 0600), replacing older ones.

    Returns:
        Paths of certificate and key.
    """
    certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    replace_private(key, pair.private_key_pem)
    replace_private(certificate, pair.issued.certificate_pem.encode())
    return certificate, key


def _self_signed(
    key: ec.EllipticCurvePrivateKey, at: int, lifetimes: PkiSettings
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Homeport device authority")])
    start = _instant(at)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _BACKDATE)
        .not_valid_after(start + dt.timedelta(days=lifetimes.ca_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_private(path), password=None)
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{path} cannot be read as a private key. Restore it from a backup.", path=str(path)
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StorageError(f"{path} is not an EC key. Restore it from a backup.", path=str(path))
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _instant(at: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=at // 1_000)


def _nanoseconds(instant: dt.datetime) -> int:
    return (instant - _EPOCH) // dt.timedelta(microseconds=1) * 1_000
