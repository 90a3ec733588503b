"""The last state the hub signed for this device: verified, kept on disk, asked for decisions.

1. A state takes effect only if its signature, device, version and entitlement token are all right;
   else nothing changes.
2. Neither the state's nor the token's version ever goes back.
3. Keys named in an accepted state replace the ones before; the key that signed the state in force
   is remembered.
4. Decisions work offline: an allowed feature ends at its own instant, and all but the safe ones that were allowed
   end after expiry and grace.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from device_sdk import files
from device_sdk.wire import cose
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.state import (
    EntitlementToken,
    FeatureGrant,
    State,
    decode_state,
    decode_token,
)

NO_STATE = FeatureGrant(allowed=False, code="no_state")
UNKNOWN_FEATURE = FeatureGrant(allowed=False, code="unknown_feature")
EXPIRED_OFFLINE = "expired_offline"

Keys = dict[bytes, Ed25519PublicKey]


@dataclass(frozen=True, slots=True)
class _InForce:
    state: State
    token: EntitlementToken


class Trust:
    """Keeps the state in force.

    Args:
        path: file of the last accepted state.
        device_id: this device.
        key_hash: SHA-256 of this device's public key.
        enrolled_keys: keys from enrolment, for the time before the first state.
    """

    def __init__(
        self, path: Path, device_id: str, key_hash: bytes, enrolled_keys: dict[bytes, bytes]
    ) -> None:
        self._path = path
        self._device_id = device_id
        self._key_hash = key_hash
        self._keys = _public_keys(enrolled_keys)
        self._in_force: _InForce | None = None
        self._load()

    @property
    def state(self) -> State | None:
        """The state in force."""
        return self._in_force.state if self._in_force else None

    @property
    def token(self) -> EntitlementToken | None:
        """The entitlement token in force."""
        return self._in_force.token if self._in_force else None

    @property
    def state_version(self) -> int:
        """Version of the state in force; 0: none yet."""
        return self._in_force.state.version if self._in_force else 0

    @property
    def entitlement_version(self) -> int:
        """Version of the entitlement token in force; 0: none yet."""
        return self._in_force.token.version if self._in_force else 0

    @property
    def owner_epoch(self) -> int:
        """Owner epoch in force; 0: nobody yet."""
        return self._in_force.state.owner_epoch if self._in_force else 0

    def accept(self, data: bytes) -> State:
        """Verify a signed state and put it in force, on disk first.

        Raises:
            WireError: the state is not acceptable; the one in force stays.
        """
        fresh = self._verify(data, self._keys)
        held = self._in_force
        if held and fresh.state.version < held.state.version:
            raise WireError("state is older than the one in force", RejectCode.REFUSED)
        if held and fresh.token.version < held.token.version:
            raise WireError("entitlement is older than the one in force", RejectCode.REFUSED)
        record = {
            "state": data.hex(),
            "signed_with": {
                kid.hex(): key.public_bytes_raw().hex() for kid, key in self._keys.items()
            },
        }
        files.write_private(self._path, json.dumps(record).encode("ascii"))
        self._put(fresh)
        return fresh.state

    def decide(self, feature: str, now_s: int) -> FeatureGrant:
        """Return the decision on `feature` at `now_s` (seconds since 1970), without the network."""
        if self._in_force is None:
            return NO_STATE
        token = self._in_force.token
        grant = token.features.get(feature, UNKNOWN_FEATURE)
        if grant.safe and grant.allowed:
            return grant
        expired = token.expires is not None and now_s >= token.expires + token.grace
        ended = grant.allowed and grant.until is not None and now_s >= grant.until
        if not (expired or ended):
            return grant
        return FeatureGrant(allowed=False, code=EXPIRED_OFFLINE, safe=grant.safe)

    def _verify(self, data: bytes, keys: Keys) -> _InForce:
        state = decode_state(cose.verify1(data, keys, cose.STATE_EXTERNAL))
        if state.device != self._device_id:
            raise WireError("state is for another device", RejectCode.REFUSED)
        named = {item.kid: item.key for item in state.signing_keys}
        both = keys | _public_keys(named)
        token = decode_token(cose.verify1(state.entitlement, both, cose.ENTITLEMENT_EXTERNAL))
        if token.device != self._device_id or token.device_key_hash != self._key_hash:
            raise WireError("entitlement is for another device", RejectCode.REFUSED)
        if token.owner_epoch != state.owner_epoch:
            raise WireError("entitlement is of another owner epoch", RejectCode.REFUSED)
        return _InForce(state, token)

    def _put(self, fresh: _InForce) -> None:
        self._keys = _public_keys({item.kid: item.key for item in fresh.state.signing_keys})
        self._in_force = fresh

    def _load(self) -> None:
        try:
            record = json.loads(self._path.read_bytes())
            keys = {bytes.fromhex(k): bytes.fromhex(v) for k, v in record["signed_with"].items()}
            self._put(self._verify(bytes.fromhex(record["state"]), _public_keys(keys)))
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            # Damaged on disk: the hub sends the full state again on the next connect.
            return


def _public_keys(raw: dict[bytes, bytes]) -> Keys:
    """Return usable keys by id; an id that is not its key's is refused."""
    keys = {}
    for kid, data in raw.items():
        try:
            key = Ed25519PublicKey.from_public_bytes(data)
        except ValueError:
            raise WireError("signing key is not an Ed25519 public key") from None
        if cose.key_id(key) != kid:
            raise WireError("signing key has another key's id", RejectCode.REFUSED)
        keys[kid] = key
    return keys
