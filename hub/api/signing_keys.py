"""The keys that sign what devices are told: which there are, how each came about, and a new one.

1. Anybody may read them: they are public, and a device believes only what a key that it knows signed.
2. No private key ever passes here.
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from hub.api.bodies import Answer, Request, examples
from hub.api.devices import SigningKey
from hub.api.guard import CallerDep, GuardedRoute, HubDep
from hub.api.instants import Instant
from hub.services import signing_keys

ROUTER = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["devices"])

_DAY_NS = 86_400_000_000_000


class KeyTimes(Answer):
    """When a signing key counts."""

    kid: str
    key: str = Field(
        description="Public key, hex; what was signed with it can be checked for ever."
    )
    signs: bool = Field(description="Whether it signs now.")
    announced_at: Instant | None = Field(description="Null: since the first start.")
    signs_from: Instant | None = Field(description="Null: since the first start.")
    retired_at: Instant | None = Field(description="From when devices are told of it no longer.")
    lost: bool = Field(description="Others may know it: a signature by it proves nothing any more.")

    model_config = examples(
        {
            "kid": "9f86d081884c7d65",
            "key": "2f7c...",
            "signs": True,
            "announced_at": None,
            "signs_from": None,
            "retired_at": None,
            "lost": False,
        }
    )


class SigningKeys(Answer):
    """The signing keys, and the way to them from each key there ever was."""

    signing_keys: list[SigningKey] = Field(description="Those announced, the present one first.")
    chain: list[str] = Field(
        description="Statements by each key on the next one, hex, the oldest first (docs/wire.md)."
    )
    keys: list[KeyTimes] = Field(description="The oldest first.")

    model_config = examples(
        {
            "signing_keys": [{"kid": "9f86d081884c7d65", "key": "2f7c..."}],
            "chain": [],
            "keys": [
                {
                    "kid": "9f86d081884c7d65",
                    "key": "2f7c...",
                    "signs": True,
                    "announced_at": None,
                    "signs_from": None,
                    "retired_at": None,
                    "lost": False,
                }
            ],
        }
    )


class Rotate(Request):
    """A wish for a new signing key."""

    lead_days: Annotated[
        int,
        Field(
            ge=0,
            le=365,
            description="Days from its announcement to its first signature, and from the last one of "
            "the key before to its retirement. 0: the keys there are may be known to others.",
        ),
    ] = 30

    model_config = examples({"lead_days": 30})


@ROUTER.get("/signing-keys", operation_id="get_signing_keys", summary="Read the signing keys")
def get_signing_keys(hub: HubDep) -> SigningKeys:
    """Read the keys that sign states; a device that was asleep for long follows the chain."""
    return _shown(hub.signing_keys, hub.clock())


@ROUTER.post(
    "/signing-keys/rotate", operation_id="rotate_signing_keys", summary="Make a new signing key"
)
def rotate_signing_keys(hub: HubDep, caller: CallerDep, body: Rotate) -> SigningKeys:
    """Announce a new signing key, which signs after a lead."""
    at = hub.clock()
    hub.signing_keys.rotate(hub.engine, caller, at, body.lead_days * _DAY_NS)
    return _shown(hub.signing_keys, at)


def _shown(keys: signing_keys.SigningKeys, at: int) -> SigningKeys:
    return SigningKeys(
        signing_keys=[SigningKey(kid=k.kid.hex(), key=k.key.hex()) for k in keys.public(at)],
        chain=[statement.hex() for statement in keys.chain],
        keys=[KeyTimes(**facts) for facts in signing_keys.facts(keys, at)],
    )
