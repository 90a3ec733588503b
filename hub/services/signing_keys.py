"""The hub's own secrets in `keys/`: the keys that sign states and the ledger, the pepper of claim codes.

1. Mode 0600, made at first start, never shown or logged.
2. A new key is announced in states first and signs only after a lead, so that devices that are asleep
   for less than that never meet a key they do not know; the one before stays announced for as long
   again. For those that sleep longer the older key signs a statement on the newer (`wire/keys.py`).
3. What holds when is told by instants in one file, `state-keys.json`, which is replaced as a whole: a
   restart at any moment finds a rotation not begun or begun, and time does the rest.
4. These files belong to the backup: without the pepper the claim codes on labels stop working, and
   without the signing keys devices refuse every state.
"""

import json
import secrets
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from device_sdk.wire.cose import key_id
from device_sdk.wire.keys import sign_statement
from device_sdk.wire.state import SigningKey
from hub.errors import ConflictError, StorageError
from hub.ports.database.engine import write_session
from hub.ports.keyfile import create_private, read_private, replace_private
from hub.services import audit
from hub.services.caller import Caller, Scope

RING = "state-keys.json"
FIRST = "state.key"
LEAD_NS = 30 * 86_400_000_000_000
"""From the announcement of a key to its first signature, and from its last one to its retirement."""
_PEPPER = "claim-codes.key"
_LEDGER = "ledger.key"


@dataclass(frozen=True, slots=True)
class RingKey:
    """One signing key and when it counts; instants in ns.

    Args:
        kid: key id, hex.
        file: its private key, in the folder; empty once that is destroyed.
        public: its public key, hex; what it once signed can be checked for ever.
        announced_at: since when devices are told of it; 0: since the first start.
        signs_from: since when it signs, until a later one does.
        retired_at: from when devices are told of it no longer; None: that is open.
        lost: others may know its private key, so that a signature by it proves nothing.
    """

    kid: str
    file: str
    public: str
    announced_at: int = 0
    signs_from: int = 0
    retired_at: int | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Ring:
    """All keys, the oldest first, the statements that lead from each to the next, and former keys."""

    keys: tuple[RingKey, ...]
    private: tuple[Ed25519PrivateKey, ...]
    chain: tuple[bytes, ...] = ()
    former: tuple[RingKey, ...] = ()

    def at(self, at: int) -> int:
        """Return the position of the key that signs at an instant."""
        signing = [i for i, key in enumerate(self.keys) if key.signs_from <= at]
        return max(signing, key=lambda i: (self.keys[i].signs_from, i), default=0)

    def write(self, folder: Path) -> None:
        """Replace the file that says what holds when."""
        facts = {
            "keys": [asdict(key) for key in self.keys],
            "former": [asdict(key) for key in self.former],
            "chain": [statement.hex() for statement in self.chain],
        }
        replace_private(folder / RING, json.dumps(facts, indent=1).encode())


