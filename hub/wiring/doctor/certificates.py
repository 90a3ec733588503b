"""The doctor on certificates and keys: expiry, chain, names, and who may read the keys.

1. Server and internal certificates are made anew at each start of the hub, so most of what can be
   wrong with them is cured by one; only the authority's own certificate is for years.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from hub.wiring.doctor.case import Case
from hub.wiring.doctor.report import Line, ok, problem, warning

_DAY = dt.timedelta(days=1)
_SOON_DAYS = 30
_AUTHORITY_SOON_DAYS = 365
_AGAIN = "Stop the hub and start it again: it makes this certificate anew."
_RESTORE = "Restore the folder pki from a backup."


def check(case: Case) -> Iterator[Line]:
    """Look at all certificates and key files."""
    if not case.exists:
        yield ok("certificates", "none yet; the first start makes them")
        return
    folder = case.settings.pki_dir
    at = dt.datetime.fromtimestamp((case.now_ns - case.ahead_ns) / 1e9, dt.UTC)
    trusted = _all(folder / "ca.pem")
    if not trusted:
        yield problem("certificate ca", f"{folder / 'ca.pem'} is no certificate", _RESTORE)
    else:
        yield _authority(folder, trusted, at)
    for path in sorted(folder.glob("*.pem")):
        certificate = _load(path)
        if path.stem == "ca":
            continue
        if certificate is not None:
            yield _one(case, path, certificate, trusted, at)
        else:
            yield problem(f"certificate {path.stem}", f"{path} is no certificate", _AGAIN)
    yield from _key_modes(case)


def _authority(folder: Path, trusted: list[x509.Certificate], at: dt.datetime) -> Line:
    """Judge the authority that issues: devices must know another long before it ends."""
    name = "certificate ca"
    last = max(one.not_valid_after_utc for one in trusted)
    until = f"{last:%Y-%m-%d}"
    if last <= at:
        return problem(name, f"expired on {until}", f"Devices trust nothing else. {_RESTORE}")
    if all(one.not_valid_before_utc > at for one in trusted):
        return problem(name, "valid only later", "See the line on the clock.")
    if not any(_belongs(key, one) for key in folder.glob("ca*.key") for one in trusted):
        return problem(name, "does not belong to ca.key", _RESTORE)
    if last - at < _AUTHORITY_SOON_DAYS * _DAY:
        return warning(
            name,
            f"expires on {until}, in {(last - at).days} days",
            "Run: homeport ca rotate. Devices learn the new one by themselves.",
        )
    return ok(name, f"valid until {until}" + (f", {len(trusted)} trusted" if trusted[1:] else ""))


def _one(
    case: Case,
    path: Path,
    certificate: x509.Certificate,
    trusted: list[x509.Certificate],
    at: dt.datetime,
) -> Line:
    name = f"certificate {path.stem}"
    left = certificate.not_valid_after_utc - at
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if left <= dt.timedelta():
        return problem(name, f"expired on {until}", _AGAIN)
    if certificate.not_valid_before_utc > at:
        since = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
        return problem(name, f"valid only from {since} UTC on", "See the line on the clock.")
    fault = _fault(case, path, certificate, trusted)
    if fault is not None:
        return problem(name, fault, _AGAIN)
    if left < _SOON_DAYS * _DAY:
        return warning(name, f"expires on {until}, in {left.days} days", _AGAIN)
    return ok(name, f"valid until {until}")


def _fault(
    case: Case, path: Path, certificate: x509.Certificate, trusted: list[x509.Certificate]
) -> str | None:
    """Tell what is wrong with a certificate, its dates aside."""
    if trusted and not any(_issued_by(certificate, one) for one in trusted):
        return "not issued by this hub's authority"
    if not _belongs(path.with_suffix(".key"), certificate):
        return f"does not belong to {path.stem}.key"
    missing = set(case.settings.public_hosts) - _names(certificate)
    if path.stem == "server" and missing:
        return f"does not name {', '.join(sorted(missing))} (public_hosts)"
    return None


def _load(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _all(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _belongs(path: Path, certificate: x509.Certificate) -> bool:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return False
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = names.get_values_for_type(x509.IPAddress)
    return {*names.get_values_for_type(x509.DNSName), *map(str, addresses)}


def _key_modes(case: Case) -> Iterator[Line]:
    settings = case.settings
    files = [*settings.pki_dir.glob("*.key"), *settings.keys_dir.glob("*")]
    files += [settings.run_dir / "operator.token", settings.broker_dir / "access.json"]
    found = [path for path in files if path.exists()]
    wrong = sorted(path for path in found if path.stat().st_mode & 0o077)
    for path in wrong:
        yield problem(
            "key modes",
            f"{path} may be read by others (mode {path.stat().st_mode & 0o777:04o})",
            f"Replace the secret if others use this machine, then run: chmod 600 {path}",
        )
    if not wrong:
        yield ok("key modes", f"{len(found)} secret files are their owner's only")
