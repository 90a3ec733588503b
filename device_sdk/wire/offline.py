"""What an entitlement token allows at an instant, and when it stops: the rule that device and hub share.

1. A safe function that was allowed stays allowed for as long as the device is not given another token.
2. Every other allowed feature ends at its own `until`, or at the token's expiry plus grace, whichever
   comes first. A refused feature never opens by itself.
3. No clock here: the instant is an argument, in seconds since 1970.
"""

from device_sdk.wire.state import EntitlementToken, FeatureGrant

UNKNOWN_FEATURE = FeatureGrant(allowed=False, code="unknown_feature")
EXPIRED_OFFLINE = "expired_offline"


def decide(token: EntitlementToken, feature: str, now_s: int) -> FeatureGrant:
    """Return what the token says of a feature at `now_s`."""
    grant = token.features.get(feature, UNKNOWN_FEATURE)
    if grant.allowed and grant.safe:
        return grant
    expired = token.expires is not None and now_s >= token.expires + token.grace
    ended = grant.allowed and grant.until is not None and now_s >= grant.until
    if not (expired or ended):
        return grant
    return FeatureGrant(allowed=False, code=EXPIRED_OFFLINE, safe=grant.safe)


def ends_s(token: EntitlementToken, feature: str) -> int | None:
    """Return the second from which the token no longer allows a feature that it allows now.

    None: it allows the feature without end, or does not allow it at all.
    """
    grant = token.features.get(feature, UNKNOWN_FEATURE)
    if grant.safe or not grant.allowed:
        return None
    expiry = None if token.expires is None else token.expires + token.grace
    ends = [end for end in (grant.until, expiry) if end is not None]
    return min(ends, default=None)
