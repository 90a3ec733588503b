"""Generations of the hub's certificate authority: each a key and a certificate, and when it counts.

1. One file, `authorities.json`, says what holds when and is replaced as a whole; without it there is
   one generation, in `ca.key` and `ca.pem`. Instants do the rest, so a restart misses no step.
2. All generations have one name, and each is also certified by the one before (`crossed`): who trusts
   only an older one verifies what a newer one issued (key rollover as in RFC 4210, 4.4).
3. A retired generation issues nothing, is trusted by nobody, and its private key is destroyed; its
   certificate and the one that leads on from it stay, for devices that slept meanwhile.
"""

import datetime as dt
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.errors import StorageError
from hub.ports.keyfile import create_private, read_private, replace_private

FILE = "authorities.json"
BUNDLE = "ca.pem"
"""All certificates to trust at present, for programs that read files; the hub keeps it up to date."""
_FIRST_KEY = "ca.key"
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Homeport device authority")])
BACKDATE = dt.timedelta(minutes=10)
"""Clocks of devices and servers differ a little."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Generation:
    """One key of the authority and when it counts; instants in ns since 1970 UTC.

    Args:
        name: first 8 bytes of SHA-256 over its public key (SubjectPublicKeyInfo), hex.
        key_file: its private key, in the folder; empty once that is destroyed.
        certificate: self-signed, PEM.
        announced_at: since when it is trusted; 0: since the first start.
        issues_from: since when it issues, until a later one does.
        retires_at: from when it is retired as soon as no device depends on it; None: that is open.
        retired_at: since when nobody trusts it; None: it is trusted.
        crossed: its certificate by the generation before, PEM; empty for the first.
    """

    name: str
    key_file: str
    certificate: str
    announced_at: int = 0
    issues_from: int = 0
    retires_at: int | None = None
    retired_at: int | None = None
    crossed: str = ""


def load_or_create(folder: Path, at: int, days: int) -> tuple[Generation, ...]:
    """Read the generations of a folder, the oldest first; the first is made if there is none.

    Args:
        folder: made with mode 0700 if it is not there.
        at: now, ns.
        days: how long a new one's certificate holds.

    Raises:
        StorageError: a file is damaged or missing, or others may read a key.
    """
    if (folder / FILE).exists():
        return _read(folder)
    key_path, bundle = folder / _FIRST_KEY, folder / BUNDLE
    if not key_path.exists():
        if bundle.exists():
            raise StorageError(
                f"{bundle} is there but its key {key_path} is not. Restore the key "
                "from a backup: with a new authority every device would have to enrol again.",
                path=str(key_path),
            )
        create_private(key_path, key_pem(ec.generate_private_key(ec.SECP256R1())))
    key = load_key(key_path)
    if not bundle.exists():  # also after a crash between the two files
        create_private(bundle, _pem(_certified(key.public_key(), key, at, days)).encode())
    try:
        certificate = x509.load_pem_x509_certificate(bundle.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{bundle} cannot be read as a certificate: {error}. Restore it from a backup.",
            path=str(bundle),
        ) from error
    if certificate.public_key() != key.public_key():
        raise StorageError(
            f"{bundle} and {key_path} do not belong together. Restore both from the same backup.",
            path=str(bundle),
        )
    return (Generation(name_of(key.public_key()), _FIRST_KEY, _pem(certificate)),)


def make(folder: Path, before: Generation, at: int, days: int, issues_from: int) -> Generation:
    """Make the next generation: its key is on the disk, but nothing says yet that it counts.

    Args:
        folder: where the keys are.
        before: the newest generation, which certifies the new one.
        at: now, ns.
        days: how long its certificate holds.
        issues_from: since when it issues, ns.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = name_of(key.public_key())
    file = f"ca-{name}.key"
    create_private(folder / file, key_pem(key))
    own = _certified(key.public_key(), key, at, days)
    older = x509.load_pem_x509_certificate(before.certificate.encode())
    signer = load_key(folder / before.key_file)
    crossed = _certified(key.public_key(), signer, at, days, until=older.not_valid_after_utc)
    return Generation(
        name, file, _pem(own), announced_at=at, issues_from=issues_from, crossed=_pem(crossed)
    )


def write(folder: Path, generations: tuple[Generation, ...]) -> None:
    """Replace the file that says what holds when."""
    facts = {"authorities": [asdict(one) for one in generations]}
    replace_private(folder / FILE, json.dumps(facts, indent=1).encode())


def name_of(key: ec.EllipticCurvePublicKey) -> str:
    """Return the name of the generation with a public key."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).digest()[:8].hex()


def ends(one: Generation) -> int:
    """Return when the certificate of a generation ends, ns."""
    return nanoseconds(x509.load_pem_x509_certificate(one.certificate.encode()).not_valid_after_utc)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key; raises `StorageError` if it is damaged or others may read it."""
    try:
        key = serialization.load_pem_private_key(read_private(path), password=None)
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{path} cannot be read as a private key. Restore it from a backup.", path=str(path)
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StorageError(f"{path} is not an EC key. Restore it from a backup.", path=str(path))
    return key


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    """Return what a certificate's key may be used for."""
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


def instant(at: int) -> dt.datetime:
    """Return an instant (ns) as certificates have it."""
    return _EPOCH + dt.timedelta(microseconds=at // 1_000)


def nanoseconds(moment: dt.datetime) -> int:
    """Return an instant of a certificate in ns since 1970 UTC."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1_000


def _read(folder: Path) -> tuple[Generation, ...]:
    path = folder / FILE
    try:
        facts = json.loads(read_private(path))
        found = tuple(Generation(**one) for one in facts["authorities"])
        sound = all(one.name == _named(one) for one in found) and any(o.key_file for o in found)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged. Restore the folder from a backup.", path=str(path)
        ) from error
    if not sound:
        raise StorageError(
            f"{path} names no authority that can issue. Restore the folder from a backup.",
            path=str(path),
        )
    for one in found:
        if one.key_file and name_of(load_key(folder / one.key_file).public_key()) != one.name:
            raise StorageError(
                f"{folder / one.key_file} is another authority's key. Restore the folder from a "
                "backup.",
                path=str(folder / one.key_file),
            )
    return found


def _named(one: Generation) -> str:
    key = x509.load_pem_x509_certificate(one.certificate.encode()).public_key()
    return name_of(key) if isinstance(key, ec.EllipticCurvePublicKey) else ""


def _certified(
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    at: int,
    days: int,
    until: dt.datetime | None = None,
) -> x509.Certificate:
    """Certify a key of the authority by another one or itself.

    The first generation permits no other authority below it; its own name does not count as one
    (RFC 5280, 4.2.1.9: self-issued certificates are not counted).
    """
    start = instant(at)
    end = start + dt.timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - BACKDATE)
        .not_valid_after(end if until is None else min(end, until))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
