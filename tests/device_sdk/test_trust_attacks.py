"""Attacks on signed states and entitlement tokens, each test named after its attack."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_sdk.marks import Mark, Marks, Place
from device_sdk.trust import PUT_BACK, Trust
from device_sdk.wire import cose
from device_sdk.wire.codes import RejectCode
from device_sdk.wire.errors import WireError
from device_sdk.wire.state import (
    Endpoint,
    EntitlementToken,
    FeatureGrant,
    SigningKey,
    State,
    encode_state,
    encode_token,
)

DEVICE = "abcdefgh01234567"
KEY_HASH = b"k" * 32
HUB = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
NEXT = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)


def named(key: Ed25519PrivateKey) -> SigningKey:
    public = key.public_key()
    return SigningKey(cose.key_id(public), public.public_bytes_raw())


TOKEN = EntitlementToken(
    device=DEVICE,
    id=b"t" * 16,
    version=5,
    owner_epoch=2,
    issued=1_000,
    expires=2_000,
    grace=100,
    device_key_hash=KEY_HASH,
    features={
        "boost": FeatureGrant(
            allowed=True, code="plan", until=2_100, arguments={"plan": "comfort"}
        ),
        "local": FeatureGrant(allowed=True, code="safe", safe=True),
        "alarm": FeatureGrant(allowed=False, code="not_owned", safe=True),
    },
)
STATE = State(
    device=DEVICE,
    version=5,
    owner_epoch=2,
    entitlement=b"",
    configuration={"mode": "eco"},
    update=None,
    trust=(),
    endpoint=Endpoint("127.0.0.1", 8883, "hp/1", "47", "https://127.0.0.1"),
    time=0,
    signing_keys=(named(HUB),),
)


def sign(
    state: State = STATE,
    token: EntitlementToken = TOKEN,
    *,
    key: Ed25519PrivateKey = HUB,
    token_key: Ed25519PrivateKey | None = None,
    purpose: bytes = cose.STATE_EXTERNAL,
    token_purpose: bytes = cose.ENTITLEMENT_EXTERNAL,
) -> bytes:
    signed = cose.sign1(token_key or key, encode_token(token), token_purpose)
    return cose.sign1(key, encode_state(replace(state, entitlement=signed)), purpose)


def forge(protected: dict[int, Any], unprotected: dict[int, Any] | None = None) -> bytes:
    """Sign correctly, under headers of the attacker's choice."""
    payload = cbor2.loads(sign()).value[2]
    head = cbor2.dumps(protected)
    signature = HUB.sign(cbor2.dumps(["Signature1", head, cose.STATE_EXTERNAL, payload]))
    return cbor2.dumps(cbor2.CBORTag(18, [head, unprotected or {}, payload, signature]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def make(path: Path, *elsewhere: Path) -> Trust:
    key = named(HUB)
    marks = Marks(DEVICE, [Place.file(place) for place in (path.with_name("mark"), *elsewhere)])
    return Trust(path, DEVICE, KEY_HASH, {key.kid: key.key}, marks)


@pytest.fixture
def trust(path: Path) -> Trust:
    return make(path)


def refused(trust: Trust, data: bytes, match: str) -> None:
    before = (trust.state, trust.token)
    with pytest.raises(WireError, match=match) as caught:
        trust.accept(data)
    assert caught.value.code is RejectCode.REFUSED
    assert (trust.state, trust.token) == before


def test_a_sound_state_takes_effect_and_survives_a_restart(path: Path, trust: Trust) -> None:
    assert trust.state is None
    trust.accept(sign())
    again = make(path)
    assert again.state == trust.state
    assert (again.state_version, again.entitlement_version, again.owner_epoch) == (5, 5, 2)
    assert path.stat().st_mode & 0o777 == 0o600


def test_wrong_alg(trust: Trust) -> None:
    kid = named(HUB).kid
    for algorithm in (-7, -19, 5, None, "EdDSA"):
        refused(trust, forge({1: algorithm, 4: kid}), "protected header")


def test_alg_moved_to_the_unprotected_header(trust: Trust) -> None:
    kid = named(HUB).kid
    refused(trust, forge({4: kid}, {1: -8}), "unprotected")
    refused(trust, forge({1: -8, 4: kid}, {1: -8}), "unprotected")


def test_a_critical_extension_in_the_protected_header(trust: Trust) -> None:
    refused(trust, forge({1: -8, 2: [99], 4: named(HUB).kid}), "protected header")


def test_unknown_kid(trust: Trust) -> None:
    refused(trust, sign(key=STRANGER), "unknown key")


def test_known_kid_with_a_strangers_signature(trust: Trust) -> None:
    data = sign(key=STRANGER)
    refused(trust, data.replace(named(STRANGER).kid, named(HUB).kid), "signature")


def test_a_tampered_payload(trust: Trust) -> None:
    refused(trust, sign().replace(b"eco", b"max"), "signature")


def test_every_flipped_bit_is_noticed(trust: Trust) -> None:
    good = sign()
    for at in range(len(good)):
        broken = bytearray(good)
        broken[at] ^= 1 << (at % 8)
        with pytest.raises(WireError):
            trust.accept(bytes(broken))
    assert trust.state is None


def test_an_older_version_replayed(trust: Trust) -> None:
    trust.accept(sign())
    refused(trust, sign(replace(STATE, version=4)), "older")


def test_an_older_version_replayed_after_a_restart(path: Path, trust: Trust) -> None:
    trust.accept(sign())
    refused(make(path), sign(replace(STATE, version=4)), "older")


def test_an_older_token_in_a_newer_state(trust: Trust) -> None:
    trust.accept(sign())
    refused(trust, sign(replace(STATE, version=6), replace(TOKEN, version=4)), "older")


def test_another_devices_state(trust: Trust) -> None:
    refused(trust, sign(replace(STATE, device="zzzzzzzz01234567")), "another device")


def test_another_devices_token(trust: Trust) -> None:
    refused(trust, sign(token=replace(TOKEN, device="zzzzzzzz01234567")), "another device")


def test_a_token_bound_to_another_key(trust: Trust) -> None:
    refused(trust, sign(token=replace(TOKEN, device_key_hash=b"x" * 32)), "another device")


def test_a_token_of_another_owner(trust: Trust) -> None:
    refused(trust, sign(token=replace(TOKEN, owner_epoch=1)), "owner epoch")


def test_a_token_signed_by_a_stranger(trust: Trust) -> None:
    refused(trust, sign(token_key=STRANGER), "unknown key")


def test_a_token_in_place_of_a_state_and_the_other_way_round(trust: Trust) -> None:
    refused(trust, sign(purpose=cose.ENTITLEMENT_EXTERNAL), "signature")
    refused(trust, sign(token_purpose=cose.STATE_EXTERNAL), "signature")


def test_a_key_smuggled_under_another_keys_id(trust: Trust) -> None:
    liar = SigningKey(named(NEXT).kid, named(STRANGER).key)
    refused(trust, sign(replace(STATE, signing_keys=(named(HUB), liar))), "another key's id")


def test_keys_rotate_and_the_retired_one_no_longer_counts(path: Path, trust: Trust) -> None:
    both = replace(STATE, version=6, signing_keys=(named(NEXT), named(HUB)))
    trust.accept(sign(both))
    only = replace(STATE, version=7, signing_keys=(named(NEXT),))
    trust.accept(sign(only, key=NEXT))
    refused(trust, sign(replace(STATE, version=8)), "unknown key")
    again = make(path)
    assert again.state_version == 7
    refused(again, sign(replace(STATE, version=8)), "unknown key")


def test_a_state_file_edited_on_disk_is_not_believed(path: Path, trust: Trust) -> None:
    trust.accept(sign())
    path.write_bytes(path.read_bytes().replace(b"65636f", b"6d6178"))
    assert make(path).state is None
    path.write_bytes(b"{}")
    assert make(path).state is None


def test_features_are_answered_with_their_reason(trust: Trust) -> None:
    assert trust.decide("boost", 0).code == "no_state"
    trust.accept(sign())
    assert trust.decide("boost", 1_500) == TOKEN.features["boost"]
    assert trust.decide("nothing", 1_500).code == "unknown_feature"


def test_after_expiry_and_grace_only_safe_features_stay(trust: Trust) -> None:
    trust.accept(sign())
    assert trust.decide("boost", 2_099).allowed
    late = trust.decide("boost", 2_100)
    assert (late.allowed, late.code) == (False, "expired_offline")
    assert trust.decide("local", 10**9).allowed
    assert not trust.decide("alarm", 10**9).allowed
    endless = replace(TOKEN.features["boost"], until=None)
    trust.accept(sign(token=replace(TOKEN, version=6, expires=None, features={"boost": endless})))
    assert trust.decide("boost", 10**9).allowed


def test_a_feature_ends_at_its_own_instant_though_the_token_goes_on(trust: Trust) -> None:
    boost = replace(TOKEN.features["boost"], allowed=True, until=5_000, safe=False)
    local = replace(boost, safe=True)
    token = replace(TOKEN, expires=None, features={"boost": boost, "local": local})
    trust.accept(sign(token=token))
    assert trust.decide("boost", 4_999).allowed
    assert trust.decide("boost", 5_000).code == "expired_offline"
    assert trust.decide("local", 5_000).allowed


def test_a_refused_feature_does_not_open_by_itself(trust: Trust) -> None:
    boost = replace(TOKEN.features["boost"], allowed=False, until=5_000, safe=False)
    trust.accept(sign(token=replace(TOKEN, features={"boost": boost})))
    assert not trust.decide("boost", 6_000).allowed


def newer(path: Path, trust: Trust) -> bytes:
    """Put version 6 in force, which takes `boost` away, after version 5; return the older file."""
    trust.accept(sign())
    older = path.read_bytes()
    boost = FeatureGrant(allowed=False, code="lapsed")
    features = {**TOKEN.features, "boost": boost}
    trust.accept(
        sign(
            replace(STATE, version=6, owner_epoch=3),
            replace(TOKEN, version=6, owner_epoch=3, features=features),
        )
    )
    return older


def test_an_older_state_file_put_back_on_disk_opens_nothing(path: Path, trust: Trust) -> None:
    path.write_bytes(newer(path, trust))
    again = make(path)
    assert again.put_back
    assert again.decide("boost", 1_500).code == PUT_BACK
    assert again.decide("local", 1_500).allowed
    assert again.decide("local", 10**9).allowed
    assert (again.state_version, again.entitlement_version, again.owner_epoch) == (0, 0, 3)
    assert again.configuration == {}
    refused(again, sign(), "older")
    again.accept(sign(replace(STATE, version=6), replace(TOKEN, version=6)))
    assert again.decide("boost", 1_500).allowed


def test_the_state_file_removed_does_not_let_an_older_state_in(path: Path, trust: Trust) -> None:
    newer(path, trust)
    path.unlink()
    again = make(path)
    assert again.state is None
    assert again.owner_epoch == 3
    refused(again, sign(), "older")
    refused(again, sign(replace(STATE, version=6)), "entitlement is older")


def test_state_file_and_mark_put_back_together_are_noticed_by_a_second_place(
    path: Path, tmp_path: Path
) -> None:
    safe = tmp_path / "secure-element"
    trust = make(path, safe)
    trust.accept(sign())
    older = {name: (path.parent / name).read_bytes() for name in ("state.json", "mark")}
    newer(path, trust)
    for name, data in older.items():
        (path.parent / name).write_bytes(data)
    assert make(path, safe).put_back
    assert not make(path).put_back  # without a second place only the hub can notice


def test_a_mark_written_before_a_power_cut_never_locks_the_state_out(
    path: Path, trust: Trust
) -> None:
    trust.accept(sign())
    mark = path.with_name("mark").read_bytes()
    trust.accept(sign(replace(STATE, version=6), replace(TOKEN, version=6)))
    path.with_name("mark").write_bytes(mark)  # the power went between the state and its mark
    again = make(path)
    assert not again.put_back
    assert again.decide("boost", 1_500).allowed
    path.unlink()
    refused(make(path), sign(replace(STATE, version=5)), "older")


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"\xff", b'{"device":"abcdefgh01234567","state":"9"}', b"[]"]
)
def test_a_damaged_mark_says_nothing(path: Path, trust: Trust, damage: bytes) -> None:
    trust.accept(sign())
    path.with_name("mark").write_bytes(damage)
    again = make(path)
    assert (again.state_version, again.put_back) == (5, False)


def test_the_marks_of_an_earlier_enrolment_do_not_count(path: Path) -> None:
    Marks("zzzzzzzz01234567", [Place.file(path.with_name("mark"))]).keep(Mark(9, 9, 9, 9))
    trust = make(path)
    trust.accept(sign())
    assert trust.state_version == 5


def test_the_clock_starts_no_earlier_than_the_signed_state(path: Path, trust: Trust) -> None:
    trust.accept(sign(replace(STATE, time=7_000 * 10**9)))
    path.with_name("mark").unlink()
    assert make(path).floor_ns == 7_000 * 10**9
    trust.keep_time(9_000 * 10**9)
    assert make(path).floor_ns == 9_000 * 10**9
