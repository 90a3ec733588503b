"""The signed form of a certificate of health and coverage: a JWS (RFC 7515) with Ed25519 (RFC 8037).

1. The protected header is byte for byte the one we write for a key: the algorithm is never chosen by
   the message, and there are no extras.
2. The payload is JSON with sorted keys and without blanks. Whoever has the hub's public keys can
   verify it, offline and with any JOSE library.
3. What is signed begins with letters of base64, what devices get begins with a byte of CBOR: a
   certificate never passes for a state, nor a state for a certificate, though one key signs both.

No database, no clock: the instant is an argument.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from device_sdk.wire.cose import key_id
from hub.errors import InvalidInputError

TYPE = "homeport-certificate+jwt"
MAX_CHARACTERS = 65_536
_SECOND = 1_000_000_000

Keys = Mapping[str, Ed25519PublicKey]
"""Public keys by key id in hex."""


class CertificateRefusedError(InvalidInputError):
    """This is no certificate of this hub, or one that does not hold any more."""

    code = "certificate-refused"
    title = "The certificate does not hold"


def sign(key: Ed25519PrivateKey, document: Mapping[str, Any]) -> str:
    """Return the certificate of a document, in the compact form."""
    header = _header(key_id(key.public_key()).hex())
    payload = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    signed = f"{_encoded(header)}.{_encoded(payload.encode())}"
    return f"{signed}.{_encoded(key.sign(signed.encode()))}"


def verify(text: str, keys: Keys, at: int) -> dict[str, Any]:
    """Return the document of a certificate that holds.

    Args:
        text: the compact form; blanks around it do not matter.
        keys: the trusted keys.
        at: now, ns.

    Raises:
        CertificateRefusedError: it is damaged, of another hub, signed in another way, or expired.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS or text.count(".") != 2:
        raise CertificateRefusedError(
            "This is no certificate: it must be three parts with dots between them."
        )
    parts = text.split(".")
    header, payload, signature = (_decoded(part) for part in parts)
    key = _key_of(header, keys)
    try:
        key.verify(signature, ".".join(parts[:2]).encode())
    except InvalidSignature:
        raise CertificateRefusedError(
            "The signature does not fit: the certificate was changed after it was issued. Ask the "
            "seller for the original."
        ) from None
    document: dict[str, Any] = json.loads(payload)
    if at >= document["exp"] * _SECOND:
        raise CertificateRefusedError(
            "The certificate has expired. Ask the seller for a new one.", expired=document["exp"]
        )
    return document


def key_set(keys: Keys) -> dict[str, Any]:
    """Return public keys as a JSON Web Key Set (RFC 7517), the first one first."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "EdDSA",
                "use": "sig",
                "kid": kid,
                "x": _encoded(key.public_bytes_raw()),
            }
            for kid, key in keys.items()
        ]
    }


def keys_of(text: str) -> Keys:
    """Read what `key_set` returned.

    Raises:
        InvalidInputError: no such set, or none of its keys is an Ed25519 key with its own id.
    """
    try:
        listed = json.loads(text)["keys"]
        found = {
            one["kid"]: Ed25519PublicKey.from_public_bytes(_decoded(one["x"]))
            for one in listed
            if one.get("crv") == "Ed25519"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInputError("The keys are no JSON Web Key Set of a hub.") from error
    if not found or any(key_id(key).hex() != kid for kid, key in found.items()):
        raise InvalidInputError("The keys are not those of a hub: an id does not fit its key.")
    return found


def _key_of(header: bytes, keys: Keys) -> Ed25519PublicKey:
    try:
        said = json.loads(header)
        kid, algorithm = str(said["kid"]), str(said["alg"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CertificateRefusedError(
            "This is no certificate: it does not say how it is signed."
        ) from error
    if algorithm != "EdDSA":
        raise CertificateRefusedError(
            f"The certificate is signed with {algorithm[:20]!r}; only EdDSA is accepted."
        )
    if kid not in keys:
        raise CertificateRefusedError(
            "The certificate was signed by a key that is not this hub's. Get the keys of the hub that "
            "it names, from that hub itself.",
            key=kid[:64],
        )
    if header != _header(kid):
        raise CertificateRefusedError("The head of the certificate is not one that a hub writes.")
    return keys[kid]


def _header(kid: str) -> bytes:
    return json.dumps({"alg": "EdDSA", "kid": kid, "typ": TYPE}, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise CertificateRefusedError("The certificate is damaged: it is not base64url.") from error
    if _encoded(data) != text:
        raise CertificateRefusedError("The certificate is damaged: it is not plain base64url.")
    return data
