"""The decision and its encoding, without a broker."""

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sdk.wire.topics import shard_of
from hub.config import PkiSettings
from hub.ports.broker import callout, nkeys
from hub.ports.broker.callout import Grant, Refusal, Request, Standing
from hub.services.pki import CertificateAuthority

AT = 1_800_000_000_000_000_000
DAY = 86_400_000_000_000
DEVICE = "abcdefgh12345678"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(tmp_path_factory.mktemp("pki"), AT, PkiSettings())


def certificate(authority: CertificateAuthority, name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = csr.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    return authority.issue_device(pem, name, AT).certificate_pem


def request(pem: str | None, client_id: str | None) -> Request:
    return Request("SERVER", "USER", client_id, pem)


def welcome(_device_id: str, _fingerprint: str) -> Standing:
    return Standing.WELCOME


def forbidden_lookup(device_id: str, _fingerprint: str) -> Standing:
    raise AssertionError(f"asked the records for {device_id}")


def reason(decision: Grant | Refusal) -> str:
    assert isinstance(decision, Refusal)
    return decision.reason


def test_a_welcome_device_gets_exactly_its_topics(authority: CertificateAuthority) -> None:
    decision = callout.decide(request(certificate(authority, DEVICE), DEVICE), welcome, AT)
    assert isinstance(decision, Grant)
    own = f"hp.1.{shard_of(DEVICE)}.{DEVICE}"
    assert decision.topics.publish == (f"{own}.up.*",)
    assert decision.topics.subscribe == (f"{own}.down.*",)
    assert decision.until_ns == AT + 90 * DAY


def test_the_records_are_asked_for_this_very_certificate(authority: CertificateAuthority) -> None:
    pem = certificate(authority, DEVICE)
    asked: list[tuple[str, str]] = []

    def lookup(device_id: str, fingerprint: str) -> Standing:
        asked.append((device_id, fingerprint))
        return Standing.WELCOME

    callout.decide(request(pem, DEVICE), lookup, AT)
    digest = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
    assert asked == [(DEVICE, digest)]


@pytest.mark.parametrize("standing", [s for s in Standing if s is not Standing.WELCOME])
def test_every_other_standing_is_refused(
    authority: CertificateAuthority, standing: Standing
) -> None:
    pem = certificate(authority, DEVICE)
    decision = callout.decide(request(pem, DEVICE), lambda *_: standing, AT)
    assert reason(decision) == standing.value


def test_what_the_certificate_decides_never_reaches_the_records(
    authority: CertificateAuthority,
) -> None:
    pem = certificate(authority, DEVICE)
    cases = {
        "not_mqtt": (request(pem, None), AT),
        "no_certificate": (request(None, DEVICE), AT),
        "unreadable_certificate": (request("garbage", DEVICE), AT),
        "expired": (request(pem, DEVICE), AT + 90 * DAY),
        "wrong_client_id": (request(pem, DEVICE + "x"), AT),
    }
    for expected, (asked, at) in cases.items():
        assert reason(callout.decide(asked, forbidden_lookup, at)) == expected
    assert reason(callout.decide(request(pem, DEVICE), forbidden_lookup, AT - DAY)) == "expired"


def test_a_device_named_like_a_part_of_the_hub_is_no_part(authority: CertificateAuthority) -> None:
    for name in ("hub-control", "hub-ingest-0"):
        pem = certificate(authority, name)
        assert reason(callout.decide(request(pem, name), welcome, AT)) == "not_a_client"


def test_parts_of_the_hub_are_known_by_name(authority: CertificateAuthority) -> None:
    for name, known in (("hub-control", True), ("hub-ingest-7", True), ("hub-other", False)):
        pem = authority.issue_internal(name, AT).issued.certificate_pem
        decision = callout.decide(request(pem, name), forbidden_lookup, AT)
        assert isinstance(decision, Grant) is known


def test_a_server_certificate_is_no_client(authority: CertificateAuthority) -> None:
    pem = authority.issue_server(["127.0.0.1"], AT).issued.certificate_pem
    assert reason(callout.decide(request(pem, "127.0.0.1"), welcome, AT)) == "not_a_client"


def parts(token: bytes) -> tuple[bytes, bytes, dict[str, Any]]:
    head, body, signature = token.split(b".")
    return head + b"." + body, base64.urlsafe_b64decode(signature + b"=="), nkeys.claims_of(token)


def test_an_answer_is_signed_and_names_who_asked(authority: CertificateAuthority) -> None:
    key = Ed25519PrivateKey.generate()
    asked = request(certificate(authority, DEVICE), DEVICE)
    decision = callout.decide(asked, welcome, AT)
    signed, signature, claims = parts(callout.answer(asked, decision, key, "DEVICES", AT))
    key.public_key().verify(signature, signed)
    assert (claims["sub"], claims["aud"]) == ("USER", "SERVER")
    signed, signature, user = parts(claims["nats"]["jwt"].encode())
    key.public_key().verify(signature, signed)
    assert (user["sub"], user["aud"], user["name"]) == ("USER", "DEVICES", DEVICE)
    assert user["exp"] == (AT + 90 * DAY) // 1_000_000_000


def test_a_refusal_carries_no_user() -> None:
    answer = callout.answer(
        request(None, DEVICE), Refusal("expired", DEVICE), Ed25519PrivateKey.generate(), "D", AT
    )
    body = nkeys.claims_of(answer)["nats"]
    assert body["error"] == f"expired {DEVICE}"
    assert "jwt" not in body


def test_account_names_have_the_form_of_nats() -> None:
    # RFC 8032, test 1; the name follows from the definition of nkeys.
    raw = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    name = nkeys.account_name(Ed25519PrivateKey.from_private_bytes(raw).public_key())
    assert len(name) == 56
    assert name[0] == "A"
    decoded = base64.b32decode(name)
    assert decoded[0] == 0
    assert int.from_bytes(decoded[-2:], "little") == crc16(decoded[:-2])


def crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else (crc << 1) & 0xFFFF
    return crc


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_an_error_and_nothing_else(data: bytes) -> None:
    body = base64.urlsafe_b64encode(data).rstrip(b"=")
    for token in (data, b"a." + body + b".c"):
        with pytest.raises((ValueError, KeyError, TypeError)):
            callout.read_request(token)


def test_only_a_verified_chain_counts() -> None:
    claims = {
        "nats": {
            "user_nkey": "U",
            "server_id": {"id": "S"},
            "client_info": {"mqtt_id": DEVICE},
            "client_tls": {"certs": ["unverified"]},
        }
    }
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    asked = callout.read_request(b"h." + body + b".s")
    assert asked == Request("S", "U", DEVICE, None)
