"""The signed state of a device: everything the hub wants it to know, and its entitlement token.

1. A state's version rises when its content changes, and only then; likewise the token's.
2. Both are signed afresh for each issue: time of issue and hub time are not content.
3. Versions are kept in the database, so they never fall, whatever is restarted. Where the database is
   an older copy, a device has seen higher ones: the next version is above what it reports.
4. What each version of a token says is kept (`beliefs.py`), as some device may go by it for long.
5. A feature that turns by itself needs a new state: to open at all, and to say why it closed (`due`).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from device_sdk.wire import cose, topics
from device_sdk.wire.state import (
    Endpoint,
    EntitlementToken,
    FeatureGrant,
    SigningKey,
    State,
    encode_state,
    encode_token,
)
from entitlements.grants import feature_grants, token_terms
from entitlements.ladder import owner_epoch
from hub.errors import NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.ports.database.product_tables import Device
from hub.services import beliefs, settings
from hub.services.facts import load_one
from hub.services.signing_keys import SigningKeys

LEAP = 1_000_000
"""Versions that a restored hub passes over; more changes than a product sees in its life."""
_MOST = 1 << 62
"""A device that reports more than this makes it up; its numbers are not followed."""
_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where devices find this hub.

    Args:
        brokers: host and port of the broker as devices reach it; several if it is a cluster.
        api: base address of the API.
        root: topic root.
    """

    brokers: tuple[tuple[str, int], ...]
    api: str
    root: str = topics.ROOT

    def brokers_for(self, shard: str) -> tuple[tuple[str, int], ...]:
        """Return all addresses of the broker in the order for a device: by its shard, so that devices spread."""
        first = int(shard, 16) % len(self.brokers)
        return self.brokers[first:] + self.brokers[:first]


@dataclass(frozen=True, slots=True)
class IssuedState:
    """A signed state, ready for `down/state`."""

    device_id: str
    version: int
    entitlement_version: int
    payload: bytes


