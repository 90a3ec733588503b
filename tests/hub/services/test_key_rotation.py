"""Signing keys change: for devices that are there, asleep, asleep for long, and over restarts and restores."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from device_sdk.trust import Trust
from device_sdk.wire import cose
from device_sdk.wire.errors import UnknownKeyError, WireError
from hub.errors import ConflictError, ForbiddenError, StorageError
from hub.ports.database.engine import read_session
from hub.ports.database.product_tables import Device
from hub.ports.database.record_tables import Audit
from hub.services.caller import HUB
from hub.services.signing_keys import FIRST, LEAD_NS, RING, SigningKeys, facts
from hub.services.state import Place, StateIssuer
from tests.hub.services.service_world import DAY, T0, S, World, new_world

PLACE = Place((("hub.example", 8883),), "https://hub.example")


@dataclass
class Fleet:
    """A hub with one product, and as many devices of it as a test wants to be asleep."""

    world: World
    folder: Path
    device_id: str
    keys: SigningKeys

    @property
    def home(self) -> Path:
        return self.folder / "keys"

    def device(self, name: str, at: int) -> Trust:
        """Enrol: the device learns the keys of the time, and hears its first state."""

        with read_session(self.world.engine) as session:
            public_key = session.scalars(select(Device.public_key)).one()
        known = {key.kid: key.key for key in self.keys.public(at)}
        key_hash = hashlib.sha256(public_key).digest()
        trust = Trust(self.folder / f"{name}.json", self.device_id, key_hash, known)
        self.hear(trust, at)
        return trust

    def hear(self, trust: Trust, at: int) -> None:
        """What the hub sends at an instant, a fresh process of it."""
        keys = SigningKeys.load(self.home)
        issuer = StateIssuer(self.world.engine, keys, PLACE, tuple)
        trust.accept(issuer.issue(self.device_id, at).payload)

    def ask(self, trust: Trust, at: int) -> bool:
        """What the device does over HTTPS."""
        return trust.learn(self.keys.public(at), self.keys.chain)

    def rotate(self, at: int, lead_ns: int = LEAD_NS) -> str:
        return self.keys.rotate(self.world.engine, HUB, at, lead_ns).kid


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    world = new_world(tmp_path)
    device_id = world.enrol(world.product()).device_id
    return Fleet(world, tmp_path, device_id, SigningKeys.load_or_create(tmp_path / "keys"))


def kid(keys: SigningKeys, at: int) -> str:
    return cose.key_id(keys.present(at).public_key()).hex()


def test_a_new_key_is_announced_first_and_signs_after_its_lead(fleet: Fleet) -> None:
    first = kid(fleet.keys, T0)
    second = fleet.rotate(T0)
    assert kid(fleet.keys, T0 + LEAD_NS - 1) == first
    assert [key.kid.hex() for key in fleet.keys.public(T0)] == [first, second]
    assert kid(fleet.keys, T0 + LEAD_NS) == second
    assert [key.kid.hex() for key in fleet.keys.public(T0 + LEAD_NS)] == [second, first]
    assert [key.kid.hex() for key in fleet.keys.public(T0 + 2 * LEAD_NS)] == [second]
    signing = [one["kid"] for one in facts(fleet.keys, T0 + LEAD_NS) if one["signs"]]
    assert signing == [second]


def test_a_device_that_is_there_follows_every_rotation(fleet: Fleet) -> None:
    trust = fleet.device("online", T0)
    at = T0
    for _ in range(4):
        fleet.rotate(at)
        for _ in range(8):
            fleet.hear(trust, at)
            at += LEAD_NS // 4
    assert len(fleet.keys.keys) <= 3
    assert len({one["key"] for one in facts(fleet.keys, at)}) == len(fleet.keys.ever()) == 5
    assert len(list(fleet.home.glob("state*.key"))) == len(fleet.keys.keys)


@pytest.mark.parametrize("slept", [0.5, 0.9])
def test_a_device_that_sleeps_less_than_the_lead_notices_nothing(
    fleet: Fleet, slept: float
) -> None:
    trust = fleet.device("dozing", T0)
    fleet.rotate(T0 + 1)
    fleet.hear(trust, T0 + int(slept * LEAD_NS))
    fleet.hear(trust, T0 + 10 * LEAD_NS)


def test_a_device_asleep_through_one_rotation_follows_the_statement(fleet: Fleet) -> None:
    trust = fleet.device("asleep", T0)
    fleet.rotate(T0 + DAY)
    late = T0 + DAY + LEAD_NS
    with pytest.raises(UnknownKeyError):
        fleet.hear(trust, late)
    assert fleet.ask(trust, late)
    fleet.hear(trust, late)


def test_a_device_asleep_through_many_rotations_follows_them_all(fleet: Fleet) -> None:
    trust = fleet.device("drawer", T0)
    at = T0
    for _ in range(5):
        fleet.rotate(at)
        at += 3 * LEAD_NS
    fleet.rotate(at)  # one more is announced and does not sign yet
    with pytest.raises(UnknownKeyError):
        fleet.hear(trust, at)
    assert fleet.ask(trust, at)
    fleet.hear(trust, at)
    restarted = Trust(fleet.folder / "drawer.json", fleet.device_id, trust._key_hash, {})
    assert restarted.state_version == trust.state_version


def test_a_device_enrolled_while_a_key_is_announced_needs_no_statement(fleet: Fleet) -> None:
    fleet.rotate(T0)
    trust = fleet.device("young", T0 + DAY)
    fleet.hear(trust, T0 + 5 * LEAD_NS)


def test_keys_that_others_may_know_are_retired_at_once(fleet: Fleet) -> None:
    trust = fleet.device("online", T0)
    stolen = fleet.keys.present(T0)
    fleet.rotate(T0 + 1)
    third = fleet.rotate(T0 + DAY, 0)
    assert [key.kid.hex() for key in fleet.keys.public(T0 + DAY)] == [third]
    assert not (fleet.home / FIRST).exists()
    with pytest.raises(UnknownKeyError):
        fleet.hear(trust, T0 + DAY)
    assert fleet.ask(trust, T0 + DAY)
    fleet.hear(trust, T0 + DAY)
    assert cose.key_id(stolen.public_key()) not in trust._keys
    assert [key.lost for key in fleet.keys.former] == [True, True]
    assert [key.kid.hex() for key in fleet.keys.ever()] == [third]
    assert stolen.public_key().public_bytes_raw().hex() == fleet.keys.former[0].public
    # The statement that introduced the announced key brings back none of the retired ones.
    assert not trust.learn((), fleet.keys.chain)
    assert fleet.ask(trust, T0 + DAY)
    assert set(trust._keys) == {bytes.fromhex(third)}


def test_a_statement_by_a_stranger_leads_nowhere(fleet: Fleet, tmp_path: Path) -> None:
    trust = fleet.device("online", T0)
    other = SigningKeys.load_or_create(tmp_path / "other")
    other.rotate(fleet.world.engine, HUB, T0, 0)
    assert not trust.learn(other.public(T0), other.chain)
    fleet.rotate(T0)
    (statement,) = fleet.keys.chain
    broken = bytearray(statement)
    broken[-1] ^= 1
    with pytest.raises(WireError, match="signature"):
        trust.learn(fleet.keys.public(T0), [bytes(broken)])
    state_kid = fleet.keys.public(T0)[0].kid
    assert set(trust._keys) == {state_kid}


def test_the_hub_may_be_restarted_at_any_moment_of_a_rotation(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = fleet.device("online", T0)
    before = {path.name: path.read_bytes() for path in fleet.home.iterdir()}

    def fail(*_: object) -> None:
        raise OSError("power")

    with monkeypatch.context() as patched:
        patched.setattr("hub.services.signing_keys.replace_private", fail)
        with pytest.raises(OSError, match="power"):
            fleet.rotate(T0)
    # Nothing but a key file that nobody names: the rotation has not begun.
    assert {name: (fleet.home / name).read_bytes() for name in before} == before
    fleet.keys = SigningKeys.load(fleet.home)
    assert len(fleet.keys.keys) == 1
    fleet.rotate(T0)
    for days in range(0, 90, 5):  # `hear` reads the files anew each time
        fleet.hear(trust, T0 + days * DAY)


def test_a_clock_that_goes_back_signs_with_a_key_that_devices_still_know(fleet: Fleet) -> None:
    trust = fleet.device("online", T0)
    fleet.rotate(T0)
    fleet.hear(trust, T0 + 1)
    fleet.hear(trust, T0 + LEAD_NS + S)
    fleet.hear(trust, T0 + LEAD_NS - S)


def test_a_backup_from_before_the_rotation_still_speaks_to_devices(fleet: Fleet) -> None:
    trust = fleet.device("online", T0)
    shutil.copytree(fleet.home, fleet.folder / "backup")
    fleet.rotate(T0 + DAY)
    changed = T0 + DAY + LEAD_NS
    fleet.hear(trust, T0 + 2 * DAY)
    fleet.hear(trust, changed)
    shutil.rmtree(fleet.home)
    shutil.copytree(fleet.folder / "backup", fleet.home)
    fleet.hear(trust, changed + LEAD_NS - S)  # the former key is still among those announced


def test_a_backup_older_than_the_retirement_needs_the_newer_keys(fleet: Fleet) -> None:
    trust = fleet.device("online", T0)
    shutil.copytree(fleet.home, fleet.folder / "backup")
    fleet.rotate(T0)
    for at in (T0 + DAY, T0 + LEAD_NS, T0 + 2 * LEAD_NS):
        fleet.hear(trust, at)
    newer = fleet.home.rename(fleet.folder / "newer")
    shutil.copytree(fleet.folder / "backup", fleet.home)
    fleet.keys = SigningKeys.load(fleet.home)
    with pytest.raises(UnknownKeyError):
        fleet.hear(trust, T0 + 2 * LEAD_NS)
    assert not fleet.ask(trust, T0 + 2 * LEAD_NS)
    shutil.rmtree(fleet.home)
    newer.rename(fleet.home)
    fleet.hear(trust, T0 + 2 * LEAD_NS)


def test_one_rotation_at_a_time_and_by_operators_only(fleet: Fleet) -> None:
    with pytest.raises(ForbiddenError):
        fleet.keys.rotate(fleet.world.engine, fleet.world.customer(), T0)
    made = fleet.rotate(T0)
    with pytest.raises(ConflictError, match=made):
        fleet.rotate(T0 + DAY)
    with read_session(fleet.world.engine) as session:
        rows = session.scalars(select(Audit).where(Audit.action == "signing_keys.rotate")).all()
    assert [row.details["kid"] for row in rows] == [made]
    for path in fleet.home.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["{}", "[]", '{"keys": [], "chain": [], "former": []}', "x"])
def test_a_damaged_list_of_keys_is_told_and_never_made_anew(fleet: Fleet, damage: str) -> None:
    fleet.rotate(T0)
    (fleet.home / RING).write_text(damage)
    with pytest.raises(StorageError, match="damaged"):
        SigningKeys.load_or_create(fleet.home)


def test_a_missing_or_exchanged_key_is_told(fleet: Fleet) -> None:
    made = fleet.rotate(T0)
    file = fleet.home / f"state-{made}.key"
    held = file.read_bytes()
    file.write_bytes((fleet.home / FIRST).read_bytes())
    with pytest.raises(StorageError, match="damaged"):
        SigningKeys.load_or_create(fleet.home)
    file.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        SigningKeys.load_or_create(fleet.home)
    file.write_bytes(held)
    file.chmod(0o600)
    assert len(SigningKeys.load_or_create(fleet.home).keys) == 2
    assert json.loads((fleet.home / RING).read_text())["keys"][1]["kid"] == made


def test_devices_that_are_there_hear_when_keys_turn(fleet: Fleet) -> None:
    issuer = StateIssuer(fleet.world.engine, fleet.keys, PLACE, tuple)
    assert not issuer.keys_turned(T0)
    fleet.rotate(T0)
    turns = [issuer.keys_turned(T0 + i * LEAD_NS // 2) for i in range(6)]
    assert turns == [True, False, True, False, True, False]
