"""The hub's own secrets in `keys/`: the keys that sign states, and the pepper of claim codes.

1. Mode 0600, made at first start, never shown or logged.
2. The first signing key signs; the ones before are still told to devices, so that a device that
   was off during a change of keys still trusts what comes next.
3. These files belong to the backup: without the pepper the claim codes on labels stop working, and
   without the signing key devices refuse every state.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_sdk.wire.cose import key_id
from device_sdk.wire.state import SigningKey
from hub.errors import StorageError
from hub.ports.keyfile import create_private, read_private, replace_private

_CURRENT = "state.key"
_PREVIOUS = "state-previous.key"
_PEPPER = "claim-codes.key"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Ed25519 keys that sign states, the present one first."""

    present: Ed25519PrivateKey
    previous: Ed25519PrivateKey | None = None

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """Read the keys of a folder; the first is made if there is none.

        Raises:
            StorageError: a file is damaged or others may read it.
        """
        if not (folder / _CURRENT).exists():
            create_private(folder / _CURRENT, Ed25519PrivateKey.generate().private_bytes_raw())
        previous = folder / _PREVIOUS
        return cls(_load(folder / _CURRENT), _load(previous) if previous.exists() else None)

    @classmethod
    def rotate(cls, folder: Path) -> Self:
        """Make a new key the present one and keep the one it replaces as the previous one."""
        replace_private(folder / _PREVIOUS, read_private(folder / _CURRENT))
        replace_private(folder / _CURRENT, Ed25519PrivateKey.generate().private_bytes_raw())
        return cls.load_or_create(folder)

    def public(self) -> tuple[SigningKey, ...]:
        """Return the public keys as devices get them, the present one first."""
        keys = (self.present,) if self.previous is None else (self.present, self.previous)
        publics = [key.public_key() for key in keys]
        return tuple(SigningKey(key_id(key), key.public_bytes_raw()) for key in publics)


def load_pepper(folder: Path) -> bytes:
    """Return the key of the claim codes' hashes, 32 bytes; made at first start."""
    path = folder / _PEPPER
    if not path.exists():
        create_private(path, secrets.token_bytes(32))
    pepper = read_private(path)
    if len(pepper) != 32:
        raise _damaged(path)
    return pepper


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(read_private(path))
    except ValueError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"The key file {path} is damaged. Restore it from a backup.", path=str(path)
    )
