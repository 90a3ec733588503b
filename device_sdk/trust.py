"""The last state the hub signed for this device: verified, kept on disk, asked for decisions.

1. A state takes effect only if its signature, device, version and entitlement token are all right;
   else nothing changes.
2. Neither the state's nor the token's version ever goes back, also if the file on disk is put back or
   taken away: high-water marks are kept apart from it (`marks.py`). Of a state that was put back only the
   safe functions count, until the hub sends the present one.
3. Keys named in an accepted state replace the ones before; the key that signed the state in force
   is remembered.
4. A device that slept while keys were changed follows the statements of the older keys (`learn`).
5. Decisions work offline by the rule of `wire/offline.py`, which the hub uses as well to tell what a
   device believes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from device_sdk import files
from device_sdk.marks import Mark, Marks
from device_sdk.wire import cose, offline
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.keys import follow
from device_sdk.wire.state import (
    EntitlementToken,
    FeatureGrant,
    Scalar,
    SigningKey,
    State,
    decode_state,
    decode_token,
)

NO_STATE = FeatureGrant(allowed=False, code="no_state")
PUT_BACK = "put_back"
"""The state file is an older one than was in force; all but safe functions wait for the hub."""

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
        marks: how far this device has come; without them only the state file says so.
    """

    def __init__(
        self,
        path: Path,
        device_id: str,
        key_hash: bytes,
        enrolled_keys: dict[bytes, bytes],
        marks: Marks | None = None,
    ) -> None:
        self._path = path
        self._marks = Marks(device_id) if marks is None else marks
        self._device_id = device_id
        self._key_hash = key_hash
        self._keys = _public_keys(enrolled_keys)
        self._in_force: _InForce | None = None
        self._load()

    @property
    def device_id(self) -> str:
        """This device."""
        return self._device_id

    @property
    def state(self) -> State | None:
        """The state in force."""
        return self._in_force.state if self._in_force else None

    @property
    def token(self) -> EntitlementToken | None:
        """The entitlement token in force."""
        return self._in_force.token if self._in_force else None

    @property
    def configuration(self) -> Mapping[str, Scalar]:
        """Desired configuration of the state in force; empty without one, or with one put back."""
        held = self._in_force
        return {} if held is None or self.put_back else held.state.configuration

    @property
    def put_back(self) -> bool:
        """Whether the state in force is an older one than there was already."""
        held, mark = self._in_force, self._marks.mark
        return held is not None and (
            held.state.version < mark.state or held.token.version < mark.entitlement
        )

    @property
    def state_version(self) -> int:
        """Version of the state in force; 0: none yet, or one that was put back."""
        return self._in_force.state.version if self._in_force and not self.put_back else 0

    @property
    def entitlement_version(self) -> int:
        """Version of the entitlement token in force; 0: none yet, or one that was put back."""
        return self._in_force.token.version if self._in_force and not self.put_back else 0

    @property
    def owner_epoch(self) -> int:
        """Owner epoch in force; 0: nobody yet."""
        held = self._in_force
        return held.state.owner_epoch if held and not self.put_back else self._marks.mark.epoch

    @property
    def floor_ns(self) -> int | None:
        """Lower bound of the hub's time by all that was kept, ns since 1970; None: nothing was."""
        held = self._in_force
        said = [self._marks.mark.hub_ns]
        if held is not None:
            said += [held.state.time, held.token.issued * 1_000_000_000]
        return max(said) or None

    def accept(self, data: bytes) -> State:
        """Verify a signed state and put it in force, on disk first.

        Raises:
            WireError: the state is not acceptable; the one in force stays.
        """
        fresh = self._verify(data, self._keys)
        held, mark = self._in_force, self._marks.mark
        if fresh.state.version < max(mark.state, held.state.version if held else 0):
            raise WireError("state is older than the one in force", RejectCode.REFUSED)
        if fresh.token.version < max(mark.entitlement, held.token.version if held else 0):
            raise WireError("entitlement is older than the one in force", RejectCode.REFUSED)
        record = {
            "state": data.hex(),
            "signed_with": {
                kid.hex(): key.public_bytes_raw().hex() for kid, key in self._keys.items()
            },
        }
        files.write_private(self._path, json.dumps(record).encode("ascii"))
        self._put(fresh)
        self._keep_mark(mark.hub_ns)
        return fresh.state

    def learn(self, announced: Sequence[SigningKey], chain: Sequence[bytes]) -> bool:
        """Trust the keys that a hub announces and that statements lead to from those known here.

        They count until the next state names the keys that count from then on.

        Returns:
            Whether any of them is trusted now.

        Raises:
            WireError: a statement is not what it claims to be; nothing was learned.
        """
        reached = follow(chain, announced, self._keys)
        self._keys = self._keys | reached
        return bool(reached)

    def keep_time(self, hub_ns: int) -> None:
        """Keep a lower bound of the hub's time for after a restart."""
        self._keep_mark(hub_ns)

    def decide(self, feature: str, now_s: int) -> FeatureGrant:
        """Return the decision on `feature` at `now_s` (seconds since 1970), without the network."""
        if self._in_force is None:
            return NO_STATE
        grant = offline.decide(self._in_force.token, feature, now_s)
        if self.put_back and not (grant.safe and grant.allowed):
            return FeatureGrant(allowed=False, code=PUT_BACK, safe=grant.safe)
        return grant

    def _keep_mark(self, hub_ns: int) -> None:
        held, mark = self._in_force, self._marks.mark
        if held is not None and not self.put_back:
            mark = Mark(held.state.version, held.token.version, held.state.owner_epoch)
        self._marks.keep(replace(mark, hub_ns=hub_ns))

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
            if not self.put_back and self._marks.mark.state < self.state_version:
                # The process ended between the state and its mark, or the spool is a new one.
                self._keep_mark(self._marks.mark.hub_ns)
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
