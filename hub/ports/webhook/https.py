"""Sends webhooks over HTTPS, and only to where they may go.

1. A name is resolved once; all its addresses must be public (unless private ones are allowed), and the connection goes
   to one that was looked at, so a name that changes its mind afterwards changes nothing (DNS rebinding).
2. No redirects, no proxies, no cookies; the answer's body is not read.
3. One deadline for the whole request: a receiver that answers letter by letter holds nobody up.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

from hub.ports.webhook.port import Posted

Resolve = Callable[[str, int], list[str]]
_MOST_RETRY_S: Final = 86_400


class HttpsPost:
    """Posts to receivers.

    Args:
        timeout_s: for the whole request.
        private_allowed: also to private, loopback and link-local addresses.
        trust: whose certificates count; None: those that the system trusts.
        resolve: gives the addresses of a name; the system's way if None.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        private_allowed: bool = False,
        trust: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._private_allowed = private_allowed
        self._resolve = resolve or addresses_of
        self._trust = trust or ssl.create_default_context()

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Posted:
        """POST a body; see `Post`."""
        began = time.monotonic()
        try:
            status, retry_after_s, error = self._send(url, headers, body)
        except (OSError, HTTPException, ValueError) as failure:
            status, retry_after_s, error = None, None, _words(failure)
        seconds = time.monotonic() - began
        if status is None and seconds >= self._timeout_s:
            error = f"no answer within {self._timeout_s:g} s"
        return Posted(status, error, retry_after_s, int(seconds * 1_000))

    def _send(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int | None, int | None, str]:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        found = self._resolve(host, port)
        for address in found:
            if not self._private_allowed and not is_public(address):
                return None, None, f"it has the address {address}, which is not public"
        with ExitStack() as stack:
            plain = stack.enter_context(socket.create_connection((found[0], port), self._timeout_s))
            # Each wait of the socket may be as long as all of it; this ends all of it.
            alarm = threading.Timer(self._timeout_s, _hang_up, (plain,))
            alarm.daemon = True
            alarm.start()
            stack.callback(alarm.cancel)
            connection = HTTPConnection(host, port)
            connection.sock = (
                stack.enter_context(self._trust.wrap_socket(plain, server_hostname=host))
                if secure
                else plain
            )
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, {**headers, "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, _retry_after(answer.headers.get("retry-after")), ""


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a name, IPv4 first.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in sorted(found, key=lambda one: one[0] != socket.AF_INET)]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner: ipaddress.IPv4Address | None = None
    if isinstance(found, ipaddress.IPv6Address):
        translated = found in ipaddress.ip_network("64:ff9b::/96")
        embedded = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if translated else None
        inner = found.ipv4_mapped or found.sixtofour or embedded
    if inner is not None:
        return is_public(str(inner))
    return found.is_global and not found.is_multicast


def _hang_up(plain: socket.socket) -> None:
    with suppress(OSError):
        plain.shutdown(socket.SHUT_RDWR)


def _retry_after(text: str | None) -> int | None:
    return min(int(text[:9]), _MOST_RETRY_S) if text and text.isascii() and text.isdigit() else None


def _words(failure: Exception) -> str:
    """Say in a few words why nothing came; never where to, as an address may hold a token."""
    if isinstance(failure, socket.gaierror):
        return "its name has no address"
    if isinstance(failure, ssl.SSLCertVerificationError):
        return "its certificate is not one to trust"
    if isinstance(failure, ssl.SSLError):
        return "it does not speak TLS as this hub does"
    if isinstance(failure, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(failure, HTTPException):
        return "its answer is not HTTP"
    return "the connection broke" if isinstance(failure, OSError) else "its address is none"
