"""Random ids, secrets and codes, and the hashes under which the database knows them.

1. Randomness comes from one injected source; tests hand in a seeded one.
2. Long random secrets are stored as SHA-256. Claim codes are short enough to be tried out on a
   stolen database, so they are hashed with a key that is not in the database.
3. Secrets are compared in constant time.

Passwords of people are not here: see `people.py`.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable

ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Nothing that is mistaken for something else: no I, L, O, U, 0, 1."""
CODE_LENGTH = 12


class Tokens:
    """Makes ids and secrets.

    Args:
        pepper: key of the claim codes' hashes, at least 16 bytes; see `signing_keys.load_pepper`.
        source: returns so many random bytes.
    """

    def __init__(self, pepper: bytes, source: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._pepper = pepper
        self._source = source

    def octets(self, count: int) -> bytes:
        """Return so many random bytes."""
        return self._source(count)

    def derived(self, purpose: str) -> bytes:
        """Return 32 bytes that follow from the hub's key, others for each purpose."""
        return hmac.new(self._pepper, f"derived/{purpose}".encode(), hashlib.sha256).digest()

    def new_id(self) -> str:
        """Return an id: 16 characters of [a-z0-9] (82 bits)."""
        return self._text(ID_ALPHABET, 16)

    def secret(self, prefix: str = "") -> str:
        """Return a secret of 256 bits in hex, behind a prefix that tells what it opens."""
        return prefix + self._source(32).hex()

    def password(self) -> str:
        """Return a one-time password that can be read out: 16 characters in groups of four."""
        return _grouped(self._text(CODE_ALPHABET, 16))

    def claim_code(self) -> str:
        """Return a claim code such as `ABCD-EFGH-JKMN` (58 bits)."""
        return _grouped(self._text(CODE_ALPHABET, CODE_LENGTH))

    def claim_hash(self, code: str) -> str:
        """Hash a claim code as typed: case, spaces and hyphens do not matter."""
        plain = "".join(code.upper().split()).replace("-", "")
        return hmac.new(self._pepper, plain.encode(), hashlib.sha256).hexdigest()

    def _text(self, alphabet: str, length: int) -> str:
        # Bytes past the last whole multiple would favour the first letters.
        bound = 256 - 256 % len(alphabet)
        letters: list[str] = []
        while len(letters) < length:
            octets = self._source(length)
            letters += [alphabet[octet % len(alphabet)] for octet in octets if octet < bound]
        return "".join(letters[:length])


def secret_hash(secret: str) -> str:
    """Hash a long random secret for storing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(a: str, b: str) -> bool:
    """Compare two secrets or hashes in constant time."""
    return hmac.compare_digest(a.encode(), b.encode())


def _grouped(text: str) -> str:
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))
