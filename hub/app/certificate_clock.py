"""Keeps the hub's own certificates fresh for as long as it runs, and retires old authorities.

1. Server and internal certificates are made anew when two thirds of their life are over and when another
   authority issues; who shows them reads the files again by itself.
2. `ca.pem` always holds all authorities that are to be trusted.
3. An authority whose time has come is retired as soon as no device depends on it; until then that is
   said once a day.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from sqlalchemy import Engine

from hub.errors import ConflictError
from hub.ports.keyfile import replace_private
from hub.services import authority_rotation, generations
from hub.services.caller import HUB
from hub.services.generations import BUNDLE
from hub.services.pki import CertificateAuthority, IssuedPair, save_pair

EVERY_S = 2.0
"""A rotation is asked for by somebody who waits; what is looked at are a few small files."""
_DAY_NS = 86_400_000_000_000
SERVER = "server"
_log = logging.getLogger("homeport.certificates")


class CertificateClock:
    """Renews and retires on a thread of its own.

    Args:
        authority: issues.
        engine: the database, which tells what devices depend on.
        hosts: names and addresses of the server.
        parts: the hub's own clients of the broker.
        clock: the time of the world, ns.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        engine: Engine,
        hosts: Sequence[str],
        parts: Sequence[str],
        clock: Callable[[], int],
    ) -> None:
        self._authority = authority
        self._engine = engine
        self._hosts = hosts
        self._parts = parts
        self._clock = clock
        self._said: dict[str, int] = {}

    def step(self) -> list[str]:
        """Do what is due; returns the names of the files that were replaced."""
        at = self._clock()
        self._retire(at)
        return renew_certificates(self._authority, self._hosts, self._parts, at)

    def run(self, stop: threading.Event) -> None:
        """Look every `EVERY_S` seconds until `stop` is set."""
        while not stop.wait(EVERY_S):
            try:
                for name in self.step():
                    _log.info("certificate renewed", extra={"certificate": name})
            except Exception:  # noqa: BLE001  the disk may be full; certificates must not end for that
                _log.exception("certificates could not be looked after; trying again")

    def _retire(self, at: int) -> None:
        for name in authority_rotation.due(self._authority, at):
            if at - self._said.get(name, 0) < _DAY_NS:
                continue
            try:
                authority_rotation.retire(self._authority, self._engine, HUB, name, at)
            except ConflictError as error:
                self._said[name] = at
                _log.warning("%s", error.detail, extra={"authority": name})


def make_certificates(
    authority: CertificateAuthority, hosts: Sequence[str], parts: Sequence[str], at: int
) -> None:
    """Make all of the hub's certificates anew, before anything of it starts."""
    _bundle(authority)
    save_pair(authority.issue_server(hosts, at), authority.folder, SERVER)
    for part in parts:
        save_pair(authority.issue_internal(part, at), authority.folder, part)


def renew_certificates(
    authority: CertificateAuthority, hosts: Sequence[str], parts: Sequence[str], at: int
) -> list[str]:
    """Make those anew that are due; returns the names of the files that were replaced."""
    replaced = [BUNDLE] if _bundle(authority) else []
    makers: dict[str, Callable[[], IssuedPair]] = {
        SERVER: lambda: authority.issue_server(hosts, at),
        **{part: _maker(authority, part, at) for part in parts},
    }
    for name, make in makers.items():
        if _is_due(authority, authority.folder / f"{name}.pem", at):
            save_pair(make(), authority.folder, name)
            replaced.append(name)
    return replaced


def _maker(authority: CertificateAuthority, part: str, at: int) -> Callable[[], IssuedPair]:
    return lambda: authority.issue_internal(part, at)


def _bundle(authority: CertificateAuthority) -> bool:
    """Write the file of what is to be trusted; tells whether it was another."""
    file, wanted = authority.folder / BUNDLE, authority.trust_bundle_pem.encode()
    if file.exists() and file.read_bytes() == wanted:
        return False
    replace_private(file, wanted)
    return True


def _is_due(authority: CertificateAuthority, file: Path, at: int) -> bool:
    """Tell whether a certificate is missing, old, or not by the authority that issues now."""
    try:
        shown = x509.load_pem_x509_certificates(file.read_bytes())[0]
        issuer = x509.load_pem_x509_certificate(authority.issuer(at).certificate.encode())
    except (FileNotFoundError, ValueError):
        return True
    ours = shown.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    theirs = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    if ours.key_identifier != theirs.digest:
        return True
    start, end = shown.not_valid_before_utc, shown.not_valid_after_utc
    return generations.instant(at) >= start + (end - start) * 2 / 3