class StateIssuer:
    """Issues states.

    Args:
        engine: the database.
        keys: sign.
        place: told to devices.
        trust: returns the DER certificates that devices are to trust at present.
    """

    def __init__(
        self,
        engine: Engine,
        keys: SigningKeys,
        place: Place,
        trust: Callable[[], tuple[bytes, ...]],
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._place = place
        self._trust = trust
        self._announced: tuple[tuple[SigningKey, ...], tuple[bytes, ...]] | None = None

    def keys_turned(self, at: int) -> bool:
        """Tell whether devices are to hear of other signing keys or authorities than when last asked."""
        before, self._announced = self._announced, (self._keys.public(at), self._trust())
        return before is not None and before != self._announced

    def issue(self, device_id: str, at: int) -> IssuedState:
        """Sign the present state of a device.

        Args:
            device_id: of the device.
            at: now, ns.

        Raises:
            NotFoundError: no such device.
        """
        # Most calls find nothing new, and reading never waits for a writer.
        with read_session(self._engine) as session:
            device = _device(session, device_id)
            token, state = self._contents(session, device, at)
            unchanged = _digest_of(encode_state(state)) == device.state_digest
            turned = device.state_due is not None and device.state_due <= at
            kept = not turned and not _is_ahead(device) and beliefs.is_kept(session, device)
            if unchanged and kept:
                return self._signed(token, state, device, at)
        with write_session(self._engine) as session:
            device = _device(session, device_id)
            token, state = self._contents(session, device, at)
            claims = encode_token(token)
            _count(device, claims, encode_state(state))
            device.state_due = _due(token)
            beliefs.keep_issued(session, device, claims, at)
        return self._signed(token, state, device, at)

    def _contents(
        self, session: Session, device: Device, at: int
    ) -> tuple[EntitlementToken, State]:
        """Build token and state without versions and times, which do not count as content."""
        facts = load_one(session, device.product_id)
        epoch = owner_epoch(facts, at)
        terms = token_terms(facts, at)
        features = {
            name: FeatureGrant(grant.allowed, grant.code, grant.until_s, grant.safe, grant.args)
            for name, grant in feature_grants(facts, at).items()
        }
        token = EntitlementToken(
            device=device.device_id,
            id=bytes(16),
            version=0,
            owner_epoch=epoch,
            issued=0,
            expires=terms.expires_s,
            grace=terms.grace_s,
            device_key_hash=hashlib.sha256(device.public_key).digest(),
            features=features,
        )
        shard = topics.shard_of(device.device_id)
        place = self._place
        (host, port), *others = place.brokers_for(shard)
        state = State(
            device=device.device_id,
            version=0,
            owner_epoch=epoch,
            entitlement=encode_token(token),
            configuration={
                name: setting.value
                for name, setting in settings.resolved(session, facts, device.desired, at).items()
            },
            update=None,
            trust=self._trust(),
            endpoint=Endpoint(host, port, place.root, shard, place.api, tuple(others)),
            time=0,
            signing_keys=self._keys.public(at),
        )
        return token, state

    def _signed(
        self, token: EntitlementToken, state: State, device: Device, at: int
    ) -> IssuedState:
        version = device.entitlement_version
        identity = hashlib.sha256(f"{device.device_id}/{version}/{at}".encode()).digest()[:16]
        claims = encode_token(replace(token, id=identity, version=version, issued=at // _S))
        key = self._keys.present(at)
        signed = replace(
            state,
            version=device.state_version,
            entitlement=cose.sign1(key, claims, cose.ENTITLEMENT_EXTERNAL),
            time=at,
        )
        payload = cose.sign1(key, encode_state(signed), cose.STATE_EXTERNAL)
        return IssuedState(device.device_id, device.state_version, version, payload)


def _device(session: Session, device_id: str) -> Device:
    device = session.scalars(select(Device).where(Device.device_id == device_id)).first()
    if device is None:
        raise NotFoundError(f"There is no device {device_id}.", device=device_id)
    return device


def next_due(session: Session, after: int) -> int | None:
    """Return the first instant after one at which the state of a connected device turns by itself."""
    query = select(func.min(Device.state_due)).where(
        Device.state_due > after, Device.online.is_(True)
    )
    return session.scalar(query)


def due(session: Session, at: int) -> list[str]:
    """Return the ids of connected devices whose features have turned since their state was issued."""
    query = select(Device.device_id).where(Device.state_due <= at, Device.online.is_(True))
    return list(session.scalars(query))


def _due(token: EntitlementToken) -> int | None:
    """Return the instant (ns) by which a feature of a token has turned; seconds are rounded down."""
    turns = [grant.until for grant in token.features.values() if grant.until is not None]
    return (min(turns) + 1) * _S if turns else None


def _is_ahead(device: Device) -> bool:
    """Tell whether a device has seen versions that this database has not given yet."""
    return (
        device.state_version < device.state_version_reported <= _MOST
        or device.entitlement_version < device.entitlement_version_reported <= _MOST
    )


def _count(device: Device, token: bytes, state: bytes) -> None:
    """Raise the versions of what changed, and of what a device has seen under other content."""
    token_digest, state_digest = _digest_of(token), _digest_of(state)
    if _is_ahead(device):
        # Its numbers say nothing of what is in them here, so both go beyond all that it knows.
        device.entitlement_version = max(
            device.entitlement_version, device.entitlement_version_reported
        )
        device.state_version = max(device.state_version, device.state_version_reported)
        device.entitlement_digest = device.state_digest = None
    if token_digest != device.entitlement_digest:
        device.entitlement_digest = token_digest
        device.entitlement_version += 1
    if state_digest != device.state_digest:
        device.state_digest = state_digest
        device.state_version += 1


def leap(session: Session) -> None:
    """Number the states of all devices anew, far above what was issued since a backup was made.

    A version that a device got in that time would else stand for other content here.
    """
    session.execute(
        update(Device).values(
            state_version=Device.state_version + LEAP,
            entitlement_version=Device.entitlement_version + LEAP,
            state_digest=None,
            entitlement_digest=None,
        )
    )


def _digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
