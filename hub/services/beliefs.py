"""What a device believes of its entitlements: the token it said it enforces, read as the device reads it.

1. Every token is kept as it was issued, by version, until the device enforces a later one. What was
   decided since, and what facts were corrected, never changes what a device believes.
2. The rule is the device's own (`device_sdk.wire.offline`), at the hub's present time.
3. `ends_at` is the instant at which a device that hears nothing more stops by itself. It does so then
   or, as its clock may be slow and does not count while it is off, later; never before.
4. A version that the hub does not know (its database is an older copy) says nothing: it is shown as
   unknown, and the next state is numbered above it (`state.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from device_sdk.wire import offline
from device_sdk.wire.state import EntitlementToken, decode_token
from hub.ports.database.product_tables import Device, IssuedToken

KEPT = 8
"""Newest versions that are kept beside the one a device enforces; it may be on its way to any of them."""
_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class BelievedFeature:
    """What a device does about one feature.

    Args:
        feature: its name.
        allowed: whether it lets it be used now.
        code: why; a code of a decision, or `expired_offline`.
        args: arguments of the code.
        safe: whether it is a safe function.
        ends_at: instant (ns) at which it stops by itself if it hears nothing more; None: never, or it
            does not allow it.
    """

    feature: str
    allowed: bool
    code: str
    args: Mapping[str, Any]
    safe: bool
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class Belief:
    """What a device believes.

    Args:
        version: of the token that it said it enforces; 0: none.
        known: whether the hub knows what that version says.
        latest: whether that is the newest version there is.
        issued_at: when it was first issued, ns.
        epoch: owner epoch that it speaks of.
        features: one entry a feature, by name; empty if the device has no token or it is not known.
    """

    version: int
    known: bool
    latest: bool
    issued_at: int | None = None
    epoch: int | None = None
    features: tuple[BelievedFeature, ...] = ()

    def of(self, feature: str) -> BelievedFeature | None:
        """Return what it believes of one feature."""
        return next((one for one in self.features if one.feature == feature), None)


def belief(session: Session, device: Device, at: int) -> Belief:
    """Return what a device believes at an instant.

    Args:
        session: any session.
        device: which.
        at: the instant, ns.
    """
    version = device.entitlement_version_reported
    latest = version == device.entitlement_version
    if version == 0:
        return Belief(0, known=True, latest=latest)
    row = session.get(IssuedToken, (device.slot, version))
    if row is None:
        return Belief(version, known=False, latest=latest)
    token = decode_token(row.claims)
    features = tuple(_believed(token, name, at) for name in sorted(token.features))
    return Belief(
        version,
        known=True,
        latest=latest,
        issued_at=row.issued_at,
        epoch=token.owner_epoch,
        features=features,
    )


def keep_issued(session: Session, device: Device, claims: bytes, at: int) -> None:
    """Keep what the newest version of a device's token says; of older ones, what may still matter.

    Args:
        session: a writing session.
        device: which; its `entitlement_version` is the version.
        claims: of the token, as encoded.
        at: now, ns.
    """
    newest = device.entitlement_version
    if session.get(IssuedToken, (device.slot, newest)) is not None:
        return
    session.add(IssuedToken(slot=device.slot, version=newest, issued_at=at, claims=claims))
    session.flush()
    recent = (
        select(IssuedToken.version)
        .where(IssuedToken.slot == device.slot)
        .order_by(IssuedToken.version.desc())
        .limit(KEPT)
    )
    oldest = min(session.scalars(recent))
    session.execute(
        delete(IssuedToken).where(
            IssuedToken.slot == device.slot,
            IssuedToken.version < oldest,
            IssuedToken.version != device.entitlement_version_reported,
        )
    )


def is_kept(session: Session, device: Device) -> bool:
    """Tell whether the newest version of a device's token is kept."""
    return session.get(IssuedToken, (device.slot, device.entitlement_version)) is not None


def _believed(token: EntitlementToken, name: str, at: int) -> BelievedFeature:
    grant = offline.decide(token, name, at // _S)
    ends = offline.ends_s(token, name)
    return BelievedFeature(
        feature=name,
        allowed=grant.allowed,
        code=grant.code,
        args=dict(grant.arguments),
        safe=grant.safe,
        ends_at=None if ends is None else ends * _S,
    )
