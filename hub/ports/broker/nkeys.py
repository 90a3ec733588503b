"""NATS keys and the JWTs signed with them, as far as the auth callout needs them.

1. A public key is base32 of: prefix byte, 32 raw Ed25519 bytes, CRC-16/XMODEM (little-endian).
2. A JWT is `header.claims.signature`, base64url without padding, algorithm `ed25519-nkey`.
3. Only the form is decided here; what a claim says is for `callout`.
"""

import base64
import binascii
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ACCOUNT_PREFIX = 0  # gives an 'A' in front
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


def account_name(key: Ed25519PublicKey) -> str:
    """Return the NATS name (`A...`, 56 characters) of an account key."""
    raw = bytes([_ACCOUNT_PREFIX]) + key.public_bytes_raw()
    check = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + check).rstrip(b"=").decode()


def sign(claims: dict[str, Any], key: Ed25519PrivateKey) -> str:
    """Return a JWT over the claims; its id (`jti`) is a hash of them, as NATS does it."""
    body = _compact(claims)
    digest = base64.b32encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    signed = f"{_encode(_compact(_HEADER))}.{_encode(_compact({**claims, 'jti': digest}))}"
    return f"{signed}.{_encode(key.sign(signed.encode()))}"


def claims_of(token: bytes) -> dict[str, Any]:
    """Return the claims of a JWT without checking its signature.

    The auth callout arrives on an account that only the server itself can publish to, so its
    origin is known; see `nats_server`.

    Raises:
        ValueError: not a JWT.
    """
    parts = token.split(b".")
    if len(parts) != 3:
        raise ValueError("a JWT has three parts")
    padded = parts[1] + b"=" * (-len(parts[1]) % 4)
    claims = json.loads(base64.urlsafe_b64decode(padded))
    if not isinstance(claims, dict):
        raise ValueError("the claims of a JWT are an object")  # noqa: TRY004  it is about a value
    return claims


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
