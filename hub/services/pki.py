"""The hub's own certificate authority: who is at the other end of a TLS connection.

1. One P-256 authority per hub, made at first start; its keys never leave `pki/` and have mode 0600.
   It may have several generations (`generations.py`); which one issues is told by the instant.
2. A CSR proves possession of a key and nothing else: its subject and extensions are ignored.
3. The kind of a client stands in a URI name (`urn:homeport:device:ID` or
   `urn:homeport:internal:NAME`) that only this module writes, so no CSR can make a device
   look like a part of the hub.
4. Times are arguments, int64 ns since 1970 UTC.

Whether a certificate is still welcome (revocation, status of its device) is not decided here.
"""

import datetime as dt
import ipaddress
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.config import PkiSettings
from hub.errors import InvalidInputError
from hub.ports.broker.port import DEVICE_URI, INTERNAL_URI
from hub.ports.keyfile import replace_private
from hub.services import generations
from hub.services.generations import Generation, key_pem, load_key, usage

MAX_CSR_BYTES = 8_192


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
    """A certificate together with a key made here, for the hub's own use; PEM.

    `chain_pem` is what is shown behind the certificate to those that trust an older generation.
    """

    issued: Issued
    private_key_pem: bytes
    chain_pem: str = ""

    @property
    def shown_pem(self) -> bytes:
        """The certificate and the chain behind it, as a server's file holds them."""
        return (self.issued.certificate_pem + self.chain_pem).encode()


class CertificateAuthority:
    """Issues certificates to devices, to the hub's servers and to its internal clients.

    Any thread may use it; what changes its generations is in `authority_rotation.py`.

    Args:
        folder: where its keys are.
        known: its generations, the oldest first.
        lifetimes: how long certificates hold.
        ahead: how far the hub's time is ahead of the world's, ns (`MovableClock`). Whoever checks a certificate goes
            by the world's time, so all instants here are the world's.
    """

    def __init__(
        self,
        folder: Path,
        known: tuple[Generation, ...],
        lifetimes: PkiSettings,
        ahead: Callable[[], int] = lambda: 0,
    ) -> None:
        self._ahead = ahead
        self.folder = folder
        self.lifetimes = lifetimes
        self.rotating = threading.Lock()
        self._known = known
        self._signers = _signers(folder, known)

    @classmethod
    def load_or_create(
        cls,
        folder: Path,
        at: int,
        lifetimes: PkiSettings | None = None,
        ahead: Callable[[], int] = lambda: 0,
    ) -> Self:
        """Open the authority kept in a folder, or make one at first start.

        Args:
            folder: where its keys and certificates are; made with mode 0700 if missing.
            at: the present time, ns.
            lifetimes: days that certificates hold; defaults if None.
            ahead: how far the hub's time is ahead of the world's, ns.

        Raises:
            StorageError: the files are damaged, do not belong together, or others may read the key.
        """
        lifetimes = lifetimes or PkiSettings()
        return cls(
            folder, generations.load_or_create(folder, at, lifetimes.ca_days), lifetimes, ahead
        )

    def world(self, at: int) -> int:
        """Return what time it is in the world when it is `at` at the hub (ns)."""
        return at - self._ahead()

    @property
    def generations(self) -> tuple[Generation, ...]:
        """All generations, the oldest first."""
        return self._known

    def replace(self, known: tuple[Generation, ...]) -> None:
        """Go on with other generations; their keys and the file that names them are written."""
        signers = _signers(self.folder, known)
        self._signers = self._signers | signers  # another thread may still hold the former list
        self._known = known
        self._signers = signers

    def issuer(self, at: int) -> Generation:
        """Return the generation that issues at an instant (ns)."""
        able = [one for one in self._known if one.key_file]
        issuing = [one for one in able if one.issues_from <= at]
        return issuing[-1] if issuing else able[0]

    def trusted(self) -> tuple[Generation, ...]:
        """Return the generations that are to be trusted, the newest first."""
        return tuple(one for one in reversed(self._known) if one.retired_at is None)

    @property
    def trust_bundle_pem(self) -> str:
        """Certificates that a device or browser must trust to reach this hub, PEM."""
        return "".join(one.certificate for one in self.trusted())

    @property
    def trust_bundle_der(self) -> tuple[bytes, ...]:
        """The same as DER, as the signed state carries it."""
        loaded = x509.load_pem_x509_certificates(self.trust_bundle_pem.encode())
        return tuple(one.public_bytes(serialization.Encoding.DER) for one in loaded)

    def chain_pem(self, at: int) -> str:
        """Return what a server shows behind its certificate, PEM: the way from older generations.

        Args:
            at: now, ns; a step that has expired, and all before it, lead nowhere and are left out.
        """
        upto = self._known.index(self.issuer(at))
        steps = []
        for one in reversed(self._known[1 : upto + 1]):
            step = x509.load_pem_x509_certificate(one.crossed.encode())
            if step.not_valid_after_utc <= generations.instant(at):
                break
            steps.append(one.crossed)
        return "".join(steps)

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
            self.lifetimes.device_days,
        )

    def issue_server(self, names: Sequence[str], at: int, *, peer: bool = False) -> IssuedPair:
        """Make key and certificate of a server.

        Args:
            names: DNS names or addresses that it is reached under.
            at: the present time, ns.
            peer: it shows the certificate to others of its kind as well, when it connects to them.
        """
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        if peer:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self._issue(
            key.public_key(),
            names[0],
            [_general_name(name) for name in names],
            usages,
            at,
            self.lifetimes.server_days,
        )
        return IssuedPair(issued, key_pem(key), self.chain_pem(at))

    def issue_internal(self, name: str, at: int) -> IssuedPair:
        """Make key and certificate of a part of the hub, such as `hub-ingest-0`."""
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self._issue(
            key.public_key(),
            name,
            [x509.UniformResourceIdentifier(INTERNAL_URI + name)],
            [ExtendedKeyUsageOID.CLIENT_AUTH],
            at,
            self.lifetimes.internal_days,
        )
        return IssuedPair(issued, key_pem(key))

    def _issue(
        self,
        public_key: ec.EllipticCurvePublicKey,
        common_name: str,
        names: Iterable[x509.GeneralName],
        usages: list[x509.ObjectIdentifier],
        at: int,
        days: int,
    ) -> Issued:
        own, signer = self._signers[self.issuer(at).name]
        now = generations.instant(at)
        start = now - generations.BACKDATE
        end = min(now + dt.timedelta(days=days), own.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(own.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )
        return Issued(
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            serial_hex=f"{certificate.serial_number:x}",
            fingerprint_sha256_hex=certificate.fingerprint(hashes.SHA256()).hex(),
            not_before_ns=generations.nanoseconds(certificate.not_valid_before_utc),
            not_after_ns=generations.nanoseconds(certificate.not_valid_after_utc),
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
    replace_private(certificate, pair.shown_pem)
    return certificate, key


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signers(
    folder: Path, known: tuple[Generation, ...]
) -> dict[str, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]]:
    """Return certificate and key of each generation that can still issue, by name."""
    return {
        one.name: (
            x509.load_pem_x509_certificate(one.certificate.encode()),
            load_key(folder / one.key_file),
        )
        for one in known
        if one.key_file
    }
