"""Key statements: the key that signed until now says which one comes next.

1. A statement is a COSE_Sign1 by the older key for the purpose `homeport/key/1`; its payload names the
   newer one. In a row they lead from any key that a device knows to those that the hub uses now.
2. A statement alone makes no key trusted: the hub must also announce the key as one that it uses, so
   that a key that was retired cannot be brought back by the statement that introduced it.
"""

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from device_sdk.wire import cbor, cose
from device_sdk.wire.errors import UnknownKeyError, WireError
from device_sdk.wire.fields import Fields
from device_sdk.wire.state import SigningKey

KEY_EXTERNAL = b"homeport/key/1"


def sign_statement(older: Ed25519PrivateKey, newer: Ed25519PublicKey, at: int) -> bytes:
    """Return the statement of `older` that `newer` comes next; `at` is ns since 1970."""
    named = {0: cbor.VERSION, 1: cose.key_id(newer), 2: newer.public_bytes_raw(), 3: at}
    return cose.sign1(older, cbor.encode(named), KEY_EXTERNAL)


def follow(
    statements: Iterable[bytes],
    announced: Iterable[SigningKey],
    known: dict[bytes, Ed25519PublicKey],
) -> dict[bytes, Ed25519PublicKey]:
    """Return the keys that the hub announces and that statements lead to from keys that are known.

    Args:
        statements: in the order in which they were made.
        announced: keys that the hub says it uses.
        known: keys that are trusted.

    Raises:
        WireError: a statement by a key that is trusted so far is malformed or not signed by it.
    """
    reached = dict(known)
    for statement in statements:
        try:
            payload = cose.verify1(statement, reached, KEY_EXTERNAL)
        except UnknownKeyError:
            continue  # of a time before the keys that are known here
        fields = Fields("key statement", cbor.decode_map(payload))
        key = Ed25519PublicKey.from_public_bytes(fields.octets(2, 32))
        if cose.key_id(key) != fields.octets(1, 8):
            raise WireError("key statement names another key's id")
        reached[cose.key_id(key)] = key
    used = {item.kid for item in announced}
    return {kid: key for kid, key in reached.items() if kid in used}