class SigningKeys:
    """Ed25519 keys that sign states. Any thread may use them; rotations queue.

    Args:
        folder: where they are kept.
        ring: what was read there.
    """

    def __init__(self, folder: Path, ring: Ring) -> None:
        self._folder = folder
        self._ring = ring
        self._rotating = threading.Lock()

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """Read the keys of a folder; the first is made if there is none.

        Raises:
            StorageError: a file is damaged, missing, or others may read it.
        """
        if not (folder / RING).exists() and not (folder / FIRST).exists():
            create_private(folder / FIRST, Ed25519PrivateKey.generate().private_bytes_raw())
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the keys of a folder, and make nothing; otherwise as `load_or_create`."""
        if not (folder / RING).exists():
            first = _load(folder / FIRST)
            return cls(folder, Ring((_named(first, FIRST),), (first,)))
        try:
            facts = json.loads(read_private(folder / RING))
            keys = tuple(RingKey(**key) for key in facts["keys"])
            former = tuple(RingKey(**key) for key in facts["former"])
            chain = tuple(bytes.fromhex(statement) for statement in facts["chain"])
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(folder / RING) from error
        private = tuple(_load(folder / Path(key.file).name) for key in keys)
        if not keys or [key_id(one.public_key()).hex() for one in private] != [k.kid for k in keys]:
            raise _damaged(folder / RING)
        return cls(folder, Ring(keys, private, chain, former))

    def present(self, at: int) -> Ed25519PrivateKey:
        """Return the key that signs at an instant (ns)."""
        ring = self._ring
        return ring.private[ring.at(at)]

    def public(self, at: int) -> tuple[SigningKey, ...]:
        """Return the public keys as devices get them at an instant (ns), the present one first."""
        ring = self._ring
        present = ring.at(at)
        others = [
            i
            for i, key in enumerate(ring.keys)
            if i != present and (key.retired_at is None or at < key.retired_at)
        ]
        publics = [ring.private[i].public_key() for i in (present, *reversed(others))]
        return tuple(SigningKey(key_id(key), key.public_bytes_raw()) for key in publics)

    def ever(self) -> tuple[SigningKey, ...]:
        """Return all public keys whose signatures prove that the hub signed, the oldest first."""
        ring = self._ring
        sound = [key for key in (*ring.former, *ring.keys) if not key.lost]
        return tuple(SigningKey(bytes.fromhex(k.kid), bytes.fromhex(k.public)) for k in sound)

    @property
    def keys(self) -> tuple[RingKey, ...]:
        """All keys that the hub still has, the oldest first."""
        return self._ring.keys

    @property
    def former(self) -> tuple[RingKey, ...]:
        """Keys that sign nothing more, the oldest first."""
        return self._ring.former

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Statements that lead from each key there ever was to the next, the oldest first."""
        return self._ring.chain

    def rotate(self, engine: Engine, caller: Caller, at: int, lead_ns: int = LEAD_NS) -> RingKey:
        """Make a new key: announced now, it signs after the lead.

        Args:
            engine: the database, for the audit: the record is there before the key is.
            caller: an operator.
            at: now, ns.
            lead_ns: see `LEAD_NS`. 0: the keys there are may be known to others; the new one signs at
                once and all others are retired. Devices then ask over HTTPS how it came about.

        Returns:
            The new key.

        Raises:
            ConflictError: a key that was made before does not sign yet.
            ForbiddenError: the caller may not.
        """
        caller.require(Scope.KEYS_ROTATE)
        with self._rotating:
            ring = self._ring
            waiting = [key for key in ring.keys if key.signs_from > at]
            if waiting and lead_ns:
                raise ConflictError(
                    f"The signing key {waiting[0].kid} is announced and does not sign yet. Wait until "
                    "it does, or say that the keys there are may be known to others.",
                    kid=waiting[0].kid,
                )
            fresh = Ed25519PrivateKey.generate()
            kid = key_id(fresh.public_key()).hex()
            made = replace(
                _named(fresh, f"state-{kid}.key"), announced_at=at, signs_from=at + lead_ns
            )
            create_private(self._folder / made.file, fresh.private_bytes_raw())
            details = {
                "kid": kid,
                "signs_from": made.signs_from,
                "lead_s": lead_ns // 1_000_000_000,
            }
            with write_session(engine) as session:
                audit.record(session, at, caller.actor, "signing_keys.rotate", "hub", details)
            after = _with(ring, made, fresh, at, lead_ns)
            after.write(self._folder)
            self._ring = after
            for key in ring.keys:
                if key.kid not in {kept.kid for kept in after.keys}:
                    (self._folder / key.file).unlink(missing_ok=True)
            return made


def _with(ring: Ring, made: RingKey, fresh: Ed25519PrivateKey, at: int, lead_ns: int) -> Ring:
    """Return the ring after a rotation: the new key at its end, without those that are retired."""
    position = ring.at(at)
    statement = sign_statement(ring.private[position], fresh.public_key(), at)
    keys, private, former = [], [], list(ring.former)
    for i, key in enumerate(ring.keys):
        # The statement was the last thing to be done with a key that nobody is to believe.
        if not lead_ns or (key.retired_at is not None and key.retired_at <= at):
            former.append(replace(key, file="", retired_at=at, lost=not lead_ns))
            continue
        retired_at = at + 2 * lead_ns if i == position else key.retired_at
        keys.append(replace(key, retired_at=retired_at))
        private.append(ring.private[i])
    return Ring((*keys, made), (*private, fresh), (*ring.chain, statement), tuple(former))


def load_pepper(folder: Path) -> bytes:
    """Return the key of the claim codes' hashes, 32 bytes; made at first start."""
    path = folder / _PEPPER
    if not path.exists():
        create_private(path, secrets.token_bytes(32))
    pepper = read_private(path)
    if len(pepper) != 32:
        raise _damaged(path)
    return pepper


def has_ledger_key(folder: Path) -> bool:
    """Say whether there is a key that seals the ledger."""
    return (folder / _LEDGER).exists()


def load_ledger_key(folder: Path) -> Ed25519PrivateKey:
    """Return the key that seals the ledger; made at first start. Devices never hear of it."""
    path = folder / _LEDGER
    if not path.exists():
        create_private(path, Ed25519PrivateKey.generate().private_bytes_raw())
    return _load(path)


def facts(keys: SigningKeys, at: int) -> list[dict[str, Any]]:
    """Return what may be told of the keys at an instant (ns): ids and instants, nothing secret."""
    present = key_id(keys.present(at).public_key()).hex()
    return [
        {
            "kid": key.kid,
            "key": key.public,
            "signs": key.kid == present,
            "announced_at": key.announced_at or None,
            "signs_from": key.signs_from or None,
            "retired_at": key.retired_at,
            "lost": key.lost,
        }
        for key in (*keys.former, *keys.keys)
    ]


def _named(key: Ed25519PrivateKey, file: str) -> RingKey:
    public = key.public_key()
    return RingKey(key_id(public).hex(), file, public.public_bytes_raw().hex())


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(read_private(path))
    except ValueError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"The key file {path} is damaged. Restore it from a backup.", path=str(path)
    )
