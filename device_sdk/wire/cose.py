"""COSE_Sign1 (RFC 9052) exactly as wire v1 uses it: Ed25519 and a key id, nothing else.

1. The protected header is byte for byte `{1: -8, 4: key id}`; the algorithm is never chosen by the
   message.
2. The unprotected header is empty and the payload is attached.
3. External data says what the signature is for, so a token can never pass for a state.
"""

import hashlib
from collections.abc import Mapping

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from device_sdk.wire import cbor
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import UnknownKeyError, WireError

MAX_BYTES = 262_144
STATE_EXTERNAL = b"homeport/state/1"
ENTITLEMENT_EXTERNAL = b"homeport/entitlement/1"

_TAG = 18
_EDDSA = -8


def key_id(public_key: Ed25519PublicKey) -> bytes:
    """Return a key's id: the first 8 bytes of SHA-256 over the raw public key."""
    return hashlib.sha256(public_key.public_bytes_raw()).digest()[:8]


def sign1(private_key: Ed25519PrivateKey, payload: bytes, external: bytes) -> bytes:
    """Sign `payload` for the purpose `external` and return the tagged COSE_Sign1 bytes."""
    protected = _protected(key_id(private_key.public_key()))
    signature = private_key.sign(_to_be_signed(protected, payload, external))
    return cbor.encode(cbor2.CBORTag(_TAG, [protected, {}, payload, signature]))


def verify1(data: bytes, keys: Mapping[bytes, Ed25519PublicKey], external: bytes) -> bytes:
    """Verify a COSE_Sign1 message and return its payload.

    Args:
        data: the message.
        keys: trusted public keys by key id.
        external: the purpose that the signature must have been made for.

    Raises:
        UnknownKeyError: it names a key that is not among `keys`.
        WireError: `MALFORMED` when it is not such a message, `REFUSED` when algorithm, key or
            signature are not the ones trusted.
    """
    message = cbor.decode(data, max_bytes=MAX_BYTES)
    if not isinstance(message, cbor2.CBORTag) or message.tag != _TAG:
        raise WireError("signed message is not a COSE_Sign1")
    match message.value:
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)]:
            pass
        case _:
            raise WireError("signed message is not four fields: headers, payload, signature")
    if unprotected:
        raise WireError("signed message has an unprotected header", RejectCode.REFUSED)
    # The whole header must equal the one we would have written for this key id: no other algorithm,
    # no extras.
    kid = protected[-8:]
    if protected != _protected(kid):
        raise WireError("signed message has another protected header", RejectCode.REFUSED)
    key = keys.get(kid)
    if key is None:
        raise UnknownKeyError
    try:
        key.verify(signature, _to_be_signed(protected, payload, external))
    except InvalidSignature:
        raise WireError("signature does not fit the message", RejectCode.REFUSED) from None
    return payload


def peek(data: bytes) -> tuple[bytes, bytes]:
    """Return key id and payload of a message without verifying it: for showing it to people only.

    Raises:
        WireError: it is not such a message.
    """
    message = cbor.decode(data, max_bytes=MAX_BYTES)
    match getattr(message, "value", None):
        case [bytes(protected), dict(), bytes(payload), bytes()]:
            return protected[-8:], payload
    raise WireError("signed message is not a COSE_Sign1")


def _protected(kid: bytes) -> bytes:
    return cbor.encode({1: _EDDSA, 4: kid})


def _to_be_signed(protected: bytes, payload: bytes, external: bytes) -> bytes:
    return cbor.encode(["Signature1", protected, external, payload])
