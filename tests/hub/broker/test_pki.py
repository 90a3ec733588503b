"""The certificate authority: what it issues, what it refuses, and its files."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.config import PkiSettings
from hub.errors import InvalidInputError, StorageError
from hub.services.pki import CertificateAuthority

AT = 1_800_000_000_000_000_000
DAY = 86_400_000_000_000
MINUTE = 60_000_000_000


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "anything") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    uri = x509.UniformResourceIdentifier("urn:homeport:internal:hub-control")
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def test_a_device_certificate_says_only_what_the_hub_says(tmp_path: Path) -> None:
    authority = CertificateAuthority.load_or_create(tmp_path, AT)
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.issue_device(request(key, "hub-control"), "abcdefgh12345678", AT)
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    assert certificate.subject.rfc4514_string() == "CN=abcdefgh12345678"
    assert certificate.public_key() == key.public_key()
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["urn:homeport:device:abcdefgh12345678"]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert issued.serial_hex == f"{certificate.serial_number:x}"
    assert issued.fingerprint_sha256_hex == certificate.fingerprint(hashes.SHA256()).hex()
    assert issued.not_before_ns == AT - 10 * MINUTE
    assert issued.not_after_ns == AT + 90 * DAY
    bundle = x509.load_pem_x509_certificate(authority.trust_bundle_pem.encode())
    certificate.verify_directly_issued_by(bundle)
    assert authority.trust_bundle_der == (bundle.public_bytes(serialization.Encoding.DER),)


def test_no_certificate_outlives_the_authority(tmp_path: Path) -> None:
    authority = CertificateAuthority.load_or_create(tmp_path, AT, PkiSettings(ca_days=30))
    csr = request(ec.generate_private_key(ec.SECP256R1()))
    assert authority.issue_device(csr, "abcdefgh12345678", AT).not_after_ns == AT + 30 * DAY


def test_requests_that_are_refused(tmp_path: Path) -> None:
    authority = CertificateAuthority.load_or_create(tmp_path, AT)
    good = request(ec.generate_private_key(ec.SECP256R1()))
    body = good.splitlines()
    tampered = "\n".join([*body[:-2], body[-2][:-6] + "AAAAA=", body[-1], ""])
    bad = {
        "garbage": "garbage",
        "empty": "",
        "another curve": request(ec.generate_private_key(ec.SECP384R1())),
        "RSA": request(rsa.generate_private_key(65_537, 2_048)),
        "tampered": tampered,
        "too long": good + " " * 9_000,
        "not ASCII": good.replace("A", "Ä"),
    }
    for csr in bad.values():
        with pytest.raises(InvalidInputError):
            authority.issue_device(csr, "abcdefgh12345678", AT)


def test_the_authority_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    first = CertificateAuthority.load_or_create(folder, AT)
    again = CertificateAuthority.load_or_create(folder, AT + DAY)
    assert first.trust_bundle_pem == again.trust_bundle_pem
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["ca.key", "ca.pem"]


def test_a_crash_between_key_and_certificate_is_repaired(tmp_path: Path) -> None:
    CertificateAuthority.load_or_create(tmp_path, AT)
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.pem").unlink()
    CertificateAuthority.load_or_create(tmp_path, AT)
    assert (tmp_path / "ca.key").read_bytes() == key


def test_a_lost_key_never_makes_a_new_authority(tmp_path: Path) -> None:
    CertificateAuthority.load_or_create(tmp_path, AT)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(StorageError, match=r"Restore the key"):
        CertificateAuthority.load_or_create(tmp_path, AT)
    assert not (tmp_path / "ca.key").exists()


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    CertificateAuthority.load_or_create(tmp_path / "a", AT)
    CertificateAuthority.load_or_create(tmp_path / "b", AT)
    (tmp_path / "a" / "ca.pem").write_bytes((tmp_path / "b" / "ca.pem").read_bytes())
    with pytest.raises(StorageError, match=r"do not belong together"):
        CertificateAuthority.load_or_create(tmp_path / "a", AT)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    CertificateAuthority.load_or_create(tmp_path, AT)
    (tmp_path / "ca.key").chmod(0o644)
    with pytest.raises(StorageError, match=r"chmod 600"):
        CertificateAuthority.load_or_create(tmp_path, AT)
