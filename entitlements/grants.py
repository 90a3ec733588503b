"""What a product is told about its entitlements in its signed state."""

from dataclasses import dataclass
from collections.abc import Mapping

from entitlements.decision import Arg
from entitlements.facts import Facts


@dataclass(frozen=True, slots=True)
class FeatureGrant:
    """One entry of the token's features: `[allowed, code, until s or null, safe, {args}]`."""

    allowed: bool
    code: str
    until_s: int | None
    safe: bool
    args: Mapping[str, Arg]


def feature_grants(facts: Facts, at: int) -> dict[str, FeatureGrant]:
    """Return all features of the model and its plans with what holds for them, by name."""
    raise NotImplementedError


def token_terms(facts: Facts, at: int) -> tuple[int | None, int]:
    """Return the token's expiry (s since 1970 UTC, `None`: none) and the grace after it (s)."""
    raise NotImplementedError
