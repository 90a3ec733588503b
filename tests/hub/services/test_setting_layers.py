"""Settings by layer, down to the signed state that a product is sent."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from device_sdk.wire import cose
from device_sdk.wire.state import decode_state
from hub.errors import ForbiddenError, InvalidInputError, NotFoundError
from hub.ports.database.engine import read_session, write_session
from hub.services import catalogue, ownership, pushes, settings, subscriptions
from hub.services.caller import HUB, Caller
from hub.services.signing_keys import SigningKeys
from hub.services.state import Place, StateIssuer
from tests.hub.services.service_world import CATALOGUE, DAY, T0, World

SETTINGS = """
[models.heat-pump.settings]
target_c = { default = 19 }
eco = { default = false }
[plans.warm]
[[plans.warm.versions]]
version = 1
settings = { target_c = 20 }
"""


@pytest.fixture
def apply(world: World) -> World:
    with write_session(world.engine) as session:
        catalogue.apply(session, HUB, catalogue.parse(CATALOGUE + SETTINGS), T0)
    return world


def owned(world: World) -> tuple[str, str, Caller]:
    made, caller = world.product(), world.customer()
    device = world.enrol(made).device_id
    world.claim(made, caller)
    return made.product_id, device, caller


def change(world: World, caller: Caller, values: dict[str, Any]) -> None:
    assert caller.owner_id is not None
    with write_session(world.engine) as session:
        settings.change_owner(session, caller, caller.owner_id, values, T0)


def test_what_wins_goes_down_in_the_state(apply: World, tmp_path: Path) -> None:
    world = apply
    keys = SigningKeys.load_or_create(tmp_path / "keys")
    place = Place((("hub.example.org", 8883),), "https://hub.example.org")
    issuer = StateIssuer(world.engine, keys, place, lambda: (b"der",))
    product_id, device, caller = owned(world)

    def sent(at: int = T0) -> dict[str, Any]:
        issued = issuer.issue(device, at)
        trusted = {key.kid: Ed25519PublicKey.from_public_bytes(key.key) for key in keys.public(at)}
        state = decode_state(cose.verify1(issued.payload, trusted, cose.STATE_EXTERNAL))
        return dict(state.configuration)

    assert sent() == {"eco": False, "target_c": 19}
    with write_session(world.engine) as session:
        subscriptions.start(session, HUB, product_id, "warm", T0, world.tokens, paid_until=T0 + DAY)
    assert sent() == {"eco": False, "target_c": 20}
    assert sent(T0 + DAY) == {"eco": False, "target_c": 19}  # it has lapsed
    change(world, caller, {"target_c": 21, "eco": True})
    assert sent() == {"eco": True, "target_c": 21}
    with write_session(world.engine) as session:
        pushes.configure(session, caller, product_id, {"target_c": 22}, T0)
    assert sent() == {"eco": True, "target_c": 22}
    change(world, caller, {"eco": None})
    assert sent() == {"eco": False, "target_c": 22}
    with write_session(world.engine) as session:
        ownership.release(session, caller, product_id, T0 + 1)
        assert settings.of_product(session, HUB, product_id, T0 + 1)["target_c"].winner != "owner"


def test_whose_settings_they_are(apply: World) -> None:
    world = apply
    product_id, _, caller = owned(world)
    stranger = world.customer()
    assert caller.owner_id is not None
    with read_session(world.engine) as session:
        for act in (
            lambda: settings.of_owner(session, stranger, str(caller.owner_id)),
            lambda: settings.of_owner(session, HUB, "z" * 16),
            lambda: settings.of_product(session, stranger, product_id, T0),
        ):
            with pytest.raises(NotFoundError):
                act()
        assert settings.of_owner(session, HUB, caller.owner_id) == {}
    with pytest.raises(InvalidInputError):
        change(world, caller, {f"setting_{number}": 1 for number in range(65)})
    with pytest.raises((ForbiddenError, InvalidInputError)):
        change(world, caller, {"no blanks": 1})
    with read_session(world.engine) as session:
        assert settings.of_owner(session, caller, caller.owner_id) == {}
